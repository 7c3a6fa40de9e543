// What the store promises: typed tables with indexes, transactions, watch. Implementation beside it.
import type { ConfigId, Instant, NetworkId, NodeId, SecretId, ServiceId, TaskId } from '../lib/index.ts'
import type { AddressHold, Cluster, Config, Network, Node, Rollout, Secret, Service, SpecRevision, Task } from '../model/index.ts'
import type { Journal, JournalWrite } from './journal/types.ts'

export interface Tables {
  cluster: Cluster
  node: Node
  service: Service
  specRevision: SpecRevision
  task: Task
  network: Network
  secret: Secret
  config: Config
  rollout: Rollout
  addressHold: AddressHold
}
export type TableName = keyof Tables

export interface ReadTable<T extends { readonly id: string }> {
  get(id: T['id']): T | undefined
  ids(): Iterable<T['id']>
  values(): Iterable<T>
  readonly size: number
}

export interface NamedReadTable<T extends { readonly id: string }> extends ReadTable<T> {
  byName(name: string): T | undefined
  /** Exact id, else exact name, else ids with this prefix (at most two: enough to see that it is ambiguous). */
  lookUp(text: string): readonly T[]
}

export interface TaskReadTable extends ReadTable<Task> {
  byService(id: ServiceId): Iterable<Task>
  byNode(id: NodeId): Iterable<Task>
  /** Tasks of a slot of a replicated service or job, newest last (creation order). */
  bySlot(serviceId: ServiceId, slot: number): readonly Task[]
  /** Exact id or ids with this prefix (at most two). */
  lookUp(text: string): readonly Task[]
}

export interface NodeReadTable extends NamedReadTable<Node> {
  /** `byName` is the name in the spec or else the hostname; hostnames need not be unique, so this gives all. */
  byHostname(hostname: string): readonly Node[]
}

export interface SpecRevisionReadTable extends ReadTable<SpecRevision> {
  of(serviceId: ServiceId, specVersion: number): SpecRevision | undefined
  byService(serviceId: ServiceId): Iterable<SpecRevision>
}

/** The state as of one commit. Free; valid until the next `await`. */
export interface View {
  /** Sequence number of the last commit that this view shows. */
  readonly seq: number
  /** The one cluster object; undefined before init. */
  readonly cluster: Cluster | undefined
  readonly nodes: NodeReadTable
  readonly services: NamedReadTable<Service>
  readonly specRevisions: SpecRevisionReadTable
  readonly tasks: TaskReadTable
  readonly networks: NamedReadTable<Network>
  readonly secrets: NamedReadTable<Secret>
  readonly configs: NamedReadTable<Config>
  readonly rollouts: ReadTable<Rollout>
  readonly addressHolds: ReadTable<AddressHold> & { byNetwork(id: NetworkId): Iterable<AddressHold> }
}

/** What a caller gives for a new object: the store fills in the meta. */
export type Fresh<T> = Omit<T, 'version' | 'createdAt' | 'updatedAt'>

export interface Writes<T extends { readonly id: string }> {
  /** ShoalError 'already-exists' when the id (or, in named tables, the name) is taken. */
  create(object: Fresh<T>): T
  /** `object` is changed from one that was read in this transaction; version and updatedAt are set. 'not-found' when it is gone. */
  update(object: T): T
  /** Like update, but 'unknown' `update out of sequence` when the stored version is not `expectedVersion`. */
  updateIfVersion(object: T, expectedVersion: number): T
  /** No error when it is not there. */
  delete(id: T['id']): void
}

export interface WriteTx extends View {
  /** The sequence number that this transaction's commit will have. */
  readonly seq: number
  readonly now: Instant
  setCluster(cluster: Fresh<Cluster> | Cluster, expectedVersion?: number): Cluster
  readonly nodes: NodeReadTable & Writes<Node>
  readonly services: NamedReadTable<Service> & Writes<Service>
  readonly specRevisions: SpecRevisionReadTable & Writes<SpecRevision>
  readonly tasks: TaskReadTable & Writes<Task>
  readonly networks: NamedReadTable<Network> & Writes<Network>
  readonly secrets: NamedReadTable<Secret> & Writes<Secret>
  readonly configs: NamedReadTable<Config> & Writes<Config>
  readonly rollouts: ReadTable<Rollout> & Writes<Rollout>
  readonly addressHolds: ReadTable<AddressHold> & { byNetwork(id: NetworkId): Iterable<AddressHold> } & Writes<AddressHold>
}

/** One object of one commit. At least one of before and after is there. */
export type Change = {
  [K in TableName]: { readonly table: K; readonly id: Tables[K]['id']; readonly before?: Tables[K]; readonly after?: Tables[K] }
}[TableName]

export interface Commit {
  readonly seq: number
  readonly at: Instant
  readonly changes: readonly Change[]
}

export interface Store {
  /** The durable state now. Do not keep it over an await. */
  view(): View
  /**
   * Queues a function that runs over the newest state when its turn comes; resolves with its result once the batch is durable. A function that throws is undone alone.
   * It must be synchronous. Rejects with 'unavailable' when the journal refuses (not the leader any more) or the store is closed.
   */
  transact<T>(fn: (tx: WriteTx) => T): Promise<T>
  /** Called after each durable commit, in order, synchronously, with the view already new. Listeners must not throw and must not block. Returns the unsubscriber. */
  watch(listener: (commit: Commit) => void): () => void
  close(): Promise<void>
}

/** Where a store's journal is moved to while it runs. */
export interface JournalTarget {
  /** Durable on return. A later write of the same key counts. */
  copy(writes: readonly JournalWrite[]): Promise<void>
  /** Everything up to `seq` has been copied and nothing is written meanwhile: from the returned journal on, the new one counts. */
  finish(seq: number): Promise<Pick<Journal, 'commit' | 'close'>>
}

/** A store that can also follow another manager's, and take over from it. */
export interface ReplicaStore extends Store {
  /** Whether `transact` is possible. */
  readonly leading: boolean
  /** A commit of the leader. One that is known already is left out. Only while following. */
  apply(seq: number, writes: readonly JournalWrite[]): void
  /** Everything as it is at `seq`; watchers are told the difference as one commit. Only while following. */
  reset(seq: number, entries: Iterable<{ readonly key: string; readonly value: Uint8Array }>): void
  /** From here on this store writes, into this journal. */
  lead(journal: Pick<Journal, 'commit' | 'close'>): void
  /** Callers that wait are refused with 'unavailable'; resolves when the batch under way has ended and the journal is closed. */
  follow(): Promise<void>
  /** Copies everything while writes go on, replays what came meanwhile, and swaps the journal; writes wait only for the last of it. On an error all is as before. */
  moveTo(target: JournalTarget): Promise<void>
}

export type AnyId = NodeId | ServiceId | TaskId | NetworkId | SecretId | ConfigId | string
