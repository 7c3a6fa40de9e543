// Candidates under nested spread preferences: a tree whose leaves are heaps of nodes, best node on top.
import { attributeOf } from '../model/index.ts'
import type { NodeInfo } from './nodeInfo.ts'

export type Better = (a: NodeInfo, b: NodeInfo) => boolean

/** One branch: the nodes that share the values of the preferences so far. */
interface Branch {
  /** Active tasks of the service below this branch. */
  tasks: number
  readonly children: Branch[] | undefined
  readonly heap: NodeInfo[]
}

export class SpreadTree {
  readonly #root: Branch
  readonly #better: Better

  /** `tasksOn` = active tasks of the service on a node. All nodes in `counted` (also those that cannot take a task) weigh in their branches. */
  constructor(
    candidates: readonly NodeInfo[],
    counted: Iterable<NodeInfo>,
    spreadOver: readonly string[],
    tasksOn: (info: NodeInfo) => number,
    better: Better,
  ) {
    this.#better = better
    this.#root = spreadOver.length === 0 ? leaf([...candidates], better) : grow([...candidates], [...counted], spreadOver, tasksOn, better)
  }

  /**
   * The best node for one more task, or undefined when no branch has one left. `fits` is asked again, because earlier picks may have filled a node;
   * one that does not fit any more leaves the tree, so each call ends. `placed` must update the node's counts.
   */
  pick(fits: (info: NodeInfo) => boolean, placed: (info: NodeInfo) => void): NodeInfo | undefined {
    return this.#pickIn(this.#root, fits, placed)
  }

  #pickIn(branch: Branch, fits: (info: NodeInfo) => boolean, placed: (info: NodeInfo) => void): NodeInfo | undefined {
    if (!branch.children) {
      const { heap } = branch
      while (heap.length > 0) {
        const top = heap[0]!
        if (!fits(top)) {
          removeTop(heap, this.#better)
          continue
        }
        placed(top)
        branch.tasks++
        siftDown(heap, 0, this.#better) // it has one task more now
        return top
      }
      return undefined
    }
    // Stable sort: equal branches are taken in the order in which they were found.
    for (const child of [...branch.children].sort((a, b) => a.tasks - b.tasks)) {
      const picked = this.#pickIn(child, fits, placed)
      if (picked) {
        branch.tasks++
        return picked
      }
      branch.children.splice(branch.children.indexOf(child), 1) // nothing left below: never tried again
    }
    return undefined
  }
}

function grow(
  candidates: NodeInfo[],
  counted: NodeInfo[],
  spreadOver: readonly string[],
  tasksOn: (info: NodeInfo) => number,
  better: Better,
): Branch {
  const [descriptor, ...deeper] = spreadOver
  if (descriptor === undefined) return leaf(candidates, better)
  const groups = new Map<string, { candidates: NodeInfo[]; counted: NodeInfo[]; tasks: number }>()
  const groupOf = (info: NodeInfo) => {
    const value = attributeOf(info.node, descriptor) ?? '' // nodes without the label are a branch of their own
    const group = groups.get(value) ?? { candidates: [], counted: [], tasks: 0 }
    groups.set(value, group)
    return group
  }
  for (const info of candidates) groupOf(info).candidates.push(info)
  for (const info of counted) {
    const group = groupOf(info)
    group.counted.push(info)
    if (!info.leaving) group.tasks += tasksOn(info)
  }
  const children: Branch[] = []
  for (const group of groups.values()) {
    if (group.candidates.length === 0) continue
    children.push({ ...grow(group.candidates, group.counted, deeper, tasksOn, better), tasks: group.tasks })
  }
  return { tasks: 0, children, heap: [] }
}

function leaf(heap: NodeInfo[], better: Better): Branch {
  for (let at = (heap.length >> 1) - 1; at >= 0; at--) siftDown(heap, at, better)
  return { tasks: 0, children: undefined, heap }
}

function removeTop(heap: NodeInfo[], better: Better): void {
  const last = heap.pop()!
  if (heap.length === 0) return
  heap[0] = last
  siftDown(heap, 0, better)
}

function siftDown(heap: NodeInfo[], start: number, better: Better): void {
  let at = start
  const moving = heap[at]!
  for (;;) {
    let child = 2 * at + 1
    if (child >= heap.length) break
    if (child + 1 < heap.length && better(heap[child + 1]!, heap[child]!)) child++
    if (!better(heap[child]!, moving)) break
    heap[at] = heap[child]!
    at = child
  }
  heap[at] = moving
}
