// A whole swarm in one process under a virtual clock: hosts, network, people, fate, and checkers that watch all the time.
import { createLogger, errorText, isShoalError, type Logger, type LogLevel, type NodeId } from '../lib/index.ts'
import { type Service, taskStateName } from '../model/index.ts'
import type { SwarmNode } from '../node/index.ts'
import { createFakeIssuer, createRandom, createVirtualClock, type VirtualClock, verifyFakeCertificate } from '../ports/fakes/index.ts'
import type { ContainerState, EngineEvent } from '../ports/index.ts'
import type { Change, Commit, Store, View } from '../store/index.ts'
import { allCheckers, type Checker, type ContainerChange, unconverged, type WorldFacts } from './checkers/index.ts'
import { SimHost, type Tamper } from './host.ts'
import type { SimProcess } from './process.ts'
import { createSimNetwork, type SimNetwork } from './rpc.ts'
import { isGood, networkSpecOf, specOf } from './specs.ts'
import { createTrace, type Trace } from './trace.ts'
import { IMAGE_NUMBERS, NETWORKS, type Op, opText, type TimedOp } from './workload.ts'

export interface WorldOptions {
  readonly seed: string
  readonly hosts: number
  /** Faults of the network that go on all the time, as probabilities per message. */
  readonly lossRate?: number
  readonly resetRate?: number
  readonly printTrace?: (line: string) => void
  readonly logLevel?: LogLevel
  readonly tamper?: Tamper
}

export interface Violation {
  readonly rule: string
  readonly what: string
  readonly atMs: number
}

/** What the manager says about a host is compared with the truth only when the host has been without faults this long. */
const TRUST_MS = 60_000
const LAST_EXITS = 3
const JOIN_RETRY_MS = 1_000
const LABEL = { task: 'com.docker.swarm.task.id', service: 'com.docker.swarm.service.id', name: 'com.docker.swarm.task.name' } as const

export class World implements WorldFacts {
  readonly clock: VirtualClock
  readonly net: SimNetwork
  readonly trace: Trace
  readonly hostList: readonly SimHost[]
  readonly violations: Violation[] = []
  readonly #options: WorldOptions
  readonly #checkers: readonly Checker[]
  readonly #stopEvents = new AbortController()
  readonly #runningContainers: Map<string, ContainerChange>[] = []
  /** The store that is watched, and what the one before had shown last. */
  #store: Store | undefined
  #lastView: View | undefined
  #joinToken: string | undefined
  commits = 0
  containersStarted = 0
  operations = { asked: 0, done: 0, refused: 0 }

  constructor(options: WorldOptions) {
    this.#options = options
    const random = createRandom(`${options.seed}/world`)
    const clock = createVirtualClock()
    this.clock = clock
    this.trace = createTrace(clock, 400, options.printTrace)
    const issuer = createFakeIssuer(random.fork('issuer'))
    this.net = createSimNetwork({
      clock,
      random: random.fork('network'),
      lossRate: options.lossRate,
      resetRate: options.resetRate,
      verify: (certificate, root) => verifyFakeCertificate(certificate, root, clock.now()),
      onDefect: (what) => this.complain('no-defects', what),
    })
    this.hostList = Array.from(
      { length: options.hosts },
      (_, index) =>
        new SimHost({
          index,
          seed: options.seed,
          clock,
          network: this.net,
          issuer,
          tamper: options.tamper,
          logger: (host) => this.#logger(host),
          onDurable: (host) => this.#onDurable(host),
          onStopSignal: (host, containerId) => this.#onStopSignal(host, containerId),
        }),
    )
    this.#checkers = allCheckers(this, (rule, what) => this.complain(rule, what))
    for (const host of this.hostList) this.#followEngine(host)
    this.#everySecond()
  }

  get hosts(): number {
    return this.hostList.length
  }

  get nowMs(): number {
    return this.clock.monotonicMs()
  }

  view(): View | undefined {
    return this.manager()?.store.view()
  }

  manager() {
    return this.hostList[0]!.node?.manager()
  }

  soundSinceMs(index: number): number | undefined {
    const host = this.hostList[index]!
    return host.faults === 0 && host.running ? host.soundSinceMs : undefined
  }

