// Door of the node: this node's place in a swarm.
export type { InterfaceAddress } from './address.ts'
export { createDataKeys, type DataKeys } from './dataKeys.ts'
export { type AgentSetup, createNode, type NodeDeps, type SwarmNode } from './node.ts'
export type { InitRequest, JoinRequest, LocalNode, LocalNodeState, LocalStatus } from './types.ts'
