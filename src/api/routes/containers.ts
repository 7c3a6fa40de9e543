// Routes about containers that go through to the engine with something changed on the way (architecture 3).
import {
  type EngineAnswer,
  forward,
  type PlaceFacts,
  parseJson,
  requestedEndpoint,
  requestedNetworks,
  requestedPlace,
  withOwnSocket,
  withPlaces,
  withSwarmNetworkNames,
} from '../../proxy/index.ts'
import type { App } from '../app.ts'
import { ATTACHMENT_LABEL, giveBack, takePlace } from '../attachments.ts'
import { type RequestContext, readBody, sendJson } from '../http/context.ts'
import type { Route } from '../http/router.ts'
import { attachableNetwork, engineNames } from '../networks.ts'

/** Bodies of container creates: larger than specs, because labels and environments of whole projects come here. */
const MAX_CREATE_BYTES = 16 * 1024 * 1024
/** How the data plane names engine-side networks; answers without it need no second look. */
const OUR_NAMES = '"shoal-'
/** Modes and networks that are always the engine's own. */
const ENGINE_MODES: ReadonlySet<string> = new Set(['default', 'bridge', 'host', 'none'])

export function containerRoutes(app: App): Route[] {
  return [
    { method: 'POST', pattern: '/containers/create', handler: (context) => create(app, context) },
    { method: 'GET', pattern: '/containers/json', handler: (context) => list(app, context) },
    { method: 'GET', pattern: '/containers/{id}/json', handler: (context) => inspect(app, context) },
  ]
}

async function create(app: App, { req, res, query }: RequestContext): Promise<void> {
  const body = await readBody(req, MAX_CREATE_BYTES)
  const json = parseJson(body)
  const places = await takePlaces(app, json, query.get('name') ?? '')
  const { ownSocket } = app.deps
  const withSocket = ownSocket === undefined ? undefined : withOwnSocket(json, ownSocket)
  if (places.size === 0) {
    return forward(app.engine, app.deps.log, req, res, { body: withSocket === undefined ? body : Buffer.from(JSON.stringify(withSocket)) })
  }
  const ids = [...places.values()].map(({ label }) => label[1])
  try {
    const answer = await app.engine.ask(
      { method: 'POST', path: req.url ?? '/containers/create', headers: { 'Content-Type': 'application/json' } },
      JSON.stringify(withPlaces(withSocket ?? json, places)),
    )
    if (answer.status !== 201) await giveBack(app, ids)
    relay(res, answer)
  } catch (error) {
    await giveBack(app, ids)
    throw error
  }
}

/** A place on each network of the swarm that the container is to be on, by the name that its body uses. */
async function takePlaces(app: App, json: unknown, containerName: string): Promise<Map<string, PlaceFacts>> {
  const places = new Map<string, PlaceFacts>()
  if (app.deps.node.status().role === undefined) return places
  try {
    for (const name of requestedNetworks(json)) {
      if (ENGINE_MODES.has(name) || name.startsWith('container:')) continue
      const network = await attachableNetwork(app, name)
      if (!network) continue
      const { aliases, address } = requestedPlace(requestedEndpoint(json, name))
      const names = containerName === '' ? aliases : [containerName.replace(/^\//, ''), ...aliases]
      const place = await takePlace(app, network, { networkId: network.id, containerId: undefined, aliases: names, address })
      places.set(name, {
        engineName: place.engineNetwork.name,
        address: place.address,
        mac: place.mac,
        dns: place.dns,
        label: [ATTACHMENT_LABEL + network.id, place.id],
      })
    }
  } catch (error) {
    await giveBack(
      app,
      [...places.values()].map(({ label }) => label[1]),
    )
    throw error
  }
  return places
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

export function relay(res: RequestContext['res'], { status, headers, body }: EngineAnswer): void {
  res.writeHead(status, { 'Content-Type': headers['content-type'] ?? 'application/json', 'Content-Length': body.length })
  res.end(body)
}
