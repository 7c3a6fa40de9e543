// What loops know about tasks: how one is made and ended, which belong together in a slot, and when one has stopped.
import { assert, type Instant, type NodeId, type ServiceId } from '../lib/index.ts'
import { holdsOf, isTerminal, type Node, type Service, type Task, TaskState } from '../model/index.ts'
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
export function endTask(ctx: Context, task: Task, desiredState: typeof TaskState.SHUTDOWN | typeof TaskState.REMOVE): void {
  assert(desiredState > TaskState.COMPLETE, 'an end is behind all states of a running task')
  if (task.desiredState >= desiredState) return
  ctx.limit.spend()
  ctx.tx.tasks.update({ ...task, desiredState, ...releaseAtOnce(task, ctx.now) })
}

/** Nobody routes to a task that never ran, so there is nothing to wait for when it ends. */
function releaseAtOnce(task: Task, now: Instant): Partial<Task> {
  return task.status.state < TaskState.RUNNING && task.releasedAt === undefined ? { releasedAt: now } : {}
}

export function deleteTask(ctx: Context, task: Task): void {
  ctx.limit.spend()
  for (const hold of holdsOf(task, ctx.now)) putHold(ctx.tx, hold)
  ctx.tx.tasks.delete(task.id)
}
