// Routes about containers that go through to the engine with something changed on the way (architecture 3).
import { type EngineAnswer, forward, parseJson, requestedNetworks, withOwnSocket, withSwarmNetworkNames } from '../../proxy/index.ts'
import type { App } from '../app.ts'
import { type RequestContext, readBody, sendJson } from '../http/context.ts'
import type { Route } from '../http/router.ts'
import { engineNames, swarmNetworks } from '../networks.ts'
import { attachmentRefusal } from './networks.ts'

/** Bodies of container creates: larger than specs, because labels and environments of whole projects come here. */
const MAX_CREATE_BYTES = 16 * 1024 * 1024
/** How the data plane names engine-side networks; answers without it need no second look. */
const OUR_NAMES = '"shoal-'

export function containerRoutes(app: App): Route[] {
  return [
    { method: 'POST', pattern: '/containers/create', handler: (context) => create(app, context) },
    { method: 'GET', pattern: '/containers/json', handler: (context) => list(app, context) },
    { method: 'GET', pattern: '/containers/{id}/json', handler: (context) => inspect(app, context) },
  ]
}

async function create(app: App, { req, res }: RequestContext): Promise<void> {
  const body = await readBody(req, MAX_CREATE_BYTES)
  const json = parseJson(body)
  const networks = requestedNetworks(json).filter(
    (name) => !['default', 'bridge', 'host', 'none'].includes(name) && !name.startsWith('container:'),
  )
  if (networks.length > 0 && app.deps.node.status().role !== undefined) {
    const ours = (await swarmNetworks(app)).filter(({ predefined }) => !predefined)
    const wanted = ours.find(({ id, name }) => networks.includes(name) || networks.includes(id))
    if (wanted) throw attachmentRefusal(wanted)
  }
  const { ownSocket } = app.deps
  const changed = ownSocket === undefined ? undefined : withOwnSocket(json, ownSocket)
  return forward(app.engine, app.deps.log, req, res, { body: changed === undefined ? body : Buffer.from(JSON.stringify(changed)) })
}

async function list(app: App, { req, res }: RequestContext): Promise<void> {
  const answer = await app.engine.ask({ method: 'GET', path: req.url ?? '/containers/json' })
  const containers = mentionsOurs(answer) ? parseJson(answer.body) : undefined
  if (!Array.isArray(containers)) return relay(res, answer)
  const names = await engineNames(app)
  sendJson(
    res,
    200,
    containers.map((container) => withSwarmNetworkNames(container, names)),
  )
}

async function inspect(app: App, { req, res }: RequestContext): Promise<void> {
  const answer = await app.engine.ask({ method: 'GET', path: req.url ?? '/' })
  const container = mentionsOurs(answer) ? parseJson(answer.body) : undefined
  if (container === undefined) return relay(res, answer)
  sendJson(res, 200, withSwarmNetworkNames(container, await engineNames(app)))
}

function mentionsOurs({ status, body }: EngineAnswer): boolean {
  return status === 200 && body.includes(OUR_NAMES)
}

function relay(res: RequestContext['res'], { status, headers, body }: EngineAnswer): void {
  res.writeHead(status, { 'Content-Type': headers['content-type'] ?? 'application/json', 'Content-Length': body.length })
  res.end(body)
}
