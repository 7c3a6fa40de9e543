// All tasks of this node: assignments in, one worker a task, what the engine has taken over at start, what nobody knows removed.
import { errorText, isShoalError, type Logger, type NodeId, ShoalError, type TaskId } from '../lib/index.ts'
import {
  type AssignedConfig,
  type AssignedSecret,
  type AssignedTask,
  CONTAINER_LABELS,
  contentPolicy,
  contentSignal,
  isTerminal,
  type TaskReport,
  TaskState,
  type TemplateNode,
} from '../model/index.ts'
import type { Clock, ContainerState, Engine } from '../ports/index.ts'
import type { Assignments } from '../wire/index.ts'
import { TaskNetworks } from './networks.ts'
import { planeNetworks, taskNames } from './plan.ts'
import type { TaskRecords } from './records.ts'
import type { Supervisor } from './supervisor.ts'
import { NodeTask, type TaskEnvironment } from './task.ts'
import type { AgentDataPlane } from './types.ts'

const RETRY_FIRST_MS = 100
const RETRY_MOST_MS = 5_000
/** Everything is looked at so often even if no event says so. */
const SWEEP_MS = 60_000

export interface TasksDeps {
  readonly clock: Clock
  readonly engine: Engine
  readonly dataPlane: AgentDataPlane
  readonly log: Logger
  readonly nodeId: NodeId
  readonly supervisor: Supervisor
  readonly records: TaskRecords
  readonly report: (report: TaskReport) => void
  readonly onEngineReconnected: () => void
}

export class Tasks {
  readonly #deps: TasksDeps
  readonly #networks: TaskNetworks
  readonly #tasks = new Map<TaskId, NodeTask>()
  readonly #secrets = new Map<string, AssignedSecret>()
  readonly #configs = new Map<string, AssignedConfig>()
  /** Tasks that are wanted again while what they left behind is still being removed. */
  readonly #wantedAgain = new Map<TaskId, AssignedTask>()
  /** Containers of this node that were there at start and that no task has claimed yet. */
  readonly #found = new Map<string, ContainerState>()
  readonly #env: TaskEnvironment
  readonly #listeners = new Set<(task: NodeTask) => void>()
  readonly #reportListeners = new Set<() => void>()
  readonly #signal: AbortSignal
  #adopted: Promise<void> | undefined
  #complete = false
  #nodeFacts: TemplateNode | undefined

