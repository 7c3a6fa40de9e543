// The manager's door: control operations on the cluster and where logs come from.
export { createInitialObjects, makeUnlockKey } from './control/cluster.ts'
export type { ControlDeps } from './control/context.ts'
export { createControl } from './control/control.ts'
export { createInitialNetworks, INGRESS_VNI } from './control/networks.ts'
export type {
  ContentChange,
  Control,
  CreateServiceOptions,
  NodeSpecChange,
  UpdateClusterOptions,
  UpdateNodeOptions,
  UpdateServiceOptions,
} from './control/types.ts'
export { joinGroup } from './joinGroup.ts'
export type { GroupDeps } from './leadership.ts'
export type { LogGap, LogLine, LogOptions, LogSelector, LogSource } from './logs.ts'
export { type Manager, type ManagerDeps, type ManagerFace, startManager } from './manager.ts'
