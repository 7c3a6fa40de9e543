// Keeps each slot going: replaces tasks that ended or lost their node, and lets go of tasks that were held back.
import type { Instant } from '../lib/index.ts'
import { isTerminal, type Node, type Service, type Task, TaskState } from '../model/index.ts'
import { drainTurn } from './drain.ts'
import { planRestart } from './restartPlan.ts'
import {
  createTask,
  dropTwins,
  endTask,
  goalOf,
  goesOn,
  hasStopped,
  isDown,
  isDrained,
  isGlobal,
  isJob,
  isLeaving,
  isLive,
  isServed,
  move,
  otherGoesOn,
  type SlotKey,
  type SlotPlace,
  slotKeyOf,
  slotOf,
  tasksOfSlot,
} from './tasks.ts'
import type { Context, Loop, View } from './types.ts'

export const restart: Loop<SlotKey> = {
  kind: 'loop',
  name: 'restart',

  *keys(view) {
    for (const task of view.tasks.values()) {
      if (!isLive(task)) continue
      const node = task.nodeId && view.nodes.get(task.nodeId)
      const settled = task.desiredState > TaskState.READY && !isTerminal(task.status.state) && task.servedAt !== undefined
      if (settled && node && !isDown(node) && !isDrained(node)) continue
      const key = slotKeyOf(task, view)
      if (key) yield key
    }
  },

  *dirty(change, view) {
    if (change.table === 'task') {
      const { before, after } = change
      if (before && after && before.servedAt === undefined && after.servedAt !== undefined) yield* slotsWaitingFor(view, after)
      const same = before && after && before.status.state === after.status.state && before.desiredState === after.desiredState
      if (same || (before && after && !isTerminal(after.status.state) && before.desiredState === after.desiredState)) return
      const key = slotKeyOf((after ?? before) as Task, view)
      if (key) yield key
    } else if (change.table === 'node' && standing(change.before) !== standing(change.after)) {
      yield* slotsOnNode(view, change.id)
    }
  },

  reconcile(ctx, key) {
    const { serviceId, place } = slotOf(key)
    const service = ctx.tx.services.get(serviceId)
    if (!service) return 'done'
    const tasks = () => tasksOfSlot(ctx.tx, serviceId, place)
    let waiting: Rest = 'done'
    for (const task of tasks()) if (isLive(task)) waiting = earlier(waiting, replaceIfEnded(ctx, service, place, task))
    dropTwins(ctx, service, tasks())
    const leaving = leave(ctx, service, place, tasks)
    return earlier(waiting, earlier(leaving, letGo(ctx, service, tasks())))
  },
}

type Rest = 'done' | { readonly wakeAt: Instant }

function earlier(a: Rest, b: Rest): Rest {
  if (a === 'done') return b
  return b === 'done' || a.wakeAt < b.wakeAt ? a : b
}

/** A task serves now: who waited in its slot to be replaced may go, and who waited on the same drained node for his turn. */
function* slotsWaitingFor(view: View, task: Task): Generator<SlotKey> {
  const service = task.serviceId && view.services.get(task.serviceId)
  if (!service || isGlobal(service)) return
  let own = false
  for (const other of view.tasks.bySlot(service.id, task.slot)) {
    if (other.id === task.id) continue
    own = true
    if (isLive(other) || !other.nodeId || other.endReason !== 'node-drained' || !isDrained(view.nodes.get(other.nodeId))) continue
    for (const waiting of view.tasks.byNode(other.nodeId))
      if (waiting.serviceId === service.id && isLive(waiting)) yield `${service.id}/${waiting.slot}` as SlotKey
  }
  if (own) yield `${service.id}/${task.slot}` as SlotKey
}

export function* slotsOnNode(view: View, nodeId: Node['id']): Generator<SlotKey> {
  for (const task of view.tasks.byNode(nodeId)) {
    const key = slotKeyOf(task, view)
    if (key) yield key
  }
}

function standing(node: Node | undefined): string {
  return `${isDown(node)} ${isDrained(node)}`
}

function replaceIfEnded(ctx: Context, service: Service, place: SlotPlace, task: Task): Rest {
  const { state } = task.status
  if (isJob(service) && state === TaskState.COMPLETE) return 'done' // what it was meant to do
  if (state === TaskState.ORPHANED) {
    if (!isGlobal(service)) move(ctx, service, place, task, 'node-lost')
  } else if (isTerminal(state)) {
    // One that could not even be prepared ends before its time has come: the next try waits for that, or they would follow each other without rest.
    if (task.notBefore !== undefined && task.notBefore > ctx.now) return { wakeAt: task.notBefore }
    succeed(ctx, service, place, task)
  }
  return 'done'
}

/** Tasks on drained nodes, and those of lost ones that have been replaced. On a global service's node nobody else can take over: the global loop decides. */
function leave(ctx: Context, service: Service, place: SlotPlace, tasks: () => readonly Task[]): Rest {
  if (isGlobal(service)) return 'done'
  let rest: Rest = 'done'
  for (const task of tasks()) {
    if (!isLive(task) || isTerminal(task.status.state) || !isLeaving(task, ctx.tx)) continue
    const node = task.nodeId && ctx.tx.nodes.get(task.nodeId)
    if (tasks().some((other) => goesOn(other, ctx.tx) && isServed(other)))
      endTask(ctx, task, TaskState.SHUTDOWN, isDown(node) ? 'node-lost' : 'node-drained')
    else if (isDrained(node)) rest = earlier(rest, drainTurn(ctx, service, place, task, node, tasks()))
    // Others on lost nodes wait for the loop `nodeLoss`.
  }
  return rest
}

/** A task that ended by itself: the restart policy decides. */
function succeed(ctx: Context, service: Service, place: SlotPlace, task: Task): void {
  endTask(ctx, task, TaskState.SHUTDOWN, 'ended')
  if (otherGoesOn(ctx.tx, service, place, task)) return
  const plan = planRestart(service.spec.task.restart, task, ctx.now)
  if (!plan) return
  // A task of an older spec is not brought back but updated: its failures say nothing about the new one.
  const outdated = task.specVersion !== service.specVersion
  // Held at READY all the same: an older task of the slot may still be stopping.
  createTask(ctx, service, place, { desiredState: TaskState.READY, ...(outdated ? {} : plan) })
}

/** Tasks held at READY may start when their time has come and every task of the slot that was told to stop has stopped. */
function letGo(ctx: Context, service: Service, tasks: readonly Task[]): Rest {
  let wakeAt: Instant | undefined
  const stopping = tasks.some((task) => !isLive(task) && !hasStopped(task, ctx.tx))
  for (const task of tasks) {
    if (task.desiredState !== TaskState.READY) continue
    if (task.notBefore !== undefined && task.notBefore > ctx.now) wakeAt = Math.min(wakeAt ?? task.notBefore, task.notBefore)
    else if (!stopping) {
      ctx.limit.spend()
      ctx.tx.tasks.update({ ...task, desiredState: goalOf(service) })
    }
  }
  return wakeAt === undefined ? 'done' : { wakeAt }
}
