// The HTTP client: unversioned paths of the Docker API and /shoal over a unix socket or TCP, with typed calls for swarm objects.
import type http from 'node:http'
import { type Duplex, Readable } from 'node:stream'
import { ApiError, ConnectError } from './errors.ts'
import { type ClientTls, type Endpoint, parseEndpoint } from './host.ts'
import type {
  Cluster,
  Config,
  IdResponse,
  Network,
  Node,
  NodeSpec,
  Secret,
  Service,
  ServiceSpec,
  ServiceWarnings,
  SystemInfo,
  Task,
} from './types.ts'

/**
 * Node's HTTP, taken this way because an ES import of it reads every export, WebSocket among them, and so loads undici: measured 39 ms more for each
 * start of the command line.
 */
const { Agent, request: httpRequest } = process.getBuiltinModule('node:http')

export type Query = Readonly<Record<string, string | number | boolean | undefined>>
/** Filters of list calls: key to accepted values. */
export type ListFilters = Readonly<Record<string, readonly string[]>>

export interface RequestOptions {
  readonly query?: Query
  /** Sent as JSON; a stream is sent as it is. */
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
}

export interface StreamResponse {
  readonly headers: http.IncomingHttpHeaders
  readonly body: Readable
}

export interface ServiceUpdateQuery {
  readonly version: number
  readonly registryAuthFrom?: 'spec' | 'previous-spec'
  readonly rollback?: 'previous'
}

/** All calls reject with ApiError (the daemon refused) or ConnectError (nobody answered). */
export interface ApiClient {
  readonly host: string
  /** The parsed JSON of the answer; undefined for an empty one. */
  request<T>(method: string, path: string, options?: RequestOptions): Promise<T>
  /** The answer's text as it was sent, for output that must show the daemon's JSON unchanged. */
  requestText(method: string, path: string, options?: RequestOptions): Promise<string>
  /** The answer as a stream. The caller reads it to its end or aborts the signal. */
  stream(method: string, path: string, options?: RequestOptions): Promise<StreamResponse>

  /** A connection that changes its protocol: both ends are a byte stream afterwards. */
  upgrade(method: string, path: string, options?: RequestOptions): Promise<Duplex>

  info(): Promise<SystemInfo>
  cluster(): Promise<Cluster>
  nodes(filters?: ListFilters): Promise<Node[]>
  node(id: string): Promise<Node>
  /** `drainDeadline`: `10m`, `0`; of Shoal only. */
  updateNode(id: string, version: number, spec: NodeSpec, drainDeadline?: string): Promise<void>
  services(options?: { filters?: ListFilters; status?: boolean }): Promise<Service[]>
  service(id: string, options?: { insertDefaults?: boolean }): Promise<Service>
  createService(spec: ServiceSpec, headers?: Readonly<Record<string, string>>): Promise<{ ID: string } & ServiceWarnings>
  updateService(
    id: string,
    query: ServiceUpdateQuery,
    spec: ServiceSpec,
    headers?: Readonly<Record<string, string>>,
  ): Promise<ServiceWarnings>
  removeService(id: string): Promise<void>
  tasks(filters?: ListFilters): Promise<Task[]>
  task(id: string): Promise<Task>
  secrets(filters?: ListFilters): Promise<Secret[]>
  configs(filters?: ListFilters): Promise<Config[]>
  networks(filters?: ListFilters): Promise<Network[]>
  network(id: string, query?: Query): Promise<Network>
  createObject(kind: 'secrets' | 'configs', spec: unknown): Promise<IdResponse>

  /** Closes idle connections, so that a process can end. */
  close(): void
}

export function createClient(host: string, tls?: ClientTls): ApiClient {
  const endpoint = parseEndpoint(host, tls)
  const agent = new (secure(endpoint) ?? { Agent }).Agent({ keepAlive: true, maxSockets: 16 })

  const request = async <T>(method: string, path: string, options: RequestOptions = {}): Promise<T> => {
    const text = await requestText(method, path, options)
    return (text.trim() === '' ? undefined : JSON.parse(text)) as T
  }

  const requestText = async (method: string, path: string, options: RequestOptions = {}): Promise<string> => {
    return readText(await send(endpoint, agent, method, path, options))
  }

  const stream = async (method: string, path: string, options: RequestOptions = {}): Promise<StreamResponse> => {
    const response = await send(endpoint, agent, method, path, options)
    return { headers: response.headers, body: response }
  }

  const list = <T>(path: string, filters?: ListFilters, query: Query = {}) =>
    request<T[] | null>('GET', path, { query: { ...query, filters: filtersQuery(filters) } }).then((items) => items ?? [])

  return {
    host: endpoint.host,
    request,
    requestText,
    stream,
    upgrade: (method, path, options = {}) => sendUpgrade(endpoint, method, path, options),
    info: () => request('GET', '/info'),
    cluster: () => request('GET', '/swarm'),
    nodes: (filters) => list('/nodes', filters),
    node: (id) => request('GET', `/nodes/${segment(id)}`),
    updateNode: (id, version, body, drainDeadline) =>
      request('POST', `/nodes/${segment(id)}/update`, { query: { version, drainDeadline }, body }),
    services: ({ filters, status } = {}) => list('/services', filters, { status: status || undefined }),
    service: (id, { insertDefaults = false } = {}) => request('GET', `/services/${segment(id)}`, { query: { insertDefaults } }),
    createService: (body, headers) => request('POST', '/services/create', { body, headers }),
    updateService: async (id, query, body, headers) =>
      (await request<ServiceWarnings | undefined>('POST', `/services/${segment(id)}/update`, { query: { ...query }, body, headers })) ?? {},
    removeService: (id) => request('DELETE', `/services/${segment(id)}`),
    tasks: (filters) => list('/tasks', filters),
    task: (id) => request('GET', `/tasks/${segment(id)}`),
    secrets: (filters) => list('/secrets', filters),
    configs: (filters) => list('/configs', filters),
    networks: (filters) => list('/networks', filters),
    network: (id, query) => request('GET', `/networks/${segment(id)}`, { query }),
    createObject: (kind, body) => request('POST', `/${kind}/create`, { body }),
    close: () => agent.destroy(),
  }
}

