// The Engine port: containers of this node, whatever runs them. Not Docker-shaped; see architecture 10.
import type { Duplex } from 'node:stream'
import type { Instant } from '../lib/index.ts'

/** How a container is to be made. Everything is decided: templates are expanded, secrets and networks resolved. */
export interface ContainerPlan {
  /** `web.1.<taskId>` */
  readonly name: string
  readonly image: string
  readonly labels: Readonly<Record<string, string>>
  readonly command: readonly string[] | undefined // replaces the image's entrypoint
  readonly args: readonly string[] | undefined // replaces the image's cmd
  readonly hostname: string | undefined
  readonly env: readonly string[]
  readonly workingDir: string | undefined
  readonly user: string | undefined
  readonly groups: readonly string[]
  readonly tty: boolean
  readonly openStdin: boolean
  readonly readOnlyRootfs: boolean
  readonly init: boolean | undefined
  readonly stopSignal: string | undefined
  readonly stopGraceMs: number | undefined
  readonly healthcheck: HealthcheckPlan | undefined
  readonly mounts: readonly MountPlan[]
  readonly extraHosts: readonly string[] // `name:address`, as engines want it
  readonly dns: { readonly nameservers: readonly string[]; readonly search: readonly string[]; readonly options: readonly string[] }
  readonly sysctls: Readonly<Record<string, string>>
  readonly capabilityAdd: readonly string[]
  readonly capabilityDrop: readonly string[]
  readonly ulimits: readonly { readonly name: string; readonly soft: number; readonly hard: number }[]
  readonly privileges: PrivilegesPlan | undefined
  readonly isolation: string | undefined
  readonly oomScoreAdj: number | undefined
  readonly limits: {
    readonly nanoCpus: number
    readonly memoryBytes: number
    readonly pids: number
    readonly swapBytes?: number
    readonly memorySwappiness?: number
  }
  readonly reservations: { readonly nanoCpus: number; readonly memoryBytes: number }
  readonly logDriver: { readonly name: string; readonly options: Readonly<Record<string, string>> } | undefined
  /** In the order in which they are attached; the first one carries the default route. Empty = the engine's default bridge. */
  readonly networks: readonly NetworkPlan[]
  /** A predefined network mode instead of `networks`: 'host', 'bridge', 'none'. */
  readonly networkMode: string | undefined
  readonly hostPorts: readonly { readonly protocol: 'tcp' | 'udp' | 'sctp'; readonly target: number; readonly published: number }[]
  /** Files to be placed into the container before it starts (secrets, configs), served from memory-backed storage. */
  readonly files: readonly FilePlan[]
}

export interface HealthcheckPlan {
  readonly test: readonly string[]
  readonly intervalNs: number
  readonly timeoutNs: number
  readonly retries: number
  readonly startPeriodNs: number
  readonly startIntervalNs: number
}

/** `spec` is the mount as in the service spec, templates expanded. */
export interface MountPlan {
  readonly type: 'bind' | 'volume' | 'tmpfs' | 'npipe' | 'cluster' | 'image'
  readonly source: string
  readonly target: string
  readonly readOnly: boolean
  readonly consistency?: string
  readonly bind?: {
    readonly propagation?: string
    readonly nonRecursive?: boolean
    readonly createMountpoint?: boolean
    readonly readOnlyNonRecursive?: boolean
    readonly readOnlyForceRecursive?: boolean
  }
  readonly volume?: {
    readonly noCopy?: boolean
    readonly labels?: Readonly<Record<string, string>>
    readonly driver?: { readonly name: string; readonly options: Readonly<Record<string, string>> }
    readonly subpath?: string
  }
  readonly tmpfs?: { readonly sizeBytes?: number; readonly mode?: number; readonly options?: readonly (readonly string[])[] }
}

export interface PrivilegesPlan {
  readonly credentialSpec?: { readonly file?: string; readonly registry?: string; readonly config?: string }
  readonly seLinux?: {
    readonly disable: boolean
    readonly user?: string
    readonly role?: string
    readonly type?: string
    readonly level?: string
  }
  readonly seccomp?: { readonly mode: string; readonly profile?: string }
  readonly appArmor?: { readonly mode: string }
  readonly noNewPrivileges?: boolean
}

export interface NetworkPlan {
  /** Name of the engine-side network. */
  readonly engineName: string
  readonly networkId: string
  readonly address: string // plain IPv4
  readonly mac?: string
  readonly aliases: readonly string[]
}

export interface FilePlan {
  readonly target: string // absolute path in the container
  readonly data: Uint8Array
  readonly uid: number
  readonly gid: number
  readonly mode: number
}

/** An engine-side network: a bridge that the data plane made and the engine adopts. */
export interface EngineNetworkPlan {
  readonly name: string
  readonly subnet: string
  readonly gateway: string
  readonly bridge: string
  readonly mtu: number
  readonly internal: boolean
  readonly labels: Readonly<Record<string, string>>
}

