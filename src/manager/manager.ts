// A manager: its replica of the store, the swarm port, and, while it leads, everything that leads.
import type { TunnelSource } from '../dispatcher/index.ts'
import { handOver } from '../etcd/index.ts'
import { errorText, type Logger, ShoalError } from '../lib/index.ts'
import type { Acknowledgements, AnyLoop } from '../loops/index.ts'
import type { Clock, Handler, Identity, Issuer, Random, Route, Rpc } from '../ports/index.ts'
import { CA } from '../proto/index.ts'
import type { ReplicaStore, Store } from '../store/index.ts'
import { notLeader } from '../wire/index.ts'
import { createControl } from './control/control.ts'
import type { Control } from './control/types.ts'
import { createForward, forwardedRoutes } from './forward.ts'
import { type GroupDeps, Leadership } from './leadership.ts'
import { createLeading, type Leading, type LeadingFigures } from './leading.ts'
import type { LogSource } from './logs.ts'
import { Members } from './members.ts'

export interface ManagerDeps {
  /** Owned by the manager from here on: closed by `stop`. */
  readonly store: ReplicaStore
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly rpc: Rpc
  readonly issuer: Issuer
  readonly identity: () => Identity
  /** `host:port` */
  readonly listen: string
  readonly advertise: string
  /** Without it all loops; the simulator puts broken ones in to see that they are caught. */
  readonly loops?: (acknowledgements: Acknowledgements) => readonly AnyLoop[]
  /** Without it this manager stays the only one. */
  readonly group?: GroupDeps
}

/** What API and simulator see of a manager. */
export interface ManagerFace {
  readonly store: Store
  readonly control: Control
  readonly logs: LogSource
  /** Only while this manager leads: how many changes of the mesh all live nodes have acknowledged, and how long the last ones took. */
  readonly acknowledged?: () => { readonly changes: number; readonly ms: readonly number[] } | undefined
  /** Byte streams into tasks, wherever they run. */
  readonly tunnels?: TunnelSource
  /** Undefined while another manager leads. */
  figures?(): LeadingFigures | undefined
  /** Resolves when `store` shows everything that was acknowledged before the call, by whichever manager. 'unavailable' when nobody leads. */
  fresh?(): Promise<void>
}

export interface Manager {
  readonly face: ManagerFace
  readonly leading: boolean
  /** Whether the store is kept by a group of managers. */
  readonly inGroup: boolean
  /** The journal gave up: the store says so through `onLost`. */
  storeLost(): void
  /** Leaves the group, so that the others need not wait for this one. Throws when that cannot be done now. */
  resign(): Promise<void>
  /** A new certificate for this manager's member of the group, if it has one. */
  renewMember(): Promise<void>
  stop(): Promise<void>
}

const RESIGN_MS = 12_000
const RESIGN_RETRY_MS = 200

/** Rejects when the port is taken. */
export async function startManager(deps: ManagerDeps): Promise<Manager> {
  const room = new ManagerRoom(deps)
  await room.start()
  return room
}

class ManagerRoom implements Manager {
  readonly face: ManagerFace
  readonly #deps: ManagerDeps
  readonly #members: Members
  readonly #leadership: Leadership | undefined
  readonly #forward: ReturnType<typeof createForward>
  readonly #forwarding: Control
  /** Made anew for each time this manager leads; the first one also tells which methods there are. */
  #leading: Leading
  #leads = false
  #server: Awaited<ReturnType<Rpc['serve']>> | undefined

