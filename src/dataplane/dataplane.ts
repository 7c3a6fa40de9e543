// The data plane of a node: takes the mesh and the local tasks, and keeps the kernel as planned.
import { assert, errorText, type Logger, ShoalError } from '../lib/index.ts'
import type { Clock, Kernel, KernelFeatures, Timer, Underlay } from '../ports/index.ts'
import type { NameServer } from './dns/nameServer.ts'
import type { Asker } from './dns/zone.ts'
import { type Attachment, attachment } from './engineNetwork.ts'
import { neededNetworks } from './plan/planner.ts'
import { type PortConflict, PortHolds, publishedPorts } from './portHolds.ts'
import { Reconciler } from './reconciler.ts'
import { emptyMeshState } from './state.ts'
import type { LocalTask, MeshNetwork, MeshPeer, MeshState, SelfNode, TaskNames } from './types.ts'

/** Changes that come within this time share a batch: a batch costs a few spawned tools. */
const COALESCE_MS = 20
const DRIFT_CHECK_MS = 30_000
/** On a very full node a check takes a second: then it comes less often, so that it costs at most a fiftieth of the time. */
const DRIFT_CHECK_SHARE = 50
/** After the kernel told that somebody changed it: until that has come to rest, and not more often than this. */
const FOREIGN_CHANGE_MS = 150
const FOREIGN_CHANGE_REST_MS = 2_000
const FOREIGN_CHECK_SHARE = 10
const RETRY_FIRST_MS = 100
const RETRY_MOST_MS = 5_000
/** Failed rounds in a row after which our tables are removed and made anew. */
const REBUILD_AFTER = 3
/** How long `attach` waits for the mesh stream to tell about a network: tasks come by another stream. */
const NETWORK_WAIT_MS = 10_000
/** How long after the first task came to a network the engine may still be making its side of it. */
const ENGINE_NETWORK_MS = 10_000

export interface DataPlaneDeps {
  readonly kernel: Kernel
  readonly clock: Clock
  readonly log: Logger
  readonly nodeId: string
  /** This node's data-path IPv4 address; VXLAN leaves from the device that carries it. */
  readonly address: string
  readonly mode: 'auto' | 'off'
  /** Answers the tasks' questions for names; without it they have to know addresses. */
  readonly nameServer?: NameServer
}

/** `reason` is a sentence for people. */
export type DataPlaneStatus = { readonly on: true } | { readonly on: false; readonly reason: string }

export interface DataPlaneCounters {
  /** Batches and changes that were applied. */
  readonly batches: number
  readonly changes: number
  /** Drift checks that found something to repair, and how many objects they repaired. */
  readonly driftRepairs: number
  readonly driftObjects: number
  readonly failures: number
  /** Times that the kernel told of changes by others. */
  readonly foreignChanges: number
}

/** All promises reject with ShoalError 'canceled' when the data plane is stopped meanwhile. When it is off they do nothing. */
export interface DataPlane {
  /** Finds out whether the data plane can run here and takes its lock. Leaves the kernel as it is: traffic flows on from before. */
  start(): Promise<void>
  status(): DataPlaneStatus
  /** Resolves when the kernel has this state or a later one, i.e. when it can be acknowledged. */
  update(state: MeshState): Promise<void>
  /** All tasks of this node that have networks; overlays without any are taken down. Resolves when the kernel has it. */
  setLocalTasks(tasks: readonly LocalTask[]): Promise<void>
  /**
   * Adds a local task and makes its networks. The result has the order in which the engine has to attach them.
   * 'unavailable' when the data plane is off or a network does not become known within 10 s.
   */
  attach(
    taskId: string,
    networks: readonly { readonly networkId: string; readonly address: string }[],
    names?: TaskNames,
  ): Promise<readonly Attachment[]>
  /** Forgets a local task, when its container is gone. */
  detach(taskId: string): Promise<void>
  /** To be called when a container has started: lets it reach itself through its service, and looks after the firewall if a network was made for it. */
  hairpin(): Promise<void>
  /** Those of these tasks of this node that no connection leads to any more. */
  idle(taskIds: readonly string[]): Promise<readonly string[]>
  /** To be called when the engine has come back: engines rearrange the firewall when they start. */
  engineReconnected(): Promise<void>
  /** Compares the kernel with the plan and repairs; how many objects were wrong. Also runs every 30 s. */
  check(): Promise<number>
  /** Published ports that a process of this host has, too. The mesh serves them all the same. */
  conflicts(): readonly PortConflict[]
  /** The swarm networks that this node takes part in: ingress and those of its tasks. Known also when the data plane is off. */
  networks(): readonly MeshNetwork[]
  /** All networks of the swarm, whether or not this node takes part in them. */
  knownNetworks(): readonly MeshNetwork[]
  counters(): DataPlaneCounters
  /** All nodes of the mesh, this one included. */
  peers(): readonly MeshPeer[]
  /** Stops working and gives the lock back; the kernel keeps its state. */
  stop(): Promise<void>
  /** Removes everything of ours from the kernel, then stops. For when the node leaves the swarm. */
  teardown(): Promise<void>
}

