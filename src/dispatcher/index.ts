// Door of the dispatcher: sessions of nodes, assignments, reports, the mesh stream, logs.
export { assignedNetwork, assignedTask, desiredToSend } from './assigned.ts'
export { createDispatcher, type Dispatcher, type DispatcherDeps } from './dispatcher.ts'
export { type DispatcherLimits, LIMITS } from './limits.ts'
export type { LogGap, LogSource } from './logs.ts'
export type { MeshAcks } from './mesh.ts'
export { dialTunnel, type TunnelSource, type TunnelTarget } from './tunnels.ts'
