// A model of an etcd group: linearizable, slow, partitioned, and as treacherous as the real one: what timed out may have been applied, or be applied later.
import { ShoalError } from '../lib/index.ts'
import type { Clock, Etcd, EtcdEvents, EtcdMember, EtcdTxn, EtcdTxnResult, Random } from '../ports/index.ts'

/** etcd's own: a leader without a quorum gives up after this, and the others elect within one to two of them. */
const ELECTION_MS = 1_000
const LATENCY_MS = 4
const WATCH_LAG_MS = 30
const DEFAULT_TIMEOUT_MS = 5_000
/** How long after its time-out a change may still be applied. */
const LATE_MS = 10_000

export interface SimEtcdOptions {
  readonly clock: Clock
  readonly random: Random
  readonly members: number
  /** Chances that a change is lost, that its answer is lost, and that it is applied after its time-out. */
  readonly lossy: number
}

export interface SimEtcd {
  readonly members: readonly Etcd[]
  /** Everything that was ever applied, in order. */
  readonly history: readonly EtcdEvents[]
  readonly revision: number
  /** Cut off from the other members, or not any more. Its own clients still reach it. */
  isolate(member: number, isolated: boolean): void
  /** Moves the leadership of the group to another member that is connected. */
  elect(): void
  readonly leader: number
}

