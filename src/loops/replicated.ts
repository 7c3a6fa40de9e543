// Keeps as many slots of a replicated service filled as its spec asks for.
import type { ServiceId } from '../lib/index.ts'
import { type Service, type Task, TaskState } from '../model/index.ts'
import { createTask, dropTwins, endTask, hasFinished, inOrder, isLeaving, isLive } from './tasks.ts'
import type { Context, Loop, Outcome } from './types.ts'

export interface SlotsPlan {
  /** Slot numbers that need a task. */
  readonly add: readonly number[]
  /** Slots that must go, with all that is in them. */
  readonly remove: readonly number[]
}

export const replicated: Loop<ServiceId> = {
  kind: 'loop',
  name: 'replicated',

  *keys(view) {
    yield* view.services.ids()
  },

  *dirty(change) {
    if (change.table === 'service') yield change.id
    else if (change.table === 'task') {
      const { before, after } = change
      const serviceId = (after ?? before)?.serviceId
      // A slot is filled or not: of the many reports of agents none but an end can change that.
      if (serviceId && (!before || !after || before.desiredState !== after.desiredState)) yield serviceId
    }
  },

  reconcile(ctx, serviceId) {
    const service = ctx.tx.services.get(serviceId)
    if (service?.spec.mode.kind !== 'replicated') return 'done' // a removed service is the removal loop's
    const left = unfilled.get(service)
    if (left) return goOnFilling(ctx, service, left)
    const slots = groupBySlot(ctx.tx.tasks.byService(serviceId))
    const plan = planSlots(service, service.spec.mode.replicas, slots, (task) => isLeaving(task, ctx.tx))
    for (const slot of plan.remove) {
      if (ctx.limit.spent) return 'again'
      for (const task of slots.get(slot) ?? []) endTask(ctx, task, TaskState.REMOVE, 'scaled-down')
    }
    for (const tasks of slots.values()) if (tasks.length > 1) dropTwins(ctx, service, tasks)
    const toFill = { slots: plan.add, next: 0 }
    fill(ctx, service, toFill)
    if (toFill.next === plan.add.length) return 'done'
    unfilled.set(service, toFill)
    return 'again'
  },
}

interface ToFill {
  readonly slots: readonly number[]
  next: number
}

/**
 * What the last look at all slots of a service (this very version of it) found to be filled: a large service takes many turns, and looking at all its slots
 * in each would cost the square of its size. Nothing depends on it: each slot is looked at again before it is filled, and at the end comes another whole look.
 */
const unfilled = new WeakMap<Service, ToFill>()

function goOnFilling(ctx: Context, service: Service, left: ToFill): Outcome {
  fill(ctx, service, left)
  if (left.next === left.slots.length) unfilled.delete(service)
  return 'again'
}

function fill(ctx: Context, service: Service, toFill: ToFill): void {
  for (; toFill.next < toFill.slots.length && !ctx.limit.spent; toFill.next++) {
    const slot = toFill.slots[toFill.next]!
    const tasks = [...ctx.tx.tasks.bySlot(service.id, slot)].sort(inOrder)
    if (!isFilled(service, tasks)) createTask(ctx, service, { slot })
  }
}

/** Tasks of each slot, oldest first. */
export function groupBySlot(tasks: Iterable<Task>): Map<number, Task[]> {
  const slots = new Map<number, Task[]>()
  for (const task of tasks) {
    const slot = slots.get(task.slot)
    if (slot) slot.push(task)
    else slots.set(task.slot, [task])
  }
  for (const slot of slots.values()) if (slot.length > 1) slot.sort(inOrder)
  return slots
}

/** Somebody runs or is meant to, or the last one has ended and its restart policy leaves it at that. */
export function isFilled(service: Service, slot: readonly Task[]): boolean {
  const newest = slot.at(-1)
  return slot.some(isLive) || (newest !== undefined && hasFinished(service, newest))
}

/**
 * Pure. Free slots are filled from 1 on. Too many: those that do not run (or not for long: `leaving`) go first, then those on nodes that have most of the service, then high numbers.
 */
export function planSlots(
  service: Service,
  replicas: number,
  slots: ReadonlyMap<number, readonly Task[]>,
  leaving: (task: Task) => boolean = () => false,
): SlotsPlan {
  const filled: number[] = []
  const remove: number[] = []
  for (const [slot, tasks] of slots) {
    if (isFilled(service, tasks)) filled.push(slot)
    else if (tasks.some((task) => task.desiredState < TaskState.REMOVE)) remove.push(slot)
  }
  if (filled.length > replicas) return { add: [], remove: [...remove, ...keepOrder(filled, slots, leaving).slice(replicas)] }
  const add: number[] = []
  const taken = new Set(filled)
  for (let slot = 1; filled.length + add.length < replicas; slot++) if (!taken.has(slot)) add.push(slot)
  const refilled = new Set(add)
  return { add, remove: remove.filter((slot) => !refilled.has(slot)) }
}

/** Slots in the order in which they are worth keeping. */
function keepOrder(filled: readonly number[], slots: ReadonlyMap<number, readonly Task[]>, leaving: (task: Task) => boolean): number[] {
  const ranked = [...filled]
    .sort((a, b) => a - b)
    .map((slot) => {
      const live = (slots.get(slot) ?? []).filter(isLive)
      const running = live.find((task) => task.status.state === TaskState.RUNNING && !leaving(task))
      return { slot, running: running !== undefined, nodeId: (running ?? live.at(-1))?.nodeId, nth: 0 }
    })
    .sort((a, b) => Number(b.running) - Number(a.running) || a.slot - b.slot)
  const seen = new Map<string, number>()
  for (const entry of ranked) {
    if (entry.nodeId === undefined) {
      entry.nth = Number.MAX_SAFE_INTEGER // not placed yet: first to go
      continue
    }
    entry.nth = seen.get(entry.nodeId) ?? 0
    seen.set(entry.nodeId, entry.nth + 1)
  }
  return ranked.sort((a, b) => Number(b.running) - Number(a.running) || a.nth - b.nth || a.slot - b.slot).map(({ slot }) => slot)
}
