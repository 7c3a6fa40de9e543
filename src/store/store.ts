// The store: queued transactions over one draft, made durable in batches, then shown to readers and watchers.
import { errorText, type Instant, type Logger, ShoalError } from '../lib/index.ts'
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
import type { Change, Commit, Store, TableName, Tables, View, WriteTx } from './types.ts'

/** A batch takes no more transactions after this many changes ... (etcd: larger ones bring little and cost memory, store.md 1.2) */
const BATCH_CHANGES = 200
/** ... or this many transactions, so that one waiting caller is never behind an endless batch. */
const BATCH_TRANSACTIONS = 500
/** Transactions that may wait; beyond it the caller is told to slow down. */
const MAX_WAITING = 100_000

export interface StoreOptions {
  readonly clock: Clock
  readonly journal: Journal
  readonly log: Logger
  /** Called once when the journal refuses or is in doubt: this store is of no use any more. */
  readonly onLost?: (reason: 'deposed' | 'in-doubt' | 'failed') => void
}

type TableSet = { readonly [K in TableName]: Table<Tables[K]> }
type DraftSet = { readonly [K in TableName]: Draft<Tables[K]> }

interface Waiting {
  readonly run: (tx: WriteTx) => unknown
  readonly resolve: (value: unknown) => void
  readonly reject: (error: unknown) => void
}

/** Loads everything from the journal. */
export async function createStore(options: StoreOptions): Promise<Store> {
  const tables = Object.fromEntries(TABLE_NAMES.map((name) => [name, newTable(name)])) as unknown as TableSet
  const { seq, entries } = await options.journal.load()
  const texts = new SharedTexts()
  let lastNow = 0
  for (const { key, value } of entries) {
    const table = key.slice(0, key.indexOf('/')) as TableName
    if (!(table in tables))
      throw new ShoalError('failed-precondition', `the store holds "${table}", which this version does not know`, {
        next: 'start the newer shoald that wrote it',
      })
    const object = decodeStored(table, value) as Tables[typeof table]
    ;(tables[table] as Table<typeof object>).put(
      object.id,
      table === 'task' ? compactTask(object as Task, object, undefined, texts) : object,
    )
    lastNow = Math.max(lastNow, object.updatedAt)
  }
  return new JournaledStore(options, tables, texts, seq, lastNow)
}

class JournaledStore implements Store {
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
  #lost: string | undefined
  #seq: number
  /** Sequence number of the transaction that runs, or of the last one. */
  #draftSeq: number
  #now: Instant

  constructor(options: StoreOptions, tables: TableSet, texts: SharedTexts, seq: number, lastNow: Instant) {
    this.#options = options
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
    await this.#options.journal.close()
  }

  /** Runs batches until nobody waits. */
  async #pump(): Promise<void> {
    await Promise.resolve() // let the callers of this moment join the first batch
    while (this.#waiting.length > 0 && !this.#lost) await this.#batch()
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
      result = await this.#options.journal.commit(this.#draftSeq, journalWrites)
    } catch (error) {
      this.#options.log.error('journal failed', { error: errorText(error) })
      result = 'failed'
    }
    if (result === 'durable') return false
    for (const name of TABLE_NAMES) this.#drafts[name].clear()
    this.#lose(result === 'deposed' ? 'this manager does not lead any more' : 'the journal did not confirm the change')
    this.#options.onLost?.(result)
    return true
  }

  #collect(): { journalWrites: JournalWrite[]; drafted: { table: TableName; id: string; after: object | undefined }[] } {
    const journalWrites: JournalWrite[] = []
    const drafted: { table: TableName; id: string; after: object | undefined }[] = []
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
  #show(drafted: readonly { table: TableName; id: string; after: object | undefined }[]): Change[] {
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
