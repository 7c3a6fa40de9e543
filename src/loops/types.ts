// The shapes of control loops: what the runner drives and what a loop is given.
import type { Instant, NodeId, ServiceId, TaskId } from '../lib/index.ts'
import type { Change, Commit, View, WriteTx } from '../store/index.ts'

/** `again`: the limit was spent, come again. `wakeAt`: nothing to do before that instant (unless something changes). */
export type Outcome = 'done' | 'again' | { readonly wakeAt: Instant }

export interface IdSource {
  task(): TaskId
}

/** How much a loop may write in one transaction: it keeps commits small and other loops and callers served. */
export class WorkLimit {
  #left: number

  constructor(writes: number) {
    this.#left = writes
  }

  get left(): number {
    return this.#left
  }

  get spent(): boolean {
    return this.#left <= 0
  }

  spend(writes = 1): void {
    this.#left -= writes
  }
}

export interface Context {
  readonly tx: WriteTx
  readonly now: Instant
  readonly ids: IdSource
  readonly limit: WorkLimit
}

/**
 * A level-triggered control loop: it looks at one key's objects and writes the difference between what is and what should be. Work per key is bounded by that
 * key's own objects.
 */
export interface Loop<Key extends string = string> {
  readonly kind: 'loop'
  readonly name: string
  /** Every key that may need a look, for a new leader. */
  keys(view: View): Iterable<Key>
  /** Where to look after a change, never what to do; deletions included. `view` already shows the change. */
  dirty(change: Change, view: View): Iterable<Key>
  reconcile(ctx: Context, key: Key): Outcome
}

/** A loop for work that shares a table over all keys (addresses, node loads). What it keeps in memory can be built anew from a view at any time. */
export interface BatchLoop {
  readonly kind: 'batch'
  readonly name: string
  /** Builds the memory anew; also called after a transaction of the loop failed. */
  reset(view: View): void
  /** Brings the memory up to date with a durable commit. Idempotent for changes that `run` has anticipated. */
  observe(commit: Commit, view: View): void
  keys(view: View): Iterable<string>
  dirty(change: Change, view: View): Iterable<string>
  /** Works on keys and deletes those that are finished from the set; what stays comes again. */
  run(ctx: Context, keys: Set<string>): Outcome
}

export type AnyLoop = Loop | BatchLoop

/** A failure while working on one key of a batch, so that the runner can set that key aside and go on with the others. */
export class KeyFailure extends Error {
  readonly key: string

  constructor(key: string, cause: unknown) {
    super(`work on ${key} failed`, { cause })
    this.key = key
  }
}

export type { Change, Commit, NodeId, ServiceId, View, WriteTx }
