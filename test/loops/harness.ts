// A cluster for stories about loops: the real store over a memory journal, the real runner, a virtual clock, and nodes whose agents do what the story says.
import { createLogger, type NetworkId, type NodeId, newId, type ServiceId } from '../../src/lib/index.ts'
import { type AnyLoop, createRunner, type Runner } from '../../src/loops/index.ts'
import {
  DEFAULT_CLUSTER_SPEC,
  MANUAL_ROLLBACK_MESSAGE,
  type Node,
  rolledBack,
  type Service,
  type ServiceSpec,
  specNeedsNewTasks,
  specRevisionOf,
  type Task,
  TaskState,
} from '../../src/model/index.ts'
import { createRandom, createVirtualClock, type VirtualClock } from '../../src/ports/fakes/index.ts'
import { createMemoryJournal, createStore, type MemoryJournalState, type Store } from '../../src/store/index.ts'

export interface NodeOptions {
  readonly labels?: Record<string, string>
  readonly nanoCpus?: number
  readonly memoryBytes?: number
  readonly generic?: NonNullable<Node['description']>['resources']['generic']
  readonly dataPlane?: boolean
}

/** What a container of an image does; images that are not named run for ever. */
export interface Behaviour {
  /** From ASSIGNED to RUNNING. */
  readonly startMs?: number
  /** From told to stop to stopped. */
  readonly stopMs?: number
  /** Ends by itself after this. */
  readonly runMs?: number
  readonly exitCode?: number
  /** The image cannot be had. */
  readonly rejected?: boolean
}

export type SpecInput = Omit<Partial<ServiceSpec>, 'task'> & {
  name: string
  image?: string
  replicas?: number
  task?: Partial<ServiceSpec['task']>
}

export function specOf({ name, image = 'app:1', replicas = 1, task, ...rest }: SpecInput): ServiceSpec {
  return {
    name,
    labels: {},
    mode: { kind: 'replicated', replicas },
    ...rest,
    task: { forceUpdate: 0, ...task, container: { image, ...task?.container } },
  }
}

/** `loops`: instead of all (made anew for each runner). */
export async function createHarness(seed = 'loops', loops?: () => readonly AnyLoop[]) {
  const clock = createVirtualClock()
  const journalState: MemoryJournalState = { seq: 0, entries: new Map() }
  const errors: string[] = []
  const log = createLogger('warn', (_level, message, fields) => errors.push(`${message} ${JSON.stringify(fields)}`))
  const store = await createStore({ clock, journal: createMemoryJournal(journalState), log })
  const harness = new Harness(clock, store, errors, log, seed, loops)
  await harness.init()
  return harness
}

export class Harness {
  readonly clock: VirtualClock
  readonly store: Store
  readonly errors: string[]
  readonly images = new Map<string, Behaviour>()
  readonly #log
  readonly #random
  readonly #silent = new Set<string>()
  readonly #doing = new Map<string, string>()
  readonly #loops: (() => readonly AnyLoop[]) | undefined
  #runner: Runner

  constructor(
    clock: VirtualClock,
    store: Store,
    errors: string[],
    log: ReturnType<typeof createLogger>,
    seed: string,
    loops?: () => readonly AnyLoop[],
  ) {
    this.#loops = loops
    this.clock = clock
    this.store = store
    this.errors = errors
    this.#log = log
    this.#random = createRandom(seed)
    this.#runner = this.#newRunner()
    store.watch((commit) => {
      for (const change of commit.changes) if (change.table === 'task' && change.after) this.#agent(change.after)
    })
  }