export function createDataPlane(deps: DataPlaneDeps): DataPlane {
  return new KernelDataPlane(deps)
}

interface Waiter {
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

class KernelDataPlane implements DataPlane {
  readonly #deps: DataPlaneDeps
  readonly #log: Logger
  readonly #holds: PortHolds
  readonly #reconciler: Reconciler
  #status: DataPlaneStatus = { on: false, reason: 'the data plane has not been started' }
  #features: KernelFeatures = { sctp: false, iptables: false }
  #underlay: Underlay = { device: '', mtu: 0 }

  #state: MeshState = emptyMeshState
  #tasks = new Map<string, LocalTask>()
  /** Those that may ask for names; undefined = to be made anew from the tasks. */
  #askers: readonly Asker[] | undefined
  /** False until the agent has told its tasks: after a restart of shoald the overlays that are there are kept until then. */
  #tasksKnown = false

  /** Until then a container's start brings a whole check: for its network the engine made one of its own, and rearranged the firewall. */
  #checkAtStartUntilMs = 0

  /** The services whose ports are occupied. */
  #heldFor: MeshState['services'] | undefined

  #waiters: Waiter[] = []
  /** Told about each new state, and when the data plane stops. */
  readonly #watchers = new Set<() => void>()
  #roundTimer: Timer | undefined
  #driftTimer: Timer | undefined
  #foreignTimer: Timer | undefined
  /** Monotonic: not before. */
  #foreignCheckMs = Number.NEGATIVE_INFINITY
  #failuresInRow = 0
  readonly #counters = { batches: 0, changes: 0, driftRepairs: 0, driftObjects: 0, failures: 0, foreignChanges: 0 }
  /** Work on the kernel is done one piece after the other; never rejects. */
  #tail: Promise<void> = Promise.resolve()

  constructor(deps: DataPlaneDeps) {
    this.#deps = deps
    this.#log = deps.log.with({ room: 'dataplane' })
    this.#holds = new PortHolds(deps.kernel, this.#log)
    this.#reconciler = new Reconciler(deps.kernel, this.#log)
  }

  async start(): Promise<void> {
    assert(!this.#status.on, 'the data plane was started twice')
    const reason = await this.#whyNot()
    if (reason !== undefined) {
      this.#status = { on: false, reason }
      this.#log.info('data plane is off', { reason })
      return
    }
    this.#status = { on: true }
    this.#log.info('data plane is on', { address: this.#deps.address, device: this.#underlay.device, mtu: this.#underlay.mtu })
    this.#armDriftCheck()
    this.#watchKernel()
  }

  #watchKernel(): void {
    this.#deps.kernel.watch(() => this.#foreignChange())
  }

