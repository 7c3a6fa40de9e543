// /services: list, inspect, create, update, remove.
import { ShoalError } from '../../lib/index.ts'
import { type Service, TaskState } from '../../model/index.ts'
import type { View } from '../../store/index.ts'
import { type App, managerOf } from '../app.ts'
import { TextCache } from '../cache.ts'
import { flag, type RequestContext, readJson, sendEmpty, sendJson, sendJsonText, versionOf } from '../http/context.ts'
import { asManager } from '../http/errors.ts'
import { type Filters, parseFilters } from '../http/filters.ts'
import type { Route } from '../http/router.ts'
import { gateServiceSpec, isBefore } from '../json/gates.ts'
import { printService, printServiceStatus, type ServiceStatus } from '../json/service.ts'
import { serviceSpec } from '../json/spec.ts'

const FILTERS = ['id', 'name', 'label', 'mode', 'runtime']

export function serviceRoutes({ deps }: App): Route[] {
  const plain = new TextCache<Service>()
  const full = new TextCache<Service>()
  const textOf = (service: Service) => plain.get(service, [], () => printService(service, false))
  return [
    {
      method: 'GET',
      pattern: '/services',
      handler: ({ res, query, version }) => {
        const view = managerOf(deps).store.view()
        const filters = parseFilters(query, FILTERS)
        filters.requireOneOf('mode', ['replicated', 'global', 'replicated-job', 'global-job'])
        const services = [...view.services.values()].filter((service) => matches(service, filters))
        const withStatus = flag(query, 'status') && !isBefore(version, 41)
        const texts = services.map((service) => (withStatus ? addStatus(textOf(service), statusOf(view, service)) : textOf(service)))
        sendJsonText(res, 200, `[${texts.join(',')}]`)
      },
    },
    {
      method: 'GET',
      pattern: '/services/{id}',
      handler: ({ res, query, params }) => {
        const service = managerOf(deps).control.service(params.id!)
        const withDefaults = insertDefaults(query)
        sendJsonText(res, 200, withDefaults ? full.get(service, [], () => printService(service, true)) : textOf(service))
      },
    },
    {
      method: 'POST',
      pattern: '/services/create',
      handler: async ({ req, res, version }) => {
        const { control } = managerOf(deps)
        const spec = gateServiceSpec(serviceSpec.parse(await readJson(req), ''), version)
        const service = await asManager(() => control.createService(spec, registryAuth(req)))
        sendJson(res, 201, { ID: service.id })
      },
    },
    {
      method: 'POST',
      pattern: '/services/{id}/update',
      handler: async ({ req, res, query, params, version }) => {
        const { control } = managerOf(deps)
        const index = versionOf(query, 'service')
        const rollback = oneOfQuery(query, 'rollback', ['previous'])
        const registryAuthFrom = oneOfQuery(query, 'registryAuthFrom', ['spec', 'previous-spec'])
        const spec = gateServiceSpec(serviceSpec.parse(await readJson(req), ''), version)
        await asManager(() => control.updateService(params.id!, index, spec, { ...registryAuth(req), rollback, registryAuthFrom }))
        sendJson(res, 200, { Warnings: null })
      },
    },
    {
      method: 'DELETE',
      pattern: '/services/{id}',
      handler: async ({ res, params }) => {
        const { control } = managerOf(deps)
        await asManager(() => control.removeService(params.id!))
        sendEmpty(res, 200)
      },
    },
  ]
}

function matches({ id, spec }: Service, filters: Filters): boolean {
  return (
    filters.prefix('id', id) &&
    filters.prefix('name', spec.name) &&
    filters.labels('label', spec.labels) &&
    filters.exact('mode', spec.mode.kind) &&
    filters.exact('runtime', 'container')
  )
}

function addStatus(text: string, status: ServiceStatus): string {
  return `${text.slice(0, -1)},"ServiceStatus":${JSON.stringify(printServiceStatus(status))}}`
}

/** docker-api.md 1.6. Of jobs only tasks of the present iteration count; what a global job still wants is what has not completed. */
function statusOf(view: View, { id, spec: { mode }, job }: Service): ServiceStatus {
  const isGlobal = mode.kind === 'global' || mode.kind === 'global-job'
  let runningTasks = 0
  let desiredRunning = 0
  let completedTasks = 0
  for (const task of view.tasks.byService(id)) {
    if (job && (task.jobIteration ?? 0) !== job.iteration) continue
    // what a global service had on a node that is down is neither there nor wanted now
    if (isGlobal && task.nodeId !== undefined && view.nodes.get(task.nodeId)?.status.state === 'down') continue
    const { state } = task.status
    if (state === TaskState.RUNNING) runningTasks += 1
    if (state === TaskState.COMPLETE && job) completedTasks += 1
    else if (task.desiredState === (job ? TaskState.COMPLETE : TaskState.RUNNING)) desiredRunning += 1
  }
  switch (mode.kind) {
    case 'replicated':
      return { runningTasks, completedTasks, desiredTasks: mode.replicas }
    case 'replicated-job':
      return { runningTasks, completedTasks, desiredTasks: mode.maxConcurrent }
    case 'global':
    case 'global-job':
      return { runningTasks, completedTasks, desiredTasks: desiredRunning }
  }
}

function insertDefaults(query: URLSearchParams): boolean {
  const text = query.get('insertDefaults') ?? ''
  if (text === '' || /^(0|f|F|false|False|FALSE)$/.test(text)) return false
  if (/^(1|t|T|true|True|TRUE)$/.test(text)) return true
  throw new ShoalError('invalid-argument', `invalid value for insertDefaults: ${text}`, { next: 'Use true or false' })
}

function registryAuth(req: RequestContext['req']): { readonly registryAuth?: string } {
  const header = req.headers['x-registry-auth']
  return typeof header === 'string' && header !== '' ? { registryAuth: header } : {}
}

function oneOfQuery<const T extends string>(query: URLSearchParams, name: string, words: readonly T[]): T | undefined {
  const text = query.get(name) ?? ''
  if (text === '') return undefined
  const word = words.find((one) => one === text)
  if (word === undefined)
    throw new ShoalError('invalid-argument', `unrecognized ${name} option ${text}`, { next: `Use ${words.join(' or ')}` })
  return word
}
