// What a service waits for before its tasks are placed: labels `shoal.depends-on.<service>` with a condition of the Compose Specification.
import { type Service, type Task, TaskState } from '../model/index.ts'
import { isLive, isServed } from './tasks.ts'
import type { View } from './types.ts'

/** `shoal.depends-on.db=service_healthy`: the name is that of a service of the same stack, or else of any service. */
export const DEPENDS_ON_LABEL = 'shoal.depends-on.'
const NAMESPACE_LABEL = 'com.docker.stack.namespace'

interface Condition {
  /** What a task that waits says after the name of the service. */
  readonly until: string
  holds(view: View, service: Service): boolean
}

/** One task is enough for the first two: others may be broken for long, and the virtual IP leads to the one that works. */
const CONDITIONS: Readonly<Record<string, Condition>> = {
  service_started: { until: 'to be started', holds: (view, service) => someTask(view, service, hasStarted) },
  service_healthy: { until: 'to be healthy', holds: (view, service) => someTask(view, service, (task) => isLive(task) && isServed(task)) },
  service_completed_successfully: { until: 'to complete', holds: hasCompleted },
}

/** Names of services as they may stand in the store, of all that this one waits for. */
export function dependencyNames(service: Service): string[] {
  return Object.keys(service.spec.labels)
    .filter((label) => label.startsWith(DEPENDS_ON_LABEL))
    .flatMap((label) => candidates(service, label.slice(DEPENDS_ON_LABEL.length)))
}

/** Pure: why no task of the service may be placed now; undefined when nothing is in its way. */
export function unmetDependency(view: View, service: Service): string | undefined {
  for (const [label, value] of Object.entries(service.spec.labels)) {
    if (!label.startsWith(DEPENDS_ON_LABEL)) continue
    const name = label.slice(DEPENDS_ON_LABEL.length)
    const condition = Object.hasOwn(CONDITIONS, value) ? CONDITIONS[value] : undefined
    if (!condition)
      return `the label ${label} has the unknown condition ${JSON.stringify(value)}: use ${Object.keys(CONDITIONS).join(', ')}`
    const dependency = candidates(service, name)
      .map((candidate) => view.services.byName(candidate))
      .find((found) => found !== undefined)
    if (!dependency) return `waits for ${name}, which does not exist`
    if (!condition.holds(view, dependency)) return `waits for ${name} ${condition.until}`
  }
  return undefined
}

function candidates(service: Service, name: string): string[] {
  const stack = service.spec.labels[NAMESPACE_LABEL]
  return stack === undefined ? [name] : [`${stack}_${name}`, name]
}

function someTask(view: View, service: Service, is: (task: Task) => boolean): boolean {
  for (const task of view.tasks.byService(service.id)) if (is(task)) return true
  return false
}

function hasStarted(task: Task): boolean {
  const { state } = task.status
  return state === TaskState.COMPLETE || (isLive(task) && state >= TaskState.STARTING && state <= TaskState.RUNNING)
}

/** Every slot (or node) has come to its end without an error, in the present iteration of a job. */
function hasCompleted(view: View, service: Service): boolean {
  const { mode } = service.spec
  const newest = new Map<string, Task>()
  for (const task of view.tasks.byService(service.id)) {
    if (service.job && (task.jobIteration ?? 0) !== service.job.iteration) continue
    const place = task.slot > 0 ? String(task.slot) : (task.nodeId ?? '')
    const known = newest.get(place)
    if (!known || isComplete(task) || (!isComplete(known) && task.createdAt > known.createdAt)) newest.set(place, task)
  }
  const complete = [...newest.values()].filter(isComplete).length
  const wanted = mode.kind === 'replicated-job' ? mode.totalCompletions : mode.kind === 'replicated' ? mode.replicas : newest.size
  return wanted > 0 && complete >= wanted
}

function isComplete(task: Task): boolean {
  return task.status.state === TaskState.COMPLETE
}
