// Says why: what tasks of a service wait for, which nodes refuse them and for what reason, where an update stands, why tasks were replaced. Pure over a view.
import type { Instant, ServiceId, TaskId } from '../lib/index.ts'
import { drainDeadline, type EndReason, type Node, type Service, type Task, TaskState, taskStateName } from '../model/index.ts'
import { type Demand, type FilterName, NodeSet, objections, remedy } from '../scheduler/index.ts'
import type { View } from '../store/index.ts'
import { Demands } from './demands.ts'
import { unmetDependency } from './dependsOn.ts'
import { groupBySlot } from './replicated.ts'
import { configOf, planRollout, slotState } from './rolloutPlan.ts'
import { hasFinished, hasStopped, isDown, isDrained, isGlobal, isJob, isLive, isServed, isUnassigned, tasksOfSlot } from './tasks.ts'

/** Rows of an answer: a large service says the same of most of its tasks. */
const MOST_ROWS = 50

export interface NodeVerdict {
  readonly nodeId: string
  readonly hostname: string
  /** Filters that refuse it; none when it fits. */
  readonly objections: readonly { readonly filter: FilterName; readonly text: string }[]
}

export interface TaskVerdict {
  readonly taskId: TaskId
  readonly slot: number
  readonly nodeId?: string
  readonly state: string
  readonly desiredState: string
  /** Stable code: a reason of the end, of waiting, or `running`. */
  readonly code: string
  readonly text: string
}

export interface ServiceExplanation {
  readonly serviceId: ServiceId
  readonly name: string
  readonly mode: string
  readonly wanted: number
  readonly serving: number
  /** Live tasks that do not serve yet, at most 50. */
  readonly waiting: readonly TaskVerdict[]
  /** Tasks that were told to stop, newest first, at most 50. */
  readonly replaced: readonly (TaskVerdict & { readonly at: Instant })[]
  readonly placement: Placement
  readonly update?: { readonly state: string; readonly text: string; readonly done: number; readonly total: number }
}

export interface Placement {
  readonly fits: number
  /** How many nodes each filter refuses (a node counts for each of its objections), the most frequent first, and what could be done. */
  readonly refusals: readonly { readonly filter: FilterName; readonly nodes: number; readonly remedy: string }[]
  /** At most 50, those that refuse first. */
  readonly nodes: readonly NodeVerdict[]
}

export interface TaskExplanation extends TaskVerdict {
  readonly serviceId?: ServiceId
  readonly serviceName?: string
  /** Who took its place. */
  readonly successorId?: TaskId
  /** Only of tasks that wait for a node. */
  readonly placement?: Placement
}

/** All nodes with what runs on them. Costs a look at every task. */
export function nodeSetOf(view: View, demands: Demands): NodeSet {
  const nodes = new NodeSet()
  for (const node of view.nodes.values()) nodes.setNode(node)
  for (const task of view.tasks.values()) {
    if (!task.nodeId || isUnassigned(task) || task.status.state > TaskState.RUNNING) continue
    const demand = demands.of(view, task)
    if (demand) nodes.setTask(task.id, { nodeId: task.nodeId, demand, generic: task.genericResources, active: isLive(task) })
  }
  return nodes
}

export function explainService(view: View, service: Service, now: Instant): ServiceExplanation {
  const tasks = [...view.tasks.byService(service.id)]
  const live = tasks.filter(isLive)
  const serving = live.filter(isServed)
  const waiting = live.filter((task) => !isServed(task) && !(isJob(service) && task.status.state === TaskState.COMPLETE))
  const ended = tasks.filter((task) => task.endReason !== undefined).sort((a, b) => b.updatedAt - a.updatedAt)
  const update = explainUpdate(service, view, tasks, now)
  return {
    serviceId: service.id,
    name: service.spec.name,
    mode: service.spec.mode.kind,
    wanted: wantedOf(service, live),
    serving: serving.length,
    waiting: waiting.slice(0, MOST_ROWS).map((task) => verdict(view, service, task, now)),
    replaced: ended.slice(0, MOST_ROWS).map((task) => ({ ...verdict(view, service, task, now), at: task.updatedAt })),
    placement: placementOf(view, service),
    ...(update ? { update } : {}),
  }
}

