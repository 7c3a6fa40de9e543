// Marks tasks as served and released. Until the mesh acknowledges, both hold at once; this file is where its word will count.
import type { TaskId } from '../lib/index.ts'
import { type Task, TaskState } from '../model/index.ts'
import { isLive } from './tasks.ts'
import type { Loop, View } from './types.ts'

/** What the mesh knows: whether every live node routes to a task, or has withdrawn it and its connections have drained. */
export interface Acknowledgements {
  served(task: Task, view: View): boolean
  released(task: Task, view: View): boolean
}

/** Nobody has to agree. */
export const AT_ONCE: Acknowledgements = { served: () => true, released: () => true }

export function release(acknowledgements: Acknowledgements = AT_ONCE): Loop<TaskId> {
  return {
    kind: 'loop',
    name: 'release',

    *keys(view) {
      for (const task of view.tasks.values()) if (awaitsServing(task) || awaitsRelease(task)) yield task.id
    },

    *dirty(change) {
      if (change.table === 'task' && change.after && (awaitsServing(change.after) || awaitsRelease(change.after))) yield change.id
    },

    reconcile(ctx, id) {
      const task = ctx.tx.tasks.get(id)
      if (!task) return 'done'
      if (awaitsServing(task) && acknowledgements.served(task, ctx.tx)) {
        ctx.limit.spend()
        ctx.tx.tasks.update({ ...task, servedAt: ctx.now })
      } else if (awaitsRelease(task) && acknowledgements.released(task, ctx.tx)) {
        ctx.limit.spend()
        ctx.tx.tasks.update({ ...task, releasedAt: ctx.now })
      }
      return 'done'
    },
  }
}

function awaitsServing(task: Task): boolean {
  return isLive(task) && task.status.state === TaskState.RUNNING && task.servedAt === undefined
}

function awaitsRelease(task: Task): boolean {
  return !isLive(task) && task.releasedAt === undefined
}