export function createSimEtcd({ clock, random, members: size, lossy }: SimEtcdOptions): SimEtcd {
  const entries = new Map<string, { value: Uint8Array; modRevision: number }>()
  const history: EtcdEvents[] = []
  let revision = 1
  let compacted = 0
  let leader = 0
  let leaderLostAtMs: number | undefined
  let electionMs = 0
  const isolated = new Map<number, { readonly sinceMs: number; readonly applied: number; readonly believes: number }>()
  const id = (member: number) => String(member + 1)
  const connected = () => [...Array(size).keys()].filter((member) => !isolated.has(member))
  const hasQuorum = () => connected().length > size / 2

  /** Elections happen when somebody looks: nothing else depends on when. */
  const settleLeader = (): void => {
    if (!isolated.has(leader)) {
      leaderLostAtMs = undefined
      return
    }
    const now = clock.monotonicMs()
    if (leaderLostAtMs === undefined) {
      leaderLostAtMs = now
      electionMs = ELECTION_MS * (1 + random.float())
    }
    if (now - leaderLostAtMs < electionMs || !hasQuorum()) return
    leader = pick(random, connected())
    leaderLostAtMs = undefined
  }
  const serves = (member: number): boolean => {
    settleLeader()
    return !isolated.has(member) && !isolated.has(leader) && hasQuorum()
  }

  const apply = (txn: EtcdTxn): EtcdTxnResult => {
    const succeeded = txn.compare.every(({ key, modRevision }) => (entries.get(key)?.modRevision ?? 0) === modRevision)
    const ops = succeeded ? txn.success : txn.failure
    const events: { key: string; value: Uint8Array | undefined }[] = []
    const got: EtcdTxnResult['got'][number][] = []
    const next = revision + 1
    for (const op of ops) {
      if (op.kind === 'put') {
        entries.set(op.key, { value: op.value, modRevision: next })
        events.push({ key: op.key, value: op.value })
      } else if (op.kind === 'delete' && entries.delete(op.key)) events.push({ key: op.key, value: undefined })
      else if (op.kind === 'get') {
        const entry = entries.get(op.key)
        got.push(entry && { key: op.key, ...entry })
      }
    }
    if (events.length > 0) {
      revision = next
      history.push({ revision, events })
    }
    return { succeeded, revision, got }
  }

  const timeOut = async (timeoutMs: number, signal?: AbortSignal): Promise<never> => {
    await clock.sleep(timeoutMs, signal)
    throw new ShoalError('deadline-exceeded', 'etcdserver: request timed out')
  }
  const latency = (signal?: AbortSignal) => clock.sleep(LATENCY_MS * (0.5 + random.float()), signal)

  const memberOf = (self: number): Etcd => {
    const txn: Etcd['txn'] = async (request, { timeoutMs = DEFAULT_TIMEOUT_MS, signal } = {}) => {
      await latency(signal)
      const chance = random.float()
      const isChange = request.success.some(({ kind }) => kind !== 'get')
      if (!serves(self)) {
        // it may have got to the others just before they were cut off
        if (isChange && chance < lossy * 3) clock.setTimer(random.float() * (timeoutMs + LATE_MS), () => hasQuorum() && apply(request))
        return timeOut(timeoutMs, signal)
      }
      if (chance < lossy) return timeOut(timeoutMs, signal)
      if (isChange && chance < lossy * 2) {
        clock.setTimer(random.float() * (timeoutMs + LATE_MS), () => apply(request))
        return timeOut(timeoutMs, signal)
      }
      const result = apply(request)
      if (chance < lossy * 3) return timeOut(timeoutMs, signal)
      await latency(signal)
      return result
    }
    return {
      txn,
      async range(prefix, { timeoutMs = DEFAULT_TIMEOUT_MS, signal, revision: at } = {}) {
        await latency(signal)
        if (!serves(self)) return timeOut(timeoutMs, signal)
        if (at !== undefined && at < compacted) throw new ShoalError('out-of-range', 'compacted')
        const state = new Map<string, { value: Uint8Array; modRevision: number }>()
        for (const { revision: changed, events } of history) {
          if (at !== undefined && changed > at) break
          for (const { key, value } of events) {
            if (value) state.set(key, { value, modRevision: changed })
            else state.delete(key)
          }
        }
        return { revision, items: [...state].filter(([key]) => key.startsWith(prefix)).map(([key, entry]) => ({ key, ...entry })) }
      },
      async *watch(prefix, fromRevision, signal) {
        let next = fromRevision
        while (!signal.aborted) {
          await clock.sleep(random.float() * WATCH_LAG_MS, signal).catch(() => {}) // stopped
          if (next <= compacted) throw new ShoalError('out-of-range', 'compacted')
          const applied = isolated.get(self)?.applied ?? revision
          for (const { revision: at, events } of history.slice(Math.max(0, next - 2))) {
            if (at < next || at > applied || signal.aborted) continue
            next = at + 1
            yield { revision: at, events: events.filter(({ key }) => key.startsWith(prefix)) }
          }
        }
      },
      async compact(at) {
        compacted = Math.max(compacted, at)
      },
      async status({ signal } = {}) {
        await latency(signal)
        settleLeader()
        const away = isolated.get(self)
        const believed = away ? (clock.monotonicMs() - away.sinceMs < ELECTION_MS ? away.believes : -1) : isolated.has(leader) ? -1 : leader
        return {
          clusterId: 'sim',
          memberId: id(self),
          leaderId: believed < 0 ? '0' : id(believed),
          isLearner: false,
          revision: away?.applied ?? revision,
          version: '3.4.23',
          dbBytes: 0,
          dbBytesInUse: 0,
          errors: [],
        }
      },
      members: async (): Promise<EtcdMember[]> =>
        [...Array(size).keys()].map((member) => ({
          id: id(member),
          name: `m${member}`,
          peerUrl: `https://m${member}:2378`,
          isLearner: false,
        })),
      addLearner: () => Promise.reject(new ShoalError('unimplemented', 'the model has a fixed membership')),
      promote: () => Promise.reject(new ShoalError('unimplemented', 'the model has a fixed membership')),
      remove: () => Promise.reject(new ShoalError('unimplemented', 'the model has a fixed membership')),
      async moveLeader(target) {
        leader = Number(target) - 1
      },
      async *snapshot() {},
      close() {},
    }
  }

  return {
    members: [...Array(size).keys()].map(memberOf),
    history,
    get revision() {
      return revision
    },
    get leader() {
      settleLeader()
      return leader
    },
    isolate(member, away) {
      settleLeader()
      if (away && !isolated.has(member)) isolated.set(member, { sinceMs: clock.monotonicMs(), applied: revision, believes: leader })
      if (!away) isolated.delete(member)
      settleLeader()
    },
    elect() {
      if (hasQuorum()) leader = pick(random, connected())
    },
  }
}

function pick<T>(random: Random, items: readonly T[]): T {
  return items[random.int(items.length)] as T
}
