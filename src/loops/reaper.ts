// Keeps history short: so many tasks for each slot, and nothing of slots that were removed.
import { isTerminal, type Task, TaskState } from '../model/index.ts'
import { isOfOldIteration } from './global.ts'
import { deleteTask, isLive, isUnassigned, type SlotKey, slotKeyOf, slotOf, tasksOfSlot } from './tasks.ts'
import type { Loop, View } from './types.ts'

const DEFAULT_HISTORY = 5

export const reaper: Loop<SlotKey> = {
  kind: 'loop',
  name: 'reaper',

  *keys(view) {
    yield* slotsWithHistory(view)
  },

  *dirty(change, view) {
    if (change.table === 'task') {
      const task = change.after ?? change.before
      // A slot grows by a new task, and shrinks when one has ended for good.
      const key = task && (!change.before || !isLive(task)) ? slotKeyOf(task, view) : undefined
      if (key) yield key
    } else if (change.table === 'cluster') {
      if (change.before?.spec.taskHistoryRetentionLimit !== change.after?.spec.taskHistoryRetentionLimit) yield* slotsWithHistory(view)
    } else if (change.table === 'node' && !change.after) {
      for (const task of view.tasks.byNode(change.id)) {
        const key = slotKeyOf(task, view)
        if (key) yield key
      }
    }
  },

  reconcile(ctx, key) {
    const { serviceId, place } = slotOf(key)
    const limit = ctx.tx.cluster?.spec.taskHistoryRetentionLimit ?? DEFAULT_HISTORY
    const nodeGone = place.nodeId !== undefined && !ctx.tx.nodes.get(place.nodeId)
    const tasks = tasksOfSlot(ctx.tx, serviceId, place)
    const service = ctx.tx.services.get(serviceId)
    const isOld = (task: Task) => service !== undefined && isOfOldIteration(service, task)
    for (const task of planReaping(tasks, limit, (id) => ctx.tx.nodes.get(id) !== undefined, nodeGone, isOld)) {
      if (ctx.limit.spent) return 'again'
      deleteTask(ctx, task)
    }
    return 'done'
  },
}

function* slotsWithHistory(view: View): Generator<SlotKey> {
  for (const task of view.tasks.values()) {
    if (isLive(task)) continue
    const key = slotKeyOf(task, view)
    if (key) yield key
  }
}

/**
 * Pure: which tasks of a slot (oldest first) can go. Nothing that may still run goes; a live task and the newest never go, because they are what the slot is.
 * `limit` counts all rows of a slot, the live one included, as Swarm shows them; negative = keep everything.
 * What a job completed in an earlier iteration (`isOld`) is history, too.
 */
export function planReaping(
  tasks: readonly Task[],
  limit: number,
  nodeExists: (id: NonNullable<Task['nodeId']>) => boolean,
  slotGone: boolean,
  isOld: (task: Task) => boolean = () => false,
): Task[] {
  const dead = (task: Task) =>
    (isOld(task) && isTerminal(task.status.state)) ||
    (!isLive(task) && (isTerminal(task.status.state) || isUnassigned(task) || (task.nodeId !== undefined && !nodeExists(task.nodeId))))
  const doomed = tasks.filter((task) => dead(task) && (slotGone || task.desiredState >= TaskState.REMOVE))
  const kept = tasks.filter((task) => !doomed.includes(task))
  if (limit < 0) return doomed
  let surplus = kept.length - Math.max(limit, 1)
  for (const task of kept.slice(0, -1)) {
    if (surplus <= 0) break
    if (!dead(task)) continue
    doomed.push(task)
    surplus--
  }
  return doomed
}
