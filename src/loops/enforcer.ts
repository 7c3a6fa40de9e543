// Moves tasks off nodes that they no longer fit: a label went, a constraint came, the node has become smaller.
import type { NodeId } from '../lib/index.ts'
import { isTerminal, type Node, nodeMatchesExpressions, type Task, TaskState } from '../model/index.ts'
import { endTask, inOrder, isDown, isGlobal, isLive, isUnassigned, move } from './tasks.ts'
import type { Context, Loop } from './types.ts'

export const enforcer: Loop<NodeId> = {
  kind: 'loop',
  name: 'enforcer',

  *keys(view) {
    yield* view.nodes.ids()
  },

  *dirty(change, view) {
    if (change.table === 'node') {
      const { before, after } = change
      if (before && after && before.spec === after.spec && before.description === after.description && before.role === after.role) {
        if (before.status.state === after.status.state && before.status.address === after.status.address) return
      }
      yield change.id
    } else if (change.table === 'service' && change.before && change.after) {
      if (change.before.spec.task.placement === change.after.spec.task.placement) return
      const seen = new Set<NodeId>()
      for (const task of view.tasks.byService(change.id)) if (task.nodeId) seen.add(task.nodeId)
      yield* seen
    }
  },

  reconcile(ctx, nodeId) {
    const node = ctx.tx.nodes.get(nodeId)
    if (!node || isDown(node) || node.spec.availability === 'drain') return 'done' // the restart loop moves everything
    for (const task of misfits(ctx, node)) {
      if (ctx.limit.spent) return 'again'
      const service = task.serviceId && ctx.tx.services.get(task.serviceId)
      if (!service) continue
      if (isGlobal(service)) endTask(ctx, task, TaskState.SHUTDOWN, 'node-misfit')
      else move(ctx, service, { slot: task.slot }, task, 'node-misfit')
    }
    return 'done'
  },
}

/** Tasks whose constraints the node does not meet, and those that its resources do not suffice for; the oldest keep their place. */
function misfits(ctx: Context, node: Node): Task[] {
  const found: Task[] = []
  let nanoCpus = node.description?.resources.nanoCpus ?? Number.POSITIVE_INFINITY
  let memoryBytes = node.description?.resources.memoryBytes ?? Number.POSITIVE_INFINITY
  for (const task of [...ctx.tx.tasks.byNode(node.id)].sort(inOrder)) {
    if (!isLive(task) || isUnassigned(task) || isTerminal(task.status.state) || !task.serviceId) continue
    const placement = ctx.tx.services.get(task.serviceId)?.spec.task.placement
    const reserved = ctx.tx.specRevisions.of(task.serviceId, task.specVersion)?.task.resources?.reservations
    const cpu = reserved?.nanoCpus ?? 0
    const memory = reserved?.memoryBytes ?? 0
    if ((cpu > 0 && cpu > nanoCpus) || (memory > 0 && memory > memoryBytes) || !nodeMatchesExpressions(placement?.constraints, node)) {
      found.push(task)
      continue
    }
    nanoCpus -= cpu
    memoryBytes -= memory
  }
  return found
}
