// Who leads: the manager whose own etcd member leads the group. Follows the leader's commits, takes over, steps down.

import type { EtcdHost } from '../etcd/index.ts'
import { errorText, isShoalError, type Logger, MINUTE_MS, SECOND_MS } from '../lib/index.ts'
import type { Clock, Etcd, Random } from '../ports/index.ts'
import {
  createEtcdJournal,
  createSealer,
  type EtcdJournal,
  finishLoad,
  followEtcd,
  holdsTerm,
  type Journal,
  type LeaderRecord,
  loadEtcd,
  loadInto,
  openEntries,
  openWrites,
  type ReplicaCache,
  type ReplicaStore,
  type Sealer,
  sealWrites,
  TABLE_NAMES,
  type Term,
  takeOver,
} from '../store/index.ts'
import { notLeader } from '../wire/index.ts'

/** How often the own member is asked who leads the group. */
const POLL_MS = 100
/** While the group has no leader: whoever becomes it shall not lose time over the poll. */
const ELECTION_POLL_MS = 25
/** A leader whose member does not answer so often gives up: it could commit nothing anyway. */
const SILENT_POLLS = 8
const FOLLOW_RETRY_MS = 200
/** A replica that is not as far as its own takeover after this lets another try. */
const CATCH_UP_MS = 20 * SECOND_MS
const CATCH_UP_POLL_MS = 10
/** No other member can be elected within one election timeout (1 s) after a quorum has answered its leader. */
const PROOF_MS = 400
const COMPACT_EVERY_MS = 5 * MINUTE_MS
/** Revisions that replicas may lag behind before they have to read everything anew. */
const KEPT_REVISIONS = 10_000

/** What a manager needs to be one of several. */
export interface GroupDeps {
  readonly host: EtcdHost
  /** The replica that the store was loaded from; undefined while this manager is alone and its store has a journal of its own. */
  readonly cache: ReplicaCache | undefined
  /** Seals what leaves this process; all managers of a group have the same data key. */
  readonly dataKey: () => Promise<Uint8Array>
  openCache(): Promise<ReplicaCache>
  /** From now on the store lives in the group. Durable on return. */
  enter(): Promise<void>
}

export interface LeadershipDeps {
  readonly store: ReplicaStore
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly group: GroupDeps
  readonly self: () => { readonly nodeId: string; readonly address: string }
  /** The store can be written: start what only the leader does. */
  readonly onLead: () => void
  /** The store cannot be written any more. */
  readonly onFollow: () => Promise<void>
}

type Mode = 'alone' | 'following' | 'leading'

export class Leadership {
  readonly #deps: LeadershipDeps
  readonly #stopping = new AbortController()
  #mode: Mode
  #cache: ReplicaCache | undefined
  #driving: Promise<void> | undefined
  #leader: LeaderRecord | undefined
  #term: Term | undefined
  #journal: EtcdJournal | undefined
  /** Of the last commit that the replica has taken. 0 = it has to read everything. */
  #revision = 0
  #group = ''
  #following: { readonly stop: AbortController; readonly done: Promise<void> } | undefined
  #sealer: Sealer | undefined
  #storeLost = false
  #founding: Promise<void> | undefined
  #proof: Promise<boolean> | undefined
  #provenAtMs = Number.NEGATIVE_INFINITY
  #compactedAtMs: number
  readonly #waiters = new Set<() => void>()

  constructor(deps: LeadershipDeps) {
    this.#deps = deps
    this.#cache = deps.group.cache
    this.#mode = deps.group.cache ? 'following' : 'alone'
    this.#compactedAtMs = deps.clock.monotonicMs()
  }

  /** A manager that is alone leads at once. */
  async start(): Promise<void> {
    if (this.#mode === 'alone') {
      this.#deps.onLead()
      return
    }
    const known = await this.#cache?.load()
    this.#revision = known?.revision ?? 0
    this.#group = known?.group ?? ''
    this.#drive()
  }

