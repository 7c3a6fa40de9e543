// Gives pending tasks a node, or the reason why there is none.

import type { Instant, TaskId } from '../lib/index.ts'
import { isTerminal, type Node, type Task, TaskState } from '../model/index.ts'
import { type Demand, type FilterName, NodeSet, placeGroup, type TaskToPlace, type TaskUse, type Unplaced } from '../scheduler/index.ts'
import { Demands } from './demands.ts'
import { dependencyNames, unmetDependency } from './dependsOn.ts'
import { isLive, isUnassigned } from './tasks.ts'
import { type BatchLoop, type Change, type Context, KeyFailure, type View } from './types.ts'

const ASSIGNED_MESSAGE = 'scheduler assigned task to node'
/** A key that stands for "look which blocked groups may go on now". */
const SWEEP = '*'
/** Groups that one transaction looks at: blocked ones cost time without writing anything. */
const GROUPS_PER_RUN = 200
/** Rest after a sweep for each group that it woke, so that a stream of small changes with many blocked groups takes only a share of the time. */
const SWEEP_REST_MS = 0.1

/** A group's key: `<serviceId>.<specVersion>`, or `task:<id>` for a task without a service. */
function groupKeyOf(task: Task): string {
  return task.serviceId ? `${task.serviceId}.${task.specVersion}` : `task:${task.id}`
}

function isPending(task: Task | undefined): task is Task {
  return task !== undefined && task.status.state === TaskState.PENDING && isLive(task)
}

