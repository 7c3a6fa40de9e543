// One task on this node: looks at what is wanted and what the engine has, and does the next thing about the difference.
import type { Attachment } from '../dataplane/index.ts'
import { errorText, isShoalError, type Logger, type ServiceId, ShoalError, type TaskId } from '../lib/index.ts'
import { type AssignedTask, CONTAINER_LABELS, isTerminal, type TaskReport, TaskState, type TemplateNode, taskName } from '../model/index.ts'
import type { Clock, ContainerState, Engine, Timer } from '../ports/index.ts'
import type { TaskNetworks } from './networks.ts'
import { type Dependencies, planContainer, planeNetworks, planFiles, stopGraceMs, taskNames } from './plan.ts'
import type { Supervisor } from './supervisor.ts'

export interface TaskEnvironment {
  readonly clock: Clock
  readonly engine: Engine
  readonly log: Logger
  readonly networks: TaskNetworks
  readonly dependencies: Dependencies
  readonly supervisor: Supervisor
  /** This node, for templates. */
  node(): Promise<TemplateNode>
  /** A new state, to be told to the managers and remembered. */
  report(report: TaskReport): void
  /** A removed task has left nothing behind. */
  gone(taskId: TaskId): void
}

const RETRY_FIRST_MS = 100
const RETRY_MOST_MS = 5_000
const PROGRESS_MS = 3_000
const MOST_PROGRESS_CHARACTERS = 200

/**
 * One worker at a time looks and acts; `kick` says that something may have changed. That the engine is away is never a failure of the task:
 * the worker tries again. The reported state only grows.
 */
export class NodeTask {
  readonly id: TaskId
  readonly #env: TaskEnvironment
  readonly #log: Logger
  #task: AssignedTask
  #report: TaskReport
  /** The managers know the present report already, or better. */
  #silent: boolean
  #containerId: string | undefined
  #removed = false
  #stopped = false
  #unhealthy = false
  #networksHeld = true
  #attachments: readonly Attachment[] | undefined

  #dirty = false
  #working = false
  #retryTimer: Timer | undefined
  #failures = 0
  /** Ends the preparation of a task that is not wanted any more. */
  #preparing: AbortController | undefined
  /** A stop is under way: its container may be killed when the task is removed meanwhile. */
  #stopping = false
  readonly #startWaiters = new Set<() => void>()
  #hasStarted = false

