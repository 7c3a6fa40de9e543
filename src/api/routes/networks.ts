// /networks: the engine's and the swarm's as one list; overlays are the swarm's, everything else goes through.

import type { NetworkId } from '../../lib/index.ts'
import { SECOND_MS, ShoalError } from '../../lib/index.ts'
import { type EngineAnswer, endpointAt, forward, parseJson, requestedPlace } from '../../proxy/index.ts'
import { type App, managerOf } from '../app.ts'
import { ATTACHMENT_LABEL, giveBack, labelled, serveNames, takePlace } from '../attachments.ts'
import { flag, type RequestContext, readBody, sendEmpty, sendJson } from '../http/context.ts'
import { asManager, HttpError } from '../http/errors.ts'
import { type Filters, parseFilters } from '../http/filters.ts'
import type { Route } from '../http/router.ts'
import { networkCreateRequest, networkSpecOf, printNetworkUse } from '../json/network.ts'
import {
  attachableNetwork,
  type EngineNetwork,
  engineBridges,
  isOurs,
  networkNotFound,
  resolveNetwork,
  type SwarmNetwork,
  swarmNetworks,
} from '../networks.ts'
import { relay } from './containers.ts'

/** How long a create waits for its subnet, so that an inspect right after it shows one. */
const ALLOCATION_WAIT_MS = 2 * SECOND_MS

export function networkRoutes(app: App): Route[] {
  return [
    { method: 'GET', pattern: '/networks', handler: (context) => list(app, context) },
    { method: 'POST', pattern: '/networks/create', handler: (context) => create(app, context) },
    { method: 'POST', pattern: '/networks/prune', handler: (context) => prune(app, context) },
    { method: 'GET', pattern: '/networks/{id}', handler: (context) => inspect(app, context) },
    { method: 'DELETE', pattern: '/networks/{id}', handler: (context) => remove(app, context) },
    { method: 'POST', pattern: '/networks/{id}/connect', handler: (context) => connect(app, context) },
    { method: 'POST', pattern: '/networks/{id}/disconnect', handler: (context) => disconnect(app, context) },
  ]
}

async function list(app: App, { req, res, query }: RequestContext): Promise<void> {
  const answer = await app.engine.ask({ method: 'GET', path: req.url ?? '/networks' })
  const local = parseJson(answer.body)
  if (answer.status !== 200 || !Array.isArray(local)) {
    // The engine has found something wrong with the query: its words are right.
    res.writeHead(answer.status, { 'Content-Type': 'application/json', 'Content-Length': answer.body.length })
    res.end(answer.body)
    return
  }
  const filters = parseFilters(query, undefined)
  const ours = (await swarmNetworks(app)).filter((network) => !network.predefined && matches(network, filters))
  sendJson(res, 200, [...ours.map((network) => network.print()), ...(local as EngineNetwork[]).filter((network) => !isOurs(network))])
}

function matches({ id, name, driver, labels }: SwarmNetwork, filters: Filters): boolean {
  return (
    filters.exact('scope', 'swarm') &&
    filters.exact('driver', driver) &&
    filters.labels('label', labels) &&
    filters.contains('name', name) &&
    filters.prefix('id', id) &&
    filters.exact('type', 'custom') &&
    filters.flag('dangling') !== true
  )
}

async function inspect(app: App, { req, res, params, query }: RequestContext): Promise<void> {
  const found = await resolveNetwork(app, params.id!, query.get('scope') ?? '')
  if (found.kind === 'none') throw networkNotFound(params.id!)
  if (found.kind === 'engine') return forward(app.engine, app.deps.log, req, res)
  const bridge = found.network.predefined ? undefined : (await engineBridges(app)).get(found.network.id)
  const inside = bridge && ((await app.engine.json({ method: 'GET', path: `/networks/${bridge.Id}` })) as EngineNetwork)
  const verbose = flag(query, 'verbose') ? networkInUse(app, found.network.id) : {}
  sendJson(res, 200, { ...found.network.print(), Containers: inside?.Containers ?? {}, ...verbose })
}

