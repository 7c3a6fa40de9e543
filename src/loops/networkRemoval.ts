// Removes networks that their users have removed, as soon as the last task on them has ended.
import { type NetworkId, SECOND_MS } from '../lib/index.ts'
import { isTerminal } from '../model/index.ts'
import { isUnassigned } from './tasks.ts'
import type { Loop, View } from './types.ts'

/** Tasks have no index by network: so it is looked now and then, not at each end of a task. */
const LOOK_AGAIN_MS = SECOND_MS

export const networkRemoval: Loop<NetworkId> = {
  kind: 'loop',
  name: 'networkRemoval',

  *keys(view) {
    for (const network of view.networks.values()) if (network.removing) yield network.id
  },

  *dirty(change) {
    if (change.table === 'network' && change.after?.removing) yield change.id
  },

  reconcile(ctx, id) {
    if (!ctx.tx.networks.get(id)?.removing) return 'done'
    if (networkHasTasks(ctx.tx, id)) return { wakeAt: ctx.now + LOOK_AGAIN_MS }
    ctx.limit.spend()
    ctx.tx.networks.delete(id)
    return 'done'
  },
}

/** Whether a task that may still run is on the network; one of a node that was removed does not count. */
export function networkHasTasks(view: View, id: NetworkId): boolean {
  for (const task of view.tasks.values()) {
    if (isTerminal(task.status.state) || isUnassigned(task) || (task.nodeId && !view.nodes.get(task.nodeId))) continue
    if (task.attachments.some(({ networkId }) => networkId === id)) return true
  }
  return false
}
