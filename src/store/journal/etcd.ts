// The journal of several managers: commits as fenced etcd transactions, takeover, and the stream of commits that replicas follow.
import { isShoalError, ShoalError } from '../../lib/index.ts'
import type { Clock, Etcd, EtcdEvents, EtcdKeyValue, EtcdOp } from '../../ports/index.ts'
import type { CommitResult, Journal, JournalWrite } from './types.ts'

const PREFIX = 'shoal/'
const OBJECTS = `${PREFIX}o/`
/** Who leads. Its revision of last change is the fence of every commit. */
const LEADER_KEY = `${PREFIX}leader`
/** Epoch and sequence number of the last commit: makes the repetition of one harmless, and tells replicas where they are. */
const HEAD_KEY = `${PREFIX}head`

/** One attempt; etcd's own limit is about 7 s. */
const ATTEMPT_MS = 2_500
/** A commit that nobody confirmed for so long is given up: whoever waits for it is told that it is in doubt. */
const DOUBT_MS = 8_000
const RETRY_MS = 50
/** Larger than any batch; a load is cut into pieces of this size. */
const LOAD_OPS = 500

export interface LeaderRecord {
  readonly epoch: number
  readonly nodeId: string
  /** `host:port` of its swarm port. */
  readonly address: string
}

interface Head {
  readonly epoch: number
  readonly seq: number
}

/** What a takeover gives: the right to commit, until another one takes over. */
export interface Term {
  readonly leader: LeaderRecord
  /** Of the takeover. A replica that has come this far knows everything that was committed before. */
  readonly revision: number
  /** Of the last change of the head. */
  readonly headRevision: number
  readonly seq: number
}

/**
 * Makes this manager the leader, unless another one was faster (then undefined). Whoever led before can commit nothing after this.
 * Errors of etcd are thrown; the takeover may then have been made.
 */
export async function takeOver(etcd: Etcd, self: { readonly nodeId: string; readonly address: string }): Promise<Term | undefined> {
  const read: EtcdOp[] = [
    { kind: 'get', key: LEADER_KEY },
    { kind: 'get', key: HEAD_KEY },
  ]
  const before = await etcd.txn({ compare: [], success: read, failure: [] }, { timeoutMs: ATTEMPT_MS })
  const seen = before.got[0]
  const leader: LeaderRecord = { epoch: (seen ? parse<LeaderRecord>(seen.value).epoch : 0) + 1, ...self }
  const taken = await etcd.txn(
    {
      compare: [{ key: LEADER_KEY, modRevision: seen?.modRevision ?? 0 }],
      success: [
        { kind: 'put', key: LEADER_KEY, value: print(leader) },
        { kind: 'get', key: HEAD_KEY },
      ],
      failure: [],
    },
    { timeoutMs: ATTEMPT_MS },
  )
  if (!taken.succeeded) return undefined
  const head = taken.got[0]
  return { leader, revision: taken.revision, headRevision: head?.modRevision ?? 0, seq: head ? parse<Head>(head.value).seq : 0 }
}

/** Whether this term still holds, proved by a quorum after the call began. */
export async function holdsTerm(etcd: Etcd, term: Term): Promise<boolean> {
  const proof = await etcd.txn(
    { compare: [{ key: LEADER_KEY, modRevision: term.revision }], success: [{ kind: 'get', key: LEADER_KEY }], failure: [] },
    { timeoutMs: ATTEMPT_MS },
  )
  return proof.succeeded
}

export interface EtcdJournalOptions {
  readonly etcd: Etcd
  readonly clock: Clock
  readonly term: Term
  /** After each commit that is durable, before the store shows it. */
  readonly onDurable?: (commit: { readonly revision: number; readonly seq: number; readonly writes: readonly JournalWrite[] }) => void
}

export interface EtcdJournal extends Pick<Journal, 'commit' | 'close'> {
  /** Of the last durable commit, or of the takeover. */
  readonly revision: number
  /** Ends the commit under way as 'in-doubt'. */
  abandon(): void
}

/**
 * Commits of one term. Each compares the leader key (nobody took over) and the head key (this is the commit after the last one), so one that was
 * sent twice, or arrives late, is applied at most once; after a time-out it is simply sent again, and the head tells whether it had been applied.
 */
export function createEtcdJournal({ etcd, clock, term, onDurable }: EtcdJournalOptions): EtcdJournal {
  let { revision, headRevision } = term
  let deposed = false
  const abandoned = new AbortController()

  const attempt = async (seq: number, success: readonly EtcdOp[], isFirst: boolean): Promise<CommitResult | 'again'> => {
    try {
      const result = await etcd.txn(
        {
          compare: [
            { key: LEADER_KEY, modRevision: term.revision },
            { key: HEAD_KEY, modRevision: headRevision },
          ],
          success,
          failure: [
            { kind: 'get', key: LEADER_KEY },
            { kind: 'get', key: HEAD_KEY },
          ],
        },
        { timeoutMs: ATTEMPT_MS, signal: abandoned.signal },
      )
      if (result.succeeded) {
        headRevision = result.revision
        return 'durable'
      }
      const [leader, head] = result.got
      // an attempt before this one may have been applied although nobody told us: only we write heads of this epoch
      if (head && isHead(head, term.leader.epoch, seq)) {
        headRevision = head.modRevision
        return 'durable'
      }
      // an earlier attempt may have been applied before somebody else took over and wrote the next head
      return isFirst && leader?.modRevision !== term.revision ? 'deposed' : 'in-doubt'
    } catch (error) {
      if (isIndefinite(error)) return 'again'
      throw error
    }
  }

  return {
    get revision() {
      return revision
    },
    async commit(seq, writes) {
      if (deposed) return 'deposed'
      const success: EtcdOp[] = [{ kind: 'put', key: HEAD_KEY, value: print({ epoch: term.leader.epoch, seq } satisfies Head) }]
      for (const { key, value } of writes)
        success.push(value ? { kind: 'put', key: OBJECTS + key, value } : { kind: 'delete', key: OBJECTS + key })
      const until = clock.monotonicMs() + DOUBT_MS
      for (let attempts = 0; ; attempts += 1) {
        if (abandoned.signal.aborted) return 'in-doubt'
        const result = await attempt(seq, success, attempts === 0)
        if (result === 'durable') {
          revision = headRevision
          onDurable?.({ revision, seq, writes })
          return 'durable'
        }
        if (result !== 'again') {
          deposed = true
          return result
        }
        if (clock.monotonicMs() > until) {
          deposed = true
          return 'in-doubt'
        }
        await clock.sleep(RETRY_MS, abandoned.signal).catch(() => {}) // abandoned: seen above
      }
    },
    abandon() {
      deposed = true
      abandoned.abort()
    },
    async close() {
      deposed = true
      abandoned.abort()
    },
  }
}

