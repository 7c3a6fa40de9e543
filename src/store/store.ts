// The store: queued transactions over one draft, made durable in batches, then shown to readers and watchers.
import { assert, errorText, type Instant, type Logger, ShoalError } from '../lib/index.ts'
import { compactTask, decodeStored, encodeStored, SharedTexts, type Task } from '../model/index.ts'
import type { Clock } from '../ports/index.ts'
import type { Journal, JournalWrite } from './journal/index.ts'
import { Draft, type Table } from './table.ts'
import {
  type AnyCluster,
  holdTable,
  mix,
  namedTable,
  newTable,
  nodeTable,
  outOfSequence,
  readTable,
  revisionTable,
  type Source,
  TABLE_KEYS,
  TABLE_NAMES,
  taskTable,
  writes,
} from './tables.ts'
import type { Change, Commit, JournalTarget, ReplicaStore, TableName, Tables, View, WriteTx } from './types.ts'

/** A batch takes no more transactions after this many changes ... (etcd: larger ones bring little and cost memory, store.md 1.2) */
const BATCH_CHANGES = 200
/** ... or this many transactions, so that one waiting caller is never behind an endless batch. */
const BATCH_TRANSACTIONS = 500
/** Transactions that may wait; beyond it the caller is told to slow down. */
const MAX_WAITING = 100_000
/** Objects that go to another journal at once while writes go on. */
const MOVE_CHUNK = 500
/** So few changes are left out of the running move that writes may wait for them. */
const MOVE_REST = 500
/** A load that never gets there because writes are as fast: then they wait for what is left. */
const MOVE_ROUNDS = 20

export interface StoreOptions {
  readonly clock: Clock
  readonly journal: Journal
  readonly log: Logger
  /** Called when the journal refuses or is in doubt: nothing is written any more, unless `lead` is called anew. */
  readonly onLost?: (reason: 'deposed' | 'in-doubt' | 'failed') => void
  /** Begins as a replica: `transact` is refused until `lead`. The journal is then only loaded from; it stays the caller's. */
  readonly following?: boolean
}

type TableSet = { readonly [K in TableName]: Table<Tables[K]> }
type DraftSet = { readonly [K in TableName]: Draft<Tables[K]> }

interface Waiting {
  readonly run: (tx: WriteTx) => unknown
  readonly resolve: (value: unknown) => void
  readonly reject: (error: unknown) => void
}

interface Drafted {
  readonly table: TableName
  readonly id: string
  readonly after: object | undefined
}

/** Loads everything from the journal. */
export async function createStore(options: StoreOptions): Promise<ReplicaStore> {
  const tables = Object.fromEntries(TABLE_NAMES.map((name) => [name, newTable(name)])) as unknown as TableSet
  const { seq, entries } = await options.journal.load()
  const texts = new SharedTexts()
  let lastNow = 0
  for (const { key, value } of entries) {
    const table = tableOf(key)
    const object = decodeStored(table, value) as Tables[typeof table]
    ;(tables[table] as Table<typeof object>).put(
      object.id,
      table === 'task' ? compactTask(object as Task, object, undefined, texts) : object,
    )
    lastNow = Math.max(lastNow, object.updatedAt)
  }
  return new JournaledStore(options, tables, texts, seq, lastNow)
}

function tableOf(key: string): TableName {
  const table = key.slice(0, key.indexOf('/')) as TableName
  if (!(table in TABLE_KEYS))
    throw new ShoalError('failed-precondition', `the store holds "${table}", which this version does not know`, {
      next: 'start the newer shoald that wrote it',
    })
  return table
}

const NOT_LEADING = 'this manager does not lead'

