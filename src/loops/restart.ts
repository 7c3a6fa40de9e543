// Keeps each slot going: replaces tasks that ended or lost their node, and lets go of tasks that were held back.
import type { Instant } from '../lib/index.ts'
import { isTerminal, type Node, type Service, type Task, TaskState } from '../model/index.ts'
import { planRestart } from './restartPlan.ts'
import {
  createTask,
  endTask,
  goalOf,
  hasStopped,
  isDown,
  isGlobal,
  isJob,
  isLive,
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
      if (task.desiredState > TaskState.READY && !isTerminal(task.status.state) && node && !isDown(node) && !isDrained(node)) continue
      const key = slotKeyOf(task, view)
      if (key) yield key
    }
  },

  *dirty(change, view) {
    if (change.table === 'task') {
      const { before, after } = change
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
    for (const task of tasksOfSlot(ctx.tx, serviceId, place)) if (isLive(task)) replaceIfEnded(ctx, service, place, task)
    return letGo(ctx, service, tasksOfSlot(ctx.tx, serviceId, place))
  },
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

function isDrained(node: Node | undefined): boolean {
  return node?.spec.availability === 'drain'
}

function replaceIfEnded(ctx: Context, service: Service, place: SlotPlace, task: Task): void {
  const node = task.nodeId ? ctx.tx.nodes.get(task.nodeId) : undefined
  const lost = task.status.state === TaskState.ORPHANED || (task.nodeId !== undefined && isDown(node))
  if (isJob(service) && task.status.state === TaskState.COMPLETE) return // what it was meant to do
  if (isTerminal(task.status.state) && !lost) {
    succeed(ctx, service, place, task)
    return
  }
  // On a global service's node nobody else can take over: the global loop decides.
  if (isGlobal(service) || (!lost && !isDrained(node))) return
  move(ctx, service, place, task)
}

/** A task that ended by itself: the restart policy decides. */
function succeed(ctx: Context, service: Service, place: SlotPlace, task: Task): void {
  endTask(ctx, task, TaskState.SHUTDOWN)
  if (hasOtherLive(ctx.tx, service, place, task)) return
  const plan = planRestart(service.spec.task.restart, task, ctx.now)
  if (!plan) return
  // A task of an older spec is not brought back but updated: its failures say nothing about the new one.
  const outdated = task.specVersion !== service.specVersion
  // Held at READY all the same: an older task of the slot may still be stopping.
  createTask(ctx, service, place, { desiredState: TaskState.READY, ...(outdated ? {} : plan) })
}

/**
 * Ends a task that cannot stay where it is (node down, drained or no longer fitting) and makes one that is placed anew. It is no failure of the task, so it
 * does not count as a restart. The new one is held until the old one has stopped.
 */
export function move(ctx: Context, service: Service, place: SlotPlace, task: Task): void {
  endTask(ctx, task, TaskState.SHUTDOWN)
  if (hasOtherLive(ctx.tx, service, place, task)) return
  const outdated = task.specVersion !== service.specVersion
  createTask(ctx, service, place, { desiredState: TaskState.READY, ...(outdated || !task.restart ? {} : { restart: task.restart }) })
}

/** Somebody else in the slot goes on: the other half of an update, or a successor that is there already. */
function hasOtherLive(view: View, service: Service, place: SlotPlace, task: Task): boolean {
  return tasksOfSlot(view, service.id, place).some((other) => other.id !== task.id && isLive(other) && !isTerminal(other.status.state))
}

/** Tasks held at READY may start when their time has come and every task of the slot that was told to stop has stopped. */
function letGo(ctx: Context, service: Service, tasks: readonly Task[]): 'done' | { wakeAt: Instant } {
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
