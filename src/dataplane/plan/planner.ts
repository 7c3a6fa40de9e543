// Plans the kernel state of this node from the mesh; remembers the pieces, so that an update costs what it changed.
import { type KernelFeatures, type KernelObject, keyOf } from '../../ports/index.ts'
import type { LocalTask, MeshEndpoint, MeshNetwork, MeshState, SelfNode } from '../types.ts'
import { baseFragment, endpointFragment, extrasOf, networkFragment, type PlanContext, peerFragment, serviceFragment } from './fragments.ts'
import { chainCount } from './rules.ts'

export interface PlanInput {
  readonly state: MeshState
  readonly self: SelfNode
  readonly localTasks: readonly LocalTask[]
  readonly features: KernelFeatures
}

/** What the kernel has to have, by key. */
export type WantedState = ReadonlyMap<string, KernelObject>

/** The whole wanted state, from nothing but the input. */
export function planKernel(input: PlanInput): WantedState {
  const planner = new Planner()
  planner.plan(input)
  return planner.wanted
}

/** Networks that this node needs: ingress always, an overlay as long as a local task is on it. */
export function neededNetworks(state: MeshState, localTasks: readonly LocalTask[]): ReadonlyMap<string, MeshNetwork> {
  const used = new Set(localTasks.flatMap((task) => task.networkIds))
  return new Map([...state.networks].filter(([id, network]) => network.ingress || used.has(id)))
}

interface Fragment {
  readonly inputs: readonly unknown[]
  readonly objects: readonly KernelObject[]
}

/** `planKernel` step by step: always equal to a plan made afresh (a property test says so). */
export class Planner {
  #wanted = new Map<string, KernelObject>()
  #fragments = new Map<string, Fragment>()
  /** How many fragments want a key, where it is more than one: an address may have an old and a new owner in one state. */
  #shared = new Map<string, number>()
  /** Keys that were shared at some moment of the plan being made. */
  #contested = new Set<string>()
  #context: PlanContext | undefined

  get wanted(): WantedState {
    return this.#wanted
  }

  /** Brings `wanted` to the input; returns the keys whose objects may have changed. */
  plan(input: PlanInput): ReadonlySet<string> {
    const context = this.#contextOf(input)
    const endpoints = byService(input.state.endpoints)
    const stale = new Set(this.#fragments.keys())
    const touched = new Set<string>()
    const use = (id: string, inputs: readonly unknown[], make: () => readonly KernelObject[]) => {
      stale.delete(id)
      const known = this.#fragments.get(id)
      if (known && sameItems(known.inputs, inputs)) return
      this.#replace(id, known, { inputs, objects: make() }, touched)
    }

    let most = 0
    for (const list of endpoints.values()) most = Math.max(most, list.length)
    const chains = chainCount(most)
    const extras = extrasOf(input.state.services.values())
    use('base', [context, chains, extras.affinity, extras.placed], () => baseFragment(context, chains, extras))
    for (const [id, network] of context.networks) use(`network ${id}`, [context, network], () => networkFragment(context, network))
    for (const [id, peer] of context.peers) use(`peer ${id}`, [context, peer], () => peerFragment(context, peer))
    for (const [id, service] of input.state.services) {
      const own = endpoints.get(id) ?? []
      use(`service ${id}`, [context, service, ...own], () => serviceFragment(context, service, inOrder(own)))
    }
    for (const [id, own] of endpoints) {
      // single containers on attachable networks, and tasks of a service that was removed while they still end
      if (!input.state.services.has(id)) use(`tasks ${id}`, [context, ...own], () => endpointFragment(context, inOrder(own)))
    }
    for (const id of stale) this.#replace(id, this.#fragments.get(id), undefined, touched)
    this.#settle()
    return touched
  }

  /** The context of the last plan, if it is the same: fragments compare it by identity. */
  #contextOf({ state, self, localTasks, features }: PlanInput): PlanContext {
    const next: PlanContext = { self, features, networks: neededNetworks(state, localTasks), peers: state.peers }
    if (!this.#context || !sameContext(this.#context, next)) this.#context = next
    return this.#context
  }

  #replace(id: string, old: Fragment | undefined, next: Fragment | undefined, touched: Set<string>): void {
    for (const object of old?.objects ?? []) {
      const key = keyOf(object)
      touched.add(key)
      const owners = this.#shared.get(key)
      if (owners === undefined) {
        this.#wanted.delete(key)
        continue
      }
      this.#contested.add(key)
      if (owners > 2) this.#shared.set(key, owners - 1)
      else this.#shared.delete(key)
    }
    for (const object of next?.objects ?? []) {
      const key = keyOf(object)
      touched.add(key)
      if (this.#wanted.has(key)) {
        this.#shared.set(key, (this.#shared.get(key) ?? 1) + 1)
        this.#contested.add(key)
      }
      this.#wanted.set(key, object)
    }
    if (next) this.#fragments.set(id, next)
    else this.#fragments.delete(id)
  }

  /** Of several fragments that want one key the one with the greatest id decides, whatever the order in which they came. */
  #settle(): void {
    if (this.#contested.size === 0) return
    for (const id of [...this.#fragments.keys()].sort()) {
      for (const object of this.#fragments.get(id)!.objects) {
        const key = keyOf(object)
        if (this.#contested.has(key)) this.#wanted.set(key, object)
      }
    }
    this.#contested.clear()
  }
}

function byService(endpoints: ReadonlyMap<string, MeshEndpoint>): Map<string, MeshEndpoint[]> {
  const result = new Map<string, MeshEndpoint[]>()
  for (const endpoint of endpoints.values()) {
    const list = result.get(endpoint.serviceId)
    if (list) list.push(endpoint)
    else result.set(endpoint.serviceId, [endpoint])
  }
  return result
}

function inOrder(endpoints: readonly MeshEndpoint[]): readonly MeshEndpoint[] {
  return endpoints.toSorted((a, b) => (a.taskId < b.taskId ? -1 : a.taskId > b.taskId ? 1 : 0))
}

function sameItems(a: readonly unknown[], b: readonly unknown[]): boolean {
  return a.length === b.length && a.every((item, i) => item === b[i])
}

function sameContext(a: PlanContext, b: PlanContext): boolean {
  return (
    JSON.stringify([a.self, a.features]) === JSON.stringify([b.self, b.features]) &&
    (a.peers === b.peers || JSON.stringify([...a.peers]) === JSON.stringify([...b.peers])) &&
    a.networks.size === b.networks.size &&
    [...b.networks].every(([id, network]) => JSON.stringify(a.networks.get(id)) === JSON.stringify(network))
  )
}
