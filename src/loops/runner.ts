// Drives the loops: collects where to look, goes round fairly, batches into transactions, keeps the timers.
import { errorText, type Instant, isShoalError, type Logger, newId, type TaskId } from '../lib/index.ts'
import type { Clock, Random, Timer } from '../ports/index.ts'
import type { Commit, Store } from '../store/index.ts'
import { allLoops } from './all.ts'
import { type AnyLoop, type Context, KeyFailure, type Outcome, WorkLimit, type WriteTx } from './types.ts'

/** Writes of one loop in one transaction (about a batch of the store), and keys that it looks at. */
const WRITES_PER_TURN = 200
const KEYS_PER_TURN = 1_000
/** A key whose work fails is tried again after this, doubled each time up to the maximum. */
const BACKOFF_MIN_MS = 100
const BACKOFF_MAX_MS = 60_000
/** Work without writes never waits for a disk, so others get their turn at least this often. */
const STRETCH_MS = 20
/** The store refuses (it is lost, or busy): how long to wait before the next attempt. */
const STORE_RETRY_MS = 1_000

export interface RunnerOptions {
  readonly store: Store
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  /** Without it all loops. In this order they take their turns. */
  readonly loops?: readonly AnyLoop[]
}

export interface Runner {
  /** Looks at everything once, then follows the store. */
  start(): void
  /** Resolves when no transaction of the runner is under way any more. */
  stop(): Promise<void>
  /** Something that a loop waits for, outside of the store, has happened: it looks at these keys again. */
  wake(loop: string, keys: Iterable<string>): void
  /** Nothing to do now (timers may still be set). For tests. */
  readonly idle: boolean
}

export function createRunner(options: RunnerOptions): Runner {
  return new LoopRunner(options)
}

/** Keys to look at. It says which were taken out, so that a turn costs what it does and not what is left to do. */
class DirtyKeys extends Set<string> {
  /** Where they are noted; only during a turn. */
  taken: string[] | undefined

  override delete(key: string): boolean {
    const had = super.delete(key)
    if (had) this.taken?.push(key)
    return had
  }
}

/** What one loop has to do. */
class Worklist {
  readonly loop: AnyLoop
  readonly dirty = new DirtyKeys()
  readonly later = new Map<string, Instant>()
  readonly failures = new Map<string, number>()

  constructor(loop: AnyLoop) {
    this.loop = loop
  }

  /** A key that has just failed is not to be tried before its time, whatever changes. */
  add(key: string): void {
    if (this.failures.size > 0 && this.failures.has(key) && this.later.has(key)) return
    this.dirty.add(key)
  }
}

class LoopRunner implements Runner {
  readonly #options: RunnerOptions
  readonly #lists: readonly Worklist[]
  #unwatch: (() => void) | undefined
  #pumping: Promise<void> | undefined
  #stopped = true
  #timer: { readonly at: Instant; readonly timer: Timer } | undefined
  #retryAt: Instant = 0

  constructor(options: RunnerOptions) {
    this.#options = options
    this.#lists = (options.loops ?? allLoops()).map((loop) => new Worklist(loop))
  }

  get idle(): boolean {
    return this.#pumping === undefined && this.#lists.every((list) => list.dirty.size === 0)
  }