/** Only managers know who uses a network. */
function networkInUse({ deps }: App, id: string): Record<string, unknown> {
  const manager = deps.node.manager()
  return manager ? printNetworkUse(manager.store.view(), id as NetworkId) : {}
}

async function create(app: App, { req, res }: RequestContext): Promise<void> {
  const body = await readBody(req)
  const json = parseJson(body)
  const driver = (json as { Driver?: unknown; Scope?: unknown } | undefined)?.Driver
  const scope = (json as { Scope?: unknown } | undefined)?.Scope
  if (driver !== 'overlay' && scope !== 'swarm') return forward(app.engine, app.deps.log, req, res, { body })
  const { control } = managerOf(app.deps)
  const request = networkCreateRequest.parse(json, '')
  const network = await refuseTakenName(() => asManager(() => control.createNetwork(networkSpecOf(request))))
  await allocated(app, network.id)
  const Warning = request.ipv6 ? `network ${request.name} has IPv4 only: IPv6 is not available on networks of the swarm` : ''
  sendJson(res, 201, { Id: network.id, Warning })
}

/** This one refusal comes without the manager's prefix in Docker. */
async function refuseTakenName<T>(create: () => Promise<T>): Promise<T> {
  try {
    return await create()
  } catch (error) {
    if (error instanceof HttpError && error.status === 409) throw new HttpError(409, error.message.replace(/^.* desc = /, ''))
    throw error
  }
}

async function allocated({ deps }: App, id: NetworkId): Promise<void> {
  const { store } = managerOf(deps)
  const isDone = () => (store.view().networks.get(id)?.subnets.length ?? 1) > 0
  if (isDone()) return
  await new Promise<void>((resolve) => {
    const finish = () => {
      timer.cancel()
      unwatch()
      resolve()
    }
    const timer = deps.clock.setTimer(ALLOCATION_WAIT_MS, finish)
    const unwatch = store.watch(() => {
      if (isDone()) finish()
    })
  })
}

async function remove(app: App, { req, res, params }: RequestContext): Promise<void> {
  const found = await resolveNetwork(app, params.id!, '')
  if (found.kind === 'none') throw networkNotFound(params.id!)
  if (found.kind === 'engine') return forward(app.engine, app.deps.log, req, res)
  const { control } = managerOf(app.deps)
  await asManager(() => control.removeNetwork(found.network.id))
  sendEmpty(res, 204)
}

interface ConnectBody {
  readonly Container?: string
  readonly EndpointConfig?: unknown
  readonly Force?: boolean
}

