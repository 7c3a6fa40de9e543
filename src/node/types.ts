// What the API sees of this node: its place in a swarm, and the manager on it if it is one.
import type { NodeId } from '../lib/index.ts'
import type { ManagerFace } from '../manager/index.ts'
import type { Availability, ClusterSpec, NodeRole } from '../model/index.ts'

export type LocalNodeState = 'inactive' | 'pending' | 'active' | 'error' | 'locked'

export interface LocalStatus {
  readonly state: LocalNodeState
  readonly error: string
  /** Undefined (and '' etc.) unless the node is in a swarm. */
  readonly nodeId: NodeId | undefined
  readonly role: NodeRole | undefined
  /** Address that this node advertises, no port. */
  readonly address: string
  /** Live managers: `host:port`. */
  readonly managers: readonly { readonly nodeId: string; readonly address: string }[]
}

export interface InitRequest {
  readonly listenAddr: string
  readonly advertiseAddr: string
  readonly dataPathAddr: string
  readonly dataPathPort: number
  readonly defaultAddressPools: readonly string[]
  readonly subnetSize: number
  readonly forceNewCluster: boolean
  readonly autoLockManagers: boolean
  readonly availability: Availability
  readonly spec: Partial<ClusterSpec>
}

export interface JoinRequest {
  readonly listenAddr: string
  readonly advertiseAddr: string
  readonly dataPathAddr: string
  readonly remoteAddrs: readonly string[]
  readonly joinToken: string
  readonly availability: Availability
}

/** All refusals are ShoalErrors with the texts of docker-api.md 1.2. */
export interface LocalNode {
  status(): LocalStatus
  /** Undefined when this node is no (working) manager. */
  manager(): ManagerFace | undefined
  init(request: InitRequest): Promise<NodeId>
  join(request: JoinRequest): Promise<void>
  leave(options: { readonly force: boolean }): Promise<void>
  /** Of a manager that is locked after a start. 'unauthenticated' when it is not the key. */
  unlock?(key: string): Promise<void>
}
