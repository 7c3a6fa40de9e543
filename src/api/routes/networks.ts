// /networks: the engine's and the swarm's as one list; overlays are the swarm's, everything else goes through.

import type { NetworkId } from '../../lib/index.ts'
import { SECOND_MS, ShoalError } from '../../lib/index.ts'
import { forward, parseJson } from '../../proxy/index.ts'
import { type App, managerOf } from '../app.ts'
import { type RequestContext, readBody, sendEmpty, sendJson } from '../http/context.ts'
import { asManager, HttpError } from '../http/errors.ts'
import { type Filters, parseFilters } from '../http/filters.ts'
import type { Route } from '../http/router.ts'
import { networkCreateRequest, networkSpecOf } from '../json/network.ts'
import {
  type EngineNetwork,
  engineBridges,
  isOurs,
  networkNotFound,
  resolveNetwork,
  type SwarmNetwork,
  swarmNetworks,
} from '../networks.ts'

/** How long a create waits for its subnet, so that an inspect right after it shows one. */
const ALLOCATION_WAIT_MS = 2 * SECOND_MS

export function networkRoutes(app: App): Route[] {
  return [
    { method: 'GET', pattern: '/networks', handler: (context) => list(app, context) },
    { method: 'POST', pattern: '/networks/create', handler: (context) => create(app, context) },
    { method: 'POST', pattern: '/networks/prune', handler: (context) => prune(app, context) },
    { method: 'GET', pattern: '/networks/{id}', handler: (context) => inspect(app, context) },
    { method: 'DELETE', pattern: '/networks/{id}', handler: (context) => remove(app, context) },
    { method: 'POST', pattern: '/networks/{id}/connect', handler: (context) => attach(app, context) },
    { method: 'POST', pattern: '/networks/{id}/disconnect', handler: (context) => attach(app, context) },
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
  sendJson(res, 200, { ...found.network.print(), Containers: inside?.Containers ?? {} })
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
  sendJson(res, 201, { Id: network.id, Warning: '' })
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

/** Containers of people on networks of the swarm: that needs attachments, which are not there yet. */
async function attach(app: App, { req, res, params }: RequestContext): Promise<void> {
  const found = await resolveNetwork(app, params.id!, '')
  if (found.kind === 'none') throw networkNotFound(params.id!)
  if (found.kind === 'engine') return forward(app.engine, app.deps.log, req, res)
  throw attachmentRefusal(found.network)
}

export function attachmentRefusal({ name, attachable }: Pick<SwarmNetwork, 'name' | 'attachable'>): Error {
  if (!attachable) {
    return new HttpError(
      403,
      `Could not attach to network ${name}: rpc error: code = PermissionDenied desc = network ${name} not manually attachable`,
    )
  }
  return new ShoalError('unimplemented', `attaching single containers to the swarm network ${name} is not possible yet`, {
    next: 'Run the container as a service on it',
  })
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
  for (const { id, spec, predefined } of [...manager.store.view().networks.values()]) {
    if (predefined || spec.ingress || !filters.labels('label', spec.labels)) continue
    try {
      await manager.control.removeNetwork(id)
      removed.push(spec.name)
    } catch (error) {
      if (!(error instanceof ShoalError && error.code === 'failed-precondition')) throw error // in use: that one stays
    }
  }
  return removed
}