/** One commit, or a change of leader, as a replica sees it. */
export interface ReplicaEvent {
  readonly revision: number
  /** Undefined when this was no commit. */
  readonly seq: number | undefined
  readonly writes: readonly JournalWrite[]
  readonly leader: LeaderRecord | undefined
}

/** Everything from a revision on, in order, nothing left out. 'out-of-range' when that is no longer to be had: then `loadEtcd`. */
export async function* followEtcd(etcd: Etcd, fromRevision: number, signal: AbortSignal): AsyncGenerator<ReplicaEvent> {
  for await (const events of etcd.watch(PREFIX, fromRevision, signal)) yield replicaEvent(events)
}

export interface EtcdState {
  readonly revision: number
  readonly seq: number
  readonly leader: LeaderRecord | undefined
  readonly entries: readonly { readonly key: string; readonly value: Uint8Array }[]
}

/** A whole read as of one revision, table by table: paging by limit costs etcd the rest of the keys each time (store.md 6). */
export async function loadEtcd(etcd: Etcd, tables: readonly string[]): Promise<EtcdState> {
  const head = await etcd.txn(
    {
      compare: [],
      success: [
        { kind: 'get', key: LEADER_KEY },
        { kind: 'get', key: HEAD_KEY },
      ],
      failure: [],
    },
    { timeoutMs: ATTEMPT_MS },
  )
  const { revision } = head
  const entries: { key: string; value: Uint8Array }[] = []
  for (const table of tables) {
    for (const part of table === 'task' ? PARTS : ['']) {
      const { items } = await etcd.range(`${OBJECTS}${table}/${part}`, { revision })
      for (const { key, value } of items) entries.push({ key: key.slice(OBJECTS.length), value })
    }
  }
  const [leader, at] = head.got
  return {
    revision,
    seq: at ? parse<Head>(at.value).seq : 0,
    leader: leader && parse<LeaderRecord>(leader.value),
    entries,
  }
}

/** Ids are base 36. */
const PARTS = [...'0123456789abcdefghijklmnopqrstuvwxyz']

/** Puts objects into a group that has no leader yet; `finishLoad` makes them count. */
export async function loadInto(etcd: Etcd, writes: readonly JournalWrite[]): Promise<void> {
  for (let at = 0; at < writes.length; at += LOAD_OPS) {
    const success = writes
      .slice(at, at + LOAD_OPS)
      .map(({ key, value }): EtcdOp => (value ? { kind: 'put', key: OBJECTS + key, value } : { kind: 'delete', key: OBJECTS + key }))
    await etcd.txn({ compare: [{ key: LEADER_KEY, modRevision: 0 }], success, failure: [] }, { timeoutMs: 30_000 })
  }
}

/** The first term of a group: what was loaded is its state at `seq`. */
export async function finishLoad(etcd: Etcd, self: { readonly nodeId: string; readonly address: string }, seq: number): Promise<Term> {
  const leader: LeaderRecord = { epoch: 1, ...self }
  const result = await etcd.txn(
    {
      compare: [{ key: LEADER_KEY, modRevision: 0 }],
      success: [
        { kind: 'put', key: LEADER_KEY, value: print(leader) },
        { kind: 'put', key: HEAD_KEY, value: print({ epoch: 0, seq } satisfies Head) },
      ],
      failure: [],
    },
    { timeoutMs: 10_000 },
  )
  if (!result.succeeded) throw new ShoalError('internal', 'the new group has a leader already')
  return { leader, revision: result.revision, headRevision: result.revision, seq }
}

function replicaEvent({ revision, events }: EtcdEvents): ReplicaEvent {
  const writes: JournalWrite[] = []
  let seq: number | undefined
  let leader: LeaderRecord | undefined
  for (const { key, value } of events) {
    if (key.startsWith(OBJECTS)) writes.push({ key: key.slice(OBJECTS.length), value })
    else if (key === HEAD_KEY && value) seq = parse<Head>(value).seq
    else if (key === LEADER_KEY && value) leader = parse<LeaderRecord>(value)
  }
  return { revision, seq, writes, leader }
}

function isHead({ value }: EtcdKeyValue, epoch: number, seq: number): boolean {
  const head = parse<Head>(value)
  return head.epoch === epoch && head.seq === seq
}

function isIndefinite(error: unknown): boolean {
  return isShoalError(error, 'unavailable') || isShoalError(error, 'deadline-exceeded') || isShoalError(error, 'canceled')
}

function print(value: object): Uint8Array {
  return Buffer.from(JSON.stringify(value))
}

function parse<T>(bytes: Uint8Array): T {
  return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString()) as T
}
