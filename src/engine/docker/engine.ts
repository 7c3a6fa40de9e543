// The Engine port over the API of a Docker Engine from 20.10 on (or Podman's compatible one).
import { isShoalError, type Logger, ShoalError } from '../../lib/index.ts'
import { CONTAINER_LABELS } from '../../model/index.ts'
import type { Clock, ContainerPlan, ContainerState, Engine, EngineCapabilities, EngineLogOptions } from '../../ports/index.ts'
import { createAccess, dialInside } from './access.ts'
import { containerState } from './containerState.ts'
import { createBody, endpointConfig } from './createBody.ts'
import { containerEvents } from './events.ts'
import { createContainerFiles } from './files.ts'
import { createDockerHttp, type DockerHttp, type HttpCall, unreachableEngine } from './http.ts'
import { createImages } from './images.ts'
import { engineInfo } from './info.ts'
import { array, object, text } from './json.ts'
import { multiplexedLines, rawLines } from './logs.ts'
import { createNetworks } from './networks.ts'

export interface DockerEngineOptions {
  /** `unix:///run/docker.sock` or `tcp://127.0.0.1:2375`. */
  readonly host: string
  readonly clock: Clock
  readonly log: Logger
  /** Folder for the secrets and configs of this node's containers; becomes a tmpfs when it is none. The engine must see the same path. */
  readonly filesDir: string
  /** The source of a bind mount as this node has it; the engine's socket is replaced by ours here. */
  readonly rewriteMountSource?: (source: string) => string
}

export interface DockerEngine extends Engine {
  close(): void
}

/** The newest API that this adapter was written for, and the first with a MAC address per network. */
const NEWEST_API = '1.44'
const MAC_PER_NETWORK_API = '1.44'
/** More starts at once only make all of them slower (machines.md 4). */
const STARTS_AT_ONCE = 2
const INSPECTS_AT_ONCE = 4
const START_TIMEOUT_MS = 180_000
/** What the engine needs beyond the grace to kill a container. */
const STOP_MARGIN_MS = 60_000

export function createDockerEngine(options: DockerEngineOptions): DockerEngine {
  const { clock, log, rewriteMountSource = (source) => source } = options
  const http = versioned(createDockerHttp({ host: options.host, clock }))
  const files = createContainerFiles(options.filesDir)
  const images = createImages({ http, clock, log })
  const networks = createNetworks(http)
  const starts = createGate(STARTS_AT_ONCE)
  const access = createAccess(
    options.host,
    async () => `/v${await http.apiVersion()}`,
    async (execId) => {
      try {
        return text(object(await http.json({ method: 'GET', path: `/exec/${execId}/json` })).ContainerID)
      } catch (error) {
        if (isShoalError(error, 'not-found')) return undefined
        throw error
      }
    },
  )

  const capabilities = async (): Promise<EngineCapabilities> => {
    const apiVersion = await http.apiVersion()
    return { apiVersion, healthchecks: true, macPerNetwork: compareVersions(apiVersion, MAC_PER_NETWORK_API) >= 0 }
  }

  const inspect = async (id: string): Promise<ContainerState | undefined> => {
    try {
      return containerState(await http.json({ method: 'GET', path: `/containers/${id}/json` }))
    } catch (error) {
      if (isShoalError(error, 'not-found')) return undefined
      throw error
    }
  }

  const post = (id: string, action: string, query: HttpCall['query'] = {}, timeoutMs?: number) =>
    http.json({ method: 'POST', path: `/containers/${id}/${action}`, query, timeoutMs })

  const create = async (plan: ContainerPlan): Promise<string> => {
    const { macPerNetwork } = await capabilities()
    const placed = await files.place(plan.name, plan.files)
    try {
      const body = createBody(plan, { macPerNetwork, rewriteMountSource, files: placed })
      const created = object(await http.json({ method: 'POST', path: '/containers/create', query: { name: plan.name }, body }))
      const id = text(created.Id)
      // engines before 1.44 take only one network at create
      for (const network of macPerNetwork ? [] : plan.networks.slice(1)) {
        const connect = { Container: id, EndpointConfig: endpointConfig(network, { macPerNetwork }) }
        await http.json({ method: 'POST', path: `/networks/${encodeURIComponent(network.engineName)}/connect`, body: connect })
      }
      return id
    } catch (error) {
      if (!isShoalError(error, 'already-exists')) await files.remove(plan.name)
      throw error
    }
  }

  return {
    info: async () => engineInfo(await http.json({ method: 'GET', path: '/info' })),
    capabilities,
    ensureImage: (image, imageOptions) => images.ensure(image, imageOptions),
    create,
    start: (id) =>
      starts(async () => {
        await post(id, 'start', {}, START_TIMEOUT_MS) // 304 = it runs already
      }),
    async stop(id, { signal, graceMs }) {
      const seconds = Math.ceil(graceMs / 1000)
      if (signal && compareVersions(await http.apiVersion(), '1.42') < 0) {
        await stopWithSignal(id, signal, graceMs)
        return
      }
      await post(id, 'stop', { t: seconds, signal }, graceMs + STOP_MARGIN_MS)
    },
    async kill(id, signal) {
      await post(id, 'kill', { signal })
    },
    replaceFiles: (name, plans) => files.replace(name, plans),
    async remove(id) {
      const name = (await inspect(id))?.name
      try {
        await http.json({ method: 'DELETE', path: `/containers/${id}`, query: { force: 1, v: 1 }, timeoutMs: STOP_MARGIN_MS })
      } catch (error) {
        if (isShoalError(error, 'already-exists'))
          await waitUntilGone(id) // its removal is in progress
        else if (!isShoalError(error, 'not-found')) throw error
      }
      if (name) await files.remove(name)
    },
    inspect,
    async list(nodeId) {
      const filters = JSON.stringify({ label: [`${CONTAINER_LABELS.nodeId}=${nodeId}`] })
      const found = array(await http.json({ method: 'GET', path: '/containers/json', query: { all: 1, filters } }))
      const gate = createGate(INSPECTS_AT_ONCE)
      const states = await Promise.all(found.map((item) => gate(() => inspect(text(object(item).Id)))))
      const present = states.filter((state) => state !== undefined)
      await files.sweep(new Set(present.map((state) => state.name)))
      return present
    },
    events: (signal) => containerEvents({ http, clock, log, onDestroyed: (name) => files.remove(name) }, signal),
    logs: (id, logOptions, signal) => readLogs(http, id, logOptions, signal),
    ensureNetwork: (plan) => networks.ensure(plan),
    removeNetwork: (name) => networks.remove(name),
    listNetworks: (label) => networks.list(label),
    serveContainer: (id, stream) => access.serveContainer(id, stream),
    async connectPort(id, port) {
      const container = await inspect(id)
      if (container?.status !== 'running') throw new ShoalError('failed-precondition', 'the container does not run')
      return dialInside(container.pid, port)
    },
    async ping() {
      const response = await http.stream({ method: 'GET', path: '/_ping', timeoutMs: 5_000 })
      response.resume()
    },
    close: () => {
      http.close()
      files.close()
    },
  }

  /** Engines before 1.42 know only the container's own stop signal. */
  async function stopWithSignal(id: string, signal: string, graceMs: number): Promise<void> {
    try {
      await post(id, 'kill', { signal })
      const wait = post(id, 'wait', {}, graceMs + STOP_MARGIN_MS)
      const timer = clock.setTimer(graceMs, () => {
        post(id, 'kill').catch(() => {}) // it ended just now; the wait says so
      })
      await wait.finally(() => timer.cancel())
    } catch (error) {
      if (!isShoalError(error, 'already-exists')) throw error // 409: it does not run
    }
  }

  async function waitUntilGone(id: string): Promise<void> {
    await post(id, 'wait', { condition: 'removed' }, STOP_MARGIN_MS).catch((error) => {
      if (!isShoalError(error, 'not-found')) throw error
    })
  }
}