  /** `report`: what an earlier run of this agent said last. `container`: what the engine had of this task at start. */
  constructor(env: TaskEnvironment, task: AssignedTask, report: TaskReport | undefined, container: ContainerState | undefined) {
    this.#env = env
    this.id = task.id
    this.#task = task
    this.#containerId = container?.id
    this.#log = env.log.with({ task: task.id })
    const known: TaskReport = { taskId: task.id, state: TaskState.ACCEPTED, at: env.clock.now(), message: 'accepted', error: '' }
    this.#silent = task.knownState > Math.max(TaskState.ACCEPTED, report?.state ?? 0)
    this.#report = this.#silent ? { ...known, state: task.knownState, message: '' } : (report ?? known)
    if (!this.#silent) env.report(this.#report)
  }

  get serviceId(): ServiceId | undefined {
    return this.#task.serviceId
  }

  get task(): AssignedTask {
    return this.#task
  }

  /** What is to be told to a manager that asks for everything. */
  get report(): TaskReport | undefined {
    return this.#silent ? undefined : this.#report
  }

  /** The container of this task once it has been started; undefined when it never will be, or the signal aborts. */
  async startedContainer(signal: AbortSignal): Promise<string | undefined> {
    while (!this.#hasStarted && !isTerminal(this.#report.state) && !this.#removed && !signal.aborted) {
      await new Promise<void>((resolve) => {
        const wake = () => {
          this.#startWaiters.delete(wake)
          signal.removeEventListener('abort', wake)
          resolve()
        }
        this.#startWaiters.add(wake)
        signal.addEventListener('abort', wake, { once: true })
      })
    }
    return signal.aborted ? undefined : this.#containerId
  }

  /** The networks of a single container, once they are made. */
  get attachments(): readonly Attachment[] | undefined {
    return this.#attachments
  }

  get removed(): boolean {
    return this.#removed
  }

  get containerId(): string | undefined {
    return this.#containerId
  }

  assign(task: AssignedTask): void {
    this.#task = task
    if (!this.#wanted) this.#preparing?.abort()
    this.kick()
  }

  /** The managers have forgotten the task: its container goes, by force if it still runs. */
  remove(): void {
    if (this.#removed) return
    this.#removed = true
    this.#preparing?.abort()
    const id = this.#containerId
    if (this.#stopping && id) {
      this.#env.supervisor.run('killing a container', () => this.#env.engine.kill(id).catch(() => {})) // the removal comes anyway
    }
    this.kick()
  }

  /** A secret or config has new content: the files of a running container that uses it follow, and it gets the signal. */
  async refreshFiles(id: string, signal: string): Promise<void> {
    const { secrets = [], configs = [] } = this.#task.spec.container ?? {}
    const uses = secrets.some(({ secretId }) => secretId === id) || configs.some(({ configId }) => configId === id)
    if (!uses || this.#containerId === undefined || this.#removed || !this.#wanted) return
    const container = await this.#look()
    if (container?.status !== 'running') return
    const files = planFiles(this.#task, await this.#env.node(), this.#env.dependencies)
    if (await this.#env.engine.replaceFiles(container.name, files)) await this.#env.engine.kill(container.id, signal)
  }

  /** The agent stops; the container stays. */
  stop(): void {
    this.#stopped = true
    this.#retryTimer?.cancel()
    this.#preparing?.abort()
    this.#wakeStartWaiters()
  }

  kick(): void {
    this.#dirty = true
    if (this.#working || this.#stopped) return
    this.#working = true
    this.#env.supervisor.run(`task ${this.id}`, () => this.#work())
  }

  async #work(): Promise<void> {
    try {
      while (this.#dirty && !this.#stopped) {
        this.#dirty = false
        this.#retryTimer?.cancel()
        try {
          await this.#step()
          this.#failures = 0
        } catch (error) {
          this.#retryLater(error)
        }
      }
    } finally {
      this.#working = false
    }
  }

  #retryLater(error: unknown): void {
    if (this.#stopped || (isShoalError(error, 'canceled') && this.#dirty)) return
    const delayMs = Math.min(RETRY_FIRST_MS * 2 ** this.#failures, RETRY_MOST_MS)
    this.#failures += 1
    this.#log.debug('a task has to wait', { error: errorText(error), retryMs: delayMs })
    this.#retryTimer = this.#env.clock.setTimer(delayMs, () => this.kick())
  }

  get #wanted(): boolean {
    return !this.#removed && this.#task.desiredState < TaskState.SHUTDOWN
  }

  async #step(): Promise<void> {
    if (this.#removed) return this.#erase()
    if (isTerminal(this.#report.state)) return this.#afterEnd()
    if (!this.#task.spec.container) return this.#stepWithoutContainer()
    const container = await this.#look()
    if (!this.#wanted) return this.#shutDown(container)
    if (!container) return this.#containerId === undefined ? this.#prepare() : this.#lost()
    switch (container.status) {
      case 'created':
        return this.#startIfWanted()
      case 'running':
      case 'paused':
      case 'restarting':
        return this.#observe(container)
      case 'removing':
        if (this.#report.state < TaskState.STARTING) throw new ShoalError('unavailable', 'its container is being removed')
        return this.#lost()
      case 'exited':
      case 'dead':
        return this.#finish(container)
    }
  }

  async #look(): Promise<ContainerState | undefined> {
    return this.#containerId === undefined ? undefined : this.#env.engine.inspect(this.#containerId)
  }

  /** What the engine says of a pull becomes the task's message, now and then: each one is a commit of the store. */
  #pullProgress(): (text: string) => void {
    const { clock } = this.#env
    let toldAt = clock.monotonicMs()
    return (text) => {
      if (clock.monotonicMs() - toldAt < PROGRESS_MS || this.#report.state !== TaskState.PREPARING) return
      toldAt = clock.monotonicMs()
      this.#tell({ state: TaskState.PREPARING, message: `pulling image: ${text.slice(0, MOST_PROGRESS_CHARACTERS)}` })
    }
  }

  /** Somebody removed the container. One that was never started is simply made again. */
  #lost(): void {
    const id = this.#containerId ?? taskName(this.#task.serviceName, this.#task)
    this.#containerId = undefined
    if (this.#report.state >= TaskState.STARTING) this.#end(TaskState.FAILED, { error: `No such container: ${id}` })
    else this.#dirty = true
  }

  async #prepare(): Promise<void> {
    if (this.#report.state >= TaskState.STARTING) return this.#lost()
    this.#tell({ state: TaskState.PREPARING, message: 'preparing' })
    const abort = new AbortController()
    this.#preparing = abort
    try {
      this.#containerId = await this.#create(abort.signal)
      this.#tell({ state: TaskState.READY, message: 'prepared' })
      this.#dirty = true
    } catch (error) {
      if (isShoalError(error, 'unavailable') || isShoalError(error, 'canceled')) throw error
      this.#log.info('task rejected', {
        error: errorText(error),
        ...(error instanceof ShoalError && error.next ? { cause: error.next } : {}),
      })
      this.#end(TaskState.REJECTED, { error: errorText(error) })
    } finally {
      this.#preparing = undefined
    }
  }

  async #create(signal: AbortSignal): Promise<string> {
    const { engine, networks, dependencies } = this.#env
    const task = this.#task
    const container = task.spec.container!
    const addresses = planeNetworks(task)
    await engine.ensureImage(container.image, { registryAuth: container.registryAuth, signal, progress: this.#pullProgress() })
    const attachments = await networks.acquire(task.id, addresses, taskNames(task))
    const plan = planContainer(task, await this.#env.node(), attachments, dependencies)
    if (signal.aborted) throw new ShoalError('canceled', 'the task is not wanted any more')
    try {
      return await engine.create(plan)
    } catch (error) {
      if (!isShoalError(error, 'already-exists')) throw error
      // made by a run of this agent that died before it knew; nothing is known of how it was made
      const present = await engine.inspect(plan.name)
      if (present && present.labels[CONTAINER_LABELS.taskId] !== task.id) throw error
      if (present && present.status !== 'created') return present.id
      if (present) await engine.remove(present.id)
      return engine.create(plan)
    }
  }

  async #startIfWanted(): Promise<void> {
    this.#tell({ state: TaskState.READY, message: 'prepared' })
    if (this.#task.desiredState < TaskState.RUNNING) return
    const id = this.#containerId!
    this.#tell({ state: TaskState.STARTING, message: 'starting' })
    try {
      await this.#env.engine.start(id)
    } catch (error) {
      if (isShoalError(error, 'unavailable') || isShoalError(error, 'canceled')) throw error
      if (isShoalError(error, 'not-found') && (await this.#env.engine.inspect(id)) === undefined) return this.#lost()
      return this.#end(TaskState.FAILED, { error: `starting container failed: ${errorText(error)}` })
    }
    await this.#env.networks.started(this.id)
    this.#dirty = true
  }

  async #observe(container: ContainerState): Promise<void> {
    this.#markStarted()
    const runtime = {
      container: { containerId: container.id, pid: container.pid, exitCode: 0 },
      ports: container.ports.map(({ protocol, target, published }) => ({ protocol, targetPort: target, publishedPort: published })),
    }
    if (container.health === 'starting') return this.#tell({ state: TaskState.STARTING, message: 'starting', ...runtime })
    if (container.health !== 'unhealthy') return this.#tell({ state: TaskState.RUNNING, message: 'started', ...runtime })
    this.#unhealthy = true
    this.#log.info('container is unhealthy', { container: container.id })
    await this.#stopContainer(container.id)
    this.#dirty = true
  }

  #finish(container: ContainerState): void {
    this.#markStarted()
    const runtime = { container: { containerId: container.id, pid: 0, exitCode: container.exitCode } }
    if (container.exitCode === 0 && !this.#unhealthy) {
      this.#end(TaskState.COMPLETE, { message: 'finished', ...runtime })
      return
    }
    const cause = this.#unhealthy
      ? ': dockerexec: unhealthy container'
      : container.error
        ? `: ${container.error}`
        : container.oomKilled
          ? ': the container ran out of memory'
          : ''
    this.#end(TaskState.FAILED, { error: `task: non-zero exit (${container.exitCode})${cause}`, ...runtime })
  }

  async #shutDown(container: ContainerState | undefined): Promise<void> {
    let last = container
    if (container && (container.status === 'running' || container.status === 'paused' || container.status === 'restarting')) {
      await this.#stopContainer(container.id)
      last = await this.#env.engine.inspect(container.id)
      if (last?.status === 'running') throw new ShoalError('unavailable', 'the container did not stop')
    }
    const runtime = last && { container: { containerId: last.id, pid: 0, exitCode: last.exitCode } }
    this.#end(TaskState.SHUTDOWN, { message: 'shutdown', ...runtime })
  }

  async #stopContainer(id: string): Promise<void> {
    this.#stopping = true
    try {
      await this.#env.engine.stop(id, { graceMs: stopGraceMs(this.#task) })
    } catch (error) {
      if (!isShoalError(error, 'not-found')) throw error
    } finally {
      this.#stopping = false
    }
  }

  /** The container of an ended task stays, for logs and history; one that the managers took for ended is stopped. */
  async #afterEnd(): Promise<void> {
    if (!this.#networksHeld) return
    const container = await this.#look()
    if (container?.status === 'running') await this.#stopContainer(container.id)
    await this.#env.networks.release(this.id)
    this.#networksHeld = false
  }

  async #erase(): Promise<void> {
    const { engine, networks } = this.#env
    // the answer to a create may have been lost
    const name = this.#task.spec.container && taskName(this.#task.serviceName, this.#task)
    const id = this.#containerId ?? (name && (await engine.inspect(name))?.id)
    if (id !== undefined) await engine.remove(id)
    this.#containerId = undefined
    await networks.release(this.id)
    this.#stopped = true
    this.#wakeStartWaiters()
    this.#env.gone(this.id)
  }

  /** A container that a person made (`docker run --network`): only its networks are ours. */
  async #stepWithoutContainer(): Promise<void> {
    if (!this.#wanted) return this.#end(TaskState.SHUTDOWN, { message: 'shutdown' })
    if (!this.#task.spec.attachment) {
      return this.#end(TaskState.REJECTED, { error: `runtime ${this.#task.spec.runtime ?? 'unknown'} is not supported on this node` })
    }
    if (this.#attachments) return
    this.#tell({ state: TaskState.PREPARING, message: 'preparing' })
    try {
      const attachments = await this.#env.networks.acquire(this.id, planeNetworks(this.#task), {})
      await this.#env.networks.started(this.id) // the engine may have rearranged the firewall for a network that was made
      this.#attachments = attachments
    } catch (error) {
      if (isShoalError(error, 'unavailable') || isShoalError(error, 'canceled')) throw error
      return this.#end(TaskState.REJECTED, { error: errorText(error) })
    }
    this.#tell({ state: TaskState.READY, message: 'prepared' })
    if (this.#task.desiredState >= TaskState.RUNNING) this.#tell({ state: TaskState.RUNNING, message: 'started' })
  }

  #end(state: TaskState, change: Partial<TaskReport>): void {
    this.#tell({ state, ...change })
    this.#wakeStartWaiters()
    this.#dirty = true // its networks are given back
  }

  /** A state below the one that was told is not told; the message of the last phase stays when an end has none of its own. */
  #tell(change: Partial<TaskReport> & { readonly state: TaskState }): void {
    if (change.state < this.#report.state) return
    const next: TaskReport = { ...this.#report, error: '', ...change }
    if (change.state === this.#report.state && sameRuntime(next, this.#report)) return
    this.#report = { ...next, at: this.#env.clock.now() }
    this.#silent = false
    this.#env.report(this.#report)
  }

  #markStarted(): void {
    this.#hasStarted = true
    this.#wakeStartWaiters()
  }

  #wakeStartWaiters(): void {
    for (const wake of [...this.#startWaiters]) wake()
  }
}

function sameRuntime(a: TaskReport, b: TaskReport): boolean {
  return (
    a.error === b.error &&
    a.message === b.message &&
    a.container?.containerId === b.container?.containerId &&
    a.container?.pid === b.container?.pid &&
    a.container?.exitCode === b.container?.exitCode &&
    JSON.stringify(a.ports ?? []) === JSON.stringify(b.ports ?? [])
  )
}
