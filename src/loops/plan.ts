// What a change of a service would do before it is done: what differs, which tasks come and go, and where new ones would be placed. Pure over a view.
import type { Instant } from '../lib/index.ts'
import { type Node, nodeMatchesExpressions, type Service, type ServiceSpec, specNeedsNewTasks, type Task } from '../model/index.ts'
import { type NodeSet, placeGroup, type TaskToPlace } from '../scheduler/index.ts'
import type { View } from '../store/index.ts'
import { Demands } from './demands.ts'
import { nodeSetOf } from './explain.ts'
import { groupBySlot, planSlots } from './replicated.ts'
import { configOf } from './rolloutPlan.ts'
import { isGlobal, isLive } from './tasks.ts'

/** Tasks whose places are worked out; more of a service would fall alike. */
const MOST_PLACED = 1_000

export interface SpecDifference {
  /** Where, in the words of the model: `task.container.image`. */
  readonly path: string
  readonly before?: unknown
  readonly after?: unknown
}

export interface ServicePlan {
  readonly action: 'create' | 'update' | 'nothing'
  readonly name: string
  /** To be given with the update, so that it is refused when the service has changed since. Undefined for a new service. */
  readonly version?: number
  readonly differences: readonly SpecDifference[]
  /** Every task is replaced, in this order and so many at a time (0 = all). */
  readonly replaces?: { readonly tasks: number; readonly order: 'stop-first' | 'start-first'; readonly parallelism: number }
  readonly added: number
  readonly removed: number
  /** New tasks by node, the fullest first. */
  readonly placed: readonly { readonly nodeId: string; readonly hostname: string; readonly tasks: number }[]
  /** New tasks that would wait, by reason. */
  readonly waiting: readonly { readonly reason: string; readonly tasks: number }[]
}

/** `view` shows the service as it would be after the change; `before` is what it was. */
export function planChange(view: View, before: Service | undefined, after: Service, now: Instant): ServicePlan {
  const differences = before ? differencesOf(before.spec, after.spec) : []
  const replaces = before !== undefined && specNeedsNewTasks(before.spec, after.spec)
  const tasks = [...view.tasks.byService(after.id)].filter(isLive)
  const slots = slotsAfter(view, after, tasks)
  const fresh = replaces ? [...slots.added, ...slots.kept.map(({ slot }) => slot)] : slots.added
  const { order, parallelism } = configOf(after, 'update')
  const where = place(view, after, slots, replaces, order, now)
  return {
    action: before === undefined ? 'create' : differences.length > 0 ? 'update' : 'nothing',
    name: after.spec.name,
    ...(before ? { version: before.version } : {}),
    differences,
    ...(replaces ? { replaces: { tasks: slots.kept.length, order, parallelism } } : {}),
    added: fresh.length - (replaces ? slots.kept.length : 0),
    removed: slots.removed.length,
    ...where,
  }
}

interface Slots {
  /** Bound to a node in global services. */
  readonly added: readonly (string | undefined)[]
  readonly kept: readonly { readonly slot: string | undefined; readonly task: Task }[]
  readonly removed: readonly Task[]
}

function slotsAfter(view: View, service: Service, tasks: readonly Task[]): Slots {
  const { mode } = service.spec
  if (isGlobal(service)) {
    const fitting = new Set<string>()
    for (const node of view.nodes.values()) if (takesGlobal(service, node)) fitting.add(node.id)
    const kept = tasks.filter(({ nodeId }) => nodeId !== undefined && fitting.has(nodeId)).map((task) => ({ slot: task.nodeId, task }))
    const there = new Set(kept.map(({ slot }) => slot as string))
    return {
      kept,
      added: [...fitting].filter((id) => !there.has(id)),
      removed: tasks.filter(({ nodeId }) => !nodeId || !fitting.has(nodeId)),
    }
  }
  if (mode.kind === 'replicated-job') {
    const { totalCompletions, maxConcurrent } = mode
    const first = maxConcurrent > 0 ? Math.min(maxConcurrent, totalCompletions) : totalCompletions
    return { kept: [], added: Array.from({ length: first }, () => undefined), removed: [] }
  }
  const grouped = groupBySlot(tasks)
  const { add, remove } = planSlots(service, mode.kind === 'replicated' ? mode.replicas : 0, grouped)
  const gone = new Set(remove)
  const kept = [...grouped].flatMap(([slot, [task]]) => (task && !gone.has(slot) ? [{ slot: undefined, task }] : []))
  return { kept, added: add.map(() => undefined), removed: remove.flatMap((slot) => grouped.get(slot)?.slice(0, 1) ?? []) }
}