export function explainTask(view: View, task: Task, now: Instant): TaskExplanation {
  const service = task.serviceId && view.services.get(task.serviceId)
  if (!service) return { ...verdict(view, undefined, task, now), ...(task.serviceId ? { serviceId: task.serviceId } : {}) }
  const slot = tasksOfSlot(view, service.id, isGlobal(service) && task.nodeId ? { slot: 0, nodeId: task.nodeId } : { slot: task.slot })
  const successor = isLive(task) ? undefined : slot.find((other) => other.createdAt >= task.createdAt && other.id !== task.id)
  const waits = isLive(task) && isUnassigned(task)
  return {
    ...verdict(view, service, task, now),
    serviceId: service.id,
    serviceName: service.spec.name,
    ...(successor ? { successorId: successor.id } : {}),
    ...(waits ? { placement: placementOf(view, service) } : {}),
  }
}

function wantedOf(service: Service, live: readonly Task[]): number {
  const { mode } = service.spec
  if (mode.kind === 'replicated') return mode.replicas
  return mode.kind === 'replicated-job' ? mode.totalCompletions : live.length
}

export function placementOf(view: View, service: Service): Placement {
  const demands = new Demands()
  const demand = demands.ofService(view, service)
  const nodes = needsCounts(demand) ? nodeSetOf(view, demands) : bareNodes(view)
  return judge(nodes, demand)
}

/** Whether the answer depends on what runs on the nodes. */
function needsCounts(demand: Demand): boolean {
  const { nanoCpus, memoryBytes, generic, hostPorts, maxReplicasPerNode } = demand
  return nanoCpus > 0 || memoryBytes > 0 || generic.length > 0 || hostPorts.length > 0 || maxReplicasPerNode > 0
}

function bareNodes(view: View): NodeSet {
  const nodes = new NodeSet()
  for (const node of view.nodes.values()) nodes.setNode(node)
  return nodes
}

function judge(nodes: NodeSet, demand: Demand): Placement {
  const counts = new Map<FilterName, number>()
  const verdicts: NodeVerdict[] = []
  let fits = 0
  for (const info of nodes.values()) {
    const found = objections(info, demand, nodes.tasksOf(demand.serviceId)?.get(info.node.id) ?? 0)
    if (found.length === 0) fits += 1
    for (const filter of new Set(found.map((objection) => objection.filter))) counts.set(filter, (counts.get(filter) ?? 0) + 1)
    verdicts.push({ nodeId: info.node.id, hostname: hostnameOf(info.node), objections: found })
  }
  const refusals = [...counts].sort((a, b) => b[1] - a[1]).map(([filter, count]) => ({ filter, nodes: count, remedy: remedy(filter) }))
  return { fits, refusals, nodes: verdicts.sort((a, b) => b.objections.length - a.objections.length).slice(0, MOST_ROWS) }
}

function hostnameOf(node: Node): string {
  return node.spec.name || node.description?.hostname || node.id
}

function verdict(view: View, service: Service | undefined, task: Task, now: Instant): TaskVerdict {
  const [code, text] = isLive(task) ? stillLive(view, service, task, now) : [task.endReason ?? 'ended', endText(task)]
  return {
    taskId: task.id,
    slot: task.slot,
    ...(task.nodeId ? { nodeId: task.nodeId } : {}),
    state: taskStateName(task.status.state),
    desiredState: taskStateName(task.desiredState),
    code,
    text,
  }
}

