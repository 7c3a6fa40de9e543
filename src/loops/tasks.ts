// What loops know about tasks: how one is made and ended, which belong together in a slot, and when one has stopped.
import { assert, type Instant, type NodeId, type ServiceId } from '../lib/index.ts'
import { type EndReason, holdsOf, isTerminal, type Node, type Service, type Task, TaskState } from '../model/index.ts'
import { oldestFirst, putHold, type View } from '../store/index.ts'
import { planRestart } from './restartPlan.ts'
import type { Context } from './types.ts'

/** `<serviceId>/<slot>`, or `<serviceId>@<nodeId>` where each node is a slot. */
export type SlotKey = string & { readonly __slot: unique symbol }

export type SlotPlace = { readonly slot: number; readonly nodeId?: undefined } | { readonly slot: 0; readonly nodeId: NodeId }

export function isGlobal(service: Service): boolean {
  return service.spec.mode.kind === 'global' || service.spec.mode.kind === 'global-job'
}

export function isJob(service: Service): boolean {
  return service.spec.mode.kind === 'replicated-job' || service.spec.mode.kind === 'global-job'
}

/** The state that a task of this service is meant to reach. */
export function goalOf(service: Service): TaskState {
  return isJob(service) ? TaskState.COMPLETE : TaskState.RUNNING
}

/** Meant to run or to complete; all others have been told to stop. */
export function isLive(task: Task): boolean {
  return task.desiredState <= TaskState.COMPLETE
}

/** No agent has heard of it. */
export function isUnassigned(task: Task): boolean {
  return task.status.state < TaskState.ASSIGNED
}

/** It has ended by itself and its restart policy does not bring it back: the slot stays as it is. */
export function hasFinished(service: Service, task: Task): boolean {
  const { state, at } = task.status
  if (isLive(task) || task.desiredState >= TaskState.REMOVE) return false
  if (state !== TaskState.COMPLETE && state !== TaskState.FAILED && state !== TaskState.REJECTED) return false
  // As of its end: that a restart window has passed since then brings nothing back.
  return planRestart(service.spec.task.restart, task, at) === undefined
}

/** RUNNING, and every live node routes to it. */
export function isServed(task: Task): boolean {
  return task.status.state === TaskState.RUNNING && task.servedAt !== undefined
}

export function isDown(node: Node | undefined): boolean {
  return node === undefined || node.status.state === 'down'
}

/** Its node is there and lets go of what it runs. */
export function isDrained(node: Node | undefined): node is Node {
  return node?.spec.availability === 'drain' && node.status.state !== 'down'
}

/** It is meant to run, but not where it is: its node is drained or cannot be reached. It goes on until its successor serves. */
export function isLeaving(task: Task, view: View): boolean {
  if (task.nodeId === undefined) return false
  const node = view.nodes.get(task.nodeId)
  return isDown(node) || isDrained(node)
}

/** Nothing of it runs any more, as far as can be known: an unreachable node counts as silent. */
export function hasStopped(task: Task, view: View): boolean {
  if (isTerminal(task.status.state)) return true
  if (isUnassigned(task)) return !isLive(task)
  return isDown(task.nodeId && view.nodes.get(task.nodeId))
}

export function slotKeyOf(task: Task, view: View): SlotKey | undefined {
  if (task.serviceId === undefined) return undefined
  const service = view.services.get(task.serviceId)
  if (!service) return undefined // a removed service is the removal loop's
  if (!isGlobal(service)) return `${task.serviceId}/${task.slot}` as SlotKey
  return task.nodeId ? (`${task.serviceId}@${task.nodeId}` as SlotKey) : undefined
}

export function slotOf(key: SlotKey): { readonly serviceId: ServiceId; readonly place: SlotPlace } {
  const at = key.indexOf('@')
  if (at >= 0) return { serviceId: key.slice(0, at) as ServiceId, place: { slot: 0, nodeId: key.slice(at + 1) as NodeId } }
  const slash = key.indexOf('/')
  return { serviceId: key.slice(0, slash) as ServiceId, place: { slot: Number(key.slice(slash + 1)) } }
}

/** Oldest first; of tasks made in the same moment the live one is the newer. */
export function tasksOfSlot(view: View, serviceId: ServiceId, place: SlotPlace): Task[] {
  const found: Task[] = []
  if (place.nodeId === undefined) found.push(...view.tasks.bySlot(serviceId, place.slot))
  else for (const task of view.tasks.byNode(place.nodeId)) if (task.serviceId === serviceId) found.push(task)
  return found.sort(inOrder)
}

