// What becomes of tasks on a drained node: a successor starts beside them where it may, they leave one by one where it may not, and all are gone at the deadline.
import type { Instant } from '../lib/index.ts'
import { drainDeadline, drainParallelism, drainsStartFirst, type Node, type Service, type Task, TaskState } from '../model/index.ts'
import {
  createSuccessor,
  goalOf,
  hasFinished,
  hasStopped,
  inOrder,
  isJob,
  isLeaving,
  isLive,
  isServed,
  move,
  type SlotPlace,
} from './tasks.ts'
import type { Context, View } from './types.ts'

/** One live task on the drained node `node` that no served successor has relieved yet. `tasks` = all of its slot. */
export function drainTurn(
  ctx: Context,
  service: Service,
  place: SlotPlace,
  task: Task,
  node: Node,
  tasks: readonly Task[],
): 'done' | { readonly wakeAt: Instant } {
  const until = drainDeadline(node, service)
  // What does not run has no capacity to keep; a job's task must not run twice at the same time.
  if (ctx.now >= until || isJob(service) || task.status.state !== TaskState.RUNNING) {
    move(ctx, service, place, task, 'node-drained')
    return 'done'
  }
  if (!drainsStartFirst(service)) {
    if (awayFrom(ctx.tx, service, node) >= drainParallelism(service)) return { wakeAt: until }
    move(ctx, service, place, task, 'node-drained')
    return 'done'
  }
  const hasSuccessor = tasks.some((other) => isLive(other) && !isLeaving(other, ctx.tx))
  // Successors that may not try again leave the task as it is: it runs, they do not.
  const gaveUp = tasks.some((other) => inOrder(task, other) < 0 && hasFinished(service, other))
  if (!hasSuccessor && !gaveUp) {
    // One that has not begun to run has no capacity to keep: it is told to stop in this very turn, and counts as stopping already.
    const goesToo = (other: Task) => other.status.state !== TaskState.RUNNING && isLeaving(other, ctx.tx)
    const stopping = tasks.some((other) => other.id !== task.id && (isLive(other) ? goesToo(other) : !hasStopped(other, ctx.tx)))
    createSuccessor(ctx, service, place, task, stopping ? TaskState.READY : goalOf(service))
  }
  return { wakeAt: until }
}

/** Slots of the service that the drain of this node has emptied and that are not served again. */
function awayFrom(view: View, service: Service, node: Node): number {
  const slots = new Set<number>()
  for (const task of view.tasks.byNode(node.id)) {
    if (task.serviceId !== service.id || isLive(task) || task.endReason !== 'node-drained' || slots.has(task.slot)) continue
    const live = view.tasks.bySlot(service.id, task.slot).filter(isLive)
    if (live.length > 0 && !live.some(isServed)) slots.add(task.slot)
  }
  return slots.size
}