  constructor(deps: TasksDeps, signal: AbortSignal) {
    this.#deps = deps
    this.#signal = signal
    this.#networks = new TaskNetworks(deps.engine, deps.dataPlane, deps.log)
    this.#env = {
      clock: deps.clock,
      engine: deps.engine,
      log: deps.log,
      networks: this.#networks,
      supervisor: deps.supervisor,
      dependencies: { secret: (id) => this.#secrets.get(id), config: (id) => this.#configs.get(id) },
      node: () => this.#node(),
      report: (report) => {
        deps.records.set(report)
        deps.report(report)
        for (const listener of this.#reportListeners) listener()
      },
      gone: (taskId) => this.#gone(taskId),
    }
  }

  get size(): number {
    return this.#tasks.size
  }

  /** Begins to watch the engine. */
  start(): void {
    const { supervisor } = this.#deps
    supervisor.run('watching the engine', () => this.#watchEngine())
    supervisor.run('sweeping tasks', () => this.#sweep())
  }

  stop(): void {
    for (const task of this.#tasks.values()) task.stop()
  }

  /** Resolves when it is known what the engine has of this node's tasks; until then no assignment may be applied. */
  adopted(): Promise<void> {
    this.#adopted ??= this.#adopt()
    return this.#adopted
  }

  apply({ complete, changes }: Assignments): void {
    if (complete) {
      this.#secrets.clear()
      this.#configs.clear()
    }
    const named = new Set<string>()
    // secrets and configs first: the tasks of the same message need them
    for (const change of changes) {
      if (change.kind === 'secret')
        change.action === 'update' ? this.#secrets.set(change.secret.id, change.secret) : this.#secrets.delete(change.id)
      if (change.kind === 'config')
        change.action === 'update' ? this.#configs.set(change.config.id, change.config) : this.#configs.delete(change.id)
    }
    for (const change of changes) {
      if (change.kind !== 'task') continue
      if (change.action === 'remove') this.#remove(change.id)
      else {
        named.add(change.task.id)
        this.#assign(change.task)
      }
    }
    if (complete) this.#removeUnknown(named)
    this.#refreshContents(changes)
  }

  /** Secrets and configs whose running users want to know of new content. A content that is no news changes nothing. */
  #refreshContents(changes: Assignments['changes']): void {
    for (const change of changes) {
      if (change.action !== 'update' || change.kind === 'task') continue
      const { id, labels = {} } = change.kind === 'secret' ? change.secret : change.config
      if (contentPolicy(labels) !== 'signal') continue
      for (const task of this.#tasks.values())
        this.#deps.supervisor.run('refreshing files', () => this.#refresh(task, id, contentSignal(labels)))
    }
  }

  async #refresh(task: NodeTask, id: string, signal: string): Promise<void> {
    try {
      await this.#untilDone(() => task.refreshFiles(id, signal))
    } catch (error) {
      if (!isShoalError(error, 'canceled'))
        this.#deps.log.warn('new content did not reach a task', { task: task.id, error: errorText(error) })
    }
  }

  /** Reports of all tasks, for a manager that has to hear everything. */
  reports(): readonly TaskReport[] {
    return [...this.#tasks.values()].flatMap((task) => task.report ?? [])
  }

  all(): readonly NodeTask[] {
    return [...this.#tasks.values()]
  }

  /** Called with each task that comes later. */
  onTask(listener: (task: NodeTask) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Places of one container belong together: its names are those of all its networks. */
  async setContainers(containers: ReadonlyMap<TaskId, string>): Promise<void> {
    const changed = [...containers].filter(([taskId, container]) => this.#networks.setGroup(taskId, container))
    if (changed.length > 0 && this.#complete) await this.#deps.dataPlane.setLocalTasks(this.#networks.localTasks())
  }

  /** Called after each report of any task. */
  onReport(listener: () => void): () => void {
    this.#reportListeners.add(listener)
    return () => this.#reportListeners.delete(listener)
  }

  #assign(task: AssignedTask): void {
    const present = this.#tasks.get(task.id)
    if (present?.removed) this.#wantedAgain.set(task.id, task)
    else present?.assign(task)
    if (present) return
    const container = this.#found.get(task.id)
    this.#found.delete(task.id)
    // a single container on an attachable network may run, whatever this agent knows of it
    if (container?.status === 'running' || (task.spec.attachment && task.knownState >= TaskState.RUNNING)) this.#adoptNetworks(task)
    const created = new NodeTask(this.#env, task, this.#deps.records.get(task.id), container)
    this.#tasks.set(task.id, created)
    for (const listener of this.#listeners) listener(created)
    created.kick()
  }

  #remove(id: TaskId): void {
    this.#wantedAgain.delete(id)
    this.#tasks.get(id)?.remove()
  }

  #gone(id: TaskId): void {
    this.#tasks.delete(id)
    this.#deps.records.delete(id)
    const again = this.#wantedAgain.get(id)
    this.#wantedAgain.delete(id)
    if (again) this.#assign(again)
  }

  #adoptNetworks(task: AssignedTask): void {
    try {
      this.#networks.adopt(task.id, planeNetworks(task), taskNames(task))
    } catch (error) {
      this.#deps.log.warn('a running task has no address any more', { task: task.id, error: errorText(error) })
    }
  }

  /** The managers have said everything: other tasks are gone, and so are containers of this node that no task claims. */
  #removeUnknown(named: ReadonlySet<string>): void {
    for (const id of this.#tasks.keys()) if (!named.has(id)) this.#remove(id)
    this.#deps.records.keepOnly(new Set(this.#tasks.keys()))
    for (const container of this.#found.values()) {
      this.#deps.log.info('removing a container that no task claims', { container: container.id, name: container.name })
      this.#deps.supervisor.run('removing an unknown container', () => this.#untilDone(() => this.#deps.engine.remove(container.id)))
    }
    this.#found.clear()
    if (this.#complete) return
    this.#complete = true
    this.#deps.supervisor.run('telling the data plane its tasks', () => this.#deps.dataPlane.setLocalTasks(this.#networks.localTasks()))
  }

  async #node(): Promise<TemplateNode> {
    if (this.#nodeFacts) return this.#nodeFacts
    const { hostname, operatingSystem, architecture } = await this.#deps.engine.info()
    this.#nodeFacts = { hostname, os: operatingSystem, architecture }
    return this.#nodeFacts
  }

  async #adopt(): Promise<void> {
    await this.#deps.records.load()
    const containers = await this.#untilDone(() => this.#deps.engine.list(this.#deps.nodeId))
    for (const container of containers) {
      const taskId = container.labels[CONTAINER_LABELS.taskId]
      // by hand somebody may have made two of one task: the running one counts
      const other = taskId === undefined ? undefined : this.#found.get(taskId)
      if (taskId && (!other || (other.status !== 'running' && container.status === 'running'))) this.#found.set(taskId, container)
    }
    if (containers.length > 0) this.#deps.log.info('found containers of this node', { count: containers.length })
  }

  /** The engine may be away for a while; that is no reason to give up. */
  async #untilDone<T>(work: () => Promise<T>): Promise<T> {
    for (let failures = 0; ; failures += 1) {
      try {
        return await work()
      } catch (error) {
        if (isShoalError(error, 'canceled') || this.#signal.aborted) throw new ShoalError('canceled', 'the agent stops')
        this.#deps.log.debug('the engine does not answer as it should', { error: errorText(error) })
        await this.#deps.clock.sleep(Math.min(RETRY_FIRST_MS * 2 ** failures, RETRY_MOST_MS), this.#signal)
      }
    }
  }

  async #watchEngine(): Promise<void> {
    for await (const event of this.#deps.engine.events(this.#signal)) {
      if (event.kind === 'reconnected') {
        this.#nodeFacts = undefined
        this.#kickAll()
        this.#deps.onEngineReconnected()
        continue
      }
      const { labels } = event
      if (labels[CONTAINER_LABELS.nodeId] !== this.#deps.nodeId) continue
      this.#tasks.get(labels[CONTAINER_LABELS.taskId] as TaskId)?.kick()
    }
  }

  async #sweep(): Promise<void> {
    while (!this.#signal.aborted) {
      await this.#deps.clock.sleep(SWEEP_MS, this.#signal)
      this.#kickAll()
    }
  }

  #kickAll(): void {
    for (const task of this.#tasks.values()) if (!isTerminal(task.report?.state ?? 0)) task.kick()
  }
}
