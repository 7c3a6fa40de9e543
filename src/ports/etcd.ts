// The Etcd port: the few calls of etcd that the store and the membership need. The real client is in `etcd/`; the simulator has a model of it.

/** Ids of members and clusters are 64 bit: decimal text, so that they go through JSON unharmed. */
export type EtcdId = string

export interface EtcdKeyValue {
  readonly key: string
  readonly value: Uint8Array
  readonly modRevision: number
}

/** True when the key was last changed at this revision; 0 = it is not there. */
export interface EtcdCompare {
  readonly key: string
  readonly modRevision: number
}

export type EtcdOp =
  | { readonly kind: 'put'; readonly key: string; readonly value: Uint8Array }
  | { readonly kind: 'delete'; readonly key: string }
  | { readonly kind: 'get'; readonly key: string }
  /** Everything whose key begins with this. */
  | { readonly kind: 'delete-prefix'; readonly prefix: string }

export interface EtcdTxn {
  readonly compare: readonly EtcdCompare[]
  readonly success: readonly EtcdOp[]
  readonly failure: readonly EtcdOp[]
}

export interface EtcdTxnResult {
  readonly succeeded: boolean
  /** Of the store after the transaction. */
  readonly revision: number
  /** What the `get`s found, in their order. */
  readonly got: readonly (EtcdKeyValue | undefined)[]
}

/** All changes of one revision. `value` undefined = deleted. */
export interface EtcdEvents {
  readonly revision: number
  readonly events: readonly { readonly key: string; readonly value: Uint8Array | undefined }[]
}

export interface EtcdStatus {
  readonly clusterId: EtcdId
  readonly memberId: EtcdId
  /** '0' = there is none, as far as this member knows. */
  readonly leaderId: EtcdId
  readonly isLearner: boolean
  readonly revision: number
  readonly version: string
  readonly dbBytes: number
  readonly dbBytesInUse: number
  readonly errors: readonly string[]
}

export interface EtcdMember {
  readonly id: EtcdId
  /** '' until it has started for the first time. */
  readonly name: string
  readonly peerUrl: string
  readonly isLearner: boolean
}

export interface EtcdCallOptions {
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
}

/**
 * Errors are ShoalErrors. After 'unavailable', 'deadline-exceeded' or 'canceled' a change may or may not have been made, or be made yet;
 * after any other it was not.
 */
export interface Etcd {
  txn(txn: EtcdTxn, options?: EtcdCallOptions): Promise<EtcdTxnResult>
  /** All keys with this prefix, as of one revision. Linearizable. */
  range(
    prefix: string,
    options?: EtcdCallOptions & { readonly revision?: number },
  ): Promise<{ readonly revision: number; readonly items: readonly EtcdKeyValue[] }>
  /** Changes under a prefix from a revision on, revision by revision, none left out. 'out-of-range' when they have been compacted away. */
  watch(prefix: string, fromRevision: number, signal: AbortSignal): AsyncIterable<EtcdEvents>
  compact(revision: number): Promise<void>
  /** Of the member that this client speaks to. */
  status(options?: EtcdCallOptions): Promise<EtcdStatus>
  members(options?: EtcdCallOptions): Promise<readonly EtcdMember[]>
  addLearner(peerUrl: string): Promise<EtcdMember>
  promote(id: EtcdId): Promise<void>
  remove(id: EtcdId): Promise<void>
  /** Only on the leader's own member. */
  moveLeader(id: EtcdId): Promise<void>
  /** A consistent copy of the whole database, as `etcdctl snapshot restore` takes it. */
  snapshot(signal: AbortSignal): AsyncIterable<Uint8Array>
  close(): void
}
