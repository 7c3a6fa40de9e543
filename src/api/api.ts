// The whole API of a node: routes of our own, everything else through to the engine.
import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { ShoalError } from '../lib/index.ts'
import { createEngineClient, forward, upgrade } from '../proxy/index.ts'
import { mayRead } from './access.ts'
import type { ApiDeps, App } from './app.ts'
import { keepPlaces } from './attachments.ts'
import { createEngineFacts, type Facts, requireSupportedVersion } from './engineFacts.ts'
import { createEventHub } from './events/hub.ts'
import { NO_VERSION } from './http/context.ts'
import { describeError, sendError } from './http/errors.ts'
import { type Match, Router } from './http/router.ts'
import type { ApiVersion } from './json/gates.ts'
import { containerRoutes } from './routes/containers.ts'
import { eventRoutes } from './routes/events.ts'
import { explainRoutes } from './routes/explain.ts'
import { logRoutes } from './routes/logs.ts'
import { networkRoutes } from './routes/networks.ts'
import { nodeRoutes } from './routes/nodes.ts'
import { reachRoutes, reachUpgrade } from './routes/reach.ts'
import { addClusterAuth, registryRoutes } from './routes/registries.ts'
import { secretRoutes } from './routes/secrets.ts'
import { serviceRoutes } from './routes/services.ts'
import { swarmRoutes } from './routes/swarm.ts'
import { systemRoutes } from './routes/system.ts'
import { taskRoutes } from './routes/tasks.ts'

export interface Api {
  /** Never throws or rejects: every failure is an answer. */
  handle(req: IncomingMessage, res: ServerResponse, permission?: Permission): Promise<void>
  upgrade(req: IncomingMessage, socket: Duplex, head: Buffer, permission?: Permission): Promise<void>
  /** Ends open streams. */
  close(): void
  readonly deps: ApiDeps
}

/** What may be asked on a connection. */
export type Permission = 'all' | 'read-only'

/** First segments of paths that belong to the swarm: what is unknown below them is not the engine's either. */
const OWN_ROOTS = new Set(['swarm', 'nodes', 'services', 'tasks', 'secrets', 'configs', 'shoal'])

/** What concerns this node only. */
const NODE_PATHS: ReadonlySet<string> = new Set(['/swarm/init', '/swarm/join', '/swarm/leave', '/swarm/unlock'])

export function createApi(deps: ApiDeps): Api {
  const engine = createEngineClient(deps.engineSocket)
  const app: App = {
    deps,
    engine,
    facts: createEngineFacts(engine, deps.clock),
    events: createEventHub(deps.node, deps.clock, deps.eventFile),
  }
  const router = new Router([
    ...systemRoutes(app),
    ...swarmRoutes(app),
    ...nodeRoutes(app),
    ...serviceRoutes(app),
    ...logRoutes(app),
    ...taskRoutes(app),
    ...explainRoutes(app),
    ...reachRoutes(app),
    ...secretRoutes(app),
    ...registryRoutes(app),
    ...networkRoutes(app),
    ...eventRoutes(app),
    ...containerRoutes(app),
  ])
  /** One of each request that is being answered. (AbortSignal.any over one long-lived signal would keep something of every request.) */
  const running = new Set<AbortController>()
  const keeping = new AbortController()
  if (deps.attachments) keepPlaces(app, keeping.signal).catch(() => {}) // never rejects

  const answer = async (req: IncomingMessage, res: ServerResponse, permission: Permission): Promise<void> => {
    const { path, version, query } = parseUrl(req.url ?? '/')
    if (permission === 'read-only' && !mayRead(req.method ?? '', path)) throw readOnlyRefusal()
    if (version) requireSupportedVersion(version, await knownFacts(app))
    const match = route(router, req.method ?? 'GET', path)
    if (!match) addClusterAuth(app, req, path)
    if (!match) return forward(engine, deps.log, req, res)
    if (res.destroyed) return // the client has gone while we asked the engine
    const gone = new AbortController()
    running.add(gone)
    res.on('close', () => {
      running.delete(gone)
      gone.abort()
    })
    setCommonHeaders(res, app.facts.last())
    await freshView(deps, path)
    await match.handler({
      req,
      res,
      path,
      query,
      params: match.params,
      version: version ?? NO_VERSION,
      signal: gone.signal,
    })
  }

  return {
    deps,
    async handle(req, res, permission = 'all') {
      const startedAt = deps.clock.monotonicMs()
      try {
        await answer(req, res, permission)
      } catch (error) {
        const { status, message } = describeError(error)
        if (status === 500) deps.log.warn('a request failed', { method: req.method, path: pathOf(req), error: message })
        sendError(res, error)
        req.resume() // what is left of a body must not block the connection
      }
      deps.log.debug('request', {
        method: req.method,
        path: pathOf(req),
        status: res.statusCode,
        ms: Math.round(deps.clock.monotonicMs() - startedAt),
      })
    },
    async upgrade(req, socket, head, permission = 'all') {
      try {
        if (permission === 'read-only') throw readOnlyRefusal()
        const { path, version, query } = parseUrl(req.url ?? '/')
        if (version) requireSupportedVersion(version, await knownFacts(app))
        if (await reachUpgrade(app, path, query, req, socket, head)) return
        if (isOwn(path)) throw new ShoalError('not-found', 'page not found')
        await upgrade(engine, deps.log, req, socket, head)
      } catch (error) {
        refuseUpgrade(socket, error)
      }
    },
    close() {
      keeping.abort()
      for (const request of running) request.abort()
      app.events.close()
    },
  }
}

