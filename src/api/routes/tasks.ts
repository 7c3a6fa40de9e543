// /tasks: list and inspect.
import { ShoalError } from '../../lib/index.ts'
import { type Service, type Task, taskName, taskStateName, taskStateOf } from '../../model/index.ts'
import type { View } from '../../store/index.ts'
import { type App, managerOf } from '../app.ts'
import { TextCache } from '../cache.ts'
import { sendJsonText } from '../http/context.ts'
import { type Filters, parseFilters } from '../http/filters.ts'
import type { Route } from '../http/router.ts'
import { printTask, taskParts } from '../json/task.ts'

const FILTERS = ['id', 'name', 'label', 'service', 'node', 'desired-state', 'runtime', '_up-to-date']

export function taskRoutes({ deps }: App): Route[] {
  const cache = new TextCache<Task>()
  const textOf = (view: View, task: Task) => {
    const parts = taskParts(view, task)
    return cache.get(task, [parts.revision, ...parts.networks], () => printTask(task, parts))
  }
  return [
    {
      method: 'GET',
      pattern: '/tasks',
      handler: ({ res, query }) => {
        const { store, control } = managerOf(deps)
        const view = store.view()
        const filters = parseFilters(query, FILTERS)
        for (const state of filters.get('desired-state')) {
          if (taskStateOf(state) === undefined) throw new ShoalError('invalid-argument', `Invalid desired-state filter: '${state}'`)
        }
        // Services and nodes may be named; the rest works on ids.
        const services = filters.has('service') ? new Set(filters.get('service').map((text) => control.service(text).id)) : undefined
        const self = deps.node.status().nodeId
        const nodes = filters.has('node')
          ? new Set(filters.get('node').map((text) => (text === 'self' && self ? self : control.node(text).id)))
          : undefined
        const isWanted = taskFilter(view, filters)
        const texts: string[] = []
        for (const task of candidates(view, services, nodes)) {
          if (nodes && (task.nodeId === undefined || !nodes.has(task.nodeId))) continue
          if (isWanted(task)) texts.push(textOf(view, task))
        }
        sendJsonText(res, 200, `[${texts.join(',')}]`)
      },
    },
    {
      method: 'GET',
      pattern: '/tasks/{id}',
      handler: ({ res, params }) => {
        const { store, control } = managerOf(deps)
        sendJsonText(res, 200, textOf(store.view(), control.task(params.id!)))
      },
    },
  ]
}

function* candidates(
  view: View,
  services: ReadonlySet<Service['id']> | undefined,
  nodes: ReadonlySet<NonNullable<Task['nodeId']>> | undefined,
): Iterable<Task> {
  if (services) for (const id of services) yield* view.tasks.byService(id)
  else if (nodes) for (const id of nodes) yield* view.tasks.byNode(id)
  else yield* view.tasks.values()
}

/** Labels are those of the task's service, because that is how `docker stack ps` finds its tasks. */
function taskFilter(view: View, filters: Filters): (task: Task) => boolean {
  const upToDate = filters.flag('_up-to-date')
  const byName = filters.has('name')
  const byLabel = filters.has('label')
  return (task) => {
    const service = task.serviceId === undefined ? undefined : view.services.get(task.serviceId)
    if (!filters.prefix('id', task.id)) return false
    if (!filters.exact('desired-state', taskStateName(task.desiredState))) return false
    if (filters.has('runtime') ? !filters.exact('runtime', task.attachmentSpec ? 'attachment' : 'container') : task.attachmentSpec)
      return false
    if (upToDate !== undefined && isUpToDate(task, service) !== upToDate) return false
    if (byName && !filters.prefix('name', fullName(view, task, service))) return false
    if (byLabel && !filters.labels('label', service?.spec.labels ?? {})) return false
    return true
  }
}

function isUpToDate(task: Task, service: Service | undefined): boolean {
  if (!service || task.specVersion !== service.specVersion) return false
  return !service.job || (task.jobIteration ?? 0) === service.job.iteration
}

function fullName(view: View, task: Task, service: Service | undefined): string {
  const name = service?.spec.name ?? (task.serviceId && view.specRevisions.of(task.serviceId, task.specVersion)?.serviceName) ?? ''
  return taskName(name, task)
}
