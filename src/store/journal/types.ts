// The journal port: where commits become durable. Memory, lmdb, etcd and the simulator's disk implement it.

/** `value` undefined = the key is deleted. Keys are `<table>/<id>`. */
export interface JournalWrite {
  readonly key: string
  readonly value: Uint8Array | undefined
}

/**
 * durable: it is on disk (or at a quorum). deposed: refused for good, nothing was written (somebody else leads).
 * in-doubt: it may or may not have been written; the caller must stop and load anew.
 */
export type CommitResult = 'durable' | 'deposed' | 'in-doubt'

export interface JournalState {
  /** Sequence number of the last durable commit, 0 for an empty journal. */
  readonly seq: number
  readonly entries: Iterable<{ readonly key: string; readonly value: Uint8Array }>
}

export interface Journal {
  load(): Promise<JournalState>
  /** One commit at a time: the caller waits for the result before the next. All writes of a commit become durable together or not at all. */
  commit(seq: number, writes: readonly JournalWrite[]): Promise<CommitResult>
  close(): Promise<void>
}