function stillLive(view: View, service: Service | undefined, task: Task, now: Instant): [string, string] {
  const { state, error, reason } = task.status
  const node = task.nodeId ? view.nodes.get(task.nodeId) : undefined
  if (service && state > TaskState.RUNNING) {
    if (hasFinished(service, { ...task, desiredState: TaskState.SHUTDOWN })) return ['finished', `has ended (${taskStateName(state)})`]
    return ['restarting', `has ended (${error || taskStateName(state)}) and is about to be replaced`]
  }
  if (task.nodeId && !isUnassigned(task) && isDown(node))
    return ['node-lost', 'its node cannot be reached; it goes on being wanted until a successor serves']
  if (service && isDrained(node) && !isUnassigned(task))
    return [
      'node-drained',
      `leaves its drained node when a successor serves, at the latest ${inSeconds(drainDeadline(node, service) - now)}`,
    ]
  if (state === TaskState.RUNNING)
    return isServed(task) ? ['running', 'runs and serves'] : ['not-served', 'runs; not every node routes to it yet']
  if (state < TaskState.ASSIGNED) {
    const dependency = service && unmetDependency(view, service)
    if (dependency) return ['waits-for-dependency', dependency]
    if (error) return [reason ?? 'no-suitable-node', error]
    return state < TaskState.PENDING ? ['allocating', 'waits for addresses and ports'] : ['scheduling', 'waits for a node']
  }
  if (task.desiredState === TaskState.READY) {
    if (task.notBefore !== undefined && task.notBefore > now)
      return ['restart-delay', `starts after the restart delay, ${inSeconds(task.notBefore - now)}`]
    const stopping = service && [...view.tasks.bySlot(service.id, task.slot)].find((other) => !isLive(other) && !hasStopped(other, view))
    if (stopping) return ['waits-for-stop', `starts when task ${stopping.id} has stopped`]
  }
  return ['starting', error ? `${taskStateName(state)}: ${error}` : `is ${taskStateName(state)} on ${node ? hostnameOf(node) : 'its node'}`]
}

const END_TEXTS: Readonly<Record<EndReason, string>> = {
  ended: 'ended by itself',
  updated: 'was replaced by an update of the service',
  'rolled-back': 'was replaced by a rollback of the service',
  'scaled-down': 'was not needed after the service was scaled down',
  'service-removed': 'its service was removed',
  'node-drained': 'left its node because the node was drained',
  'node-lost': 'was replaced because its node could not be reached',
  'node-removed': 'its node was removed',
  'node-misfit': 'left its node because the node no longer met its constraints or reservations',
  'new-iteration': 'the job was started anew',
  'not-needed': 'another task of its slot went on, so it was not needed',
}

function endText(task: Task): string {
  const why = task.endReason ? END_TEXTS[task.endReason] : 'was told to stop'
  return task.status.error ? `${why}: ${task.status.error}` : why
}

function inSeconds(ms: number): string {
  return ms <= 0 ? 'now' : `in ${Math.ceil(ms / 1000)} s`
}

function explainUpdate(service: Service, view: View, tasks: readonly Task[], now: Instant): ServiceExplanation['update'] {
  const status = service.updateStatus
  if (!status) return undefined
  const row = view.rollouts.get(service.id)
  if (!row) {
    const isPaused = status.state === 'paused' || status.state === 'rollback_paused'
    const next = isPaused ? '; it goes on after `service update` with a spec that works, or back with `service rollback`' : ''
    return { state: status.state, text: `${status.message}${next}`, done: 0, total: 0 }
  }
  const slots = isGlobal(service) ? byNode(tasks) : [...groupBySlot(tasks).values()]
  const states = slots.map((slot) => slotState(service, slot, row))
  const count = (kind: string) => states.filter((state) => state.kind === kind).length
  const plan = planRollout(service, slots, row, now)
  const { failureAction } = configOf(service, row.kind)
  const parts = [`${count('settled')} of ${count('settled') + count('busy') + count('due')} are up to date`]
  if (count('busy') > 0) parts.push(`${count('busy')} on the way`)
  if (count('due') > 0 && plan.start.length === 0)
    parts.push(
      count('busy') > 0 ? 'the next ones wait for these' : `the next ones wait for the delay, ${inSeconds((plan.wakeAt ?? now) - now)}`,
    )
  if (count('due') === 0 && count('busy') === 0 && plan.wakeAt !== undefined)
    parts.push(`watched for failures until ${inSeconds(plan.wakeAt - now).slice(3)} from now`)
  if (row.failedTaskIds.length > 0) parts.push(`${row.failedTaskIds.length} failed (then: ${failureAction})`)
  return { state: status.state, text: parts.join(', '), done: count('settled'), total: states.length }
}

function byNode(tasks: readonly Task[]): Task[][] {
  const nodes = new Map<string, Task[]>()
  for (const task of tasks) {
    const key = task.nodeId ?? ''
    const there = nodes.get(key)
    if (there) there.push(task)
    else nodes.set(key, [task])
  }
  return [...nodes.values()]
}
