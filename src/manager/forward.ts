// A manager that does not lead serves the whole API: reads from its replica, once that is as far as the leader; changes and logs through the leader.
import { dialTunnel, type TunnelSource } from '../dispatcher/index.ts'
import { errorText, isShoalError, SECOND_MS, ShoalError } from '../lib/index.ts'
import type { CallOptions, Channel, Clock, Identity, Route, Rpc } from '../ports/index.ts'
import { handle } from '../ports/index.ts'
import { Manager } from '../proto/index.ts'
import type { Store } from '../store/index.ts'
import { leaderHint, notLeader } from '../wire/index.ts'
import type { Control } from './control/types.ts'
import type { LogGap, LogLine, LogSource } from './logs.ts'

const CONTROL_MS = 30 * SECOND_MS
const INDEX_MS = 3 * SECOND_MS
/** An election takes one to two seconds; a client waits for it rather than being sent away. */
const ELECTION_MS = 4 * SECOND_MS
const ELECTION_RETRY_MS = 50
/** Swarm's words (docker-api.md 1.2). */
const NO_LEADER =
  "The swarm does not have a leader. It's possible that too few managers are online. Make sure more than half of the managers are online."
const LEAVE_MS = 15 * SECOND_MS
/** A change that the leader has made shows in the replica within this, or the answer goes out without it. */
const SHOW_MS = 3 * SECOND_MS

type Changes = {
  [K in keyof Control]: ReturnType<Control[K]> extends Promise<unknown> ? K : never
}[keyof Control]

/** Every operation that changes something: those are the leader's. */
const CHANGES: Readonly<Record<Changes, true>> = {
  updateCluster: true,
  setRegistry: true,
  removeRegistry: true,
  updateNode: true,
  removeNode: true,
  createService: true,
  planService: true,
  updateService: true,
  removeService: true,
  removeTask: true,
  createNetwork: true,
  removeNetwork: true,
  createSecret: true,
  updateSecret: true,
  updateSecretContent: true,
  removeSecret: true,
  createConfig: true,
  updateConfig: true,
  updateConfigContent: true,
  removeConfig: true,
}

export interface ForwardDeps {
  readonly clock: Clock
  readonly rpc: Rpc
  readonly identity: () => Identity
  /** `host:port` of the leader, as far as it is known. */
  readonly leader: () => string | undefined
  /** Resolves with true when the replica is as far as `seq`. */
  readonly reached: (seq: number, patienceMs: number) => Promise<boolean>
}

export interface Forward {
  control(local: Control): Control
  readonly logs: LogSource
  readonly tunnels: TunnelSource
  /** Resolves when the replica shows everything that was acknowledged before the call. */
  fresh(): Promise<void>
  /** Asks the leader to take this manager out of the group. */
  leave(): Promise<void>
  close(): void
}