function filtersQuery(filters: ListFilters | undefined): string | undefined {
  return filters && Object.keys(filters).length > 0 ? JSON.stringify(filters) : undefined
}

/** One path segment: an id or a name as somebody typed it. */
function segment(text: string): string {
  return encodeURIComponent(text)
}

function send(endpoint: Endpoint, agent: http.Agent, method: string, path: string, options: RequestOptions): Promise<http.IncomingMessage> {
  const given = options.body
  const piped = given instanceof Readable ? given : undefined
  const body = given === undefined || piped ? undefined : Buffer.from(JSON.stringify(given))
  return new Promise((resolve, reject) => {
    const request = requestTo(endpoint)({
      ...target(endpoint),
      agent,
      method,
      path: path + queryText(options.query),
      headers: {
        ...baseHeaders(endpoint),
        ...(body
          ? { 'Content-Type': 'application/json', 'Content-Length': body.length }
          : method === 'POST' && !piped
            ? { 'Content-Length': 0 }
            : {}),
        ...options.headers,
      },
      signal: options.signal,
    })
    request.on('error', (error) => reject(options.signal?.aborted ? error : new ConnectError(endpoint.host, error)))
    request.on('response', (response) => {
      const status = response.statusCode ?? 0
      if (status >= 200 && status < 300) resolve(response)
      else readText(response).then((text) => reject(ApiError.fromBody(status, text)), reject)
    })
    if (piped) piped.pipe(request)
    else request.end(body)
  })
}

function target(endpoint: Endpoint): http.RequestOptions {
  return endpoint.kind === 'unix' ? { socketPath: endpoint.path } : { host: endpoint.hostname, port: endpoint.port, ...endpoint.tls }
}

/** node:https where the endpoint has certificates. */
function secure(endpoint: Endpoint): typeof import('node:https') | undefined {
  return endpoint.kind === 'tcp' && endpoint.tls ? process.getBuiltinModule('node:https') : undefined
}

function requestTo(endpoint: Endpoint): typeof httpRequest {
  return (secure(endpoint)?.request as typeof httpRequest | undefined) ?? httpRequest
}

function baseHeaders(endpoint: Endpoint): Record<string, string> {
  // A name that stands for the socket: a daemon must not take a path for a host.
  return { Host: endpoint.kind === 'unix' ? 'docker' : `${endpoint.hostname}:${endpoint.port}`, 'User-Agent': 'shoal-cli' }
}

function sendUpgrade(endpoint: Endpoint, method: string, path: string, options: RequestOptions): Promise<Duplex> {
  const body = Buffer.from(options.body === undefined ? '' : JSON.stringify(options.body))
  return new Promise((resolve, reject) => {
    const request = requestTo(endpoint)({
      ...target(endpoint),
      method,
      path: path + queryText(options.query),
      headers: {
        ...baseHeaders(endpoint),
        Connection: 'Upgrade',
        Upgrade: 'tcp',
        'Content-Type': 'application/json',
        'Content-Length': body.length,
      },
      signal: options.signal,
    })
    request.on('error', (error) => reject(options.signal?.aborted ? error : new ConnectError(endpoint.host, error)))
    request.on('upgrade', (_response, socket, head) => {
      if (head.length > 0) socket.unshift(head)
      resolve(socket)
    })
    request.on('response', (response) => {
      readText(response).then((text) => reject(ApiError.fromBody(response.statusCode ?? 0, text)), reject)
    })
    request.end(body)
  })
}

function queryText(query: Query | undefined): string {
  const search = new URLSearchParams()
  for (const [name, value] of Object.entries(query ?? {})) if (value !== undefined) search.set(name, String(value))
  const text = search.toString()
  return text ? `?${text}` : ''
}

async function readText(response: http.IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks).toString('utf8')
}