/** The engine-side network, with the address that the managers gave. */
async function connect(app: App, { req, res, params }: RequestContext): Promise<void> {
  const body = await readBody(req)
  const network = await attachableNetwork(app, params.id!)
  if (!network) return forwardOwn(app, req, res, params.id!, body)
  const { Container, EndpointConfig } = (parseJson(body) ?? {}) as ConnectBody
  const container = await containerOf(app, Container ?? '')
  const { aliases, address } = requestedPlace(EndpointConfig)
  const names = [container.Name.replace(/^\//, ''), container.Id.slice(0, 12), ...aliases]
  const place = await takePlace(app, network, { networkId: network.id, containerId: container.Id, aliases: names, address })
  const request = { Container: container.Id, EndpointConfig: endpointAt(EndpointConfig, place) }
  const answer = await askEngine(app, `${place.engineNetwork.name}/connect`, request).catch(async (error) => {
    await giveBack(app, [place.id])
    throw error
  })
  if (answer.status !== 200) await giveBack(app, [place.id])
  else {
    await app.deps.attachments?.()?.setContainers(placesOf(app, container))
    await serveNames(app, container.Id, place)
  }
  relay(res, answer)
}

/** All places of a container, those it was made with included. */
function placesOf({ deps }: App, { Id, Config }: ContainerFacts): Map<string, string> {
  const own = (deps.attachments?.()?.attachments() ?? []).filter((one) => one.containerId === Id).map((one) => one.id)
  return new Map([...own, ...labelled(Config?.Labels)].map((place) => [place, Id]))
}

async function disconnect(app: App, { req, res, params }: RequestContext): Promise<void> {
  const body = await readBody(req)
  const found = await resolveNetwork(app, params.id!, '')
  if (found.kind === 'none') throw networkNotFound(params.id!)
  if (found.kind === 'engine') return forward(app.engine, app.deps.log, req, res, { body })
  const bridge = (await engineBridges(app)).get(found.network.id)
  if (!bridge) throw networkNotFound(params.id!)
  const { Container, Force } = (parseJson(body) ?? {}) as ConnectBody
  // a container that is gone may still be taken off by force
  const container = await containerOf(app, Container ?? '').catch(() => undefined)
  const answer = await askEngine(app, `${bridge.Id}/disconnect`, { Container: container?.Id ?? Container, Force })
  if (answer.status === 200 && container) {
    const marked = container.Config?.Labels?.[ATTACHMENT_LABEL + found.network.id]
    const own = app.deps.attachments?.()?.attachments() ?? []
    const gone = own.filter((one) => one.networkId === found.network.id && (one.containerId === container.Id || one.id === marked))
    await giveBack(
      app,
      gone.map((one) => one.id),
    )
  }
  relay(res, answer)
}

async function forwardOwn(app: App, req: RequestContext['req'], res: RequestContext['res'], text: string, body: Buffer): Promise<void> {
  const found = await resolveNetwork(app, text, '')
  if (found.kind === 'none') throw networkNotFound(text)
  if (found.kind === 'swarm')
    throw new HttpError(403, `${found.network.name} is a network of the swarm that containers cannot be connected to`)
  return forward(app.engine, app.deps.log, req, res, { body })
}

interface ContainerFacts {
  readonly Id: string
  readonly Name: string
  readonly Config?: { readonly Labels?: Readonly<Record<string, string>> | null }
}

async function containerOf({ engine }: App, text: string): Promise<ContainerFacts> {
  return (await engine.json({ method: 'GET', path: `/containers/${encodeURIComponent(text)}/json` })) as ContainerFacts
}

function askEngine({ engine }: App, path: string, body: unknown): Promise<EngineAnswer> {
  return engine.ask({ method: 'POST', path: `/networks/${path}`, headers: { 'Content-Type': 'application/json' } }, JSON.stringify(body))
}

/** The engine's unused networks (never the bridges of ours) and the swarm's. */
async function prune(app: App, { res, query }: RequestContext): Promise<void> {
  const filters = parseFilters(query, undefined)
  const forEngine: Record<string, readonly string[]> = {}
  for (const key of filters.keys()) forEngine[key] = filters.get(key)
  forEngine['label!'] = [...filters.get('label!'), 'shoal.network.id']
  const path = `/networks/prune?filters=${encodeURIComponent(JSON.stringify(forEngine))}`
  const answer = (await app.engine.json({ method: 'POST', path })) as { NetworksDeleted?: string[] | null }
  const deleted = [...(answer.NetworksDeleted ?? []), ...(await pruneSwarm(app, filters))]
  sendJson(res, 200, { NetworksDeleted: deleted.length > 0 ? deleted : null })
}

async function pruneSwarm({ deps }: App, filters: Filters): Promise<string[]> {
  const manager = deps.node.manager()
  // An age or an exclusion is said about networks of the engine only; then those of the swarm are left alone.
  if (!manager || [...filters.keys()].some((key) => key !== 'label')) return []
  const removed: string[] = []
  for (const { id, spec, predefined, removing } of [...manager.store.view().networks.values()]) {
    if (predefined || removing || spec.ingress || !filters.labels('label', spec.labels)) continue
    try {
      await manager.control.removeNetwork(id)
      removed.push(spec.name)
    } catch (error) {
      if (!(error instanceof ShoalError && error.code === 'failed-precondition')) throw error // in use: that one stays
    }
  }
  return removed
}
