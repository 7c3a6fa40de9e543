// What an agent needs from its node, and what it offers.
import type { Attachment, DataPlaneStatus, LocalTask, MeshState, TaskNames } from '../dataplane/index.ts'
import type { Logger, NodeId } from '../lib/index.ts'
import type { Clock, Disk, Engine, Identity, Issuer, Random, Rpc } from '../ports/index.ts'

/** The part of the data plane that an agent drives; `createDataPlane` makes one. */
export interface AgentDataPlane {
  status(): DataPlaneStatus
  update(state: MeshState): Promise<void>
  setLocalTasks(tasks: readonly LocalTask[]): Promise<void>
  attach(
    taskId: string,
    networks: readonly { readonly networkId: string; readonly address: string }[],
    names?: TaskNames,
  ): Promise<readonly Attachment[]>
  detach(taskId: string): Promise<void>
  hairpin(): Promise<void>
  idle(taskIds: readonly string[]): Promise<readonly string[]>
  engineReconnected(): Promise<void>
}

export interface ManagerPeer {
  readonly nodeId: string
  /** `host:port` */
  readonly address: string
}

export interface AgentDeps {
  readonly clock: Clock
  readonly random: Random
  readonly rpc: Rpc
  readonly engine: Engine
  /** The agent's own folder is `agent/` on it. */
  readonly disk: Disk
  readonly log: Logger
  readonly issuer: Pick<Issuer, 'inspect'>
  readonly dataPlane: AgentDataPlane
  readonly nodeId: NodeId
  /** Read anew for each connection. */
  readonly identity: () => Identity
  /** Managers to begin with, `host:port`; later the managers themselves say where they are. */
  readonly managers: () => readonly string[]
  readonly daemonVersion: string
  /** The managers' list has changed: to be kept for the next start. */
  readonly onManagers?: (managers: readonly ManagerPeer[]) => void
  /** The manager asks for a new certificate; asked once for each such message. */
  readonly onRotateCertificate?: () => void
  /** The root certificate of the cluster differs from the one in the identity. */
  readonly onRootCa?: (rootCaPem: string) => void
  /** What the managers want this node to be, whenever they say so. */
  readonly onDesiredRole?: (role: 'worker' | 'manager') => void
}

export interface AgentStatus {
  readonly connected: boolean
  /** The manager of the present session. */
  readonly manager: string | undefined
  /** Why there is no session; '' when there is one. */
  readonly error: string
  readonly taskCount: number
  /** How far this computer's clock is ahead of the manager's; undefined when it is not known. */
  readonly clockSkewMs?: number
}

/** A single container that wants to be on an attachable network. */
export interface AttachRequest {
  /** Name or id of the network. */
  readonly target: string
  /** Undefined for a container that is only to be made. */
  readonly containerId: string | undefined
  /** Names by which others on the network find it. */
  readonly aliases: readonly string[]
  /** Plain address that it wants to have. */
  readonly address?: string
}

/** Its place there: the container has to be put onto the engine-side network with exactly this address. */
export interface NetworkAttachment extends Attachment {
  readonly id: string
  /** As asked for; something of no meaning for a container that was only to be made. */
  readonly containerId: string
}

export interface Agent {
  /**
   * Resolves when the network is there. 'not-found' and 'permission-denied' (not attachable) in the managers' words, 'failed-precondition' when this node cannot,
   * 'unavailable' without a session.
   */
  attachNetwork(request: AttachRequest): Promise<NetworkAttachment>
  /** Gives the place back, after the container has left. No error when it is gone already. */
  detachNetwork(attachmentId: string): Promise<void>
  /** Which container each place belongs to: places of one container know the names of all its networks. */
  setContainers(containers: ReadonlyMap<string, string>): Promise<void>
  /** All places of single containers on this node. */
  attachments(): readonly NetworkAttachment[]
  /** Returns at once; everything else happens on its own until `stop`. */
  start(): Promise<void>
  /** Leaves containers and networks as they are. */
  stop(): Promise<void>
  /** After `stop`, when the node leaves the swarm: removes this node's containers by force, its networks and its records. */
  destroy(): Promise<void>
  /** Resolves when a session stands, at once if there is one. Rejects with 'canceled' when the agent stops first. */
  connected(): Promise<void>
  status(): AgentStatus
}
