// /_ping, /version, /info, /metrics and our own /shoal/version.
import { ShoalError } from '../../lib/index.ts'
import { taskStateName } from '../../model/index.ts'
import { parseJson } from '../../proxy/index.ts'
import type { App } from '../app.ts'
import { type RequestContext, sendJson } from '../http/context.ts'
import type { Route } from '../http/router.ts'
import { swarmInfo } from './swarm.ts'

export function systemRoutes(app: App): Route[] {
  return [
    { method: 'GET', pattern: '/_ping', handler: (context) => ping(app, context) },
    { method: 'HEAD', pattern: '/_ping', handler: (context) => ping(app, context) },
    { method: 'GET', pattern: '/version', handler: (context) => version(app, context) },
    { method: 'GET', pattern: '/info', handler: (context) => info(app, context) },
    { method: 'GET', pattern: '/metrics', handler: (context) => metrics(app, context) },
    { method: 'GET', pattern: '/shoal/doctor', handler: async ({ res }) => sendJson(res, 200, (await app.deps.doctor?.()) ?? {}) },
    { method: 'GET', pattern: '/shoal/version', handler: ({ res }) => sendJson(res, 200, { Version: app.deps.version }) },
  ]
}

async function ping({ deps, facts }: App, { req, res }: RequestContext): Promise<void> {
  if (!deps.ready()) throw new ShoalError('unavailable', 'shoald is starting', { next: 'Try again in a moment' })
  const { apiVersion, experimental, builderVersion } = await facts.get()
  const { state, role } = deps.node.status()
  res.writeHead(200, {
    'Api-Version': apiVersion,
    Ostype: 'linux',
    'Docker-Experimental': String(experimental),
    ...(builderVersion !== undefined && { 'Builder-Version': builderVersion }),
    Swarm: state === 'active' ? `active/${role ?? 'worker'}` : state,
    'Cache-Control': 'no-cache, no-store, must-revalidate',
    Pragma: 'no-cache',
    'Content-Type': 'text/plain; charset=utf-8',
    'Content-Length': req.method === 'HEAD' ? 0 : 2,
  })
  res.end(req.method === 'HEAD' ? undefined : 'OK')
}

async function version({ deps, engine }: App, { req, res }: RequestContext): Promise<void> {
  const answer = await engine.ask({ method: 'GET', path: req.url ?? '/version' })
  const body = parseJson(answer.body)
  if (answer.status !== 200 || typeof body !== 'object' || body === null) return relay(res, answer.status, answer.body)
  const components = (body as { Components?: unknown }).Components
  const ours = { Name: 'Shoal', Version: deps.version, Details: {} }
  sendJson(res, 200, { ...body, Components: [...(Array.isArray(components) ? components : []), ours] })
}

async function info(app: App, { req, res }: RequestContext): Promise<void> {
  const answer = await app.engine.ask({ method: 'GET', path: req.url ?? '/info' })
  const body = parseJson(answer.body)
  if (answer.status !== 200 || typeof body !== 'object' || body === null) return relay(res, answer.status, answer.body)
  sendJson(res, 200, { ...body, Swarm: swarmInfo(app) })
}

function relay(res: RequestContext['res'], status: number, body: Buffer): void {
  res.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': body.length })
  res.end(body)
}

/** Prometheus text format. Counts only: no names, so that the number of series is bounded. */
function metrics({ deps }: App, { res }: RequestContext): void {
  const { state } = deps.node.status()
  const view = deps.node.manager()?.store.view()
  const lines = ['# TYPE shoal_node_active gauge', `shoal_node_active ${state === 'active' ? 1 : 0}`]
  if (view) {
    const gauge = (name: string, counts: ReadonlyMap<string, number>, label: string) => {
      lines.push(`# TYPE ${name} gauge`)
      for (const [value, count] of counts) lines.push(`${name}{${label}="${value}"} ${count}`)
    }
    gauge(
      'shoal_nodes',
      countBy(view.nodes.values(), (node) => node.status.state),
      'state',
    )
    gauge(
      'shoal_services',
      countBy(view.services.values(), (service) => service.spec.mode.kind),
      'mode',
    )
    gauge(
      'shoal_tasks',
      countBy(view.tasks.values(), (task) => taskStateName(task.status.state)),
      'state',
    )
    const times = deps.node.manager()?.acknowledged?.()
    if (times) {
      const sorted = [...times.ms].sort((a, b) => a - b)
      lines.push('# TYPE shoal_mesh_acknowledge_seconds summary', `shoal_mesh_acknowledge_seconds_count ${times.changes}`)
      for (const share of sorted.length > 0 ? [0.5, 0.9, 0.99] : []) {
        const ms = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!
        lines.push(`shoal_mesh_acknowledge_seconds{quantile="${share}"} ${(ms / 1000).toFixed(4)}`)
      }
    }
    lines.push('# TYPE shoal_store_commits counter', `shoal_store_commits ${view.seq}`)
  }
  const body = Buffer.from(`${lines.join('\n')}\n`)
  res.writeHead(200, { 'Content-Type': 'text/plain; version=0.0.4', 'Content-Length': body.length })
  res.end(body)
}

function countBy<T>(values: Iterable<T>, key: (value: T) => string): Map<string, number> {
  const counts = new Map<string, number>()
  for (const value of values) counts.set(key(value), (counts.get(key(value)) ?? 0) + 1)
  return counts
}