function takesGlobal(service: Service, node: Node): boolean {
  const takes = node.status.state === 'ready' && node.spec.availability === 'active' && node.spec.membership === 'accepted'
  return takes && nodeMatchesExpressions(service.spec.task.placement?.constraints, node)
}

/** Places the new tasks one after the other, as an update would: stop-first after the old one is gone, start-first beside it. */
function place(
  view: View,
  service: Service,
  slots: Slots,
  replaces: boolean,
  order: 'stop-first' | 'start-first',
  now: Instant,
): Pick<ServicePlan, 'placed' | 'waiting'> {
  const demands = new Demands()
  const nodes: NodeSet = nodeSetOf(view, demands)
  const demand = demands.ofService(view, service)
  for (const task of slots.removed) nodes.setTask(task.id, undefined)
  const placed = new Map<string, number>()
  const waiting = new Map<string, number>()
  const add = (task: TaskToPlace) => {
    const result = placeGroup(nodes, demand, [task], now)
    for (const { nodeId } of result.placed) placed.set(nodeId, (placed.get(nodeId) ?? 0) + 1)
    for (const { reason } of result.unplaced) waiting.set(reason, (waiting.get(reason) ?? 0) + 1)
  }
  slots.added.slice(0, MOST_PLACED).forEach((nodeId, nth) => {
    add({ taskId: `new${nth}`, ...(nodeId ? { nodeId } : {}) })
  })
  if (replaces)
    slots.kept.slice(0, MOST_PLACED).forEach(({ slot, task }, nth) => {
      if (order === 'stop-first') nodes.setTask(task.id, undefined)
      const beside = order === 'start-first' && task.nodeId ? { replacesOn: [task.nodeId] } : {}
      add({ taskId: `next${nth}`, ...(slot ? { nodeId: slot } : {}), ...beside })
      nodes.setTask(task.id, undefined)
    })
  return {
    placed: [...placed]
      .sort((a, b) => b[1] - a[1])
      .map(([nodeId, tasks]) => ({ nodeId, hostname: hostnameOf(view.nodes.get(nodeId as Node['id'])), tasks })),
    waiting: [...waiting].map(([reason, tasks]) => ({ reason, tasks })),
  }
}

function hostnameOf(node: Node | undefined): string {
  return node?.spec.name || node?.description?.hostname || node?.id || ''
}

/** Credentials are no difference that anybody wants to see. */
const HIDDEN = new Set(['registryAuth'])

export function differencesOf(before: ServiceSpec, after: ServiceSpec): SpecDifference[] {
  const found: SpecDifference[] = []
  compare('', before, after, found)
  return found
}

function compare(path: string, before: unknown, after: unknown, found: SpecDifference[]): void {
  if (JSON.stringify(before) === JSON.stringify(after)) return
  if (isPlain(before) && isPlain(after)) {
    for (const key of new Set([...Object.keys(before), ...Object.keys(after)]))
      if (!HIDDEN.has(key)) compare(path ? `${path}.${key}` : key, before[key], after[key], found)
    return
  }
  found.push({ path, ...(before === undefined ? {} : { before }), ...(after === undefined ? {} : { after }) })
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
