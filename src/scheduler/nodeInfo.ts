// What the scheduler knows of one node: the object, and what the tasks on it use.
import type { GenericResource, Node } from '../model/index.ts'
import { type Demand, normalPlatform } from './demand.ts'

/** Failures that make a node the last choice for a group, and for how long they count (as in SwarmKit). */
export const MAX_FAILURES = 5
export const FAILURE_WINDOW_MS = 5 * 60_000

export class NodeInfo {
  node: Node
  ready = false
  /** Its tasks run there no longer than until they are replaced: they do not weigh in spreading. */
  leaving = false
  os = ''
  architecture = ''
  /** Position in the node set: the last tie-break, so equal nodes are taken in a fixed order. */
  readonly index: number
  nanoCpusUsed = 0
  memoryBytesUsed = 0
  /** Tasks that run or are meant to. */
  activeTasks = 0
  /** Share of what the node has that is reserved, the larger of CPU and memory. */
  load = 0
  readonly hostPorts = new Map<string, number>()
  readonly genericUsed = new Map<string, { discrete: number; named: string[] }>()
  readonly failures = new Map<string, number[]>()

  constructor(node: Node, index: number) {
    this.node = node
    this.index = index
    this.setNode(node)
  }

  setNode(node: Node): void {
    this.node = node
    this.leaving = node.status.state === 'down' || node.spec.availability === 'drain'
    this.ready = node.status.state === 'ready' && node.spec.availability === 'active' && node.spec.membership === 'accepted'
    const platform = normalPlatform(node.description?.platform ?? { os: '', architecture: '' })
    this.os = platform.os
    this.architecture = platform.architecture
    this.#weigh()
  }

  /** Adds (sign 1) or takes away (sign -1) what one task uses. */
  use(demand: Demand, generic: readonly GenericResource[] | undefined, sign: 1 | -1): void {
    this.nanoCpusUsed += sign * demand.nanoCpus
    this.memoryBytesUsed += sign * demand.memoryBytes
    for (const port of demand.hostPorts) {
      const count = (this.hostPorts.get(port) ?? 0) + sign
      if (count > 0) this.hostPorts.set(port, count)
      else this.hostPorts.delete(port)
    }
    for (const resource of generic ?? []) {
      const used = this.genericUsed.get(resource.kind) ?? { discrete: 0, named: [] }
      if ('discrete' in resource) used.discrete += sign * resource.discrete
      else if (sign > 0) used.named.push(resource.named)
      else used.named.splice(used.named.indexOf(resource.named), 1)
      this.genericUsed.set(resource.kind, used)
    }
    if (demand.nanoCpus !== 0 || demand.memoryBytes !== 0) this.#weigh()
  }

  fitsResources(demand: Demand): boolean {
    if (demand.nanoCpus === 0 && demand.memoryBytes === 0 && demand.generic.length === 0) return true
    const resources = this.node.description?.resources
    if (demand.nanoCpus > 0 && this.nanoCpusUsed + demand.nanoCpus > (resources?.nanoCpus ?? 0)) return false
    if (demand.memoryBytes > 0 && this.memoryBytesUsed + demand.memoryBytes > (resources?.memoryBytes ?? 0)) return false
    return demand.generic.every(({ kind, count }) => this.#freeGeneric(kind).count >= count)
  }

  /** The generic resources that a task gets here; the demand must fit. */
  claim(demand: Demand): readonly GenericResource[] {
    return demand.generic.flatMap(({ kind, count }): GenericResource[] => {
      const free = this.#freeGeneric(kind)
      if (free.named.length === 0) return [{ kind, discrete: count }]
      return free.named.slice(0, count).map((named) => ({ kind, named }))
    })
  }

  /** Free pieces of one kind. */
  freeGeneric(kind: string): number {
    return this.#freeGeneric(kind).count
  }

  #freeGeneric(kind: string): { count: number; named: string[] } {
    const used = this.genericUsed.get(kind)
    let discrete = 0
    const named: string[] = []
    for (const resource of this.node.description?.resources.generic ?? []) {
      if (resource.kind !== kind) continue
      if ('discrete' in resource) discrete += resource.discrete
      else if (!used?.named.includes(resource.named)) named.push(resource.named)
    }
    // A kind is either counted or named; where a node says both, the names count.
    return named.length > 0 || (used?.named.length ?? 0) > 0
      ? { count: named.length, named }
      : { count: discrete - (used?.discrete ?? 0), named }
  }

  failed(groupKey: string, at: number): void {
    const recent = (this.failures.get(groupKey) ?? []).filter((then) => then > at - FAILURE_WINDOW_MS)
    recent.push(at)
    this.failures.set(groupKey, recent.slice(-MAX_FAILURES))
  }

  /** 0 below the limit: a few failures do not move tasks. */
  recentFailures(groupKey: string, now: number): number {
    if (this.failures.size === 0) return 0
    const failures = this.failures.get(groupKey)
    if (!failures) return 0
    let count = 0
    for (const at of failures) if (at > now - FAILURE_WINDOW_MS) count++
    if (count === 0) this.failures.delete(groupKey)
    return count < MAX_FAILURES ? 0 : count
  }

  #weigh(): void {
    const resources = this.node.description?.resources
    const cpu = this.nanoCpusUsed > 0 ? this.nanoCpusUsed / Math.max(resources?.nanoCpus ?? 0, 1) : 0
    const memory = this.memoryBytesUsed > 0 ? this.memoryBytesUsed / Math.max(resources?.memoryBytes ?? 0, 1) : 0
    this.load = Math.max(cpu, memory)
  }
}
