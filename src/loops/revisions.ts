// Drops spec revisions that nothing needs any more: not the service, not a way back, not a task.
import type { ServiceId } from '../lib/index.ts'
import type { Loop } from './types.ts'

export const revisions: Loop<ServiceId> = {
  kind: 'loop',
  name: 'revisions',

  *keys(view) {
    yield* view.services.ids()
  },

  *dirty(change, view) {
    if (change.table === 'service') {
      if (
        change.before?.specVersion !== change.after?.specVersion ||
        change.before?.previousSpecVersion !== change.after?.previousSpecVersion
      )
        yield change.id
    } else if (change.table === 'task' && !change.after && change.before?.serviceId) {
      // The last task of an old revision has gone; the present one is needed anyway.
      const { serviceId, specVersion } = change.before
      if (view.services.get(serviceId)?.specVersion !== specVersion) yield serviceId
    }
  },

  reconcile(ctx, serviceId) {
    const service = ctx.tx.services.get(serviceId)
    if (!service) return 'done' // the removal loop clears up
    const spare = [...ctx.tx.specRevisions.byService(serviceId)].filter(
      ({ specVersion }) => specVersion !== service.specVersion && specVersion !== service.previousSpecVersion,
    )
    if (spare.length === 0) return 'done'
    const carried = new Set<number>()
    for (const task of ctx.tx.tasks.byService(serviceId)) carried.add(task.specVersion)
    for (const revision of spare) {
      if (carried.has(revision.specVersion)) continue
      ctx.limit.spend()
      ctx.tx.specRevisions.delete(revision.id)
    }
    return 'done'
  },
}
