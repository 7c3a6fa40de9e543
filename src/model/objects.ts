// The objects of the store. All are immutable; a change makes a new object.
import type { ClusterId, ConfigId, Instant, NetworkId, NodeId, SecretId, ServiceId, TaskId } from '../lib/index.ts'
import type { ContentVersion } from './content.ts'
import type { RegistryCredentials } from './registry.ts'
import type {
  Annotations,
  Driver,
  EndpointSpec,
  GenericResource,
  Labels,
  Platform,
  PortConfig,
  Protocol,
  ServiceSpec,
  TaskSpec,
} from './spec.ts'
import type { Availability, NodeRole, NodeState, TaskState } from './states.ts'

/** `version` is the commit sequence number of the last change (Version.Index of the API); the store sets it and both instants. */
export interface Meta {
  readonly version: number
  readonly createdAt: Instant
  readonly updatedAt: Instant
}

export interface ClusterSpec extends Annotations {
  readonly taskHistoryRetentionLimit: number
  readonly raft: {
    readonly snapshotInterval: number
    readonly keepOldSnapshots: number
    readonly logEntriesForSlowFollowers: number
    readonly electionTick: number
    readonly heartbeatTick: number
  }
  readonly heartbeatPeriodNs: number
  readonly nodeCertExpiryNs: number
  readonly externalCas: readonly { readonly protocol: string; readonly url: string; readonly options: Labels; readonly caCert: string }[]
  readonly caForceRotate: number
  readonly taskLogDriver?: Driver
  readonly autoLockManagers: boolean
}

export interface Cluster extends Meta {
  readonly id: ClusterId
  readonly spec: ClusterSpec
  /** Exact bytes that the join tokens' digest is made of (PEM bundle, newline at the end). */
  readonly rootCaPem: string
  /** PKCS#8 PEM; sealed by the codec before it reaches a journal (issue 6). */
  readonly rootCaKeyPem: string
  readonly joinTokens: { readonly worker: string; readonly manager: string }
  /** Empty = not given at init; then 10.0.0.0/8 counts. */
  readonly defaultAddressPools: readonly string[]
  readonly subnetSize: number
  readonly dataPathPort: number
  /** Gossip and ipsec keys for stock engines; see wire-protocol 6.1. */
  readonly networkKeys: readonly { readonly subsystem: string; readonly key: string; readonly lamportTime: number }[]
  readonly unlockKey?: string
  /** Of private registries, for every task that brings none of its own. */
  readonly registries?: RegistryCredentials
  /** The root that takes over when every node has a certificate of it. Signed by the present root as well, so that all trust it meanwhile. */
  readonly rootRotation?: { readonly certificatePem: string; readonly privateKeyPem: string; readonly crossSignedPem: string } | undefined
  /** The present root signed by the one before: for members of the managers' group that were started under that. */
  readonly rootCrossSignedPem?: string
}

export interface NodeSpec {
  readonly name: string
  readonly labels: Labels
  readonly desiredRole: NodeRole
  readonly membership: 'pending' | 'accepted'
  readonly availability: Availability
}

export interface NodeResources {
  readonly nanoCpus: number
  readonly memoryBytes: number
  readonly generic: readonly GenericResource[]
}

export interface NodeDescription {
  readonly hostname: string
  readonly platform: Platform
  readonly resources: NodeResources
  readonly engineVersion: string
  readonly engineLabels: Labels
  readonly plugins: readonly { readonly type: string; readonly name: string }[]
  readonly tls: { readonly trustRoot: string; readonly issuerSubject: string; readonly issuerPublicKey: string } // base64 for the last two
}