  start(): void {
    if (!this.#stopped) return
    this.#stopped = false
    const view = this.#options.store.view()
    for (const list of this.#lists) {
      if (list.loop.kind === 'batch') list.loop.reset(view)
      for (const key of list.loop.keys(view)) list.add(key)
    }
    this.#unwatch = this.#options.store.watch((commit) => this.#follow(commit))
    this.#kick()
  }

  wake(loop: string, keys: Iterable<string>): void {
    for (const list of this.#lists) if (list.loop.name === loop) for (const key of keys) list.add(key)
    this.#kick()
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#unwatch?.()
    this.#timer?.timer.cancel()
    this.#timer = undefined
    await this.#pumping
  }

  #follow(commit: Commit): void {
    const view = this.#options.store.view()
    for (const list of this.#lists) {
      const { loop } = list
      if (loop.kind === 'batch') loop.observe(commit, view)
      for (const change of commit.changes) for (const key of loop.dirty(change, view)) list.add(key)
    }
    this.#kick()
  }

  #kick(): void {
    if (this.#stopped || this.#pumping || !this.#lists.some((list) => list.dirty.size > 0)) return
    const now = this.#options.clock.now()
    if (this.#retryAt > now) {
      this.#wakeAt(this.#retryAt)
      return
    }
    this.#pumping = this.#pump().finally(() => {
      this.#pumping = undefined
      this.#kick()
    })
  }

  /** One transaction after the other until nothing is left to do now. Never rejects. */
  async #pump(): Promise<void> {
    let since = this.#options.clock.monotonicMs()
    while (!this.#stopped && this.#lists.some((list) => list.dirty.size > 0)) {
      if (this.#options.clock.monotonicMs() - since > STRETCH_MS) {
        await this.#options.clock.sleep(0)
        since = this.#options.clock.monotonicMs()
      }
      const taken: Taken[] = []
      try {
        await this.#options.store.transact((tx) => this.#round(tx, taken))
      } catch (error) {
        this.#giveBack(taken, error)
        if (!(error instanceof TurnFailure)) return
        continue
      }
      for (const { list, finished } of taken) for (const key of finished) list.failures.delete(key)
    }
  }

  /** Every loop takes one turn. */
  #round(tx: WriteTx, taken: Taken[]): void {
    const ids = { task: () => newId<TaskId>(this.#options.random) }
    for (const list of this.#lists) {
      if (list.dirty.size === 0) continue
      const ctx: Context = { tx, now: tx.now, ids, limit: new WorkLimit(WRITES_PER_TURN) }
      const turn: Taken = { list, keys: [], finished: [], delayed: [] }
      taken.push(turn)
      if (list.loop.kind === 'batch') this.#batchTurn(ctx, turn)
      else this.#turn(ctx, turn)
    }
  }

  #turn(ctx: Context, turn: Taken): void {
    const { list } = turn
    const { loop } = list
    if (loop.kind !== 'loop') return
    const again: string[] = []
    for (const key of list.dirty) {
      if (ctx.limit.spent || turn.keys.length >= KEYS_PER_TURN) break
      list.dirty.delete(key)
      turn.keys.push(key)
      let outcome: Outcome
      try {
        outcome = loop.reconcile(ctx, key)
      } catch (error) {
        throw new TurnFailure(list, key, error)
      }
      if (outcome === 'again') again.push(key)
      else if (outcome === 'done') turn.finished.push(key)
      else turn.delayed.push([key, outcome.wakeAt])
    }
    for (const key of again) list.dirty.add(key) // behind the others
    this.#keepTimes(turn)
  }

  #batchTurn(ctx: Context, turn: Taken): void {
    const { list } = turn
    if (list.loop.kind !== 'batch') return
    let outcome: Outcome
    list.dirty.taken = turn.keys
    try {
      outcome = list.loop.run(ctx, list.dirty)
    } catch (error) {
      throw new TurnFailure(list, error instanceof KeyFailure ? error.key : undefined, error instanceof KeyFailure ? error.cause : error)
    } finally {
      list.dirty.taken = undefined
    }
    if (typeof outcome === 'object') {
      for (const key of list.dirty) {
        turn.keys.push(key)
        turn.delayed.push([key, outcome.wakeAt])
      }
      list.dirty.clear()
    }
    for (const key of turn.keys) if (!list.dirty.has(key)) turn.finished.push(key)
    this.#keepTimes(turn)
  }

  /** A key that has been looked at waits for what was said last, and for nothing else. */
  #keepTimes({ list, finished, delayed }: Taken): void {
    for (const key of finished) list.later.delete(key)
    for (const [key, at] of delayed) this.#delay(list, key, at)
  }

  #delay(list: Worklist, key: string, at: Instant): void {
    list.later.set(key, at)
    this.#wakeAt(at)
  }

  /** The transaction was undone: everything it had worked on is to be done again, except the key that made it fail, which waits. */
  #giveBack(taken: readonly Taken[], error: unknown): void {
    const now = this.#options.clock.now()
    for (const { list, keys } of taken) for (const key of keys) list.dirty.add(key)
    const view = this.#options.store.view()
    for (const { loop } of this.#lists) if (loop.kind === 'batch') loop.reset(view)
    if (!(error instanceof TurnFailure)) {
      if (!isShoalError(error, 'unavailable')) this.#options.log.error('the loops could not write', { error: errorText(error) })
      this.#retryAt = now + STORE_RETRY_MS
      this.#wakeAt(this.#retryAt)
      return
    }
    const { list, key } = error
    const name = list.loop.name
    this.#options.log.error('a loop failed on a key; it is tried again', { loop: name, key, error: stackOf(error.cause) })
    if (key === undefined) {
      this.#retryAt = now + STORE_RETRY_MS
      return
    }
    const failures = (list.failures.get(key) ?? 0) + 1
    list.failures.set(key, failures)
    list.dirty.delete(key)
    this.#delay(list, key, now + Math.min(BACKOFF_MIN_MS * 2 ** (failures - 1), BACKOFF_MAX_MS))
  }

  #setTimer(): void {
    let next = Number.POSITIVE_INFINITY
    for (const { later } of this.#lists) for (const at of later.values()) if (at < next) next = at
    if (next < Number.POSITIVE_INFINITY) this.#wakeAt(next)
  }

  #wakeAt(at: Instant): void {
    if (this.#stopped || (this.#timer && this.#timer.at <= at)) return
    this.#timer?.timer.cancel()
    const timer = this.#options.clock.setTimer(Math.max(0, at - this.#options.clock.now()), () => this.#wake())
    this.#timer = { at, timer }
  }

  #wake(): void {
    this.#timer = undefined
    const now = this.#options.clock.now()
    for (const list of this.#lists) {
      for (const [key, at] of list.later) {
        if (at > now) continue
        list.later.delete(key)
        list.dirty.add(key)
      }
    }
    this.#setTimer()
    this.#kick()
  }
}

/** What a loop has worked on in one transaction. */
interface Taken {
  readonly list: Worklist
  readonly keys: string[]
  readonly finished: string[]
  readonly delayed: [string, Instant][]
}

class TurnFailure extends Error {
  readonly list: Worklist
  readonly key: string | undefined

  constructor(list: Worklist, key: string | undefined, cause: unknown) {
    super(`loop ${list.loop.name} failed`, { cause })
    this.list = list
    this.key = key
  }
}

function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}