  get leading(): boolean {
    return this.#mode !== 'following'
  }

  /** Whether the store is kept by a group. */
  get inGroup(): boolean {
    return this.#mode !== 'alone'
  }

  /** Undefined while nobody leads, as far as this manager knows, and while it is alone. */
  get leader(): LeaderRecord | undefined {
    return this.#leader
  }

  get etcd(): Etcd | undefined {
    return this.#deps.group.host.etcd
  }

  /** Resolves when this manager leads for sure: now or a moment ago a quorum has said so. Throws `notLeader` otherwise. */
  async confirm(): Promise<void> {
    if (this.#mode === 'alone') return
    const { clock } = this.#deps
    const [etcd, term] = [this.etcd, this.#term]
    if (this.#mode !== 'leading' || !etcd || !term) throw notLeader(this.#leader?.address)
    if (clock.monotonicMs() - this.#provenAtMs < PROOF_MS) return
    const askedAtMs = clock.monotonicMs()
    this.#proof ??= holdsTerm(etcd, term)
      .then((holds) => {
        if (holds) this.#provenAtMs = askedAtMs
        return holds
      })
      .finally(() => {
        this.#proof = undefined
      })
    if (!(await this.#proof)) throw notLeader(undefined)
  }

  /** Resolves when the replica (or the leader's own store) has come to `seq`, or after `patienceMs`. */
  async reached(seq: number, patienceMs: number): Promise<boolean> {
    const { store, clock } = this.#deps
    if (store.view().seq >= seq) return true
    const patience = new AbortController()
    try {
      return await new Promise<boolean>((resolve) => {
        const unwatch = store.watch(() => {
          if (store.view().seq < seq) return
          unwatch()
          resolve(true)
        })
        clock.sleep(patienceMs, patience.signal).then(
          () => {
            unwatch()
            resolve(false)
          },
          () => unwatch(),
        )
      })
    } finally {
      patience.abort()
    }
  }

  /** The journal gave up a commit. */
  storeLost(): void {
    this.#storeLost = true
    this.#wake()
  }

  /** From alone to a group of one: everything is copied into the member that `create` starts, while writes go on. No matter when it is a group already. */
  async found(create: () => Promise<Etcd>): Promise<void> {
    if (this.#mode !== 'alone') return
    this.#founding ??= this.#found(create).finally(() => {
      this.#founding = undefined
    })
    await this.#founding
  }

  async #found(create: () => Promise<Etcd>): Promise<void> {
    const { store, clock, log, group } = this.#deps
    const startedAtMs = clock.monotonicMs()
    const early: Parameters<ReplicaCache['apply']>[0][] = []
    let heldAtMs = startedAtMs
    try {
      const sealer = await this.#openSealer()
      const etcd = await create()
      this.#group = (await etcd.status()).clusterId
      await store.moveTo({
        copy: (writes) => loadInto(etcd, sealWrites(writes, sealer)),
        finish: async (seq) => {
          heldAtMs = clock.monotonicMs()
          const term = await finishLoad(etcd, this.#deps.self(), seq)
          await group.enter()
          const journal = createEtcdJournal({
            etcd,
            clock,
            term,
            onDurable: (commit) => {
              if (this.#cache) this.#keep(commit)
              else early.push(commit)
            },
          })
          this.#term = term
          this.#leader = term.leader
          this.#journal = journal
          this.#mode = 'leading'
          return sealed(journal, sealer)
        },
      })
    } catch (error) {
      if (this.#mode === 'alone') await group.host.destroy()
      throw error
    }
    log.info('the store has moved into a group', {
      ms: Math.round(clock.monotonicMs() - startedAtMs),
      writesWaitedMs: Math.round(clock.monotonicMs() - heldAtMs),
    })
    this.#drive()
    await this.#beginCache(early)
  }

  /** The file of the journal, which is closed now, holds exactly what the group began with. */
  async #beginCache(early: readonly Parameters<ReplicaCache['apply']>[0][]): Promise<void> {
    const { group, log } = this.#deps
    const term = this.#term
    if (!term) return
    try {
      const cache = await group.openCache()
      await cache.adopt(this.#group, term.revision, term.seq)
      for (const commit of early) await cache.apply(commit)
      this.#cache = cache
    } catch (error) {
      log.warn('there is no replica on disk: the next start reads everything', { error: errorText(error) })
    }
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    this.#wake()
    await this.#founding?.catch(() => {}) // its caller hears of it
    await this.#driving
    await this.#stopFollowing()
    if (this.#mode !== 'following') await this.#deps.onFollow()
    this.#journal?.abandon()
    await this.#deps.store.close()
    await this.#cache?.close()
  }

  #drive(): void {
    this.#driving = this.#run().catch((error) => this.#deps.log.error('leadership ends', { error: errorText(error) }))
  }

  async #run(): Promise<void> {
    const { log } = this.#deps
    const { signal } = this.#stopping
    let silent = 0
    let electing = false
    while (!signal.aborted) {
      if (this.#mode === 'following' && !this.#following) this.#startFollowing()
      try {
        const status = await this.etcd?.status({ timeoutMs: SECOND_MS })
        silent = status ? 0 : silent + 1
        electing = status?.leaderId === '0'
        const raftLeader = status !== undefined && status.memberId === status.leaderId && !status.isLearner
        if (status && status.leaderId === '0') this.#leader = undefined
        if (this.#mode === 'leading' && this.#storeLost) await this.#stepDown('a commit was not confirmed')
        else if (this.#mode === 'leading' && status && !raftLeader) await this.#stepDown('another member leads the group')
        else if (this.#mode === 'following' && raftLeader) await this.#takeOver()
        if (this.#mode === 'leading') await this.#compact()
      } catch (error) {
        silent += 1
        if (silent === 1) log.debug('the member of this manager does not answer', { error: errorText(error) })
      }
      if (this.#mode === 'leading' && (silent >= SILENT_POLLS || this.#storeLost))
        await this.#stepDown('the member of this manager does not answer')
      await this.#pause(electing ? ELECTION_POLL_MS : POLL_MS)
    }
  }

  async #takeOver(): Promise<void> {
    const { store, log, clock, self } = this.#deps
    const etcd = this.etcd
    if (!etcd) return
    const term = await takeOver(etcd, self())
    if (!term) return
    const until = clock.monotonicMs() + CATCH_UP_MS
    while (this.#revision < term.revision) {
      if (clock.monotonicMs() > until || this.#stopping.signal.aborted) {
        log.warn('this manager is too far behind to lead', { revision: this.#revision, takeover: term.revision })
        return
      }
      await clock.sleep(CATCH_UP_POLL_MS)
    }
    await this.#stopFollowing()
    if (this.#revision > term.revision) return // somebody else took over meanwhile
    if (store.view().seq !== term.seq) {
      log.error('the replica does not fit the group, it is read anew', { seq: store.view().seq, group: term.seq })
      this.#revision = 0
      return
    }
    const sealer = await this.#openSealer()
    this.#journal = createEtcdJournal({ etcd, clock, term, onDurable: (commit) => this.#keep(commit) })
    this.#term = term
    this.#leader = term.leader
    this.#storeLost = false
    this.#provenAtMs = Number.NEGATIVE_INFINITY
    store.lead(sealed(this.#journal, sealer))
    this.#mode = 'leading'
    log.info('this manager leads', { epoch: term.leader.epoch, seq: term.seq })
    this.#deps.onLead()
  }

  async #stepDown(reason: string): Promise<void> {
    const { store, log } = this.#deps
    log.warn('this manager leads no more', { reason })
    this.#mode = 'following'
    this.#leader = undefined
    this.#term = undefined
    this.#journal?.abandon() // the commit under way is in doubt: the group will tell
    await store.follow()
    this.#revision = this.#journal?.revision ?? 0
    this.#journal = undefined
    this.#storeLost = false
    await this.#deps.onFollow()
  }

  #startFollowing(): void {
    const stop = new AbortController()
    const signal = AbortSignal.any([stop.signal, this.#stopping.signal])
    this.#following = { stop, done: this.#follow(signal) }
  }

  async #stopFollowing(): Promise<void> {
    const following = this.#following
    this.#following = undefined
    following?.stop.abort()
    await following?.done
  }

  async #follow(signal: AbortSignal): Promise<void> {
    const { clock, log, store } = this.#deps
    let said = ''
    while (!signal.aborted) {
      const etcd = this.etcd
      try {
        if (etcd) {
          await this.#prepare(etcd, signal)
          for await (const event of followEtcd(etcd, this.#revision + 1, signal)) {
            if (signal.aborted) return
            if (event.leader) this.#leader = event.leader
            if (event.seq !== undefined) store.apply(event.seq, openWrites(event.writes, await this.#openSealer()))
            this.#revision = event.revision
            await this.#cache?.apply({ revision: event.revision, seq: store.view().seq, writes: event.writes })
            said = ''
          }
        }
      } catch (error) {
        if (isShoalError(error, 'out-of-range')) this.#revision = 0
        const text = errorText(error)
        if (text !== said) log.info('the group cannot be followed now', { reason: text })
        said = text
      }
      if (!signal.aborted) await clock.sleep(FOLLOW_RETRY_MS, signal).catch(() => {}) // stopped
    }
  }

  /** Reads everything when the replica is of another group, empty, or too old. */
  async #prepare(etcd: Etcd, signal: AbortSignal): Promise<void> {
    const { store, log, clock } = this.#deps
    const { clusterId } = await etcd.status()
    const now = await loadEtcd(etcd, [])
    this.#leader = now.leader
    if (clusterId === this.#group && this.#revision > 0 && this.#revision <= now.revision) return
    const startedAtMs = clock.monotonicMs()
    const state = await loadEtcd(etcd, TABLE_NAMES)
    if (signal.aborted) return
    store.reset(state.seq, openEntries(state.entries, await this.#openSealer()))
    await this.#cache?.replace(clusterId, state)
    this.#group = clusterId
    this.#leader = state.leader
    this.#revision = state.revision
    log.info('the store was read from the group', { objects: state.entries.length, ms: Math.round(clock.monotonicMs() - startedAtMs) })
  }

  async #openSealer(): Promise<Sealer> {
    this.#sealer ??= createSealer(await this.#deps.group.dataKey(), this.#deps.random)
    return this.#sealer
  }

  #keep(commit: Parameters<ReplicaCache['apply']>[0]): void {
    this.#cache
      ?.apply(commit)
      .catch((error) =>
        this.#deps.log.warn('the replica on disk is not kept up: the next start reads everything', { error: errorText(error) }),
      )
  }

  async #compact(): Promise<void> {
    const { clock, log } = this.#deps
    if (clock.monotonicMs() - this.#compactedAtMs < COMPACT_EVERY_MS) return
    this.#compactedAtMs = clock.monotonicMs()
    const until = (this.#journal?.revision ?? 0) - KEPT_REVISIONS
    if (until <= 0) return
    await this.etcd?.compact(until).catch((error) => log.warn('could not compact the group', { error: errorText(error) }))
  }

  async #pause(ms: number): Promise<void> {
    const { clock } = this.#deps
    const woken = new AbortController()
    const wake = () => woken.abort()
    this.#waiters.add(wake)
    await clock.sleep(ms, woken.signal).catch(() => {}) // woken
    this.#waiters.delete(wake)
  }

  #wake(): void {
    for (const wake of [...this.#waiters]) wake()
  }
}

/** What goes into the group is sealed; so is what the replica on disk is given of it. */
function sealed(journal: EtcdJournal, sealer: Sealer): Pick<Journal, 'commit' | 'close'> {
  return { commit: (seq, writes) => journal.commit(seq, sealWrites(writes, sealer)), close: () => journal.close() }
}
