// Keeps one task of a global service on each node that fits.
import type { ServiceId } from '../lib/index.ts'
import { type Node, nodeMatchesExpressions, type Service, type Task, TaskState } from '../model/index.ts'
import { createTask, endTask, hasFinished, hasStopped, inOrder, isGlobal, isJob, isLive } from './tasks.ts'
import type { Context, Loop, Outcome, View } from './types.ts'

export const global: Loop<ServiceId> = {
  kind: 'loop',
  name: 'global',

  *keys(view) {
    for (const service of view.services.values()) if (isGlobal(service)) yield service.id
  },

  *dirty(change, view) {
    if (change.table === 'service') yield change.id
    else if (change.table === 'node') {
      if (!change.before || !change.after || mayChangeFit(change.before, change.after)) yield* globalServices(view)
    } else if (change.table === 'task') {
      const { before, after } = change
      const serviceId = (after ?? before)?.serviceId
      if (serviceId && (!before || !after || before.desiredState !== after.desiredState)) yield serviceId
    }
  },

  reconcile(ctx, serviceId) {
    const service = ctx.tx.services.get(serviceId)
    return service && isGlobal(service) ? reconcileNodes(ctx, service) : 'done'
  },
}

function* globalServices(view: View): Generator<ServiceId> {
  for (const service of view.services.values()) if (isGlobal(service)) yield service.id
}

function mayChangeFit(before: Node, after: Node): boolean {
  return (
    before.status.state !== after.status.state ||
    before.status.address !== after.status.address ||
    before.spec !== after.spec ||
    before.role !== after.role ||
    before.description !== after.description
  )
}

function reconcileNodes(ctx: Context, service: Service): Outcome {
  const byNode = new Map<string, Task[]>()
  for (const task of ctx.tx.tasks.byService(service.id)) {
    if (task.nodeId === undefined || isOfOldIteration(service, task)) continue
    const tasks = byNode.get(task.nodeId)
    if (tasks) tasks.push(task)
    else byNode.set(task.nodeId, [task])
  }
  for (const node of ctx.tx.nodes.values()) {
    if (ctx.limit.spent) return 'again'
    reconcileNode(ctx, service, node, (byNode.get(node.id) ?? []).sort(inOrder))
    byNode.delete(node.id)
  }
  for (const tasks of byNode.values()) for (const task of tasks) endTask(ctx, task, TaskState.SHUTDOWN, 'node-removed')
  return 'done'
}

export function isOfOldIteration(service: Service, task: Task): boolean {
  return isJob(service) && (task.jobIteration ?? 0) !== (service.job?.iteration ?? 0)
}

function reconcileNode(ctx: Context, service: Service, node: Node, tasks: readonly Task[]): void {
  if (!fits(service, node)) {
    const misfit = node.spec.availability === 'drain' ? 'node-drained' : 'node-misfit'
    for (const task of tasks) if (!(isJob(service) && hasCompleted(task))) endTask(ctx, task, TaskState.SHUTDOWN, misfit)
    return
  }
  // A node that is down keeps its task: nobody else can take it over, and it may still run there when the node is back. A paused one keeps what it has.
  if (node.status.state !== 'ready' || node.spec.availability !== 'active') return
  const newest = tasks.at(-1)
  if (tasks.some(isLive) || (newest && hasFinished(service, newest)) || (isJob(service) && tasks.some(hasCompleted))) return
  // One that was told to stop a moment ago (drained, and taken back) may still run: the restart loop lets the new one go when it has stopped.
  const stopping = tasks.some((task) => !isLive(task) && !hasStopped(task, ctx.tx))
  createTask(ctx, service, { slot: 0, nodeId: node.id }, stopping ? { desiredState: TaskState.READY } : {})
}

function hasCompleted(task: Task): boolean {
  return task.status.state === TaskState.COMPLETE
}

function fits(service: Service, node: Node): boolean {
  return (
    node.spec.membership === 'accepted' &&
    node.spec.availability !== 'drain' &&
    nodeMatchesExpressions(service.spec.task.placement?.constraints, node)
  )
}