export interface ContainerState {
  readonly id: string
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly status: 'created' | 'running' | 'paused' | 'restarting' | 'removing' | 'exited' | 'dead'
  readonly pid: number
  readonly exitCode: number
  /** The engine's own error text, '' when there is none. */
  readonly error: string
  readonly oomKilled: boolean
  readonly health: 'none' | 'starting' | 'healthy' | 'unhealthy'
  readonly startedAt: Instant | undefined
  readonly finishedAt: Instant | undefined
  /** Host-mode ports as the engine bound them. */
  readonly ports: readonly { readonly protocol: 'tcp' | 'udp' | 'sctp'; readonly target: number; readonly published: number }[]
}

export type EngineEvent =
  | {
      readonly kind: 'container'
      readonly action: 'create' | 'start' | 'die' | 'destroy' | 'health' | 'oom' | 'kill' | 'stop'
      readonly containerId: string
      readonly labels: Readonly<Record<string, string>>
    }
  /** The event stream was (re)opened: events may have been missed, so look at everything once. */
  | { readonly kind: 'reconnected' }

export interface EngineInfo {
  readonly hostname: string
  readonly engineVersion: string
  readonly operatingSystem: string
  readonly architecture: string // x86_64
  readonly nanoCpus: number
  readonly memoryBytes: number
  readonly labels: readonly string[] // `key=value`
  readonly plugins: readonly { readonly type: 'Volume' | 'Network' | 'Log' | 'Authorization'; readonly name: string }[]
  readonly genericResources: readonly { readonly kind: string; readonly value: string | number }[]
}

export interface EngineCapabilities {
  readonly apiVersion: string // e.g. 1.41
  /** The engine runs health checks itself. */
  readonly healthchecks: boolean
  /** One MAC address per network can be given at create (API >= 1.44). */
  readonly macPerNetwork: boolean
}

export interface EngineLogOptions {
  readonly stdout: boolean
  readonly stderr: boolean
  readonly follow: boolean
  /** Last n lines; undefined = all. */
  readonly tail: number | undefined
  readonly since: Instant | undefined
}

export interface EngineLogLine {
  readonly stream: 'stdout' | 'stderr'
  readonly at: Instant
  /** Nanoseconds below the millisecond of `at`, 0..999999. */
  readonly atNs: number
  /** With the newline, as the engine gives it. */
  readonly data: Uint8Array
  readonly attrs: Readonly<Record<string, string>>
}

/** All errors are ShoalErrors: 'not-found', 'already-exists', 'unavailable' (engine away; try again), 'invalid-argument' (the plan cannot work). */
export interface Engine {
  info(): Promise<EngineInfo>
  capabilities(): Promise<EngineCapabilities>
  /** Makes the image present: no pull when it is there by digest or id; falls back to the local image when a pull fails; 'not-found' `No such image: X` otherwise. */
  ensureImage(image: string, options: { registryAuth?: string; signal?: AbortSignal; progress?: (text: string) => void }): Promise<void>
  /** Creates without starting; returns the container id. 'already-exists' when the name is taken. */
  create(plan: ContainerPlan): Promise<string>
  start(containerId: string): Promise<void>
  stop(containerId: string, options: { signal?: string; graceMs: number }): Promise<void>
  /** Sends a signal to the main process, SIGKILL without one. */
  kill(containerId: string, signal?: string): Promise<void>
  /**
   * Gives the files that a container was created with (same list, same order) new content, in place. True when that changed one; false for a container
   * without files.
   */
  replaceFiles(containerName: string, files: readonly FilePlan[]): Promise<boolean>
  /** By force; also removes anonymous volumes. No error when it is not there. */
  remove(containerId: string): Promise<void>
  inspect(containerId: string): Promise<ContainerState | undefined>
  /** All containers whose label `com.docker.swarm.node.id` is this node's. */
  list(nodeId: string): Promise<readonly ContainerState[]>
  /** Ends only when the signal aborts; reconnects by itself and says so with `reconnected`. */
  events(signal: AbortSignal): AsyncIterable<EngineEvent>
  logs(containerId: string, options: EngineLogOptions, signal: AbortSignal): AsyncIterable<EngineLogLine>
  ensureNetwork(plan: EngineNetworkPlan): Promise<void>
  removeNetwork(name: string): Promise<void>
  listNetworks(
    label: string,
  ): Promise<readonly { readonly name: string; readonly id: string; readonly labels: Readonly<Record<string, string>> }[]>
  /**
   * Answers HTTP requests about this one container on the stream, in the Docker API's form (`/containers/self/...`, `/exec/...`): exec, archive, stats, top, json.
   * Resolves when the stream has ended. Undefined where the engine cannot.
   */
  serveContainer?(containerId: string, stream: Duplex): Promise<void>
  /** A connection to a TCP port in the container's network namespace, its loopback included. */
  connectPort?(containerId: string, port: number): Promise<Duplex>
  /** Answers when the engine is reachable. */
  ping(): Promise<void>
}