export function createForward(deps: ForwardDeps): Forward {
  let channel: { readonly address: string; readonly channel: Channel } | undefined

  const toLeader = (): Channel => {
    const address = deps.leader()
    if (!address) throw notLeader(undefined)
    if (channel?.address !== address) {
      channel?.channel.close()
      const security = { kind: 'mutual', identity: deps.identity, serverName: 'swarm-manager' } as const
      channel = { address, channel: deps.rpc.connect(address, security) }
    }
    return channel.channel
  }
  const options = (timeoutMs: number): CallOptions => ({ timeoutMs })

  /** Through an election: what was surely not done is asked again, what only reads in any case. */
  const patiently = async <T>(kind: 'change' | 'read', call: (leader: Channel) => Promise<T>): Promise<T> => {
    const until = deps.clock.monotonicMs() + ELECTION_MS
    for (;;) {
      try {
        return await call(toLeader())
      } catch (error) {
        const away = isShoalError(error, 'unavailable') || isShoalError(error, 'deadline-exceeded')
        const notDone = leaderHint(error) !== undefined || (away && /ECONNREFUSED/.test(error.message))
        if (!notDone && !(kind === 'read' && away)) throw error
        if (deps.clock.monotonicMs() > until) throw new ShoalError('unavailable', NO_LEADER, { cause: error })
      }
      await deps.clock.sleep(ELECTION_RETRY_MS)
    }
  }

  const change = async (operation: string, args: readonly unknown[]): Promise<unknown> => {
    const request = { operation, arguments: Buffer.from(JSON.stringify(args)) }
    const response = await patiently('change', (leader) => leader.unary(Manager.method.control, request, options(CONTROL_MS)))
    await deps.reached(Number(response.seq), SHOW_MS)
    return parse(response.result)
  }

  return {
    control(local) {
      const forwarded: Record<string, unknown> = {}
      for (const operation of Object.keys(CHANGES)) forwarded[operation] = (...args: unknown[]) => change(operation, args)
      return { ...local, ...forwarded }
    },
    logs: {
      async *subscribe(selector, logOptions, signal): AsyncGenerator<LogLine | LogGap> {
        const request = { selector: Buffer.from(JSON.stringify(selector)), options: Buffer.from(JSON.stringify(logOptions)) }
        for await (const item of toLeader().serverStream(Manager.method.logs, request, { signal })) {
          const head = parse(item.head) as LogGap | Omit<LogLine, 'data'>
          yield 'gap' in head ? head : { ...head, data: item.data }
        }
      },
    },
    tunnels: { open: async (target, signal) => await dialTunnel(toLeader(), target, signal) },
    async fresh() {
      const { seq } = await patiently('read', (leader) => leader.unary(Manager.method.readIndex, {}, options(INDEX_MS)))
      if (!(await deps.reached(Number(seq), INDEX_MS)))
        throw new ShoalError('unavailable', 'this manager is behind the leader', { next: 'try again in a moment, or ask another manager' })
    },
    async leave() {
      await toLeader().unary(Manager.method.leaveGroup, {}, options(LEAVE_MS))
    },
    close: () => channel?.channel.close(),
  }
}

export interface ServeForwardedDeps {
  readonly store: Pick<Store, 'view'>
  readonly control: () => Control
  readonly logs: () => LogSource
  /** Throws unless this manager leads for sure. */
  readonly confirm: () => Promise<void>
  /** Throws unless the caller is a manager of this cluster. */
  readonly requireManager: (peer: { readonly nodeId: string | undefined; readonly role: string | undefined }) => void
}

/** The leader's side. */
export function forwardedRoutes(deps: ServeForwardedDeps): Route[] {
  return [
    handle(Manager.method.control, async ({ operation, arguments: given }, { peer }) => {
      deps.requireManager(peer)
      if (!Object.hasOwn(CHANGES, operation)) throw new ShoalError('unimplemented', `this manager does not know "${operation}"`)
      const control = deps.control() as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>
      // what is left out stands as null in JSON
      const args = (parse(given) as unknown[]).map((argument) => argument ?? undefined)
      const result = await control[operation]?.(...args)
      return { result: Buffer.from(JSON.stringify(result ?? null)), seq: BigInt(deps.store.view().seq) }
    }),
    handle(Manager.method.readIndex, async (_request, { peer }) => {
      deps.requireManager(peer)
      // what is committed before the proof counts: the number is read first
      const { seq } = deps.store.view()
      await deps.confirm()
      return { seq: BigInt(seq) }
    }),
    handle(Manager.method.logs, async function* ({ selector, options }, { peer, signal }) {
      deps.requireManager(peer)
      for await (const line of deps.logs().subscribe(parse(selector) as never, parseLogOptions(options), signal)) {
        if ('gap' in line) yield { head: Buffer.from(JSON.stringify(line)), data: new Uint8Array() }
        else {
          const { data, ...head } = line
          yield { head: Buffer.from(JSON.stringify(head)), data: new Uint8Array(data) }
        }
      }
    }),
  ]
}

function parseLogOptions(bytes: Uint8Array): Parameters<LogSource['subscribe']>[1] {
  return parse(bytes) as Parameters<LogSource['subscribe']>[1]
}

function parse(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString())
  } catch (error) {
    throw new ShoalError('invalid-argument', `unreadable message between managers: ${errorText(error)}`)
  }
}
