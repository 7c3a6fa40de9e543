// Gives up tasks of nodes that are gone for good: nobody will ever report on them again.
import type { NodeId } from '../lib/index.ts'
import { holdsOf, isTerminal, type Node, TaskState } from '../model/index.ts'
import { putHold } from '../store/index.ts'
import { isUnassigned } from './tasks.ts'
import type { Loop, View } from './types.ts'

/** How long a node may be down before what it ran is called orphaned (SwarmKit's defaultNodeDownPeriod). */
export const ORPHAN_AFTER_MS = 24 * 3_600_000

export const nodeDown: Loop<NodeId> = {
  kind: 'loop',
  name: 'nodeDown',

  *keys(view) {
    for (const node of view.nodes.values()) if (node.status.state === 'down') yield node.id
    yield* missingNodes(view)
  },

  *dirty(change) {
    if (change.table === 'node') {
      if (change.before?.status.state !== change.after?.status.state || !change.after) yield change.id
    } else if (change.table === 'task' && change.after?.nodeId && change.before?.nodeId === undefined) yield change.after.nodeId
  },

  reconcile(ctx, nodeId) {
    const node = ctx.tx.nodes.get(nodeId)
    if (node) {
      if (node.status.state !== 'down') return 'done'
      const until = downSince(node) + ORPHAN_AFTER_MS
      if (ctx.now < until) return { wakeAt: until }
    }
    for (const task of ctx.tx.tasks.byNode(nodeId)) {
      if (isTerminal(task.status.state) || isUnassigned(task)) continue
      if (ctx.limit.spent) return 'again'
      ctx.limit.spend()
      for (const hold of holdsOf(task, ctx.now)) putHold(ctx.tx, hold)
      if (!node && task.attachmentSpec) {
        ctx.tx.tasks.delete(task.id) // a single container's place: there is no history to keep
        continue
      }
      const message = node ? 'the node has been down for too long' : 'the node was removed'
      ctx.tx.tasks.update({ ...task, status: { ...task.status, state: TaskState.ORPHANED, at: ctx.now, message } })
    }
    return 'done'
  },
}

function downSince(node: Node): number {
  return node.downSince ?? node.updatedAt
}

function* missingNodes(view: View): Generator<NodeId> {
  const seen = new Set<NodeId>()
  for (const task of view.tasks.values()) {
    if (!task.nodeId || seen.has(task.nodeId)) continue
    seen.add(task.nodeId)
    if (!view.nodes.get(task.nodeId)) yield task.nodeId
  }
}
