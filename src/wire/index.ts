// Door of the wire: gRPC over HTTP/2 with mutual TLS behind the Rpc port, and the one builder of what we send.
export { formatHostPort, type HostPort, parseHostPort } from './address.ts'
export { authorize } from './authorize.ts'
export { type AssignmentChange, type Assignments, buildAssignments, parseAssignments } from './builderAssignments.ts'
export {
  buildLogLine,
  buildSubscription,
  type LogLine,
  type LogOptions,
  type LogSelector,
  parseLogLine,
  parseSubscription,
  type Subscription,
} from './builderLogs.ts'
export { buildTaskReport, parseTaskReport, type TaskStatusUpdate } from './builderReport.ts'
export {
  type AgentInfo,
  availabilities,
  buildNodeDescription,
  buildSessionMessage,
  GOSSIP,
  IPSEC,
  parseNodeDescription,
  parseSessionMessage,
  type SessionUpdate,
} from './builderSession.ts'
export {
  type BuildTaskOptions,
  buildNetwork,
  buildTask,
  buildTaskSpec,
  parseNetwork,
  parseTask,
  parseTaskSpec,
  type TaskAttachment,
} from './builderTask.ts'
export { leaderHint, notLeader } from './leader.ts'
export { createWireRpc, type WireOptions } from './rpc.ts'
export { type TunnelChunkInit, TunnelEnd } from './tunnel.ts'
export { base64, bytesOf, duration, durationNs, instantOf, timestamp } from './values.ts'