class JournaledStore implements ReplicaStore {
  readonly #options: StoreOptions
  readonly #tables: TableSet
  readonly #drafts: DraftSet
  readonly #texts: SharedTexts
  readonly #view: View
  readonly #listeners = new Set<(commit: Commit) => void>()
  readonly #transaction: WriteTx
  /** How to undo what the running transaction has written. */
  #undo: (() => void)[] = []
  #waiting: Waiting[] = []
  #pumping: Promise<void> | undefined
  #journal: Pick<Journal, 'commit' | 'close'> | undefined
  /** Why nothing can be written. */
  #lost: string | undefined
  /** Batches wait for this. */
  #hold: Promise<void> | undefined
  #batching: Promise<void> | undefined
  /** What was committed since a move to another journal began. */
  #delta: JournalWrite[] | undefined
  #seq: number
  /** Sequence number of the transaction that runs, or of the last one. */
  #draftSeq: number
  #now: Instant

  constructor(options: StoreOptions, tables: TableSet, texts: SharedTexts, seq: number, lastNow: Instant) {
    this.#options = options
    this.#journal = options.following ? undefined : options.journal
    this.#lost = options.following ? NOT_LEADING : undefined
    this.#tables = tables
    this.#texts = texts
    this.#seq = seq
    this.#draftSeq = seq
    this.#now = lastNow
    this.#drafts = Object.fromEntries(
      TABLE_NAMES.map((name) => [name, new Draft(tables[name] as never, TABLE_KEYS[name])]),
    ) as unknown as DraftSet
    this.#view = viewOf(tables, () => this.#seq)
    this.#transaction = this.#makeTransaction()
  }

  view(): View {
    return this.#view
  }

  transact<T>(run: (tx: WriteTx) => T): Promise<T> {
    if (this.#lost) return Promise.reject(this.#lostError())
    if (this.#waiting.length >= MAX_WAITING)
      return Promise.reject(new ShoalError('resource-exhausted', 'too many changes are waiting', { next: 'try again in a moment' }))
    return new Promise<T>((resolve, reject) => {
      this.#waiting.push({ run, resolve: resolve as (value: unknown) => void, reject })
      this.#pumping ??= this.#pump()
    })
  }

  watch(listener: (commit: Commit) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  async close(): Promise<void> {
    this.#lose('the store is closed')
    await this.#pumping
    await this.#journal?.close()
    this.#journal = undefined
  }

  get leading(): boolean {
    return this.#lost === undefined
  }

  apply(seq: number, journalWrites: readonly JournalWrite[]): void {
    assert(!this.leading, 'a leader takes no changes from others')
    if (seq <= this.#seq) return
    const drafted = journalWrites.map(({ key, value }) => {
      const table = tableOf(key)
      return { table, id: key.slice(table.length + 1), after: value && decodeStored(table, value) }
    })
    this.#follow(seq, drafted)
  }

  reset(seq: number, entries: Iterable<{ readonly key: string; readonly value: Uint8Array }>): void {
    assert(!this.leading, 'a leader takes no changes from others')
    const drafted: Drafted[] = []
    const seen = new Set<string>()
    for (const { key, value } of entries) {
      const table = tableOf(key)
      const id = key.slice(table.length + 1)
      seen.add(key)
      const after = decodeStored(table, value) as Tables[typeof table]
      if (this.#tables[table].get(id)?.version !== after.version) drafted.push({ table, id, after })
    }
    for (const table of TABLE_NAMES)
      for (const id of [...this.#tables[table].ids()]) if (!seen.has(`${table}/${id}`)) drafted.push({ table, id, after: undefined })
    this.#follow(seq, drafted)
  }

  lead(journal: Pick<Journal, 'commit' | 'close'>): void {
    assert(!this.leading && !this.#pumping, 'it leads already')
    this.#journal = journal
    this.#draftSeq = this.#seq
    this.#lost = undefined
  }

  async follow(): Promise<void> {
    this.#lose(NOT_LEADING)
    await this.#pumping
    const journal = this.#journal
    this.#journal = undefined
    await journal?.close()
  }

  async moveTo(target: JournalTarget): Promise<void> {
    assert(!this.#delta, 'one move at a time')
    const tables = TABLE_NAMES.map((table) => [table, [...this.#tables[table].values()]] as const)
    this.#delta = []
    let release = () => {}
    try {
      for (const [table, objects] of tables) {
        for (let at = 0; at < objects.length; at += MOVE_CHUNK) {
          const chunk = objects.slice(at, at + MOVE_CHUNK)
          await target.copy(chunk.map((object) => ({ key: `${table}/${object.id}`, value: encodeStored(table, object) })))
        }
      }
      for (let round = 0; round < MOVE_ROUNDS && this.#delta.length > MOVE_REST; round += 1) await this.#copyDelta(target)
      this.#hold = new Promise((resolve) => {
        release = resolve
      })
      await this.#batching
      await this.#copyDelta(target)
      if (this.#lost) throw this.#lostError()
      const before = this.#journal
      this.#journal = await target.finish(this.#seq)
      await before?.close()
    } finally {
      this.#delta = undefined
      this.#hold = undefined
      release()
    }
  }

  async #copyDelta(target: JournalTarget): Promise<void> {
    const last = new Map<string, JournalWrite>()
    for (const write of this.#delta ?? []) last.set(write.key, write)
    this.#delta = []
    const writes = [...last.values()]
    for (let at = 0; at < writes.length; at += MOVE_CHUNK) await target.copy(writes.slice(at, at + MOVE_CHUNK))
  }

  #follow(seq: number, drafted: readonly Drafted[]): void {
    for (const { after } of drafted) this.#now = Math.max(this.#now, (after as { updatedAt?: Instant } | undefined)?.updatedAt ?? 0)
    this.#draftSeq = seq
    const commit: Commit = { seq, at: this.#now, changes: this.#show(drafted) }
    for (const listener of this.#listeners) this.#tell(listener, commit)
  }

  /** Runs batches until nobody waits. */
  async #pump(): Promise<void> {
    await Promise.resolve() // let the callers of this moment join the first batch
    while (this.#waiting.length > 0 && !this.#lost) {
      await this.#hold
      this.#batching = this.#batch()
      await this.#batching
      this.#batching = undefined
    }
    this.#pumping = undefined
  }

  async #batch(): Promise<void> {
    const done: { entry: Waiting; value: unknown }[] = []
    this.#now = Math.max(this.#now, this.#options.clock.now())
    let changes = 0
    let taken = 0
    while (taken < this.#waiting.length && changes < BATCH_CHANGES && taken < BATCH_TRANSACTIONS) {
      const entry = this.#waiting[taken++] as Waiting
      this.#draftSeq++
      let changed = false
      try {
        done.push({ entry, value: entry.run(this.#transaction) })
        changes += this.#undo.length
        changed = this.#undo.length > 0
      } catch (error) {
        for (const step of this.#undo.reverse()) step()
        entry.reject(error)
      }
      this.#undo = []
      if (!changed) this.#draftSeq--
    }
    this.#waiting.splice(0, taken)

    const { journalWrites, drafted } = this.#collect()
    if (drafted.length > 0) {
      const failure = await this.#persist(journalWrites)
      if (failure) {
        for (const { entry } of done) entry.reject(this.#lostError())
        return
      }
      const commit: Commit = { seq: this.#draftSeq, at: this.#now, changes: this.#show(drafted) }
      for (const { entry, value } of done) entry.resolve(value)
      for (const listener of this.#listeners) this.#tell(listener, commit)
    } else {
      for (const { entry, value } of done) entry.resolve(value)
    }
  }

  async #persist(journalWrites: readonly JournalWrite[]): Promise<boolean> {
    let result: 'durable' | 'deposed' | 'in-doubt' | 'failed'
    try {
      assert(this.#journal, 'a store that is not lost has a journal')
      result = await this.#journal.commit(this.#draftSeq, journalWrites)
    } catch (error) {
      this.#options.log.error('journal failed', { error: errorText(error) })
      result = 'failed'
    }
    if (result === 'durable') {
      this.#delta?.push(...journalWrites)
      return false
    }
    for (const name of TABLE_NAMES) this.#drafts[name].clear()
    this.#lose(result === 'deposed' ? 'this manager does not lead any more' : 'the journal did not confirm the change')
    this.#options.onLost?.(result)
    return true
  }

  #collect(): { journalWrites: JournalWrite[]; drafted: Drafted[] } {
    const journalWrites: JournalWrite[] = []
    const drafted: Drafted[] = []
    for (const table of TABLE_NAMES) {
      for (const [id, after] of this.#drafts[table].changes()) {
        if (!after && !this.#tables[table].get(id)) continue // made and removed within the batch
        drafted.push({ table, id, after })
        journalWrites.push({ key: `${table}/${id}`, value: after && encodeStored(table, after) })
      }
    }
    return { journalWrites, drafted }
  }

  /** Moves the durable draft into the tables. */
  #show(drafted: readonly Drafted[]): Change[] {
    const changes: Change[] = []
    for (const { table, id, after } of drafted) {
      const before = this.#tables[table].put(id, after as never)
      changes.push({ table, id, before, after } as unknown as Change)
    }
    for (const name of TABLE_NAMES) this.#drafts[name].clear()
    this.#seq = this.#draftSeq
    return changes
  }

  #tell(listener: (commit: Commit) => void, commit: Commit): void {
    try {
      listener(commit)
    } catch (error) {
      // a listener must not throw; the others and the store go on, and the log says who broke the promise
      this.#options.log.error('a watcher of the store failed', {
        error: error instanceof Error ? (error.stack ?? error.message) : String(error),
      })
    }
  }

  /** One transaction object serves all: only its sequence number, its instant and its undo list change. */
  #makeTransaction(): WriteTx {
    const stamp = () => ({ seq: this.#draftSeq, now: this.#now })
    const record = (step: () => void) => {
      this.#undo.push(step)
    }
    const seq = () => this.#draftSeq
    const now = () => this.#now
    const view = viewOf(this.#drafts, seq)
    const both = <K extends TableName, R extends object>(name: K, reads: R) =>
      mix(reads, writes(name, this.#drafts[name] as unknown as Draft<Tables[K]>, stamp, record, this.#texts))
    const clusters = writes('cluster', this.#drafts.cluster, stamp, record, this.#texts)
    return {
      get seq() {
        return seq()
      },
      get now() {
        return now()
      },
      get cluster() {
        return view.cluster
      },
      setCluster(cluster: AnyCluster, expectedVersion?: number) {
        if (!view.cluster) return clusters.create(cluster)
        if (expectedVersion !== undefined && view.cluster.version !== expectedVersion) throw outOfSequence()
        return clusters.update({ ...view.cluster, ...cluster })
      },
      nodes: both('node', view.nodes),
      services: both('service', view.services),
      specRevisions: both('specRevision', view.specRevisions),
      tasks: both('task', view.tasks),
      networks: both('network', view.networks),
      secrets: both('secret', view.secrets),
      configs: both('config', view.configs),
      rollouts: both('rollout', view.rollouts),
      addressHolds: both('addressHold', view.addressHolds),
    }
  }

  #lose(reason: string): void {
    this.#lost ??= reason
    const waiting = this.#waiting
    this.#waiting = []
    for (const { reject } of waiting) reject(this.#lostError())
  }

  #lostError(): ShoalError {
    return new ShoalError('unavailable', this.#lost ?? 'the store is closed', { next: 'ask again; another manager may lead now' })
  }
}

function viewOf(sources: { readonly [K in TableName]: Source<Tables[K]> }, seq: () => number): View {
  return {
    get seq() {
      return seq()
    },
    get cluster() {
      for (const cluster of sources.cluster.values()) return cluster
      return undefined
    },
    nodes: nodeTable(sources.node),
    services: namedTable(sources.service),
    specRevisions: revisionTable(sources.specRevision),
    tasks: taskTable(sources.task),
    networks: namedTable(sources.network),
    secrets: namedTable(sources.secret),
    configs: namedTable(sources.config),
    rollouts: readTable(sources.rollout),
    addressHolds: holdTable(sources.addressHold),
  }
}
