// Door of the agent.
export { createAgent } from './agent.ts'
export type { Agent, AgentDataPlane, AgentDeps, AgentStatus, AttachRequest, ManagerPeer, NetworkAttachment } from './types.ts'