function readOnlyRefusal(): ShoalError {
  return new ShoalError('permission-denied', 'this client may only read', { next: 'Use a certificate or socket that may do everything' })
}

/** Paths of logs never hold secrets; queries may, so they stay out. */
function pathOf(req: IncomingMessage): string {
  return (req.url ?? '').split('?')[0] ?? ''
}

/** Our route, nothing (then it is the engine's), or 'not-found' for what can only be ours. */
function route(router: Router, method: string, path: string): Match | undefined {
  const match = router.match(method, path)
  if (!match && isOwn(path)) throw new ShoalError('not-found', 'page not found')
  return match
}

/** Of several managers, one that does not lead answers when its replica shows everything that was acknowledged before. */
async function freshView({ node }: ApiDeps, path: string): Promise<void> {
  if (NODE_PATHS.has(path)) return
  if (isOwn(path)) await node.manager()?.fresh?.()
  // networks of this node's engine are there whoever leads
  else if (path.startsWith('/networks'))
    await node
      .manager()
      ?.fresh?.()
      .catch(() => {})
}

function isOwn(path: string): boolean {
  return OWN_ROOTS.has(path.split('/')[1] ?? '')
}

/** With an engine that has never answered nothing is known; then versions are taken as they come. */
async function knownFacts({ facts }: App): Promise<Facts> {
  try {
    return await facts.get()
  } catch {
    return { apiVersion: '1.41', minApiVersion: '1.12', experimental: false, builderVersion: undefined }
  }
}

export function parseUrl(url: string): { path: string; version: ApiVersion | undefined; query: URLSearchParams } {
  const question = url.indexOf('?')
  const whole = question < 0 ? url : url.slice(0, question)
  const query = new URLSearchParams(question < 0 ? '' : url.slice(question + 1))
  const match = /^\/v(\d{1,4})\.(\d{1,4})(\/.*)$/.exec(whole)
  if (!match) return { path: whole, version: undefined, query }
  return { path: match[3]!, version: { major: Number(match[1]), minor: Number(match[2]) }, query }
}

function setCommonHeaders(res: ServerResponse, facts: Facts | undefined): void {
  res.setHeader('Server', 'Shoal (linux)')
  res.setHeader('Ostype', 'linux')
  if (facts) {
    res.setHeader('Api-Version', facts.apiVersion)
    res.setHeader('Docker-Experimental', String(facts.experimental))
  }
}

function refuseUpgrade(socket: Duplex, error: unknown): void {
  if (socket.destroyed) return
  const { status, message } = describeError(error)
  const body = `${JSON.stringify({ message })}\n`
  socket.on('error', () => socket.destroy())
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Error'}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  )
}
