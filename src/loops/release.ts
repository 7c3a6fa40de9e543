// Marks tasks as served (every live node routes to them) and released (every live node has withdrawn them, and their connections have drained).
import type { Instant, TaskId } from '../lib/index.ts'
import { type Task, TaskState } from '../model/index.ts'
import { isLive } from './tasks.ts'
import type { Loop, View } from './types.ts'

/** Not yet: ask again when something has changed, at the latest then. */
export type Acknowledged = 'yes' | { readonly wakeAt: Instant }

/** What the mesh knows. Every answer is 'yes' after a bounded time: a node that does not answer holds nobody up for ever. */
export interface Acknowledgements {
  served(task: Task, view: View): Acknowledged
  released(task: Task, view: View): Acknowledged
  /** Every live node has this commit; if not, the loop `holds` is woken with the key when it is so. */
  everywhere(key: string, version: number): boolean
  /** The task is gone, or changed its mind. */
  forget(id: TaskId): void
}

/** Nobody has to agree. */
export const AT_ONCE: Acknowledgements = { served: () => 'yes', released: () => 'yes', everywhere: () => true, forget: () => {} }

export function release(acknowledgements: Acknowledgements = AT_ONCE): Loop<TaskId> {
  return {
    kind: 'loop',
    name: 'release',

    *keys(view) {
      for (const task of view.tasks.values()) if (isAwaited(task)) yield task.id
    },

    *dirty(change) {
      if (change.table !== 'task') return
      if ((change.after && isAwaited(change.after)) || (change.before && isAwaited(change.before))) yield change.id
    },

    reconcile(ctx, id) {
      const task = ctx.tx.tasks.get(id)
      if (!task || !isAwaited(task)) {
        acknowledgements.forget(id)
        return 'done'
      }
      const serving = awaitsServing(task)
      const answer = serving ? acknowledgements.served(task, ctx.tx) : acknowledgements.released(task, ctx.tx)
      if (answer !== 'yes') return answer
      ctx.limit.spend()
      ctx.tx.tasks.update({ ...task, ...(serving ? { servedAt: ctx.now } : { releasedAt: ctx.now }) })
      return 'done'
    },
  }
}

function isAwaited(task: Task): boolean {
  return awaitsServing(task) || awaitsRelease(task)
}

function awaitsServing(task: Task): boolean {
  return isLive(task) && task.status.state === TaskState.RUNNING && task.servedAt === undefined
}

function awaitsRelease(task: Task): boolean {
  return !isLive(task) && task.releasedAt === undefined
}
