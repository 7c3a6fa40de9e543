// Replaces tasks whose node cannot be reached, not faster than the rest of the swarm can bear: after trouble that was only short most of them are still there.
import type { Instant } from '../lib/index.ts'
import { isTerminal, type Service, type Task, TaskState } from '../model/index.ts'
import {
  createSuccessor,
  endTask,
  goalOf,
  hasFinished,
  hasStopped,
  inOrder,
  isDown,
  isGlobal,
  isJob,
  isLeaving,
  isLive,
  move,
  type SlotKey,
  slotKeyOf,
  slotOf,
  tasksOfSlot,
} from './tasks.ts'
import type { BatchLoop, Context, View } from './types.ts'

/** Replacements per second for each node that can take some; this many seconds' worth may come at once. */
export const REPLACED_PER_NODE_SECOND = 10
export const BURST_SECONDS = 5
/** When more nodes were lost than are left, it is rather the manager's own network that is cut: then slowly, and from the first one on. */
export const MASS_REPLACED_PER_NODE_SECOND = 2
/** Those that are back first do not end it: the others are probably on their way. */
const MASS_LASTS_MS = 15_000
/** Nodes that went down this long ago say nothing about the trouble of now. */
const RECENTLY_MS = 300_000
/**
 * Nodes that are lost together are noticed one after the other, as their pings fall due: only when for this long no further one was lost it is known how many
 * there are. Never waits longer than the second figure.
 */
export const SETTLE_MS = 1_000
const MOST_SETTLE_MS = 3_000
/** Rest when all is spent, so that the next round has something to do. */
const REST_MS = 100

export function nodeLoss(): BatchLoop {
  /** Whom to replace next stands last. */
  let queue: SlotKey[] = []
  let stale = true
  let tokens = Number.POSITIVE_INFINITY
  let filledAt: Instant | undefined
  /** More nodes were lost than were left: until when that counts, and the fewest that were left. */
  let mass: { readonly until: Instant; readonly able: number } | undefined
  /** The first and the last loss of the present trouble. */
  let trouble: { readonly since: Instant; readonly last: Instant } | undefined

  /** Fills the bucket for the time since it was looked at last; its size is also where it begins. */
  function refill(ctx: Context): number {
    const { able, lost } = countNodes(ctx.tx, ctx.now)
    if (lost > able) mass = { until: ctx.now + MASS_LASTS_MS, able: Math.min(able, mass?.able ?? able) }
    else if (mass && mass.until <= ctx.now) mass = undefined
    const perSecond = mass ? MASS_REPLACED_PER_NODE_SECOND * Math.max(mass.able, 1) : REPLACED_PER_NODE_SECOND * Math.max(able, 1)
    const most = mass ? perSecond : perSecond * BURST_SECONDS
    const elapsedMs = Math.max(0, ctx.now - (filledAt ?? ctx.now))
    tokens = Math.min(most, tokens + (elapsedMs / 1000) * perSecond)
    filledAt = ctx.now
    return perSecond
  }

  return {
    kind: 'batch',
    name: 'nodeLoss',

    reset() {
      queue = []
      stale = true
    },

    observe() {},

    *keys(view) {
      stale = true
      for (const task of view.tasks.values()) if (isLost(task, view)) yield* keyOf(task, view)
    },

    *dirty(change, view) {
      if (change.table === 'node') {
        if (isDown(change.before) || !isDown(change.after)) return
        stale = true
        const at = change.after?.updatedAt
        if (at !== undefined) trouble = { since: trouble?.since ?? at, last: at }
        for (const task of view.tasks.byNode(change.id)) if (isLost(task, view)) yield* keyOf(task, view)
      } else if (change.table === 'task') {
        // A task of a lost node has ended or was given a node that is lost; or its successor has gone.
        const { after } = change
        if (!after?.serviceId || after.desiredState === change.before?.desiredState) return
        const key = slotKeyOf(after, view)
        if (!key || !view.tasks.bySlot(after.serviceId, after.slot).some((task) => isLost(task, view))) return
        stale = true
        yield key
      }
    },

    run(ctx, keys) {
      const settledAt = trouble ? Math.min(trouble.last + SETTLE_MS, trouble.since + MOST_SETTLE_MS) : 0
      if (settledAt > ctx.now) return { wakeAt: settledAt }
      const perSecond = refill(ctx)
      if (stale) queue = byMissingShare(ctx.tx, keys)
      stale = false
      while (keys.size > 0 && tokens >= 1) {
        if (ctx.limit.spent) return 'again'
        if (queue.length === 0) queue = byMissingShare(ctx.tx, keys)
        const key = queue.pop() as SlotKey
        if (!keys.delete(key)) continue
        if (replaceLost(ctx, key)) tokens -= 1
      }
      if (keys.size === 0) trouble = undefined
      return keys.size === 0 ? 'done' : { wakeAt: ctx.now + Math.max(REST_MS, Math.ceil(1000 / Math.max(perSecond, 0.1))) }
    },
  }
}