async function* readLogs(http: DockerHttp, id: string, options: EngineLogOptions, signal: AbortSignal) {
  const inspected = object(await http.json({ method: 'GET', path: `/containers/${id}/json`, signal }))
  const query = {
    stdout: options.stdout ? 1 : 0,
    stderr: options.stderr ? 1 : 0,
    follow: options.follow ? 1 : 0,
    tail: options.tail ?? 'all',
    since: options.since === undefined ? undefined : (options.since / 1000).toFixed(9),
    timestamps: 1,
    details: 1,
  }
  const response = await http.stream({ method: 'GET', path: `/containers/${id}/logs`, query, signal })
  try {
    yield* object(inspected.Config).Tty === true ? rawLines(response) : multiplexedLines(response)
  } catch (error) {
    if (signal.aborted) return
    throw unreachableEngine(error, signal)
  } finally {
    response.destroy()
  }
}

interface VersionedHttp extends DockerHttp {
  apiVersion(): Promise<string>
}

/** Every path gets the version prefix that the engine and we both know; asked for once, and again after the engine was away. */
function versioned(http: DockerHttp): VersionedHttp {
  let known: Promise<string> | undefined

  const negotiate = async (): Promise<string> => {
    const response = await http.stream({ method: 'GET', path: '/_ping', timeoutMs: 5_000 })
    response.resume()
    const newest = text(response.headers['api-version']) || '1.41'
    return compareVersions(newest, NEWEST_API) < 0 ? newest : NEWEST_API
  }

  const apiVersion = (): Promise<string> => {
    known ??= negotiate().catch((error) => {
      known = undefined
      throw error
    })
    return known
  }

  const prefixed = async <T>(call: HttpCall, send: (call: HttpCall) => Promise<T>): Promise<T> => {
    try {
      return await send({ ...call, path: `/v${await apiVersion()}${call.path}` })
    } catch (error) {
      if (isShoalError(error, 'unavailable')) known = undefined // another engine may come back
      throw error
    }
  }

  return {
    json: (call) => prefixed(call, http.json),
    stream: (call) => prefixed(call, http.stream),
    close: () => http.close(),
    apiVersion,
  }
}

/** At most `limit` at once; the others wait in order. */
function createGate(limit: number): <T>(work: () => Promise<T>) => Promise<T> {
  const waiting: (() => void)[] = []
  let running = 0
  return async (work) => {
    if (running >= limit) await new Promise<void>((resolve) => waiting.push(resolve))
    else running += 1
    try {
      return await work()
    } finally {
      const next = waiting.shift()
      if (next) next()
      else running -= 1
    }
  }
}

export function compareVersions(a: string, b: string): number {
  const [majorA = 0, minorA = 0] = a.split('.').map(Number)
  const [majorB = 0, minorB = 0] = b.split('.').map(Number)
  if (Number.isNaN(majorA + minorA + majorB + minorB)) throw new ShoalError('internal', `not API versions: ${a}, ${b}`)
  return majorA - majorB || minorA - minorB
}
