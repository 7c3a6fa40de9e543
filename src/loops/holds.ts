// Lets addresses rest: one that a task had goes back only when no node can send to that task any more.
import type { Instant } from '../lib/index.ts'
import { MESH_LEASE_MARGIN_MS, MESH_LEASE_MS, type Node } from '../model/index.ts'
import { type Acknowledgements, AT_ONCE } from './release.ts'
import type { Loop, View } from './types.ts'

/** Live nodes have to acknowledge; those that are lost forget by themselves when their lease has passed. */
export function holds(acknowledgements: Acknowledgements = AT_ONCE): Loop {
  return {
    kind: 'loop',
    name: 'holds',

    *keys(view) {
      yield* view.addressHolds.ids()
    },

    *dirty(change, view) {
      if (change.table === 'addressHold' && change.after) yield change.id
      else if (change.table === 'node' && change.before?.status.state !== change.after?.status.state) yield* view.addressHolds.ids()
    },

    reconcile(ctx, id) {
      const hold = ctx.tx.addressHolds.get(id)
      if (!hold) return 'done'
      if (ctx.now < hold.until) {
        const lostUntil = leaseEnd(ctx.tx, hold.createdAt)
        if (lostUntil > ctx.now) return { wakeAt: Math.min(lostUntil, hold.until) }
        if (!acknowledgements.everywhere(id, hold.version)) return { wakeAt: hold.until }
      }
      ctx.limit.spend()
      ctx.tx.addressHolds.delete(id)
      return 'done'
    },
  }
}

/** When the last of the lost nodes that may know what ended at `since` has forgotten it. */
function leaseEnd(view: View, since: Instant): Instant {
  let end = 0
  for (const node of view.nodes.values()) {
    if (node.createdAt > since || !isLost(node)) continue
    end = Math.max(end, (node.downSince ?? node.updatedAt) + MESH_LEASE_MS + MESH_LEASE_MARGIN_MS)
  }
  return end
}

function isLost(node: Node): boolean {
  return node.status.state === 'down' && node.agent === 'shoal' && node.dataPlane.on
}