export interface Node extends Meta {
  readonly id: NodeId
  readonly spec: NodeSpec
  /** The role in the certificate now. */
  readonly role: NodeRole
  /** 1..65535, unique in the cluster; MAC, mark and zone of the node are derived from it. */
  readonly number: number
  readonly description?: NodeDescription
  readonly status: { readonly state: NodeState; readonly message: string; readonly address: string }
  readonly managerStatus?: {
    readonly leader: boolean
    readonly reachability: 'unknown' | 'unreachable' | 'reachable'
    readonly address: string
  }
  readonly certificate: {
    readonly csrPem: string
    readonly state: 'pending' | 'issued' | 'rotate' | 'failed'
    readonly certificatePem: string
    readonly error: string
  }
  /** An agent of ours (mesh stream, fast pings) or a stock engine. */
  readonly agent: 'shoal' | 'stock'
  /** Whether ingress and overlays work there; when off, why. Only our own agents report it. */
  readonly dataPlane: { readonly on: boolean; readonly reason: string }
  /** When it was last seen alive before it went down. */
  readonly downSince?: Instant
  /** Commit that changed the spec last: what the node says of itself meanwhile must not make a person's change `out of sequence`. */
  readonly specIndex?: number
  /** Since when it is being drained, and how long its tasks may stay until successors serve (0 = not at all); undefined = what labels say. */
  readonly drain?: { readonly since: Instant; readonly deadlineMs?: number }
}

export interface Vip {
  readonly networkId: NetworkId
  /** CIDR, as the API shows it: `10.0.0.5/24`. */
  readonly address: string
}

export interface Service extends Meta {
  readonly id: ServiceId
  readonly spec: ServiceSpec
  /** Names the specRevision that tasks of the present spec carry; grows only when tasks have to be replaced (task spec or endpoint changed). */
  readonly specVersion: number
  readonly previousSpec?: ServiceSpec
  readonly previousSpecVersion?: number
  /** What the allocation loop gave: ports with published numbers and VIPs. `spec` is the EndpointSpec it was made for. */
  readonly endpoint?: { readonly spec: EndpointSpec; readonly ports: readonly PortConfig[]; readonly vips: readonly Vip[] }
  readonly updateStatus?: UpdateStatus
  /** Jobs only. */
  readonly job?: { readonly iteration: number; readonly lastExecution: Instant }
}

export interface UpdateStatus {
  readonly state: 'updating' | 'paused' | 'completed' | 'rollback_started' | 'rollback_paused' | 'rollback_completed'
  readonly startedAt?: Instant
  readonly completedAt?: Instant
  readonly message: string
}

/** The immutable spec that the tasks of one spec version share. Key: `<serviceId>.<specVersion>`. */
export interface SpecRevision extends Meta {
  readonly id: string
  readonly serviceId: ServiceId
  readonly specVersion: number
  readonly serviceName: string
  readonly serviceLabels: Labels
  readonly task: TaskSpec
  readonly endpoint?: EndpointSpec
}

export interface ContainerStatus {
  readonly containerId: string
  readonly pid: number
  readonly exitCode: number
}

export interface TaskStatus {
  readonly state: TaskState
  readonly at: Instant
  readonly message: string
  /** '' when there is none. */
  readonly error: string
  /** Stable code behind `error` for programs, e.g. `no-suitable-node`. */
  readonly reason?: string
  readonly container?: ContainerStatus
  readonly ports?: readonly {
    readonly protocol: Protocol
    readonly targetPort: number
    readonly publishedPort: number
    readonly name?: string
  }[]
}

export interface TaskAttachment {
  readonly networkId: NetworkId
  /** CIDRs: `10.0.0.23/24`. */
  readonly addresses: readonly string[]
  readonly aliases?: readonly string[]
}

/** Stable codes for why a task was told to stop; `endReasonText` has a sentence for each. */
export type EndReason =
  | 'ended'
  | 'updated'
  | 'rolled-back'
  | 'scaled-down'
  | 'service-removed'
  | 'node-drained'
  | 'node-lost'
  | 'node-removed'
  | 'node-misfit'
  | 'new-iteration'
  | 'not-needed'

