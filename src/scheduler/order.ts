// All nodes from the least to the most loaded, kept sorted as loads change: the best node for one task stands near the front.
import type { NodeInfo } from './nodeInfo.ts'

/** Beyond this share of changed nodes sorting anew is cheaper than moving each. */
const RESORT_SHARE = 1 / 8

/** Where a node stands: its load and tasks as of then. */
interface Place {
  readonly info: NodeInfo
  load: number
  tasks: number
}

/** By reserved load, then tasks, then first known: what is left of the order of nodes when no service and no failure tells them apart. */
export class NodeOrder {
  #sorted: Place[] = []
  readonly #places = new Map<NodeInfo, Place>()
  readonly #moved = new Set<Place>()
  #resort = false

  add(info: NodeInfo): void {
    const place = { info, load: info.load, tasks: info.activeTasks }
    this.#places.set(info, place)
    this.#sorted.push(place)
    this.#resort = true
  }

  remove(info: NodeInfo): void {
    const place = this.#places.get(info)
    if (!place) return
    this.#places.delete(info)
    this.#moved.delete(place)
    this.#sorted = this.#sorted.filter((other) => other !== place)
  }

  /** Its load may have changed. */
  touch(info: NodeInfo): void {
    const place = this.#places.get(info)
    if (place) this.#moved.add(place)
  }

  /** Valid until the next change of a load. */
  sorted(): readonly Place[] {
    if (this.#resort || this.#moved.size > this.#sorted.length * RESORT_SHARE) this.#sortAll()
    else for (const place of this.#moved) this.#move(place)
    this.#moved.clear()
    return this.#sorted
  }

  #sortAll(): void {
    for (const place of this.#sorted) {
      place.load = place.info.load
      place.tasks = place.info.activeTasks
    }
    this.#sorted.sort((a, b) => a.load - b.load || a.tasks - b.tasks || a.info.index - b.info.index)
    this.#resort = false
  }

  #move(place: Place): void {
    const { info } = place
    const { load, activeTasks } = info
    if (place.load === load && place.tasks === activeTasks) return
    const sorted = this.#sorted
    let from = this.#find(place.load, place.tasks, info.index)
    let to = this.#find(load, activeTasks, info.index)
    place.load = load
    place.tasks = activeTasks
    if (to > from) to--
    for (; from < to; from++) sorted[from] = sorted[from + 1]!
    for (; from > to; from--) sorted[from] = sorted[from - 1]!
    sorted[to] = place
  }

  /** The first position whose place does not come before this one. */
  #find(load: number, tasks: number, index: number): number {
    let low = 0
    let high = this.#sorted.length
    while (low < high) {
      const middle = (low + high) >> 1
      const place = this.#sorted[middle]!
      const before = place.load !== load ? place.load < load : place.tasks !== tasks ? place.tasks < tasks : place.info.index < index
      if (before) low = middle + 1
      else high = middle
    }
    return low
  }
}