function countNodes(view: View, now: Instant): { readonly able: number; readonly lost: number } {
  let able = 0
  let lost = 0
  for (const node of view.nodes.values()) {
    if (node.status.state === 'ready' && node.spec.availability === 'active') able += 1
    else if (node.status.state === 'down' && now - (node.downSince ?? node.updatedAt) < RECENTLY_MS) lost += 1
  }
  return { able, lost }
}

function isLost(task: Task, view: View): boolean {
  return task.nodeId !== undefined && isLive(task) && !isTerminal(task.status.state) && isDown(view.nodes.get(task.nodeId))
}

function* keyOf(task: Task, view: View): Generator<SlotKey> {
  const service = task.serviceId && view.services.get(task.serviceId)
  if (service && !isGlobal(service)) yield `${service.id}/${task.slot}` as SlotKey
}

/** Slots of the services that miss the largest share of themselves stand last; of one service one slot after the other. */
function byMissingShare(view: View, keys: ReadonlySet<string>): SlotKey[] {
  const waiting = new Map<string, SlotKey[]>()
  for (const key of keys as ReadonlySet<SlotKey>) {
    const { serviceId } = slotOf(key)
    const slots = waiting.get(serviceId)
    if (slots) slots.push(key)
    else waiting.set(serviceId, [key])
  }
  const ranked: { readonly key: SlotKey; readonly missing: number }[] = []
  for (const [serviceId, slots] of waiting) {
    const wanted = Math.max(1, sizeOf(view.services.get(serviceId as Service['id'])))
    slots.forEach((key, nth) => {
      ranked.push({ key, missing: (slots.length - nth) / wanted })
    })
  }
  return ranked.sort((a, b) => a.missing - b.missing).map(({ key }) => key)
}

function sizeOf(service: Service | undefined): number {
  const mode = service?.spec.mode
  return mode?.kind === 'replicated' ? mode.replicas : mode?.kind === 'replicated-job' ? mode.totalCompletions : 1
}

/** True when a task was made. The lost one goes on being meant to run until its successor serves: if its node is back before, it is kept. */
function replaceLost(ctx: Context, key: SlotKey): boolean {
  const { serviceId, place } = slotOf(key)
  const service = ctx.tx.services.get(serviceId)
  if (!service) return false
  const tasks = tasksOfSlot(ctx.tx, serviceId, place)
  const lost = tasks.filter((task) => isLost(task, ctx.tx))
  const last = lost.at(-1)
  if (!last) return false
  const hasSuccessor = tasks.some((task) => isLive(task) && !isLeaving(task, ctx.tx))
  if (isJob(service)) {
    for (const task of lost) move(ctx, service, place, task, 'node-lost') // a job's task must not run twice by our doing
    return !hasSuccessor
  }
  for (const task of lost) if (task.status.state < TaskState.RUNNING) endTask(ctx, task, TaskState.SHUTDOWN, 'node-lost')
  if (hasSuccessor) return false
  if (tasks.some((task) => inOrder(last, task) < 0 && hasFinished(service, task))) {
    for (const task of lost) endTask(ctx, task, TaskState.SHUTDOWN, 'node-lost')
    return false
  }
  const stopping = tasks.some((task) => !isLive(task) && !hasStopped(task, ctx.tx))
  createSuccessor(ctx, service, place, last, stopping ? TaskState.READY : goalOf(service))
  return true
}
