// The engine-side networks of this node's tasks: made before the first task on a network, removed after the last.
import { type Attachment, NETWORK_ID_LABEL } from '../dataplane/index.ts'
import { errorText, isShoalError, type Logger, ShoalError } from '../lib/index.ts'
import type { Engine } from '../ports/index.ts'
import type { AgentDataPlane } from './types.ts'

export class TaskNetworks {
  readonly #engine: Engine
  readonly #dataPlane: AgentDataPlane
  readonly #log: Logger
  /** Tasks on each network. */
  readonly #users = new Map<string, Set<string>>()
  /** Removals under way: a new task on such a network has to wait for its end. */
  readonly #removals = new Map<string, Promise<void>>()

  constructor(engine: Engine, dataPlane: AgentDataPlane, log: Logger) {
    this.#engine = engine
    this.#dataPlane = dataPlane
    this.#log = log
  }

  /** A task whose container is there already (adopted). */
  adopt(taskId: string, networkIds: readonly string[]): void {
    for (const networkId of networkIds) this.#use(networkId, taskId)
  }

  /** What the data plane has to keep: all tasks that are on networks of ours. */
  localTasks(): readonly { readonly taskId: string; readonly networkIds: readonly string[] }[] {
    const byTask = new Map<string, string[]>()
    for (const [networkId, tasks] of this.#users) {
      for (const taskId of tasks) byTask.set(taskId, [...(byTask.get(taskId) ?? []), networkId])
    }
    return [...byTask].map(([taskId, networkIds]) => ({ taskId, networkIds }))
  }

  /** Makes the networks in kernel and engine; the result has the order in which they are attached. */
  async acquire(
    taskId: string,
    networks: readonly { readonly networkId: string; readonly address: string }[],
  ): Promise<readonly Attachment[]> {
    if (networks.length === 0) return []
    for (const { networkId } of networks) this.#use(networkId, taskId)
    await Promise.all(networks.map(({ networkId }) => this.#removals.get(networkId)))
    const attachments = await this.#attach(taskId, networks)
    for (const { engineNetwork } of attachments) await this.#engine.ensureNetwork(engineNetwork)
    return attachments
  }

  /** That the data plane cannot is a reason to reject the task; 'unavailable' would mean the engine here. */
  async #attach(taskId: string, networks: Parameters<AgentDataPlane['attach']>[1]): Promise<readonly Attachment[]> {
    try {
      return await this.#dataPlane.attach(taskId, networks)
    } catch (error) {
      if (isShoalError(error, 'canceled')) throw error
      throw new ShoalError('failed-precondition', errorText(error), { cause: error })
    }
  }

  /** A container with networks of ours has started. */
  async started(taskId: string): Promise<void> {
    if (![...this.#users.values()].some((tasks) => tasks.has(taskId))) return
    try {
      await this.#dataPlane.hairpin()
    } catch (error) {
      if (!isShoalError(error, 'canceled'))
        this.#log.warn('a task cannot reach itself through its service', { task: taskId, error: errorText(error) })
    }
  }

  /** The task's container is gone. Networks without a task are taken out of the engine before the data plane removes their bridges. */
  async release(taskId: string): Promise<void> {
    const unused: string[] = []
    let attached = false
    for (const [networkId, tasks] of this.#users) {
      if (!tasks.delete(taskId)) continue
      attached = true
      if (tasks.size > 0) continue
      this.#users.delete(networkId)
      unused.push(networkId)
    }
    if (!attached) return
    const removal = this.#remove(taskId, unused)
    for (const networkId of unused) this.#removals.set(networkId, removal)
    await removal
    for (const networkId of unused) if (this.#removals.get(networkId) === removal) this.#removals.delete(networkId)
  }

  /** Never rejects: a network that stays behind is used again, or removed with the next task. */
  async #remove(taskId: string, networkIds: readonly string[]): Promise<void> {
    await Promise.all(networkIds.map((networkId) => this.#removals.get(networkId)))
    for (const networkId of networkIds) {
      if (this.#users.has(networkId)) continue
      try {
        const found = await this.#engine.listNetworks(`${NETWORK_ID_LABEL}=${networkId}`)
        for (const { name } of found) await this.#engine.removeNetwork(name)
      } catch (error) {
        this.#log.info('an unused network stays in the engine', { network: networkId, error: errorText(error) })
      }
    }
    try {
      await this.#dataPlane.detach(taskId)
    } catch (error) {
      if (!isShoalError(error, 'canceled')) this.#log.warn('the data plane kept a task', { task: taskId, error: errorText(error) })
    }
  }

  #use(networkId: string, taskId: string): void {
    const tasks = this.#users.get(networkId) ?? new Set()
    tasks.add(taskId)
    this.#users.set(networkId, tasks)
  }
}
