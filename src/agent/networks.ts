// The engine-side networks of this node's tasks: made before the first task on a network, removed after the last.
import { type Attachment, type LocalTask, NETWORK_ID_LABEL, type TaskNames } from '../dataplane/index.ts'
import { errorText, isShoalError, type Logger, ShoalError } from '../lib/index.ts'
import type { Engine } from '../ports/index.ts'
import type { AgentDataPlane } from './types.ts'

type Networks = Parameters<AgentDataPlane['attach']>[1]

export class TaskNetworks {
  readonly #engine: Engine
  readonly #dataPlane: AgentDataPlane
  readonly #log: Logger
  /** Tasks on each network. */
  readonly #users = new Map<string, Set<string>>()
  readonly #tasks = new Map<string, LocalTask>()
  /** Removals under way: a new task on such a network has to wait for its end. */
  readonly #removals = new Map<string, Promise<void>>()

  constructor(engine: Engine, dataPlane: AgentDataPlane, log: Logger) {
    this.#engine = engine
    this.#dataPlane = dataPlane
    this.#log = log
  }

  /** A task whose container is there already (adopted). */
  adopt(taskId: string, networks: Networks, names: TaskNames): void {
    this.#note(taskId, networks, names)
  }

  /** Says which container a place belongs to; true when that is new. */
  setGroup(taskId: string, group: string): boolean {
    const task = this.#tasks.get(taskId)
    if (!task || task.group === group) return false
    this.#tasks.set(taskId, { ...task, group })
    return true
  }

  /** What the data plane has to keep: all tasks that are on networks of ours. */
  localTasks(): readonly LocalTask[] {
    return [...this.#tasks.values()]
  }

  /** Makes the networks in kernel and engine; the result has the order in which they are attached. */
  async acquire(taskId: string, networks: Networks, names: TaskNames): Promise<readonly Attachment[]> {
    if (networks.length === 0) return []
    this.#note(taskId, networks, names)
    await Promise.all(networks.map(({ networkId }) => this.#removals.get(networkId)))
    const attachments = await this.#attach(taskId, networks, names)
    for (const { engineNetwork } of attachments) await this.#engine.ensureNetwork(engineNetwork)
    return attachments
  }

  /** That the data plane cannot is a reason to reject the task; 'unavailable' would mean the engine here. */
  async #attach(taskId: string, networks: Networks, names: TaskNames): Promise<readonly Attachment[]> {
    try {
      return await this.#dataPlane.attach(taskId, networks, names)
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
    this.#tasks.delete(taskId)
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

  #note(taskId: string, networks: Networks, names: TaskNames): void {
    const addresses = networks.map(({ networkId, address }) => ({ networkId, address: address.split('/')[0]! }))
    this.#tasks.set(taskId, { ...names, taskId, networkIds: networks.map(({ networkId }) => networkId), addresses })
    for (const { networkId } of networks) {
      const tasks = this.#users.get(networkId) ?? new Set()
      tasks.add(taskId)
      this.#users.set(networkId, tasks)
    }
  }
}
