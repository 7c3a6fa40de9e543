// All nodes with what runs on them, kept up to date change by change: placing a task never recounts the cluster.
import { assert } from '../lib/index.ts'
import type { GenericResource, Node } from '../model/index.ts'
import type { Demand } from './demand.ts'
import { Fits } from './fits.ts'
import { NodeInfo } from './nodeInfo.ts'
import { NodeOrder } from './order.ts'

/** What one assigned task takes from its node. */
export interface TaskUse {
  readonly nodeId: string
  readonly demand: Demand
  readonly generic: readonly GenericResource[] | undefined
  /** It is meant to run (a task that has been told to stop still holds its resources, but does not count for spreading). */
  readonly active: boolean
}

export class NodeSet {
  readonly #nodes = new Map<string, NodeInfo>()
  readonly #uses = new Map<string, TaskUse>()
  /** Active tasks by service and node. */
  readonly #byService = new Map<string, Map<string, number>>()
  readonly #order = new NodeOrder()
  readonly #fits = new Fits()
  #nextIndex = 0

  get size(): number {
    return this.#nodes.size
  }

  get taskCount(): number {
    return this.#uses.size
  }

  get(nodeId: string): NodeInfo | undefined {
    return this.#nodes.get(nodeId)
  }

  values(): Iterable<NodeInfo> {
    return this.#nodes.values()
  }

  /** Adds or replaces a node; false when this very object is known already. */
  setNode(node: Node): boolean {
    const known = this.#nodes.get(node.id)
    if (known?.node === node) return false
    if (known) {
      known.setNode(node)
      this.#fits.forget(known)
      this.#order.touch(known)
      return true
    }
    const info = new NodeInfo(node, this.#nextIndex++)
    this.#nodes.set(node.id, info)
    this.#order.add(info)
    for (const use of this.#uses.values()) if (use.nodeId === node.id) this.#count(info, use, 1)
    return true
  }

  removeNode(nodeId: string): void {
    const info = this.#nodes.get(nodeId)
    if (!info) return
    this.#nodes.delete(nodeId)
    this.#order.remove(info)
  }

  /** Least loaded first; valid until the next change. */
  leastLoaded(): Iterable<{ readonly info: NodeInfo }> {
    return this.#order.sorted()
  }

  /** Whether nodes meet what the demand asks of a node itself, remembered; undefined when it asks nothing. */
  fitsNode(demand: Demand): ((info: NodeInfo) => boolean) | undefined {
    return this.#fits.of(demand, this.#nextIndex)
  }

  /** Sets what a task uses now; undefined when it uses nothing (any more). Saying the same again changes nothing. */
  setTask(taskId: string, use: TaskUse | undefined): void {
    const before = this.#uses.get(taskId)
    if (before === use) return
    if (before && use && before.nodeId === use.nodeId && before.demand === use.demand && before.active === use.active) {
      this.#uses.set(taskId, use.generic === before.generic ? use : { ...use, generic: before.generic })
      return
    }
    if (before) this.#apply(before, -1)
    if (use) {
      this.#uses.set(taskId, use)
      this.#apply(use, 1)
    } else this.#uses.delete(taskId)
  }

  useOf(taskId: string): TaskUse | undefined {
    return this.#uses.get(taskId)
  }

  /** Active tasks of a service by node id; undefined when it has none anywhere. */
  tasksOf(serviceId: string): ReadonlyMap<string, number> | undefined {
    return serviceId === '' ? undefined : this.#byService.get(serviceId)
  }

  #apply(use: TaskUse, sign: 1 | -1): void {
    const info = this.#nodes.get(use.nodeId)
    if (info) this.#count(info, use, sign)
    if (!use.active || use.demand.serviceId === '') return
    const counts = this.#byService.get(use.demand.serviceId) ?? new Map<string, number>()
    const count = (counts.get(use.nodeId) ?? 0) + sign
    assert(count >= 0, 'a task is taken away once')
    if (count > 0) counts.set(use.nodeId, count)
    else counts.delete(use.nodeId)
    if (counts.size > 0) this.#byService.set(use.demand.serviceId, counts)
    else this.#byService.delete(use.demand.serviceId)
  }

  #count(info: NodeInfo, use: TaskUse, sign: 1 | -1): void {
    info.use(use.demand, use.generic, sign)
    if (use.active) info.activeTasks += sign
    this.#order.touch(info)
  }
}
