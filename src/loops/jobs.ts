// Runs jobs: so many completions, so many at a time, once for each iteration. Global jobs get their tasks from the global loop.
import type { ServiceId } from '../lib/index.ts'
import { type Service, type Task, TaskState } from '../model/index.ts'
import { isOfOldIteration } from './global.ts'
import { groupBySlot } from './replicated.ts'
import { createTask, endTask, hasFinished, isJob, isLive } from './tasks.ts'
import type { Loop } from './types.ts'

export const jobs: Loop<ServiceId> = {
  kind: 'loop',
  name: 'jobs',

  *keys(view) {
    for (const service of view.services.values()) if (isJob(service)) yield service.id
  },

  *dirty(change) {
    if (change.table === 'service') yield change.id
    else if (change.table === 'task') {
      const { before, after } = change
      const serviceId = (after ?? before)?.serviceId
      if (serviceId && (before?.status.state !== after?.status.state || before?.desiredState !== after?.desiredState)) yield serviceId
    }
  },

  reconcile(ctx, serviceId) {
    const service = ctx.tx.services.get(serviceId)
    if (!service || !isJob(service)) return 'done'
    const present: Task[] = []
    for (const task of ctx.tx.tasks.byService(serviceId)) {
      if (ctx.limit.spent) return 'again'
      if (!isOfOldIteration(service, task)) present.push(task)
      else if (isLive(task) && task.status.state !== TaskState.COMPLETE) endTask(ctx, task, TaskState.REMOVE, 'new-iteration')
    }
    const { mode } = service.spec
    if (mode.kind !== 'replicated-job') return 'done'
    for (const slot of planJobSlots(service, mode, groupBySlot(present))) {
      if (ctx.limit.spent) return 'again'
      createTask(ctx, service, { slot })
    }
    return 'done'
  },
}

/**
 * Pure: the slots (counted from 0, as SwarmKit does) that get a task now. A slot is used up when it has completed, runs, or has failed for good; so a job whose
 * tasks fail for good ends short of its completions instead of running for ever. `maxConcurrent` 0 = all at once.
 */
export function planJobSlots(
  service: Service,
  { totalCompletions, maxConcurrent }: { readonly totalCompletions: number; readonly maxConcurrent: number },
  slots: ReadonlyMap<number, readonly Task[]>,
): number[] {
  let active = 0
  const used = new Set<number>()
  for (const [slot, tasks] of slots) {
    const completed = tasks.some((task) => task.status.state === TaskState.COMPLETE)
    const running = !completed && tasks.some(isLive)
    const newest = tasks.at(-1)
    if (running) active++
    if (completed || running || (newest && hasFinished(service, newest))) used.add(slot)
  }
  const room = Math.min((maxConcurrent > 0 ? maxConcurrent : totalCompletions) - active, totalCompletions - used.size)
  const add: number[] = []
  for (let slot = 0; slot < totalCompletions && add.length < room; slot++) if (!used.has(slot)) add.push(slot)
  return add
}