  async init(): Promise<void> {
    this.#runner.start()
    await this.write((tx) => {
      tx.setCluster({
        id: newId(this.#random),
        spec: DEFAULT_CLUSTER_SPEC,
        rootCaPem: '',
        rootCaKeyPem: '',
        joinTokens: { worker: '', manager: '' },
        defaultAddressPools: [],
        subnetSize: 24,
        dataPathPort: 4789,
        networkKeys: [],
      })
      const network = { labels: {}, driver: 'overlay', driverOptions: {}, ipv6: false, internal: false, attachable: false, ingress: false }
      tx.networks.create({
        id: 'ingress' as NetworkId,
        spec: { ...network, name: 'ingress', ingress: true, ipamDriver: 'default', ipamOptions: {}, ipam: [] },
        plane: 'shoal',
        vni: 0,
        subnets: [],
      })
    })
  }

  #newRunner(): Runner {
    return createRunner({ store: this.store, clock: this.clock, random: this.#random, log: this.#log, loops: this.#loops?.() })
  }

  async restartRunner(): Promise<void> {
    await this.stopRunner()
    this.#runner = this.#newRunner()
    this.#runner.start()
    await this.clock.settle()
  }

  async stopRunner(): Promise<void> {
    await this.#settled(this.#runner.stop())
  }

  async write<T>(fn: Parameters<Store['transact']>[0] extends (tx: infer X) => unknown ? (tx: X) => T : never): Promise<T> {
    return this.#settled(this.store.transact(fn))
  }

  async #settled<T>(promise: Promise<T>): Promise<T> {
    await this.clock.settle()
    return promise
  }

  /** Lets time pass. */
  async pass(ms: number): Promise<void> {
    await this.clock.advance(ms)
  }

  async until(predicate: () => boolean, limitMs = 600_000): Promise<boolean> {
    return this.clock.runUntil(predicate, limitMs)
  }

  async node(name: string, options: NodeOptions = {}): Promise<NodeId> {
    const id = name as NodeId
    await this.write((tx) =>
      tx.nodes.create({
        id,
        spec: { name: '', labels: options.labels ?? {}, desiredRole: 'worker', membership: 'accepted', availability: 'active' },
        role: 'worker',
        number: 0,
        description: {
          hostname: name,
          platform: { os: 'linux', architecture: 'x86_64' },
          resources: { nanoCpus: options.nanoCpus ?? 4e9, memoryBytes: options.memoryBytes ?? 8e9, generic: options.generic ?? [] },
          engineVersion: '20.10.24',
          engineLabels: {},
          plugins: [],
          tls: { trustRoot: '', issuerSubject: '', issuerPublicKey: '' },
        },
        status: { state: 'ready', message: '', address: '10.9.0.1' },
        certificate: { csrPem: '', state: 'issued', certificatePem: '', error: '' },
        agent: 'shoal',
        dataPlane: { on: options.dataPlane ?? true, reason: '' },
      }),
    )
    return id
  }

  async nodes(...names: string[]): Promise<void> {
    for (const name of names) await this.node(name)
  }

  async changeNode(id: string, change: (node: Node) => Node): Promise<void> {
    await this.write((tx) => {
      const node = tx.nodes.get(id as NodeId)
      if (node) tx.nodes.update(change(node))
    })
  }

  async availability(id: string, availability: Node['spec']['availability'], options: { deadlineMs?: number } = {}): Promise<void> {
    const drain = availability === 'drain' ? { drain: { since: this.clock.now(), ...options } } : {}
    await this.changeNode(id, ({ drain: _drain, ...node }) => ({ ...node, spec: { ...node.spec, availability }, ...drain }))
  }

  async label(id: string, labels: Record<string, string>): Promise<void> {
    await this.changeNode(id, (node) => ({ ...node, spec: { ...node.spec, labels } }))
  }

  /** The node cannot be reached: its agent goes on with what it has, hears nothing, says nothing. */
  async lose(id: string): Promise<void> {
    this.#silent.add(id)
    await this.changeNode(id, (node) => ({ ...node, status: { ...node.status, state: 'down' }, downSince: this.clock.now() }))
  }

  async back(id: string): Promise<void> {
    this.#silent.delete(id)
    await this.changeNode(id, (node) => ({ ...node, status: { ...node.status, state: 'ready' }, downSince: undefined }))
    for (const task of [...this.store.view().tasks.byNode(id as NodeId)]) this.#agent(task)
    await this.clock.settle()
  }

  async removeNode(id: string): Promise<void> {
    await this.write((tx) => tx.nodes.delete(id as NodeId))
  }

  async create(spec: ServiceSpec): Promise<ServiceId> {
    const id = newId<ServiceId>(this.#random)
    await this.write((tx) => {
      const job = spec.mode.kind.endsWith('job') ? { job: { iteration: 0, lastExecution: tx.now } } : {}
      const service = tx.services.create({ id, spec, specVersion: tx.seq, ...job })
      tx.specRevisions.create(specRevisionOf(service))
    })
    return id
  }

  /** As control does it (see the report of this room). */
  async update(id: ServiceId, change: (spec: ServiceSpec) => ServiceSpec): Promise<void> {
    await this.write((tx) => {
      const service = tx.services.get(id)
      if (!service) throw new Error('no such service')
      const spec = change(service.spec)
      const fresh = specNeedsNewTasks(service.spec, spec)
      const job = service.job && fresh ? { job: { iteration: service.job.iteration + 1, lastExecution: tx.now } } : {}
      const updated = tx.services.update({
        ...service,
        spec,
        specVersion: fresh ? tx.seq : service.specVersion,
        previousSpec: service.spec,
        previousSpecVersion: service.specVersion,
        updateStatus: undefined,
        ...job,
      })
      if (fresh) tx.specRevisions.create(specRevisionOf(updated))
    })
  }

  async image(id: ServiceId, image: string): Promise<void> {
    await this.update(id, (spec) => ({ ...spec, task: { ...spec.task, container: { ...spec.task.container, image } } }))
  }

  async scale(id: ServiceId, replicas: number): Promise<void> {
    await this.update(id, (spec) => ({ ...spec, mode: { kind: 'replicated', replicas } }))
  }

  async rollback(id: ServiceId): Promise<void> {
    await this.write((tx) => {
      const service = tx.services.get(id)
      const back = service && rolledBack(service, tx.now, MANUAL_ROLLBACK_MESSAGE, 'person')
      if (back) tx.services.update(back)
    })
  }

  async remove(id: ServiceId): Promise<void> {
    await this.write((tx) => tx.services.delete(id))
  }

  service(id: ServiceId): Service {
    const service = this.store.view().services.get(id)
    if (!service) throw new Error('no such service')
    return service
  }

  tasks(id: ServiceId): Task[] {
    return [...this.store.view().tasks.byService(id)].sort((a, b) => a.slot - b.slot || a.createdAt - b.createdAt)
  }

  /** Tasks that run and are meant to, as `service ps` with Running Running. */
  running(id: ServiceId): Task[] {
    return this.tasks(id).filter((task) => task.desiredState === TaskState.RUNNING && task.status.state === TaskState.RUNNING)
  }

  /** Containers that run in truth, whatever the manager believes. */
  containers(id: ServiceId): Task[] {
    return this.tasks(id).filter((task) => task.status.state === TaskState.RUNNING)
  }

  imageOf(task: Task): string {
    const revision = task.serviceId ? this.store.view().specRevisions.of(task.serviceId, task.specVersion) : undefined
    return revision?.task.container?.image ?? ''
  }

  countByNode(id: ServiceId): Record<string, number> {
    const counts: Record<string, number> = {}
    for (const task of this.running(id)) counts[task.nodeId ?? ''] = (counts[task.nodeId ?? ''] ?? 0) + 1
    return counts
  }

  async report(id: Task['id'], state: TaskState, error = ''): Promise<void> {
    await this.store.transact((tx) => {
      const task = tx.tasks.get(id)
      if (!task || task.status.state >= state) return // states only grow
      tx.tasks.update({ ...task, status: { ...task.status, state, at: tx.now, message: '', error } })
    })
  }

  /** The agent of a task's node takes the next step. */
  #agent(task: Task): void {
    if (!task.nodeId || this.#silent.has(task.nodeId) || task.status.state < TaskState.ASSIGNED || task.status.state > TaskState.RUNNING)
      return
    const behaviour = this.images.get(this.imageOf(task)) ?? {}
    const step = this.#nextStep(task, behaviour)
    const doing = step && `${step.name}`
    if (!step || this.#doing.get(task.id) === doing) return
    this.#doing.set(task.id, doing as string)
    this.clock.setTimer(step.afterMs, () => {
      if (this.#doing.get(task.id) !== doing) return
      this.#doing.delete(task.id)
      if (this.#silent.has(task.nodeId as string)) return
      void this.report(task.id, step.state, step.error)
    })
  }

  #nextStep(task: Task, behaviour: Behaviour): { name: string; afterMs: number; state: TaskState; error?: string } | undefined {
    if (task.desiredState > TaskState.COMPLETE && task.releasedAt !== undefined)
      return { name: 'stop', afterMs: task.status.state === TaskState.RUNNING ? (behaviour.stopMs ?? 100) : 1, state: TaskState.SHUTDOWN }
    const { state } = task.status
    if (state < TaskState.PREPARING) return { name: 'prepare', afterMs: 1, state: TaskState.PREPARING }
    if (state === TaskState.PREPARING && behaviour.rejected)
      return { name: 'reject', afterMs: 1, state: TaskState.REJECTED, error: 'No such image' }
    if (state < TaskState.READY) return { name: 'ready', afterMs: 1, state: TaskState.READY }
    if (task.desiredState < TaskState.RUNNING) return undefined
    if (state < TaskState.RUNNING) return { name: 'run', afterMs: behaviour.startMs ?? 100, state: TaskState.RUNNING }
    if (behaviour.runMs === undefined) return undefined
    const code = behaviour.exitCode ?? 0
    return code === 0
      ? { name: 'end', afterMs: behaviour.runMs, state: TaskState.COMPLETE }
      : { name: 'end', afterMs: behaviour.runMs, state: TaskState.FAILED, error: `task: non-zero exit (${code})` }
  }
}
