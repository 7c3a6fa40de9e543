// What users ask for: specs of services and tasks, in the words of the Docker API (durations in nanoseconds, as there).
import type { ConfigId, NetworkId, SecretId } from '../lib/index.ts'

export type Labels = Readonly<Record<string, string>>

export interface Annotations {
  readonly name: string
  readonly labels: Labels
}

export type ServiceMode =
  | { readonly kind: 'replicated'; readonly replicas: number }
  | { readonly kind: 'global' }
  | { readonly kind: 'replicated-job'; readonly maxConcurrent: number; readonly totalCompletions: number }
  | { readonly kind: 'global-job' }

/** Absent parts mean Swarm's defaults; `model/defaults.ts` has them. What the user left out stays out, because the API shows it so. */
export interface ServiceSpec extends Annotations {
  readonly task: TaskSpec
  readonly mode: ServiceMode
  readonly update?: UpdateConfig
  readonly rollback?: UpdateConfig
  /** The old place of networks; `task.networks` wins. */
  readonly networks?: readonly NetworkAttachmentConfig[]
  readonly endpoint?: EndpointSpec
}

export interface UpdateConfig {
  /** 0 = all at once. */
  readonly parallelism: number
  readonly delayNs?: number
  readonly failureAction?: 'pause' | 'continue' | 'rollback'
  readonly monitorNs?: number
  readonly maxFailureRatio?: number
  readonly order?: 'stop-first' | 'start-first'
}

export interface EndpointSpec {
  readonly mode?: 'vip' | 'dnsrr'
  readonly ports?: readonly PortConfig[]
}

export type Protocol = 'tcp' | 'udp' | 'sctp'

export interface PortConfig {
  readonly name?: string
  readonly protocol: Protocol
  readonly targetPort: number
  /** 0 = to be allocated (ingress) or chosen by the engine (host). */
  readonly publishedPort: number
  readonly publishMode: 'ingress' | 'host'
}

export interface TaskSpec {
  readonly container?: ContainerSpec
  /** A container that `docker run --network attachable` made; see resource allocator. */
  readonly attachment?: { readonly containerId: string }
  readonly resources?: ResourceRequirements
  readonly restart?: RestartPolicy
  readonly placement?: Placement
  readonly logDriver?: Driver
  readonly networks?: readonly NetworkAttachmentConfig[]
  readonly forceUpdate: number
  readonly runtime?: string
}

export interface Driver {
  readonly name: string
  readonly options?: Labels
}

export interface NetworkAttachmentConfig {
  /** Network id; names are resolved when the spec comes in. */
  readonly target: NetworkId
  readonly aliases?: readonly string[]
  readonly driverOpts?: Labels
  /** Attachments only: addresses that were asked for, plain. */
  readonly addresses?: readonly string[]
}

export interface Resources {
  readonly nanoCpus?: number
  readonly memoryBytes?: number
  /** Limits only. */
  readonly pids?: number
  readonly generic?: readonly GenericResource[]
}

export type GenericResource = { readonly kind: string; readonly discrete: number } | { readonly kind: string; readonly named: string }

export interface ResourceRequirements {
  readonly limits?: Resources
  readonly reservations?: Resources
  readonly swapBytes?: number
  readonly memorySwappiness?: number
}

export interface RestartPolicy {
  readonly condition?: 'none' | 'on-failure' | 'any'
  readonly delayNs?: number
  readonly maxAttempts?: number
  readonly windowNs?: number
}

export interface Placement {
  readonly constraints?: readonly string[]
  /** Spread descriptors in order, e.g. `node.labels.zone`. */
  readonly preferences?: readonly { readonly spread: string }[]
  /** 0 = no limit. */
  readonly maxReplicas?: number
  readonly platforms?: readonly Platform[]
}

export interface Platform {
  readonly architecture: string
  readonly os: string
}

export interface ContainerSpec {
  readonly image: string
  readonly labels?: Labels
  readonly command?: readonly string[]
  readonly args?: readonly string[]
  readonly hostname?: string
  readonly env?: readonly string[]
  readonly dir?: string
  readonly user?: string
  readonly groups?: readonly string[]
  readonly privileges?: Privileges
  readonly init?: boolean
  readonly tty?: boolean
  readonly openStdin?: boolean
  readonly readOnly?: boolean
  readonly mounts?: readonly Mount[]
  readonly stopSignal?: string
  readonly stopGracePeriodNs?: number
  readonly healthcheck?: Healthcheck
  /** `address host alias...` lines as in the API. */
  readonly hosts?: readonly string[]
  readonly dns?: { readonly nameservers?: readonly string[]; readonly search?: readonly string[]; readonly options?: readonly string[] }
  readonly secrets?: readonly SecretReference[]
  readonly configs?: readonly ConfigReference[]
  readonly isolation?: string
  readonly sysctls?: Labels
  readonly capabilityAdd?: readonly string[]
  readonly capabilityDrop?: readonly string[]
  readonly ulimits?: readonly { readonly name: string; readonly soft: number; readonly hard: number }[]
  readonly oomScoreAdj?: number
  /** base64url JSON of X-Registry-Auth; never shown by the API. */
  readonly registryAuth?: string
}

export interface Healthcheck {
  readonly test?: readonly string[]
  readonly intervalNs?: number
  readonly timeoutNs?: number
  readonly retries?: number
  readonly startPeriodNs?: number
  readonly startIntervalNs?: number
}

export interface Mount {
  readonly type: 'bind' | 'volume' | 'tmpfs' | 'npipe' | 'cluster' | 'image'
  readonly source?: string
  readonly target: string
  readonly readOnly?: boolean
  readonly consistency?: string
  readonly bind?: {
    readonly propagation?: string
    readonly nonRecursive?: boolean
    readonly createMountpoint?: boolean
    readonly readOnlyNonRecursive?: boolean
    readonly readOnlyForceRecursive?: boolean
  }
  readonly volume?: { readonly noCopy?: boolean; readonly labels?: Labels; readonly driver?: Driver; readonly subpath?: string }
  readonly tmpfs?: { readonly sizeBytes?: number; readonly mode?: number; readonly options?: readonly (readonly string[])[] }
}

export interface Privileges {
  readonly credentialSpec?: { readonly file?: string; readonly registry?: string; readonly config?: string }
  readonly seLinux?: {
    readonly disable?: boolean
    readonly user?: string
    readonly role?: string
    readonly type?: string
    readonly level?: string
  }
  readonly seccomp?: { readonly mode: 'default' | 'unconfined' | 'custom'; readonly profile?: string }
  readonly appArmor?: { readonly mode: 'default' | 'disabled' }
  readonly noNewPrivileges?: boolean
}

export interface FileTarget {
  readonly name: string
  readonly uid: string
  readonly gid: string
  readonly mode: number
}

export interface SecretReference {
  readonly secretId: SecretId
  readonly secretName: string
  readonly file?: FileTarget
}

export interface ConfigReference {
  readonly configId: ConfigId
  readonly configName: string
  readonly file?: FileTarget
  /** The config is used by the runtime itself (credential spec), not as a file. */
  readonly runtime?: boolean
}
