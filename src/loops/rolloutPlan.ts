// The pure part of updates and rollbacks: given a service's slots, what is done, busy or due, what failed, and what to do next.
import { type Instant, nsToMs } from '../lib/index.ts'
import { isTerminal, type Rollout, type Service, type Task, TaskState, type UpdateConfig, updateConfigOf } from '../model/index.ts'
import { hasFinished, isLive, isServed, isUnassigned } from './tasks.ts'

/** All tasks of one slot (or of one node of a global service), oldest first. */
export type SlotTasks = readonly Task[]

export type SlotState =
  /** Runs an older spec. */
  | { readonly kind: 'due' }
  /** Its new task is on the way. */
  | { readonly kind: 'busy' }
  /** Its new task is up, or has ended, since then. */
  | { readonly kind: 'settled'; readonly at: Instant }
  /** Nothing in it counts: it is being removed or filled by others. */
  | { readonly kind: 'empty' }

export interface RolloutPlan {
  /** Slots that get a new task now. */
  readonly start: readonly SlotTasks[]
  /** New tasks that failed within their monitoring time and are not yet counted. */
  readonly failed: readonly Task[]
  /** All slots are settled and have been monitored. */
  readonly complete: boolean
  /** When to look again if nothing changes. */
  readonly wakeAt: Instant | undefined
}

export function configOf(service: Service, kind: Rollout['kind']): Required<UpdateConfig> {
  const config = updateConfigOf(kind === 'rollback' ? service.spec.rollback : service.spec.update)
  // Two tasks cannot hold the same host port on a node, so the old one has to go first (moby#39).
  const holdsHostPort = (service.spec.endpoint?.ports ?? []).some((port) => port.publishMode === 'host' && port.publishedPort !== 0)
  return holdsHostPort ? { ...config, order: 'stop-first' } : config
}

type Begun = Pick<Rollout, 'kind' | 'startedAt' | 'failedTaskIds'>

export function slotState(service: Service, tasks: SlotTasks, begun: Pick<Rollout, 'kind' | 'startedAt'>): SlotState {
  const live = tasks.filter(isLive)
  const newest = tasks.at(-1)
  if (live.length === 0) {
    if (!newest || !hasFinished(service, newest)) return { kind: 'empty' }
    // A rollback leaves nothing as it ended: the service must come back as it was.
    const stale = begun.kind === 'rollback' && newest.createdAt < begun.startedAt
    return newest.specVersion !== service.specVersion || stale ? { kind: 'due' } : { kind: 'settled', at: newest.updatedAt }
  }
  const current = tasks.filter((task) => task.specVersion === service.specVersion)
  if (!current.some(isLive)) return { kind: 'due' }
  let settledAt: Instant | undefined
  for (const task of current) {
    const at = upOrEndedAt(task, begun.startedAt)
    if (at !== undefined && (settledAt === undefined || at < settledAt)) settledAt = at
  }
  return settledAt === undefined ? { kind: 'busy' } : { kind: 'settled', at: settledAt }
}

/** When this task of the present spec came up or ended; what ended before the rollout says nothing about it. */
function upOrEndedAt(task: Task, startedAt: Instant): Instant | undefined {
  if (isLive(task) && isServed(task)) return task.servedAt
  if (task.createdAt < startedAt) return undefined
  if (isTerminal(task.status.state)) return task.servedAt ?? task.updatedAt
  // A second try in this slot: the first one has ended, even if history has forgotten it.
  return (task.restart?.attempts ?? 0) > 0 ? task.createdAt : undefined
}

/** Pure: the next steps of a rollout. `slots` in the order in which they are to be updated. */
export function planRollout(service: Service, slots: readonly SlotTasks[], begun: Begun, now: Instant): RolloutPlan {
  const config = configOf(service, begun.kind)
  const delayMs = nsToMs(config.delayNs)
  const monitorMs = config.failureAction === 'continue' ? 0 : nsToMs(config.monitorNs)
  const due: SlotTasks[] = []
  let busy = 0
  let resting = 0
  let wakeAt: Instant | undefined
  let lastSettledAt = Number.NEGATIVE_INFINITY
  const wake = (at: Instant) => {
    wakeAt = Math.min(wakeAt ?? at, at)
  }
  for (const tasks of slots) {
    const state = slotState(service, tasks, begun)
    if (state.kind === 'due') due.push(tasks)
    else if (state.kind === 'busy') busy++
    else if (state.kind === 'settled' && state.at >= begun.startedAt) {
      lastSettledAt = Math.max(lastSettledAt, state.at)
      if (state.at + delayMs > now) {
        resting++
        wake(state.at + delayMs)
      }
    }
  }
  const free = config.parallelism > 0 ? Math.max(0, config.parallelism - busy - resting) : due.length
  const allSettled = due.length === 0 && busy === 0
  const monitoredUntil = lastSettledAt + monitorMs
  if (allSettled) wakeAt = monitoredUntil > now ? monitoredUntil : undefined // the delay after the last one has no purpose
  return {
    start: due.slice(0, free),
    failed: config.failureAction === 'continue' ? [] : newFailures(service, slots, begun, monitorMs),
    complete: allSettled && monitoredUntil <= now,
    wakeAt,
  }
}

function newFailures(service: Service, slots: readonly SlotTasks[], begun: Begun, monitorMs: number): Task[] {
  const counted = new Set<string>(begun.failedTaskIds)
  const failed: Task[] = []
  for (const tasks of slots) {
    for (const task of tasks) {
      if (task.specVersion !== service.specVersion || task.createdAt < begun.startedAt) continue
      if ((task.restart?.attempts ?? 0) > 0 || counted.has(task.id)) continue // only the tasks that the rollout made count, once each
      const { state } = task.status
      if (state !== TaskState.FAILED && state !== TaskState.REJECTED && state !== TaskState.COMPLETE) continue
      if (task.servedAt === undefined || task.updatedAt - task.servedAt <= monitorMs) failed.push(task)
    }
  }
  return failed
}

/**
 * Tasks of a slot that its new task makes superfluous. Stop-first: as soon as there is one; start-first: once it serves, or when the old ones do not run either.
 */
export function superfluous(
  service: Service,
  tasks: SlotTasks,
  order: 'stop-first' | 'start-first',
  leaving: (task: Task) => boolean = () => false,
): Task[] {
  // Tasks on drained or lost nodes go when a successor serves, and not before: the restart loop sees to that.
  const live = tasks.filter((task) => isLive(task) && !leaving(task))
  if (live.length < 2) return []
  const going = live.filter((task) => !isTerminal(task.status.state))
  const current = going.filter((task) => task.specVersion === service.specVersion)
  // Two of older specs: an update that was overtaken had begun to replace one by the other.
  const keep = current.find(isServed) ?? current.at(-1) ?? going.findLast(isServed) ?? going.at(-1)
  if (!keep) return []
  const others = live.filter((task) => task !== keep)
  const mayGo = order === 'stop-first' || isServed(keep) || !others.some((task) => task.status.state === TaskState.RUNNING)
  return mayGo ? others : others.filter(isUnassigned)
}
