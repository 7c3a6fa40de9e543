// Carries a changed spec through a service's slots: updates and rollbacks, with progress that outlives the manager.
import type { Instant, ServiceId } from '../lib/index.ts'
import {
  type EndReason,
  type Rollout,
  rolledBack,
  type Service,
  specRevisionOf,
  type Task,
  TaskState,
  type UpdateStatus,
} from '../model/index.ts'
import { groupBySlot } from './replicated.ts'
import { configOf, planRollout, type SlotTasks, slotState, superfluous } from './rolloutPlan.ts'
import {
  createTask,
  endTask,
  goalOf,
  hasStopped,
  inOrder,
  isGlobal,
  isJob,
  isLeaving,
  isLive,
  type SlotPlace,
  tasksOfSlot,
} from './tasks.ts'
import type { Context, Loop, Outcome, View } from './types.ts'

export const rollout: Loop<ServiceId> = {
  kind: 'loop',
  name: 'rollout',

  *keys(view) {
    yield* view.services.ids()
  },

  *dirty(change, view) {
    if (change.table === 'service' || change.table === 'rollout') yield change.id
    else if (change.table === 'task') {
      const { before, after } = change
      const serviceId = (after ?? before)?.serviceId
      if (serviceId === undefined) return
      const same = before?.status.state === after?.status.state && before?.servedAt === after?.servedAt
      if (same && before?.desiredState === after?.desiredState) return
      const service = view.services.get(serviceId)
      if (view.rollouts.get(serviceId) || isUnfinished(service, after) || (servesNow(before, after) && hasOlderTwin(view, service, after)))
        yield serviceId
    } else if (change.table === 'node') {
      if (change.before?.status.state === change.after?.status.state && change.before?.spec === change.after?.spec) return
      for (const { id } of view.rollouts.values()) yield id
      for (const task of view.tasks.byNode(change.id))
        if (task.serviceId && isUnfinished(view.services.get(task.serviceId), task)) yield task.serviceId
    }
  },

  reconcile(ctx, serviceId) {
    const service = ctx.tx.services.get(serviceId)
    if (!service || isJob(service)) {
      ctx.tx.rollouts.delete(serviceId)
      return 'done'
    }
    return proceed(ctx, service, slotsOf(ctx.tx, service))
  },
}

function isUnfinished(service: Service | undefined, task: Task | undefined): boolean {
  if (!service) return false
  return isPaused(service.updateStatus) || (task !== undefined && isLive(task) && task.specVersion !== service.specVersion)
}

function servesNow(before: Task | undefined, after: Task | undefined): after is Task {
  return after?.servedAt !== undefined && before?.servedAt === undefined
}

/** A task of an older spec came back with its node before its successor served, and after the rollout was over: now it is superfluous. */
function hasOlderTwin(view: View, service: Service | undefined, task: Task): boolean {
  if (!service) return false
  if (!task.nodeId) return false // nothing serves without a node
  const slot = tasksOfSlot(view, service.id, isGlobal(service) ? { slot: 0, nodeId: task.nodeId } : { slot: task.slot })
  return slot.some((other) => other.id !== task.id && isLive(other) && other.specVersion !== service.specVersion)
}

function isPaused(status: UpdateStatus | undefined): boolean {
  return status?.state === 'paused' || status?.state === 'rollback_paused'
}

/** In the order of slot numbers; of a global service only nodes that can be updated now. */
function slotsOf(view: View, service: Service): SlotTasks[] {
  if (!isGlobal(service)) {
    const slots = groupBySlot(view.tasks.byService(service.id))
    return [...slots.keys()].sort((a, b) => a - b).map((slot) => slots.get(slot) ?? [])
  }
  const byNode = new Map<string, Task[]>()
  for (const task of view.tasks.byService(service.id)) {
    const node = task.nodeId ? view.nodes.get(task.nodeId) : undefined
    if (node?.status.state !== 'ready' || node.spec.availability !== 'active') continue
    const tasks = byNode.get(node.id)
    if (tasks) tasks.push(task)
    else byNode.set(node.id, [task])
  }
  return [...byNode.keys()].sort().map((id) => (byNode.get(id) ?? []).sort(inOrder))
}

function proceed(ctx: Context, service: Service, slots: readonly SlotTasks[]): Outcome {
  const kind = service.updateStatus?.state === 'rollback_started' ? 'rollback' : 'update'
  const { order } = configOf(service, kind)
  const why = kind === 'rollback' ? 'rolled-back' : 'updated'
  const leaving = (task: Task) => isLeaving(task, ctx.tx)
  for (const tasks of slots) {
    for (const task of superfluous(service, tasks, order, leaving)) endTask(ctx, task, TaskState.SHUTDOWN, why)
    if (ctx.limit.spent) return 'again'
  }
  if (isPaused(service.updateStatus)) {
    ctx.tx.rollouts.delete(service.id)
    return 'done'
  }
  const begun = begin(ctx, service, kind, slots)
  if (!begun) return 'done'

  const plan = planRollout(service, slots, begun, ctx.now)
  if (plan.failed.length > 0 && stopOnFailure(ctx, service, begun, slots, plan.failed)) return 'done'
  if (plan.complete) {
    finish(ctx, service, kind)
    return 'done'
  }
  for (const tasks of plan.start) {
    if (ctx.limit.spent) return 'again'
    updateSlot(ctx, service, tasks, order, why)
  }
  return plan.wakeAt === undefined ? 'done' : { wakeAt: plan.wakeAt }
}