export function inOrder(a: Task, b: Task): number {
  return a.createdAt - b.createdAt || Number(isLive(a)) - Number(isLive(b)) || oldestFirst(a, b)
}

export interface NewTask {
  readonly desiredState?: TaskState
  readonly notBefore?: Instant
  readonly restart?: Task['restart']
}

/** A task of the service's present spec. */
export function createTask(ctx: Context, service: Service, place: SlotPlace, options: NewTask = {}): Task {
  ctx.limit.spend()
  return ctx.tx.tasks.create({
    id: ctx.ids.task(),
    serviceId: service.id,
    slot: place.slot,
    nodeId: place.nodeId,
    specVersion: service.specVersion,
    desiredState: options.desiredState ?? goalOf(service),
    status: { state: TaskState.NEW, at: ctx.now, message: 'created', error: '' },
    attachments: [],
    ...(isJob(service) ? { jobIteration: service.job?.iteration ?? 0 } : {}),
    ...(options.notBefore === undefined ? {} : { notBefore: options.notBefore }),
    ...(options.restart === undefined ? {} : { restart: options.restart }),
  })
}

/** Tells a task to stop. Desired states only grow, so saying it again, or less, changes nothing. */
export function endTask(
  ctx: Context,
  { id }: Task,
  desiredState: typeof TaskState.SHUTDOWN | typeof TaskState.REMOVE,
  endReason: EndReason,
): void {
  assert(desiredState > TaskState.COMPLETE, 'an end is behind all states of a running task')
  const task = ctx.tx.tasks.get(id)
  if (!task || task.desiredState >= desiredState) return
  ctx.limit.spend()
  ctx.tx.tasks.update({ ...task, desiredState, endReason: task.endReason ?? endReason, ...releaseAtOnce(task, ctx.now) })
}

/** Nobody routes to a task that never ran, so there is nothing to wait for when it ends. */
function releaseAtOnce(task: Task, now: Instant): Partial<Task> {
  return task.status.state < TaskState.RUNNING && task.releasedAt === undefined ? { releasedAt: now } : {}
}

/**
 * Ends a task that cannot stay where it is and makes one that is placed anew. It is no failure of the task, so it does not count as a restart. The new one is
 * held until the old one has stopped.
 */
export function move(ctx: Context, service: Service, place: SlotPlace, task: Task, why: EndReason): void {
  endTask(ctx, task, TaskState.SHUTDOWN, why)
  if (!otherGoesOn(ctx.tx, service, place, task)) createSuccessor(ctx, service, place, task, TaskState.READY)
}

/** Accounting of restarts goes on with the successor; of an older spec it says nothing. */
export function createSuccessor(ctx: Context, service: Service, place: SlotPlace, task: Task, desiredState: TaskState): Task {
  const outdated = task.specVersion !== service.specVersion
  return createTask(ctx, service, place, { desiredState, ...(outdated || !task.restart ? {} : { restart: task.restart }) })
}

/** Somebody else in the slot goes on: the other half of an update, or a successor that is there already. Who leaves himself does not count. */
export function otherGoesOn(view: View, service: Service, place: SlotPlace, task: Task): boolean {
  return tasksOfSlot(view, service.id, place).some((other) => other.id !== task.id && goesOn(other, view))
}

/** Meant to run, not ended, and where it can stay. */
export function goesOn(task: Task, view: View): boolean {
  return isLive(task) && !isTerminal(task.status.state) && !isLeaving(task, view)
}

/**
 * A task that came back with its node finds the successor that was made meanwhile: one of them goes. Tasks of different specs are the rollout's.
 */
export function dropTwins(ctx: Context, service: Service, tasks: readonly Task[]): void {
  const staying = tasks.filter((task) => goesOn(task, ctx.tx))
  const first = staying[0]
  if (!first || staying.length < 2 || isJob(service) || staying.some(({ specVersion }) => specVersion !== first.specVersion)) return
  const keep = staying.find(isServed) ?? staying.find((task) => task.status.state === TaskState.RUNNING) ?? first
  for (const task of staying)
    if (task !== keep) endTask(ctx, task, isUnassigned(task) ? TaskState.REMOVE : TaskState.SHUTDOWN, 'not-needed')
}

export function deleteTask(ctx: Context, task: Task): void {
  ctx.limit.spend()
  for (const hold of holdsOf(task, ctx.now)) putHold(ctx.tx, hold)
  ctx.tx.tasks.delete(task.id)
}
