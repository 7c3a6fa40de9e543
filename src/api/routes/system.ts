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

/** Prometheus text format. No names of objects, so that the number of series is bounded. */
function metrics({ deps }: App, { res }: RequestContext): void {
  const { state } = deps.node.status()
  const manager = deps.node.manager()
  const lines: string[] = []
  const family = (
    name: string,
    kind: 'gauge' | 'counter' | 'summary',
    help: string,
    values: Iterable<readonly [labels: string, value: number]>,
  ) => {
    lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${kind}`)
    for (const [labels, value] of values) lines.push(`${name}${labels && `{${labels}}`} ${value}`)
  }
  const labelled = (label: string, counts: ReadonlyMap<string, number>) =>
    [...counts].map(([value, count]) => [`${label}="${value}"`, count] as const)
  family('shoal_node_active', 'gauge', 'Whether this node is in a swarm.', [['', state === 'active' ? 1 : 0]])
  for (const [name, value] of Object.entries(deps.processFigures?.() ?? {}))
    family(`shoal_${name}`, 'gauge', 'Of this process.', [['', value]])
  if (manager) {
    const view = manager.store.view()
    const nodes = [...view.nodes.values()]
    const figures = manager.figures?.()
    family('shoal_leader', 'gauge', 'Whether this manager leads.', [['', figures ? 1 : 0]])
    family(
      'shoal_nodes',
      'gauge',
      'Nodes by state.',
      labelled(
        'state',
        countBy(nodes, (node) => node.status.state),
      ),
    )
    family(
      'shoal_nodes_availability',
      'gauge',
      'Nodes by availability.',
      labelled(
        'availability',
        countBy(nodes, (node) => node.spec.availability),
      ),
    )
    family(
      'shoal_managers',
      'gauge',
      'Managers by reachability.',
      labelled(
        'reachability',
        countBy(
          nodes.flatMap((node) => node.managerStatus ?? []),
          ({ reachability }) => reachability,
        ),
      ),
    )
    family(
      'shoal_services',
      'gauge',
      'Services by mode.',
      labelled(
        'mode',
        countBy(view.services.values(), (service) => service.spec.mode.kind),
      ),
    )
    family(
      'shoal_services_updating',
      'gauge',
      'Services by state of their last update.',
      labelled(
        'state',
        countBy(
          [...view.services.values()].flatMap((service) => service.updateStatus ?? []),
          (status) => status.state,
        ),
      ),
    )
    family(
      'shoal_tasks',
      'gauge',
      'Tasks by state.',
      labelled(
        'state',
        countBy(view.tasks.values(), (task) => taskStateName(task.status.state)),
      ),
    )
    family('shoal_networks', 'gauge', 'Networks of the swarm.', [['', view.networks.size]])
    family('shoal_secrets', 'gauge', 'Secrets.', [['', view.secrets.size]])
    family('shoal_configs', 'gauge', 'Configs.', [['', view.configs.size]])
    const times = manager.acknowledged?.()
    if (times) {
      const sorted = [...times.ms].sort((a, b) => a - b)
      family(
        'shoal_mesh_acknowledge_seconds',
        'summary',
        'How long the last changes of the mesh took until every live kernel had them.',
        (sorted.length > 0 ? [0.5, 0.9, 0.99] : []).map(
          (share) => [`quantile="${share}"`, sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]! / 1000] as const,
        ),
      )
      lines.push(`shoal_mesh_acknowledge_seconds_count ${times.changes}`)
    }
    family('shoal_store_seq', 'counter', 'Sequence number of the newest commit.', [['', view.seq]])
    if (figures) {
      family('shoal_mesh_acked_seq', 'counter', 'Newest commit that the kernels of all live nodes show.', [['', figures.meshAcked]])
      family(
        'shoal_loop_turns_total',
        'counter',
        'Pieces of work of a control loop.',
        figures.loops.map(({ name, turns }) => [`loop="${name}"`, turns]),
      )
      family(
        'shoal_loop_seconds_total',
        'counter',
        'Time that a control loop has worked.',
        figures.loops.map(({ name, totalMs }) => [`loop="${name}"`, totalMs / 1000]),
      )
      family(
        'shoal_loop_longest_seconds',
        'gauge',
        'Longest piece of work of a control loop.',
        figures.loops.map(({ name, longestMs }) => [`loop="${name}"`, longestMs / 1000]),
      )
    }
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
