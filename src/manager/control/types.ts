// What can be asked of a leading manager: look-ups and changes of the cluster's objects, with Swarm's rules and texts.
import type { ConfigId, NetworkId, NodeId, SecretId, ServiceId, TaskId } from '../../lib/index.ts'
import type { ServicePlan } from '../../loops/index.ts'
import type {
  Annotations,
  Availability,
  Cluster,
  ClusterSpec,
  Config,
  ConfigSpec,
  ContentPolicy,
  Network,
  NetworkSpec,
  Node,
  NodeRole,
  Secret,
  SecretSpec,
  Service,
  ServiceSpec,
  Task,
} from '../../model/index.ts'

export interface CreateServiceOptions {
  /** The X-Registry-Auth header as it came (base64url JSON). */
  readonly registryAuth?: string
}

export interface UpdateServiceOptions extends CreateServiceOptions {
  /** Whose stored credentials to keep when none are given: the present spec's (default) or the previous one's. */
  readonly registryAuthFrom?: 'spec' | 'previous-spec'
  /** Put the previous spec back; the given one is ignored. */
  readonly rollback?: 'previous'
}

export interface UpdateClusterOptions {
  readonly rotateWorkerToken?: boolean
  readonly rotateManagerToken?: boolean
  readonly rotateManagerUnlockKey?: boolean
}

export interface ContentChange {
  /** base64; or `restore`: a former content (its number in the history) again. */
  readonly data?: string
  readonly restore?: number
  /** Instead of the one in the label `shoal.update.policy`, from now on. */
  readonly policy?: ContentPolicy
}

export interface UpdateNodeOptions {
  /** When the node is drained: tasks leave it after this at the latest; 0 = all stop now. Without it labels decide (`shoal.drain.deadline`). */
  readonly drainDeadlineMs?: number
}

/** What people may set on a node. */
export interface NodeSpecChange extends Annotations {
  readonly desiredRole: NodeRole
  readonly availability: Availability
}

/**
 * Operations on the cluster. `text` is what a person typed: an exact id, else an exact name, else a prefix of an id; 'not-found' or, with several
 * hits, 'invalid-argument' `… is ambiguous`. `version` is the Version.Index that the caller has read; another one stored means 'unknown'
 * `update out of sequence`. All refusals are ShoalErrors with the texts of docker-api.md 1.2; promises resolve when the change is durable.
 */
export interface Control {
  cluster(): Cluster
  updateCluster(version: number, spec: ClusterSpec, options?: UpdateClusterOptions): Promise<Cluster>

  /** Keeps credentials (an X-Registry-Auth value) for a registry; answers its host. */
  setRegistry(server: string, auth: string): Promise<string>
  removeRegistry(server: string): Promise<string>

  node(text: string): Node
  updateNode(text: string, version: number, spec: NodeSpecChange, options?: UpdateNodeOptions): Promise<Node>
  removeNode(text: string, options: { readonly force: boolean }): Promise<NodeId>

  service(text: string): Service
  createService(spec: ServiceSpec, options?: CreateServiceOptions): Promise<Service>
  updateService(text: string, version: number, spec: ServiceSpec | undefined, options?: UpdateServiceOptions): Promise<Service>
  /** What creating a service, or (with `text`) updating it to this spec would do. Nothing is changed; refuses what the change itself would refuse. */
  planService(spec: ServiceSpec, text?: string): Promise<ServicePlan>
  removeService(text: string): Promise<ServiceId>

  task(text: string): Task
  removeTask(text: string): Promise<TaskId>

  network(text: string): Network
  createNetwork(spec: NetworkSpec): Promise<Network>
  removeNetwork(text: string): Promise<NetworkId>

  secret(text: string): Secret
  createSecret(spec: SecretSpec): Promise<Secret>
  /** `spec.data` undefined keeps the stored data. */
  updateSecret(text: string, version: number, spec: Omit<SecretSpec, 'data'> & { readonly data?: string }): Promise<Secret>
  removeSecret(text: string): Promise<SecretId>
  /** New content in place; what happens to those who use it, the policy says. `version` undefined: whatever is stored. */
  updateSecretContent(text: string, version: number | undefined, change: ContentChange): Promise<Secret>

  config(text: string): Config
  createConfig(spec: ConfigSpec): Promise<Config>
  updateConfig(text: string, version: number, spec: Omit<ConfigSpec, 'data'> & { readonly data?: string }): Promise<Config>
  removeConfig(text: string): Promise<ConfigId>
  updateConfigContent(text: string, version: number | undefined, change: ContentChange): Promise<Config>
}