export interface Task extends Meta {
  readonly id: TaskId
  /** Undefined for attachment tasks. */
  readonly serviceId: ServiceId | undefined
  /** 0 for global services. */
  readonly slot: number
  /** Undefined until it is assigned; tasks of global services have it from the start. */
  readonly nodeId: NodeId | undefined
  readonly specVersion: number
  readonly desiredState: TaskState
  readonly status: TaskStatus
  readonly attachments: readonly TaskAttachment[]
  /** Whether addresses and ports were allocated (observed state is then at least PENDING). */
  readonly genericResources?: readonly GenericResource[]
  readonly jobIteration?: number
  /** Healthy, and every live node routes to it. */
  readonly servedAt?: Instant
  /** Every live node has withdrawn it and its connections have drained, or the bound has passed. */
  readonly releasedAt?: Instant
  /** Delays the start: desired READY until then. */
  readonly notBefore?: Instant
  /** Restart accounting of the slot, carried forward on its newest task. `recent` = instants of restarts inside the window. */
  readonly restart?: { readonly attempts: number; readonly recent: readonly Instant[] }
  /** Why it was told to stop. */
  readonly endReason?: EndReason
  /** Attachment tasks have no service: their own spec and name. */
  readonly attachmentSpec?: TaskSpec
}

export interface NetworkSpec extends Annotations {
  readonly driver: string
  readonly driverOptions: Labels
  readonly ipv6: boolean
  readonly internal: boolean
  readonly attachable: boolean
  readonly ingress: boolean
  readonly ipamDriver: string
  readonly ipamOptions: Labels
  readonly ipam: readonly { readonly subnet: string; readonly range: string; readonly gateway: string }[]
  readonly configFrom?: string
}

export interface Network extends Meta {
  readonly id: NetworkId
  readonly spec: NetworkSpec
  /** Fixed for life: served by our data plane, or by stock engines' own overlay driver. */
  readonly plane: 'shoal' | 'swarm'
  /** `host` or `bridge` of each node under a swarm-scope name. */
  readonly predefined?: 'host' | 'bridge'
  /** Removed by its users, but tasks that end are still on it: nobody sees it any more, and its name (then the id) is free. */
  readonly removing?: true
  /** 0 until allocated. */
  readonly vni: number
  /** Allocated subnets (CIDR) with their gateway (plain address); empty until allocated. */
  readonly subnets: readonly { readonly subnet: string; readonly gateway: string }[]
}

export interface SecretSpec extends Annotations {
  /** base64 */
  readonly data: string
  readonly templating?: Driver
  readonly driver?: Driver
}

export interface Secret extends Meta {
  readonly id: SecretId
  readonly spec: SecretSpec
  /** Former contents, oldest first. */
  readonly history?: readonly ContentVersion[]
}

export interface ConfigSpec extends Annotations {
  /** base64 */
  readonly data: string
  readonly templating?: Driver
}

export interface Config extends Meta {
  readonly id: ConfigId
  readonly spec: ConfigSpec
  /** Former contents, oldest first. */
  readonly history?: readonly ContentVersion[]
}

/**
 * An update or rollback of one service that is under way. Key: the service id. Which slots are done, busy or still to do, and when their monitoring ends, follows
 * from the tasks; only what history might forget stands here.
 */
export interface Rollout extends Meta {
  readonly id: ServiceId
  readonly kind: 'update' | 'rollback'
  readonly specVersion: number
  readonly startedAt: Instant
  /** Slots that had to change when it began: what the failure ratio is a share of. */
  readonly total: number
  /** New tasks that ended within their monitoring time. */
  readonly failedTaskIds: readonly TaskId[]
}

/** An address that must not be reused yet. Key: `<networkId>/<address>`. */
export interface AddressHold extends Meta {
  readonly id: string
  readonly networkId: NetworkId
  readonly address: string
  readonly until: Instant
}