  /** Others may have touched what is ours: look soon, instead of when it is time. */
  #foreignChange(): void {
    if (this.#foreignTimer || !this.#status.on) return
    this.#counters.foreignChanges++
    const { clock } = this.#deps
    const waitMs = Math.max(FOREIGN_CHANGE_MS, this.#foreignCheckMs - clock.monotonicMs())
    this.#foreignTimer = clock.setTimer(waitMs, () => {
      this.#tail = this.#tail.then(async () => {
        this.#foreignTimer = undefined
        const startedMs = clock.monotonicMs()
        await this.#repair().catch((error: unknown) => this.#log.warn('the drift check failed', { error: errorText(error) }))
        const nowMs = clock.monotonicMs()
        this.#foreignCheckMs = nowMs + Math.max(FOREIGN_CHANGE_REST_MS, (nowMs - startedMs) * FOREIGN_CHECK_SHARE)
      })
    })
  }

  async #whyNot(): Promise<string | undefined> {
    const { kernel, mode, address } = this.#deps
    if (mode === 'off') return 'switched off with --data-plane off'
    if (address.startsWith('127.')) return `the node's address ${address} is a loopback address, which other hosts cannot reach`
    try {
      const probe = await kernel.probe()
      if (!probe.ok) return probe.reason
      const underlay = await kernel.underlay(address)
      if (!underlay) return `no network device of this host carries the data-path address ${address}`
      if (!(await kernel.claim())) return 'another shoald runs the data plane of this network namespace'
      this.#features = probe.features
      this.#underlay = underlay
      return undefined
    } catch (error) {
      return `the kernel could not be probed: ${errorText(error)}`
    }
  }

  status(): DataPlaneStatus {
    return this.#status
  }

  counters(): DataPlaneCounters {
    return { ...this.#counters }
  }

  peers(): readonly MeshPeer[] {
    return [...this.#state.peers.values()]
  }

  conflicts(): readonly PortConflict[] {
    return this.#holds.conflicts()
  }

  networks(): readonly MeshNetwork[] {
    const used = new Set([...this.#tasks.values()].flatMap((task) => task.networkIds))
    return [...this.#state.networks.values()].filter((network) => network.ingress || used.has(network.id))
  }

  knownNetworks(): readonly MeshNetwork[] {
    return [...this.#state.networks.values()]
  }

  update(state: MeshState): Promise<void> {
    this.#state = state
    for (const look of this.#watchers) look()
    return this.#settled()
  }

  setLocalTasks(tasks: readonly LocalTask[]): Promise<void> {
    this.#tasks = new Map(tasks.map((task) => [task.taskId, task]))
    this.#askers = undefined
    this.#tasksKnown = true
    return this.#settled()
  }

  async attach(
    taskId: string,
    networks: readonly { readonly networkId: string; readonly address: string }[],
    names: TaskNames = {},
  ): Promise<readonly Attachment[]> {
    if (networks.length === 0) return []
    const networkIds = networks.map((network) => network.networkId)
    await this.#networksKnown(networkIds)
    const used = new Set([...this.#tasks.values()].flatMap((task) => task.networkIds))
    if (!networkIds.every((id) => used.has(id))) this.#checkAtStartUntilMs = this.#deps.clock.monotonicMs() + ENGINE_NETWORK_MS
    const addresses = networks.map(({ networkId, address }) => ({ networkId, address: address.split('/')[0]! }))
    this.#tasks.set(taskId, { ...names, taskId, networkIds, addresses })
    this.#askers = undefined
    await this.#settled()
    const attachments = networks.map(({ networkId, address }) => {
      const network = this.#state.networks.get(networkId)
      if (!network) throw new ShoalError('aborted', `network ${networkId} was removed while task ${taskId} was being attached to it`)
      return attachment(network, address, this.#underlay.mtu, this.#deps.nameServer !== undefined)
    })
    return attachments.sort((a, b) => (a.engineNetwork.name < b.engineNetwork.name ? -1 : 1))
  }

  detach(taskId: string): Promise<void> {
    if (!this.#tasks.delete(taskId)) return Promise.resolve()
    this.#askers = undefined
    return this.#settled()
  }

  async hairpin(): Promise<void> {
    if (!this.#status.on) return
    const whole = this.#deps.clock.monotonicMs() < this.#checkAtStartUntilMs
    await this.#inTurn(() => (whole ? this.#repair() : this.#deps.kernel.hairpin()))
  }

  async idle(taskIds: readonly string[]): Promise<readonly string[]> {
    const addresses = new Map(
      taskIds.map((id) => [id, this.#state.endpoints.get(id)?.addresses.map(({ address }) => address) ?? []] as const),
    )
    if (!this.#status.on) return taskIds
    const busy = await this.#deps.kernel.busy([...new Set([...addresses.values()].flat())])
    return taskIds.filter((id) => !addresses.get(id)?.some((address) => busy.has(address)))
  }

  async engineReconnected(): Promise<void> {
    await this.check()
  }

  check(): Promise<number> {
    return this.#inTurn(() => this.#repair())
  }

  async stop(): Promise<void> {
    if (!this.#status.on) return
    this.#status = { on: false, reason: 'the data plane was stopped' }
    this.#roundTimer?.cancel()
    this.#roundTimer = undefined
    this.#driftTimer?.cancel()
    this.#foreignTimer?.cancel()
    this.#foreignTimer = undefined
    this.#deps.kernel.unwatch()
    for (const look of this.#watchers) look()
    await this.#tail
    const canceled = new ShoalError('canceled', 'the data plane was stopped')
    for (const waiter of this.#waiters.splice(0)) waiter.reject(canceled)
    await this.#holds.set([])
    await this.#deps.nameServer?.stop()
    await this.#deps.kernel.unclaim()
  }

  async teardown(): Promise<void> {
    if (!this.#status.on) return
    await this.#inTurn(() => this.#reconciler.removeAll())
    await this.stop()
    this.#log.info('the data plane was removed from the kernel')
  }

  /** Resolves when all that is known now is in the kernel. */
  #settled(): Promise<void> {
    if (!this.#status.on) return Promise.resolve()
    return new Promise((resolve, reject) => {
      this.#waiters.push({ resolve, reject })
      this.#armRound(COALESCE_MS)
    })
  }

  #armRound(delayMs: number): void {
    if (this.#roundTimer || !this.#status.on) return
    this.#roundTimer = this.#deps.clock.setTimer(delayMs, () => {
      this.#tail = this.#tail.then(() => this.#round())
    })
  }

  /** One batch: plan, compare, apply, tell those who wait. Never rejects. */
  async #round(): Promise<void> {
    this.#roundTimer = undefined
    if (!this.#status.on) return
    const waiters = this.#waiters.splice(0)
    try {
      await this.#reconcile()
      this.#failuresInRow = 0
      for (const waiter of waiters) waiter.resolve()
    } catch (error) {
      this.#waiters.unshift(...waiters)
      this.#failuresInRow++
      this.#counters.failures++
      const retryMs = Math.min(RETRY_FIRST_MS * 2 ** (this.#failuresInRow - 1), RETRY_MOST_MS)
      this.#log.warn('the kernel did not take the plan; trying again', { error: errorText(error), attempt: this.#failuresInRow, retryMs })
      this.#armRound(retryMs)
    }
  }

  async #reconcile(): Promise<void> {
    const state = this.#state
    const self = this.#self(state)
    if (!self) {
      this.#log.debug('this node is not a peer of the mesh yet')
      return
    }
    if (this.#failuresInRow >= REBUILD_AFTER) await this.#reconciler.dropTables()
    const input = { state, self, localTasks: [...this.#tasks.values()], features: this.#features }
    const changes = await this.#reconciler.reconcile(input, !this.#tasksKnown)
    if (changes > 0) this.#counters.batches++
    this.#counters.changes += changes
    await this.#serveNames(state, input.localTasks)
    if (this.#heldFor !== state.services) await this.#holds.set(publishedPorts(state))
    this.#heldFor = state.services
  }

  /** After the kernel has the gateways: there the names are served. Names are acknowledged with the rest. */
  async #serveNames(state: MeshState, tasks: readonly LocalTask[]): Promise<void> {
    const { nameServer } = this.#deps
    if (!nameServer) return
    this.#askers ??= askersOf([...this.#tasks.values()])
    const networks = [...neededNetworks(state, tasks).values()].filter((network) => !network.ingress)
    await nameServer.update({ state, askers: this.#askers, listen: networks.map((network) => network.gateway) })
  }

  #self(state: MeshState): SelfNode | undefined {
    const { nodeId, address } = this.#deps
    const number = state.peers.get(nodeId)?.number
    if (!number) return undefined
    return { nodeId, nodeNumber: number, address, underlayDevice: this.#underlay.device, underlayMtu: this.#underlay.mtu }
  }

  #armDriftCheck(lastTookMs = 0): void {
    this.#driftTimer = this.#deps.clock.setTimer(Math.max(DRIFT_CHECK_MS, lastTookMs * DRIFT_CHECK_SHARE), () => {
      this.#tail = this.#tail.then(() => this.#driftCheck())
    })
  }

  /** Never rejects. */
  async #driftCheck(): Promise<void> {
    const startedMs = this.#deps.clock.monotonicMs()
    try {
      await this.#repair()
    } catch (error) {
      this.#log.warn('the drift check failed', { error: errorText(error) })
    }
    if (this.#status.on) this.#watchKernel()
    if (this.#status.on) this.#armDriftCheck(this.#deps.clock.monotonicMs() - startedMs)
  }

  async #repair(): Promise<number> {
    if (!this.#status.on) return 0
    const underlay = await this.#deps.kernel.underlay(this.#deps.address)
    if (underlay && (underlay.device !== this.#underlay.device || underlay.mtu !== this.#underlay.mtu)) {
      this.#log.info('the underlay has changed', { device: underlay.device, mtu: underlay.mtu })
      this.#underlay = underlay
      this.#armRound(0)
    }
    await this.#deps.kernel.hairpin()
    await this.#holds.set(publishedPorts(this.#state))
    let repaired: number
    try {
      repaired = await this.#reconciler.repair()
    } catch (error) {
      this.#counters.failures++
      this.#armRound(RETRY_FIRST_MS) // it reads the kernel and goes on until it is right
      throw error
    }
    if (repaired > 0) {
      this.#counters.driftRepairs++
      this.#counters.driftObjects += repaired
    }
    return repaired
  }

  /** Work on the kernel, after all that was begun before. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(work)
    this.#tail = result.then(
      () => {},
      () => {},
    )
    return result
  }

  /** Waits, for a bounded time, until the mesh has told about these networks. */
  #networksKnown(networkIds: readonly string[]): Promise<void> {
    return new Promise((resolve, reject) => {
      const missing = () => networkIds.filter((id) => !this.#state.networks.has(id))
      const settle = (error?: ShoalError) => {
        this.#watchers.delete(look)
        timer.cancel()
        if (error) reject(error)
        else resolve()
      }
      const look = () => {
        const status = this.#status
        if (!status.on) settle(new ShoalError('unavailable', `this node cannot attach tasks to swarm networks: ${status.reason}`))
        else if (missing().length === 0) settle()
      }
      const timer = this.#deps.clock.setTimer(NETWORK_WAIT_MS, () => {
        settle(
          new ShoalError(
            'unavailable',
            `the managers have not told about network ${missing().join(', ')} within ${NETWORK_WAIT_MS / 1000} s`,
          ),
        )
      })
      this.#watchers.add(look)
      look()
    })
  }
}

function askersOf(tasks: readonly LocalTask[]): readonly Asker[] {
  const groups = Map.groupBy(tasks, ({ taskId, group }) => group ?? taskId)
  return [...groups.values()].map((places) => ({
    addresses: places.flatMap(({ addresses = [] }) => addresses),
    nameservers: places[0]?.nameservers ?? [],
    search: places[0]?.search ?? [],
  }))
}