  containers(index: number): readonly ContainerState[] {
    return this.hostList[index]!.engine.containers()
  }

  runsTask(taskId: string): boolean {
    const trusted = (host: number) => {
      const since = this.soundSinceMs(host)
      return since !== undefined && this.nowMs - since > TRUST_MS
    }
    return this.#runningContainers.some(
      (running, host) => trusted(host) && trusted(0) && [...running.values()].some((change) => change.taskId === taskId),
    )
  }

  routesTo(index: number, address: string): boolean {
    for (const object of this.hostList[index]!.kernel.objects.values()) {
      if (object.kind !== 'element' || !object.set.endsWith('ep')) continue
      if (object.value === address || object.value.startsWith(`${address} . `)) return true
    }
    return false
  }

  hostOfNode(nodeId: string): number | undefined {
    return this.hostList.find((host) => host.nodeId === nodeId)?.index
  }

  nodeOfHost(host: number): string | undefined {
    return this.hostList[host]?.nodeId
  }

  complain(rule: string, what: string): void {
    if (this.violations.length >= 20) return
    this.violations.push({ rule, what, atMs: this.nowMs })
    this.trace.note(`VIOLATION ${rule}: ${what}`)
  }

  /** Boots all hosts: the first one starts the swarm, the others join it. True when all are ready within two virtual minutes. */
  async start(): Promise<boolean> {
    this.hostList[0]!.boot(async (node) => {
      await node.init({
        listenAddr: '',
        advertiseAddr: '',
        dataPathAddr: '',
        dataPathPort: 0,
        defaultAddressPools: [],
        subnetSize: 0,
        forceNewCluster: false,
        autoLockManagers: false,
        availability: 'active',
        spec: {},
      })
      this.#entered(0, node)
    })
    for (const host of this.hostList.slice(1)) host.boot((node, process) => this.#join(host, node, process))
    const ready = () => this.violations.length > 0 || (this.hostList.every((host) => host.nodeId !== undefined) && this.#allReady())
    if (!(await this.clock.runUntil(ready, 120_000))) return false
    for (const name of NETWORKS) await this.#createNetwork(name)
    return true
  }

  async #createNetwork(name: string): Promise<void> {
    let made = false
    this.hostList[0]!.process?.run(() => {
      this.manager()
        ?.control.createNetwork(networkSpecOf(name))
        .then(
          () => {
            made = true
          },
          (error: unknown) => this.complain('start', `network ${name}: ${errorText(error)}`),
        )
    })
    await this.clock.runUntil(() => made || this.violations.length > 0, 10_000)
  }

  #allReady(): boolean {
    for (const node of this.view()?.nodes.values() ?? []) if (node.status.state !== 'ready') return false
    return true
  }

  async #join(host: SimHost, node: SwarmNode, process: SimProcess): Promise<void> {
    for (;;) {
      const token = this.#joinToken
      if (token !== undefined) {
        try {
          await node.join({
            listenAddr: '',
            advertiseAddr: '',
            dataPathAddr: '',
            remoteAddrs: [`${this.hostList[0]!.address}:2377`],
            joinToken: token,
            availability: 'active',
          })
          this.#entered(host.index, node)
          return
        } catch (error) {
          this.trace.note(`host ${host.index} could not join: ${errorText(error)}`)
        }
      }
      await process.clock.sleep(JOIN_RETRY_MS)
    }
  }

  #entered(index: number, node: SwarmNode): void {
    const host = this.hostList[index]!
    host.nodeId = node.status().nodeId
    this.#joinToken ??= this.view()?.cluster?.joinTokens.worker
    this.trace.note(`host ${index} is node ${host.nodeId}`)
  }

  /** Schedules the operations from now on. */
  schedule(ops: readonly TimedOp[]): void {
    for (const op of ops) this.clock.setTimer(op.atMs, () => this.play(op))
  }

  /** Runs for this long, or until a rule is broken. */
  async run(ms: number): Promise<void> {
    await this.clock.runUntil(() => this.violations.length > 0, ms)
  }

  /** Ends all faults, gives nodes back, repairs what people broke. Then only time is needed. */
  calm(): void {
    this.trace.note('calm')
    this.net.network.healAll()
    this.net.network.lossRate = 0
    this.net.network.resetRate = 0
    for (const host of this.hostList) {
      host.process?.resume()
      if (!host.powered) host.powerOn()
      host.engine.up()
      host.boot()
    }
  }

  /** What people do last: all nodes active, services with broken images get one that works. False while no manager answers. */
  repair(): boolean {
    const manager = this.manager()
    if (!manager) return false
    for (const host of this.hostList) this.play({ kind: 'availability', host: host.index, availability: 'active' })
    for (const { spec } of manager.store.view().services.values()) {
      const image = spec.task.container?.image ?? ''
      if (!isGood(image))
        this.play({ kind: 'update', service: spec.name, image: `ok:${IMAGE_NUMBERS}`, order: spec.update?.order ?? 'stop-first' })
    }
    // Some containers end when nothing else happens any more that could make anybody look at their slots by chance.
    for (let nth = 0; nth < LAST_EXITS; nth += 1) this.play({ kind: 'container', nth: nth * 7, how: 'exit', exitCode: 1 })
    return true
  }

  /** Lets time pass until everything is at rest and stays so; otherwise complains with the reasons. */
  async settle(limitMs: number): Promise<boolean> {
    let checkedAt = -1
    let calmSince: number | undefined
    const atRest = () => {
      const second = Math.floor(this.nowMs / 1_000)
      if (second === checkedAt) return false
      checkedAt = second
      if (unconverged(this, 1).length > 0) calmSince = undefined
      else calmSince ??= second
      return calmSince !== undefined && second - calmSince >= 15
    }
    const done = await this.clock.runUntil(() => this.violations.length > 0 || atRest(), limitMs)
    if (this.violations.length > 0) return false
    const view = this.view()
    if (!done || !view) {
      for (const reason of unconverged(this, 5)) this.complain('convergence', `after ${limitMs / 1000} s: ${reason}`)
      return false
    }
    for (const checker of this.#checkers) checker.atEnd?.(view)
    return this.violations.length === 0
  }

  /** Nothing of this world does anything any more. */
  close(): void {
    this.#stopEvents.abort()
    for (const host of this.hostList) host.kill()
  }

  play(op: Op): void {
    this.trace.note(opText(op))
    switch (op.kind) {
      case 'create':
      case 'scale':
      case 'update':
      case 'rollback':
      case 'remove':
      case 'availability':
      case 'label':
        this.#ask(op)
        return
      case 'container':
        this.#disturbContainer(op)
        return
      case 'reset':
        this.net.network.resetHost(this.hostList[op.host]!.address)
        return
      case 'partition':
        this.#partition(op)
        return
      default:
        this.#hostFault(op)
    }
  }

  #hostFault(op: Extract<Op, { kind: 'power-off' | 'kill' | 'stop' | 'pause' | 'engine' }>): void {
    const host = this.hostList[op.host]!
    if (!host.running || host.nodeId === undefined || host.process?.state === 'paused') return
    const process = host.process!
    host.beginFault()
    const later = (fn: () => void) => {
      this.clock.setTimer(op.forMs, () => {
        this.trace.note(`end of ${op.kind} on host ${op.host}`)
        fn()
        host.endFault()
      })
    }
    switch (op.kind) {
      case 'power-off':
        host.powerOff()
        this.#rescan(host)
        later(() => host.powerOn())
        return
      case 'kill':
        host.kill()
        later(() => host.boot())
        return
      case 'stop': {
        // As systemd does it: who takes longer to stop than it is meant to be away starts when it is gone, and is disturbed until then.
        let awaited = 2
        const next = () => {
          awaited -= 1
          if (awaited > 0) return
          this.trace.note(`end of stop on host ${op.host}`)
          host.boot()
          host.endFault()
        }
        host.stop(() => void this.clock.setTimer(0, next))
        this.clock.setTimer(op.forMs, next)
        return
      }
      case 'pause':
        process.pause()
        later(() => process.resume())
        return
      case 'engine':
        host.engine.down()
        later(() => {
          if (host.powered) host.engine.up()
        })
    }
  }

  #partition({ host, to, oneWay, forMs }: Extract<Op, { kind: 'partition' }>): void {
    const network = this.net.network
    const here = this.hostList[host]!
    const others = this.hostList.filter((other) => other !== here && (to === undefined || other.index === to))
    for (const side of [here, ...others]) side.beginFault()
    const each = (change: (from: string, to: string) => void) => {
      for (const other of others) {
        change(here.address, other.address)
        if (!oneWay) change(other.address, here.address)
      }
    }
    each((from, to) => network.block(from, to))
    this.clock.setTimer(forMs, () => {
      each((from, to) => network.unblock(from, to))
      for (const side of [here, ...others]) side.endFault()
    })
  }

  #disturbContainer({ nth, how, exitCode }: Extract<Op, { kind: 'container' }>): void {
    const all = this.#runningContainers.flatMap((running, host) => [...running.keys()].map((id) => ({ host, id })))
    const chosen = all[nth % Math.max(1, all.length)]
    if (!chosen) return
    const { engine } = this.hostList[chosen.host]!
    if (how === 'exit') engine.exit(chosen.id, exitCode)
    else engine.removeByHand(chosen.id)
    this.#rescan(this.hostList[chosen.host]!)
  }

  /** A person asks the manager. What is acknowledged must be on disk by then. */
  #ask(op: Extract<Op, { kind: 'create' | 'scale' | 'update' | 'rollback' | 'remove' | 'availability' | 'label' }>): void {
    const host = this.hostList[0]!
    const process = host.process
    if (!process || !host.node) return
    this.operations.asked += 1
    process.run(() => {
      this.#perform(op).then(
        (version) => {
          this.operations.done += 1
          if (version !== undefined && host.process === process && version > host.journal.seq) {
            this.complain(
              'acknowledged-is-durable',
              `${opText(op)} was acknowledged at version ${version}; the disk is at ${host.journal.seq}`,
            )
          }
        },
        (error: unknown) => {
          this.operations.refused += 1
          this.trace.note(`refused ${op.kind}: ${errorText(error)}`)
          if (!isShoalError(error))
            this.complain('no-defects', `${opText(op)} threw ${error instanceof Error ? error.stack : String(error)}`)
        },
      )
    })
  }

  async #perform(
    op: Extract<Op, { kind: 'create' | 'scale' | 'update' | 'rollback' | 'remove' | 'availability' | 'label' }>,
  ): Promise<number | undefined> {
    const control = this.manager()?.control
    if (!control) return undefined
    switch (op.kind) {
      case 'create':
        return (await control.createService(specOf(op.service, op.shape, op.shape.network && control.network(op.shape.network).id))).version
      case 'remove':
        await control.removeService(op.service)
        return undefined
      case 'rollback': {
        const { id, version } = control.service(op.service)
        return (await control.updateService(id, version, undefined, { rollback: 'previous' })).version
      }
      case 'scale': {
        const { id, version, spec } = control.service(op.service)
        if (spec.mode.kind !== 'replicated') return undefined
        return (await control.updateService(id, version, { ...spec, mode: { kind: 'replicated', replicas: op.replicas } })).version
      }
      case 'update': {
        const { id, version, spec }: Service = control.service(op.service)
        const job = spec.mode.kind === 'replicated-job'
        const container = { ...spec.task.container!, image: job ? op.image.replace(/^\w+/, 'done') : op.image }
        const update = spec.update && { ...spec.update, order: op.order }
        return (await control.updateService(id, version, { ...spec, update, task: { ...spec.task, container } })).version
      }
      case 'availability':
      case 'label': {
        const nodeId = this.hostList[op.host]!.nodeId
        if (nodeId === undefined) return undefined
        const { version, spec } = control.node(nodeId)
        const change = op.kind === 'label' ? { labels: { ...spec.labels, zone: op.zone } } : { availability: op.availability }
        return (await control.updateNode(nodeId as NodeId, version, { ...spec, ...change })).version
      }
    }
  }

  /** Called before the store itself knows that the commit is durable: the first moment at which a new store can be watched without missing anything. */
  #onDurable(host: SimHost): void {
    const store = host.node?.manager()?.store
    if (store) this.#attach(store)
  }

  #attach(store: Store): void {
    if (store === this.#store) return
    this.#store = store
    const view = store.view()
    if (this.#lastView) for (const checker of this.#checkers) checker.onRestart?.(this.#lastView, view)
    this.#lastView = view
    store.watch((commit) => this.#onCommit(commit, store.view()))
  }

  #onCommit(commit: Commit, view: View): void {
    this.commits += 1
    this.trace.note(commitText(commit))
    for (const checker of this.#checkers) checker.onCommit?.(commit, view)
  }

  #everySecond(): void {
    this.clock.setTimer(1_000, () => {
      const store = this.manager()?.store
      if (store) this.#attach(store)
      for (const checker of this.#checkers) checker.onSecond?.()
      this.#everySecond()
    })
  }

  #followEngine(host: SimHost): void {
    this.#runningContainers[host.index] = new Map()
    const follow = async () => {
      for await (const event of host.engine.events(this.#stopEvents.signal)) this.#onEngineEvent(host, event)
    }
    follow().catch((error: unknown) => this.complain('no-defects', `following an engine failed: ${errorText(error)}`))
  }

  #onEngineEvent(host: SimHost, event: EngineEvent): void {
    if (event.kind === 'reconnected') {
      this.#rescan(host)
      return
    }
    if (event.action === 'start') this.#started(host, event.containerId, event.labels)
    else if (event.action === 'die' || event.action === 'destroy') this.#ended(host, event.containerId)
  }

  #onStopSignal(host: SimHost, containerId: string): void {
    const change = this.#runningContainers[host.index]!.get(containerId)
    if (change) for (const checker of this.#checkers) checker.onStopSignal?.(host.index, change.taskId)
  }

  #started(host: SimHost, containerId: string, labels: Readonly<Record<string, string>>): void {
    const taskId = labels[LABEL.task]
    if (taskId === undefined || this.#runningContainers[host.index]!.has(containerId)) return
    const change: ContainerChange = {
      running: true,
      containerId,
      taskId,
      serviceId: labels[LABEL.service] ?? '',
      taskName: labels[LABEL.name] ?? '',
    }
    this.#runningContainers[host.index]!.set(containerId, change)
    this.containersStarted += 1
    this.trace.note(`host ${host.index} runs ${change.taskName}`)
    for (const checker of this.#checkers) checker.onContainer?.(host.index, change)
  }

  #ended(host: SimHost, containerId: string): void {
    const change = this.#runningContainers[host.index]!.get(containerId)
    if (!change) return
    this.#runningContainers[host.index]!.delete(containerId)
    this.trace.note(`host ${host.index} ended ${change.taskName}`)
    for (const checker of this.#checkers) checker.onContainer?.(host.index, { ...change, running: false })
  }

  /** Events may have been missed: look at all containers. */
  #rescan(host: SimHost): void {
    const present = new Set<string>()
    for (const container of host.engine.containers()) {
      if (container.status !== 'running') continue
      present.add(container.id)
      this.#started(host, container.id, container.labels)
    }
    for (const id of [...this.#runningContainers[host.index]!.keys()]) if (!present.has(id)) this.#ended(host, id)
  }

  #logger(host: number): Logger {
    return createLogger(this.#options.logLevel ?? 'warn', (level, message, fields) => {
      this.trace.note(`host ${host} ${level}: ${message} ${JSON.stringify(fields)}`)
    })
  }
}

function commitText(commit: Commit): string {
  let text = `commit ${commit.seq}`
  for (const change of commit.changes) text += `; ${changeText(change)}`
  return text
}

function changeText(change: Change): string {
  if (!change.after) return `-${change.table} ${change.id}`
  if (change.table === 'task') {
    const { slot, nodeId, status, desiredState } = change.after
    return `task ${change.id} slot ${slot} on ${nodeId?.slice(0, 5) ?? '-'} ${taskStateName(status.state)}->${taskStateName(desiredState)}${status.error && ` (${status.error})`}`
  }
  if (change.table === 'node') {
    const { status, spec } = change.after
    return `node ${change.id.slice(0, 5)} ${status.state} ${spec.availability}`
  }
  if (change.table === 'service') {
    return `service ${change.after.spec.name} v${change.after.specVersion} ${change.after.updateStatus?.state ?? ''}`
  }
  return `${change.table} ${change.id}`
}
