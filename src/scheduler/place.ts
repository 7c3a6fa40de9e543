// Places the tasks of one group on nodes, or says why some found none.
import type { GenericResource } from '../model/index.ts'
import type { Demand } from './demand.ts'
import { countRefusal, explain, type FilterName, type Refusals, refusal } from './filters.ts'
import type { NodeInfo } from './nodeInfo.ts'
import type { NodeSet } from './nodeSet.ts'
import { SpreadTree } from './spread.ts'

export interface TaskToPlace {
  readonly taskId: string
  /** Tasks of global services are bound to a node. */
  readonly nodeId?: string
  /** Nodes with a task that this one is going to replace and that still counts there (start-first): it is left out of max replicas per node. */
  readonly replacesOn?: readonly string[]
}

export interface Placed {
  readonly taskId: string
  readonly nodeId: string
  readonly generic: readonly GenericResource[]
}

export interface Unplaced {
  readonly taskId: string
  /** `no suitable node (…)`. */
  readonly reason: string
  readonly refusals: ReadonlyMap<FilterName, number>
}

export interface Placement {
  readonly placed: readonly Placed[]
  readonly unplaced: readonly Unplaced[]
}

/**
 * Places tasks in the order given. What is placed is entered into the node set at once (under the task's id), so that the next group sees it; whoever does not
 * commit it takes it out again with `setTask(id, undefined)`. Order of nodes: fewest recent failures (from five in five minutes on), nested spread
 * preferences, fewest tasks of the service, least reserved, fewest tasks, first known.
 */
export function placeGroup(nodes: NodeSet, demand: Demand, tasks: readonly TaskToPlace[], now: number): Placement {
  const placed: Placed[] = []
  const unplaced: Unplaced[] = []
  const enter = (taskId: string, info: NodeInfo): void => {
    const generic = info.claim(demand)
    nodes.setTask(taskId, { nodeId: info.node.id, demand, generic, active: true })
    placed.push({ taskId, nodeId: info.node.id, generic })
  }

  const free: TaskToPlace[] = []
  for (const task of tasks) {
    if (task.nodeId === undefined) {
      free.push(task)
      continue
    }
    const info = nodes.get(task.nodeId)
    const why = info === undefined ? 'ready' : refusal(info, demand, countOn(nodes, demand, info, task))
    if (info && why === undefined) enter(task.taskId, info)
    else unplaced.push(unplacedFor(task, new Map([[why ?? 'ready', 1]])))
  }

  if (free.length === 0) return { placed, unplaced }
  // Tasks that replace others on known nodes see other counts than their siblings, so they are placed one by one.
  const oneByOne = demand.maxReplicasPerNode > 0 && free.some((task) => (task.replacesOn?.length ?? 0) > 0)
  const few = oneByOne || free.length * FEW <= nodes.size
  if (demand.spreadOver.length === 0 && few) for (const task of free) placeOne(nodes, demand, task, now, enter, unplaced)
  else for (const batch of oneByOne ? free.map((task) => [task]) : [free]) placeMany(nodes, demand, batch, now, enter, unplaced)
  return { placed, unplaced }
}

/** Below this share of the nodes it is cheaper to look for each task's node from the least loaded on than to rank all nodes. */
const FEW = 16

function placeOne(
  nodes: NodeSet,
  demand: Demand,
  task: TaskToPlace,
  now: number,
  enter: (taskId: string, info: NodeInfo) => void,
  unplaced: Unplaced[],
): void {
  const fits = nodes.fitsNode(demand)
  const counts = nodes.tasksOf(demand.serviceId)
  let best: NodeInfo | undefined
  let bestFailures = 0
  let bestCount = 0
  for (const { info } of nodes.leastLoaded()) {
    if (fits && !fits(info)) continue
    const failures = info.recentFailures(demand.groupKey, now)
    const count = counts?.get(info.node.id) ?? 0
    // Of equals the first is the best, so only fewer counts.
    if (best && (failures !== bestFailures ? failures > bestFailures : count >= bestCount)) continue
    if (refusal(info, demand, counts ? countOn(nodes, demand, info, task) : 0) !== undefined) continue
    best = info
    bestFailures = failures
    bestCount = count
    if (failures === 0 && count === 0) break
  }
  if (best) enter(task.taskId, best)
  else unplaced.push(unplacedFor(task, allRefusals(nodes, demand, task)))
}

function allRefusals(nodes: NodeSet, demand: Demand, task: TaskToPlace): Refusals {
  const refusals: Refusals = new Map()
  for (const info of nodes.values()) {
    const why = refusal(info, demand, countOn(nodes, demand, info, task))
    if (why !== undefined) countRefusal(refusals, why)
  }
  return refusals
}

function placeMany(
  nodes: NodeSet,
  demand: Demand,
  tasks: readonly TaskToPlace[],
  now: number,
  enter: (taskId: string, info: NodeInfo) => void,
  unplaced: Unplaced[],
): void {
  const refusals: Refusals = new Map()
  const first = tasks[0]!
  const candidates: NodeInfo[] = []
  const better = nodeOrder(nodes, demand, now)
  for (const info of nodes.values()) {
    const why = refusal(info, demand, countOn(nodes, demand, info, first))
    if (why === undefined) candidates.push(info)
    else countRefusal(refusals, why)
  }
  const tree = new SpreadTree(
    candidates,
    nodes.values(),
    demand.spreadOver,
    (info) => nodes.tasksOf(demand.serviceId)?.get(info.node.id) ?? 0,
    better,
  )
  for (const task of tasks) {
    const picked = tree.pick(
      (info) => {
        const why = refusal(info, demand, countOn(nodes, demand, info, first))
        if (why !== undefined) countRefusal(refusals, why)
        return why === undefined
      },
      (info) => enter(task.taskId, info),
    )
    if (!picked) unplaced.push(unplacedFor(task, refusals))
  }
}

function countOn(nodes: NodeSet, demand: Demand, info: NodeInfo, task: TaskToPlace): number {
  const count = nodes.tasksOf(demand.serviceId)?.get(info.node.id) ?? 0
  if (!task.replacesOn) return count
  let replaced = 0
  for (const nodeId of task.replacesOn) if (nodeId === info.node.id) replaced++
  return count - replaced
}

function unplacedFor(task: TaskToPlace, refusals: Refusals): Unplaced {
  return { taskId: task.taskId, reason: explain(refusals), refusals }
}

function nodeOrder(nodes: NodeSet, demand: Demand, now: number): (a: NodeInfo, b: NodeInfo) => boolean {
  return (a, b) => {
    const failuresA = a.recentFailures(demand.groupKey, now)
    const failuresB = b.recentFailures(demand.groupKey, now)
    if (failuresA !== failuresB) return failuresA < failuresB
    const counts = nodes.tasksOf(demand.serviceId)
    if (counts) {
      const tasksA = counts.get(a.node.id) ?? 0
      const tasksB = counts.get(b.node.id) ?? 0
      if (tasksA !== tasksB) return tasksA < tasksB
    }
    if (a.load !== b.load) return a.load < b.load
    if (a.activeTasks !== b.activeTasks) return a.activeTasks < b.activeTasks
    return a.index < b.index
  }
}