/** The row of this rollout: the one that is there, or a new one when something is due; undefined when there is nothing to do. */
function begin(ctx: Context, service: Service, kind: Rollout['kind'], slots: readonly SlotTasks[]): Rollout | undefined {
  const row = ctx.tx.rollouts.get(service.id)
  if (row && row.specVersion === service.specVersion && row.kind === kind) {
    if (service.updateStatus === undefined) setStatus(ctx, service, updating(ctx))
    return row
  }
  ctx.tx.rollouts.delete(service.id)
  const total = countDue(service, slots, kind, ctx.now)
  if (total === 0) {
    const state = service.updateStatus?.state
    if (state === 'updating' || state === 'rollback_started') finish(ctx, service, kind)
    return undefined
  }
  if (service.updateStatus === undefined) setStatus(ctx, service, updating(ctx))
  return createRow(ctx, service, kind, total)
}

function countDue(service: Service, slots: readonly SlotTasks[], kind: Rollout['kind'], startedAt: Instant): number {
  return slots.filter((tasks) => slotState(service, tasks, { kind, startedAt }).kind === 'due').length
}

function createRow(ctx: Context, service: Service, kind: Rollout['kind'], total: number): Rollout {
  ctx.limit.spend()
  return ctx.tx.rollouts.create({ id: service.id, kind, specVersion: service.specVersion, startedAt: ctx.now, total, failedTaskIds: [] })
}

function updating(ctx: Context): UpdateStatus {
  return { state: 'updating', startedAt: ctx.now, message: 'update in progress' }
}

function setStatus(ctx: Context, service: Service, updateStatus: UpdateStatus): void {
  ctx.limit.spend()
  const present = ctx.tx.services.get(service.id)
  if (present) ctx.tx.services.update({ ...present, updateStatus })
}

function finish(ctx: Context, service: Service, kind: Rollout['kind']): void {
  ctx.tx.rollouts.delete(service.id)
  const state = service.updateStatus?.state
  // Slots that lagged behind (a node was away) are brought up to date without a word.
  if (state !== 'updating' && state !== 'rollback_started') return
  const done =
    kind === 'update'
      ? ({ state: 'completed', message: 'update completed' } as const)
      : ({ state: 'rollback_completed', message: 'rollback completed' } as const)
  setStatus(ctx, service, { ...service.updateStatus, ...done, completedAt: ctx.now })
}

/** Counts failures; true when they end this rollout (texts: docker-api.md 1.2). A rollback that fails is not rolled back but paused. */
function stopOnFailure(ctx: Context, service: Service, row: Rollout, slots: readonly SlotTasks[], failed: readonly Task[]): boolean {
  const config = configOf(service, row.kind)
  const failedTaskIds = [...row.failedTaskIds, ...failed.map((task) => task.id)]
  const taskId = failed[0]?.id
  if (failedTaskIds.length / Math.max(row.total, 1) <= config.maxFailureRatio) {
    ctx.limit.spend()
    ctx.tx.rollouts.update({ ...row, failedTaskIds })
    return false
  }
  ctx.tx.rollouts.delete(service.id)
  const because = `due to failure or early termination of task ${taskId}`
  const startedAt = service.updateStatus?.startedAt ?? row.startedAt
  if (config.failureAction === 'rollback' && row.kind === 'update') {
    const back = rolledBack(service, startedAt, `update rolled back ${because}`, 'failure')
    if (back) {
      ctx.limit.spend(2)
      const revision = specRevisionOf(back)
      if (!ctx.tx.specRevisions.get(revision.id)) ctx.tx.specRevisions.create(revision)
      const updated = ctx.tx.services.update(back)
      // Now, not later: what other loops start from here on for the old spec belongs to this rollback and is monitored.
      createRow(ctx, updated, 'rollback', countDue(updated, slots, 'rollback', ctx.now))
      return true
    }
  }
  const paused = row.kind === 'update' ? 'paused' : 'rollback_paused'
  const subject = row.kind === 'update' ? 'update' : 'rollback'
  setStatus(ctx, service, { state: paused, startedAt, message: `${subject} paused ${because}` })
  return true
}

function updateSlot(ctx: Context, service: Service, tasks: SlotTasks, order: 'stop-first' | 'start-first', why: EndReason): void {
  const newest = tasks.at(-1)
  if (!newest) return
  const place: SlotPlace = isGlobal(service) && newest.nodeId ? { slot: 0, nodeId: newest.nodeId } : { slot: newest.slot }
  // One task goes on serving until the new one does; what an update that was overtaken had begun does not.
  const serving = order === 'start-first' ? tasks.findLast((task) => isLive(task) && task.status.state === TaskState.RUNNING) : undefined
  for (const task of tasks) if (isLive(task) && task !== serving) endTask(ctx, task, TaskState.SHUTDOWN, why)
  const clear = tasks.every((task) => task === serving || hasStopped(ctx.tx.tasks.get(task.id) ?? task, ctx.tx))
  createTask(ctx, service, place, { desiredState: clear ? goalOf(service) : TaskState.READY })
}
