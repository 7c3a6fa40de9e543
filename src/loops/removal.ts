// Clears away what a removed service leaves behind: its tasks first, then its revisions and its rollout.
import type { ServiceId } from '../lib/index.ts'
import { isTerminal, TaskState } from '../model/index.ts'
import { deleteTask, endTask, isUnassigned } from './tasks.ts'
import type { Loop } from './types.ts'

export const removal: Loop<ServiceId> = {
  kind: 'loop',
  name: 'removal',

  *keys(view) {
    const gone = new Set<ServiceId>()
    for (const task of view.tasks.values()) if (task.serviceId && !view.services.get(task.serviceId)) gone.add(task.serviceId)
    for (const revision of view.specRevisions.values()) if (!view.services.get(revision.serviceId)) gone.add(revision.serviceId)
    yield* gone
  },

  *dirty(change, view) {
    if (change.table === 'service') {
      if (!change.after) yield change.id
    } else if (change.table === 'task') {
      const serviceId = (change.after ?? change.before)?.serviceId
      if (serviceId && !view.services.get(serviceId)) yield serviceId
    } else if (change.table === 'node' && !change.after) {
      for (const task of view.tasks.byNode(change.id)) if (task.serviceId && !view.services.get(task.serviceId)) yield task.serviceId
    }
  },

  reconcile(ctx, serviceId) {
    if (ctx.tx.services.get(serviceId)) return 'done'
    let left = false
    for (const task of ctx.tx.tasks.byService(serviceId)) {
      if (ctx.limit.spent) return 'again'
      const nodeGone = task.nodeId !== undefined && !ctx.tx.nodes.get(task.nodeId)
      if (isTerminal(task.status.state) || isUnassigned(task) || nodeGone) deleteTask(ctx, task)
      else {
        endTask(ctx, task, TaskState.REMOVE, 'service-removed')
        left = true
      }
    }
    if (left) return 'done' // each end of a task comes here again
    for (const revision of ctx.tx.specRevisions.byService(serviceId)) {
      ctx.limit.spend()
      ctx.tx.specRevisions.delete(revision.id)
    }
    ctx.tx.rollouts.delete(serviceId)
    return 'done'
  },
}