export function scheduling(): BatchLoop {
  let nodes = new NodeSet()
  let demands = new Demands()
  let pending = new Map<string, Set<TaskId>>()
  /** Groups that found no node, with the filters that refused: only a change of what those look at wakes them. */
  let blocked = new Map<string, ReadonlySet<FilterName>>()
  /** Groups that wait for other services, with the names of these. */
  let waiting = new Map<string, ReadonlySet<string>>()
  let changed = new Set<FilterName>()
  let nextSweepAt: Instant = 0

  const noteTask = (view: View, task: Task | undefined, id: TaskId, before: Task | undefined): void => {
    if (before && isPending(before) && !(task && isPending(task))) dequeue(before)
    if (task && isPending(task)) enqueue(task)
    nodes.setTask(id, task && useOf(view, task))
  }
  const useOf = (view: View, task: Task): TaskUse | undefined => {
    if (!task.nodeId || isUnassigned(task) || isTerminal(task.status.state)) return undefined
    const demand = nodes.useOf(task.id)?.demand ?? demands.of(view, task)
    return demand && { nodeId: task.nodeId, demand, generic: task.genericResources, active: isLive(task) }
  }
  const enqueue = (task: Task): void => {
    const key = groupKeyOf(task)
    const group = pending.get(key)
    if (group) group.add(task.id)
    else pending.set(key, new Set([task.id]))
  }
  const dequeue = (task: Task): void => {
    const key = groupKeyOf(task)
    const group = pending.get(key)
    group?.delete(task.id)
    if (group?.size === 0) {
      pending.delete(key)
      blocked.delete(key)
      waiting.delete(key)
    }
  }

  function observeTask(change: Extract<Change, { table: 'task' }>, view: View): void {
    const { before, after } = change
    if (after && (after.status.state === TaskState.FAILED || after.status.state === TaskState.REJECTED) && after.nodeId) {
      const failedNow = before !== undefined && before.status.state !== after.status.state
      if (failedNow && isLive(before)) nodes.get(after.nodeId)?.failed(groupKeyOf(after), after.updatedAt)
    }
    const usedBefore = nodes.useOf(change.id)
    noteTask(view, after, change.id, before)
    if (!usedBefore) return
    const usedNow = nodes.useOf(change.id)
    if (!usedNow) changed.add('resources').add('hostPort').add('maxReplicas')
    else if (usedBefore.active && !usedNow.active) changed.add('maxReplicas')
  }

  function observeNode(before: Node | undefined, after: Node | undefined, id: Node['id']): void {
    if (!after) nodes.removeNode(id)
    else nodes.setNode(after)
    for (const filter of filtersTouched(before, after)) changed.add(filter)
  }

  return {
    kind: 'batch',
    name: 'scheduling',

    reset(view) {
      nodes = new NodeSet()
      demands = new Demands()
      pending = new Map()
      blocked = new Map()
      waiting = new Map()
      changed = new Set()
      for (const node of view.nodes.values()) nodes.setNode(node)
      for (const task of view.tasks.values()) {
        noteTask(view, task, task.id, undefined)
        if (task.nodeId && (task.status.state === TaskState.FAILED || task.status.state === TaskState.REJECTED))
          nodes.get(task.nodeId)?.failed(groupKeyOf(task), task.updatedAt)
      }
    },

    observe(commit, view) {
      for (const change of commit.changes) {
        if (change.table === 'task') observeTask(change, view)
        else if (change.table === 'node') observeNode(change.before, change.after, change.id)
        else if (change.table === 'specRevision' && !change.after && change.before)
          demands.forget(change.before.serviceId, change.before.specVersion)
      }
    },

    *keys() {
      yield* pending.keys()
    },

    *dirty(change, view) {
      if (change.table === 'task' && isPending(change.after) && !isPending(change.before)) yield groupKeyOf(change.after)
      else if (change.table === 'service' && change.after && change.before?.spec.task.placement !== change.after.spec.task.placement) {
        for (const revision of view.specRevisions.byService(change.id)) if (pending.has(revision.id)) yield revision.id
      }
      if (waiting.size > 0) yield* touchedWaiters(change, view)
      if (changed.size > 0 && blocked.size > 0) yield SWEEP
    },

    run(ctx, keys) {
      followNodes(ctx.tx)
      if (keys.has(SWEEP) && ctx.now >= nextSweepAt) sweep(ctx, keys)
      let looked = 0
      for (const key of keys) {
        if (key === SWEEP) continue
        if (ctx.limit.spent || looked++ >= GROUPS_PER_RUN) return 'again'
        try {
          if (scheduleGroup(ctx, key)) keys.delete(key)
          else return 'again'
        } catch (error) {
          throw new KeyFailure(key, error)
        }
      }
      return keys.size > 0 ? { wakeAt: nextSweepAt } : 'done'
    },
  }

  /** The draft may know more than the last commit: nobody is placed on a node that was just drained or removed. */
  function followNodes(view: View): void {
    for (const node of view.nodes.values()) nodes.setNode(node)
    if (nodes.size === view.nodes.size) return
    for (const { node } of [...nodes.values()]) if (!view.nodes.get(node.id)) nodes.removeNode(node.id)
  }

  /** Who waits for a service that has changed, or whose tasks have come to another state. */
  function* touchedWaiters(change: Change, view: View): Iterable<string> {
    if (change.table === 'service') yield* waiting.keys()
    if (change.table !== 'task') return
    const { before, after } = change
    const isSame = before?.status.state === after?.status.state && before?.servedAt === after?.servedAt
    const serviceId = (after ?? before)?.serviceId
    const name = isSame || serviceId === undefined ? undefined : view.services.get(serviceId)?.spec.name
    if (name !== undefined) for (const [key, names] of waiting) if (names.has(name)) yield key
  }

  /** Says why the tasks of a group wait for another service. False when the limit left some for next time, undefined when they need not wait. */
  function hold(ctx: Context, key: string, tasks: readonly Task[]): boolean | undefined {
    const service = tasks[0]?.serviceId && ctx.tx.services.get(tasks[0].serviceId)
    const error = service && unmetDependency(ctx.tx, service)
    if (!error) {
      waiting.delete(key)
      return undefined
    }
    waiting.set(key, new Set(dependencyNames(service)))
    for (const task of tasks) {
      if (task.status.error === error) continue
      if (ctx.limit.spent) return false
      ctx.limit.spend()
      ctx.tx.tasks.update({ ...task, status: { ...task.status, error, reason: 'waits-for-dependency' } })
    }
    return true
  }

  function sweep(ctx: Context, keys: Set<string>): void {
    let woken = 0
    for (const [key, filters] of blocked) {
      if (!anyOf(filters, changed)) continue
      blocked.delete(key)
      keys.add(key)
      woken++
    }
    changed.clear()
    keys.delete(SWEEP)
    nextSweepAt = ctx.now + woken * SWEEP_REST_MS
  }

  /** False when the limit left some of the group for next time. */
  function scheduleGroup(ctx: Context, key: string): boolean {
    const tasks: Task[] = []
    for (const id of pending.get(key) ?? []) {
      const task = ctx.tx.tasks.get(id)
      if (isPending(task)) tasks.push(task)
    }
    const first = tasks[0]
    if (!first) return true
    const held = hold(ctx, key, tasks)
    if (held !== undefined) return held
    const demand = demands.of(ctx.tx, first)
    if (!demand) return true
    tasks.sort((a, b) => a.slot - b.slot || a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1))
    const now = tasks.slice(0, Math.max(1, ctx.limit.left))
    const { placed, unplaced } = placeGroup(
      nodes,
      demand,
      now.map((task) => toPlace(ctx.tx, demand, task)),
      ctx.now,
    )
    for (const { taskId, nodeId, generic } of placed) assign(ctx, taskId as TaskId, nodeId as Node['id'], generic)
    for (const entry of unplaced) refuse(ctx, entry)
    const stuck = unplaced[0]
    if (stuck) blocked.set(key, new Set([...(blocked.get(key) ?? []), ...unplaced.flatMap((entry) => [...entry.refusals.keys()])]))
    // With one left over for want of nodes the rest would fare no better, unless they are bound to nodes of their own.
    return (
      now.length === tasks.length || (stuck !== undefined && first.nodeId === undefined && refuseRest(ctx, tasks.slice(now.length), stuck))
    )
  }

  /** Tells the rest of a blocked group the same reason; false when the limit does not allow all. */
  function refuseRest(ctx: Context, rest: readonly Task[], like: Unplaced): boolean {
    for (const task of rest) {
      if (task.status.error === like.reason) continue
      if (ctx.limit.spent) return false
      refuse(ctx, { ...like, taskId: task.id })
    }
    return true
  }
}

