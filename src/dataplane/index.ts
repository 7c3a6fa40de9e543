// Door of the data plane: the mesh in, kernel state out.
export { createDataPlane, type DataPlane, type DataPlaneCounters, type DataPlaneDeps, type DataPlaneStatus } from './dataplane.ts'
export { createNameServer, type NameServer, type NameServerDeps } from './dns/nameServer.ts'
export { type Attachment, engineNetwork, NETWORK_ID_LABEL } from './engineNetwork.ts'
export { runTool, type ToolResult } from './kernel/exec.ts'
export { createLinuxKernel } from './kernel/linux.ts'
export { type PlanInput, planKernel, type WantedState } from './plan/planner.ts'
export type { PortConflict } from './portHolds.ts'
export { applyMeshUpdate, emptyMeshState } from './state.ts'
export type {
  LocalTask,
  MeshAddress,
  MeshEndpoint,
  MeshNetwork,
  MeshPeer,
  MeshPort,
  MeshService,
  MeshState,
  MeshUpdate,
  MeshVip,
  SelfNode,
  TaskNames,
} from './types.ts'