  constructor(deps: ManagerDeps) {
    const { store, log, clock, rpc, identity, group } = deps
    this.#deps = deps
    this.#leading = createLeading(deps)
    this.#leadership = group
      ? new Leadership({
          store,
          clock,
          random: deps.random,
          log,
          group,
          self: () => ({ nodeId: identity().nodeId, address: deps.advertise }),
          onLead: () => this.#lead(),
          onFollow: () => this.#follow(),
        })
      : undefined
    this.#members = new Members({ ...deps, group, leadership: () => this.#leadership })
    this.#forward = createForward({
      clock,
      rpc,
      identity,
      leader: () => this.#leadership?.leader?.address,
      reached: (seq, patienceMs) => this.#leadership?.reached(seq, patienceMs) ?? Promise.resolve(true),
    })
    this.#forwarding = this.#forward.control(createControl({ store, random: deps.random }))
    this.face = this.#makeFace()
  }

  get leading(): boolean {
    return this.#leads
  }

  get inGroup(): boolean {
    return this.#leadership?.inGroup ?? false
  }

  async start(): Promise<void> {
    const { rpc, listen, identity, log } = this.#deps
    const routes = [
      ...this.#leading.routes.map((route) => this.#switched(route)),
      ...this.#members.routes(),
      ...forwardedRoutes({
        store: this.#deps.store,
        control: () => this.#requireLeading().control,
        logs: () => this.#requireLeading().logs,
        confirm: async () => {
          this.#requireLeading()
          await this.#leadership?.confirm()
        },
        requireManager: (peer) => this.#members.requireManager(peer),
      }),
    ]
    this.#server = await rpc.serve(listen, identity, routes)
    if (this.#leadership) await this.#leadership.start()
    else this.#lead()
    log.info('manager started', { listen: this.#server.address, leading: this.#leads })
  }

  storeLost(): void {
    this.#leadership?.storeLost()
  }

  async resign(): Promise<void> {
    const { clock, log } = this.#deps
    const etcd = this.#leadership?.etcd
    if (!etcd || !this.inGroup || (await etcd.members()).length === 1) return
    const until = clock.monotonicMs() + RESIGN_MS
    for (;;) {
      try {
        if (this.#leads) await handOver({ clock, log }, etcd)
        else return await this.#forward.leave()
      } catch (error) {
        if (clock.monotonicMs() > until) throw error
      }
      if (clock.monotonicMs() > until) throw new ShoalError('unavailable', 'no other manager takes over')
      await clock.sleep(RESIGN_RETRY_MS)
    }
  }

  async renewMember(): Promise<void> {
    await this.#members.renewOwn()
  }

  async stop(): Promise<void> {
    const { store, log, clock } = this.#deps
    const etcd = this.#leadership?.etcd
    if (etcd && this.inGroup && this.#leads) {
      const voters = await etcd.members({ timeoutMs: 1_000 }).catch(() => [])
      // the others then need no election; should it fail, they hold one
      if (voters.length > 1)
        await handOver({ clock, log }, etcd).catch((error) => log.info('could not hand over', { reason: errorText(error) }))
    }
    await this.#leadership?.stop()
    await this.#follow()
    this.#forward.close()
    await this.#server?.close()
    if (!this.#leadership) await store.close()
    log.info('manager stopped')
  }

  #makeFace(): ManagerFace {
    const room = this
    const { log } = this.#deps
    return {
      store: this.#deps.store,
      get control() {
        return room.#leads ? room.#leading.control : room.#forwarding
      },
      acknowledged: () => (room.#leads ? room.#leading.acknowledged() : undefined),
      get logs() {
        return room.#leads ? room.#leading.logs : room.#forward.logs
      },
      figures: () => (room.#leads ? room.#leading.figures() : undefined),
      get tunnels() {
        return room.#leads ? room.#leading.tunnels : room.#forward.tunnels
      },
      fresh: async () => {
        if (this.#leads) {
          try {
            await this.#leadership?.confirm()
            return
          } catch (error) {
            log.debug('this manager cannot prove that it leads', { error: errorText(error) })
          }
        }
        await this.#forward.fresh()
      },
    }
  }

  #lead(): void {
    if (this.#leads) return
    this.#leads = true
    this.#leading.start()
    if (this.#leadership) this.#members.start()
  }

  async #follow(): Promise<void> {
    if (!this.#leads) return
    this.#leads = false
    await this.#members.stop()
    await this.#leading.stop()
    this.#leading = createLeading(this.#deps)
  }

  #requireLeading(): Leading {
    if (!this.#leads) throw notLeader(this.#leadership?.leader?.address)
    return this.#leading
  }

  /** A method of the leader, wherever it is called: other managers say where to ask. The root certificate everyone may have from anyone. */
  #switched({ method }: Route): Route {
    const handler = (request: never, context: never): unknown => {
      const open = this.#leads || (method === CA.method.getRootCACertificate && this.#deps.store.view().cluster !== undefined)
      if (!open) throw notLeader(this.#leadership?.leader?.address)
      const route = this.#leading.routes.find((one) => one.method === method)
      if (!route) throw new ShoalError('unimplemented', `unknown method ${method.name}`)
      return (route.handler as (request: never, context: never) => unknown)(request, context)
    }
    return { method, handler: handler as unknown as Handler<Route['method']> }
  }
}