function toPlace(view: View, demand: Demand, task: Task): TaskToPlace {
  if (task.nodeId !== undefined) return { taskId: task.id, nodeId: task.nodeId }
  if (demand.maxReplicasPerNode === 0 || task.serviceId === undefined) return { taskId: task.id }
  const replacesOn = view.tasks
    .bySlot(task.serviceId, task.slot)
    .flatMap((other) => (other.id !== task.id && isLive(other) && other.nodeId && !isTerminal(other.status.state) ? [other.nodeId] : []))
  return replacesOn.length > 0 ? { taskId: task.id, replacesOn } : { taskId: task.id }
}

function assign(ctx: Context, id: TaskId, nodeId: Node['id'], generic: NonNullable<Task['genericResources']>): void {
  const task = ctx.tx.tasks.get(id)
  if (!task) return
  const { reason: _reason, ...status } = task.status
  ctx.limit.spend()
  ctx.tx.tasks.update({
    ...task,
    nodeId,
    status: { ...status, state: TaskState.ASSIGNED, at: ctx.now, message: ASSIGNED_MESSAGE, error: '' },
    ...(generic.length > 0 ? { genericResources: generic } : {}),
  })
}

/** The state stays PENDING; only the reason is told, and only when it is another one. */
function refuse(ctx: Context, { taskId, reason }: Unplaced): void {
  const task = ctx.tx.tasks.get(taskId as TaskId)
  if (!task || task.status.error === reason) return
  ctx.limit.spend()
  ctx.tx.tasks.update({ ...task, status: { ...task.status, error: reason, reason: 'no-suitable-node' } })
}

function anyOf(filters: ReadonlySet<FilterName>, changed: ReadonlySet<FilterName>): boolean {
  for (const filter of filters) if (changed.has(filter)) return true
  return filters.size === 0 // there was no node at all
}

/** Which filters may answer differently after a change of a node. A node that comes or goes is `ready` changing, and with it the counts of all reasons. */
function filtersTouched(before: Node | undefined, after: Node | undefined): readonly FilterName[] {
  const all: readonly FilterName[] = ['ready', 'resources', 'plugin', 'constraint', 'platform', 'hostPort', 'maxReplicas', 'plane']
  if (!before || !after) return all
  if (before.status.state !== after.status.state || before.spec.availability !== after.spec.availability) return all
  if (before.spec.membership !== after.spec.membership) return all
  const touched: FilterName[] = []
  if (before.spec !== after.spec || before.role !== after.role || before.status.address !== after.status.address) touched.push('constraint')
  if (before.description !== after.description) touched.push('resources', 'plugin', 'constraint', 'platform')
  if (before.agent !== after.agent || before.dataPlane.on !== after.dataPlane.on) touched.push('plane')
  return touched
}
