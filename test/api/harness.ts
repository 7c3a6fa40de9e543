// A node's API over a real store, with a small fake engine behind: everything on unix sockets in a folder of its own.
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ApiDeps, createApi, serveApi } from '../../src/api/index.ts'
import { type ClusterId, type NodeId, newId, ShoalError, silentLogger } from '../../src/lib/index.ts'
import { createControl, createInitialObjects, type LogSource } from '../../src/manager/index.ts'
import { DEFAULT_CLUSTER_SPEC, type Node } from '../../src/model/index.ts'
import type { LocalNode } from '../../src/node/index.ts'
import { createRandom } from '../../src/ports/fakes/index.ts'
import { realClock } from '../../src/ports/index.ts'
import { createMemoryJournal, createStore, type Fresh, type Store } from '../../src/store/index.ts'

export const MANAGER_ID = 'manager0000000000000000001' as NodeId

export interface Answer {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly text: string
  // biome-ignore lint/suspicious/noExplicitAny: tests look into whatever JSON came
  readonly json: any
}

export interface Harness {
  readonly store: Store
  readonly socket: string
  readonly engine: FakeEngine
  /** 'manager' after start; 'worker' and 'inactive' can be set. */
  place: 'manager' | 'worker' | 'inactive'
  call(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer>
  open(method: string, path: string): Promise<IncomingMessage>
  close(): Promise<void>
}

export type EngineHandler = (req: IncomingMessage, res: ServerResponse, body: string) => void

export interface FakeEngine {
  readonly calls: { readonly method: string; readonly url: string; readonly body: string; readonly headers: IncomingMessage['headers'] }[]
  /** First match of `METHOD /path` (no version, no query) answers; the rest is 404 `page not found`. */
  readonly routes: Map<string, EngineHandler>
  onUpgrade: ((req: IncomingMessage, socket: Socket, head: Buffer) => void) | undefined
  /** Network list of the engine. */
  networks: Record<string, unknown>[]
}

export const reply =
  (status: number, value: unknown): EngineHandler =>
  (_req, res) => {
    res.writeHead(status, { 'Content-Type': 'application/json' })
    res.end(`${JSON.stringify(value)}\n`)
  }

export const BRIDGE = { Id: 'b'.repeat(64), Name: 'bridge', Driver: 'bridge', Scope: 'local', Labels: {} }

export async function startEngine(path: string): Promise<{ engine: FakeEngine; close(): Promise<void> }> {
  const engine: FakeEngine = { calls: [], routes: new Map(), onUpgrade: undefined, networks: [BRIDGE] }
  engine.routes.set('GET /version', reply(200, { Version: '20.10.24', ApiVersion: '1.41', MinAPIVersion: '1.12', Components: [] }))
  engine.routes.set('GET /_ping', (_req, res) => res.writeHead(200, { 'Api-Version': '1.41' }).end('OK'))
  engine.routes.set('GET /info', reply(200, { ID: 'X', Swarm: { LocalNodeState: 'inactive' } }))
  engine.routes.set('GET /networks', (req, res) => {
    const isLabelQuery = decodeURIComponent(req.url ?? '').includes('shoal.network.id')
    const shown = engine.networks.filter((network) => !isLabelQuery || (network.Labels as Record<string, string>)?.['shoal.network.id'])
    reply(200, shown)(req, res, '')
  })
  const sockets = new Set<Socket>()
  const server = createServer((req, res) => {
    const chunks: Buffer[] = []
    req.on('data', (chunk: Buffer) => chunks.push(chunk))
    req.on('end', () => {
      const body = Buffer.concat(chunks).toString()
      engine.calls.push({ method: req.method ?? '', url: req.url ?? '', body, headers: req.headers })
      const bare = (req.url ?? '').replace(/^\/v\d+\.\d+/, '').split('?')[0]
      const network = /^\/networks\/([^/]+)$/.exec(bare ?? '')?.[1]
      const handler = engine.routes.get(`${req.method} ${bare}`)
      if (handler) handler(req, res, body)
      else if (network && req.method === 'GET') {
        const found = engine.networks.find(({ Id, Name }) => Id === network || Name === network)
        reply(found ? 200 : 404, found ?? { message: `network ${network} not found` })(req, res, body)
      } else reply(404, { message: 'page not found' })(req, res, body)
    })
  })
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => {})
  })
  server.on('upgrade', (req, socket, head) => engine.onUpgrade?.(req, socket as Socket, head))
  await new Promise<void>((resolve) => server.listen(path, resolve))
  return {
    engine,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        for (const socket of sockets) socket.destroy()
      }),
  }
}

export const noLogs: LogSource = { async *subscribe() {} }

export async function startApi(options: { logs?: LogSource; deps?: Partial<ApiDeps> } = {}): Promise<Harness> {
  const folder = await mkdtemp(join(tmpdir(), 'api-'))
  const engineSocket = join(folder, 'engine.sock')
  const socket = join(folder, 'shoal.sock')
  const { engine, close: closeEngine } = await startEngine(engineSocket)
  const random = createRandom(1)
  const store = await createStore({ clock: realClock, journal: createMemoryJournal(), log: silentLogger })
  await initialise(store)
  const control = createControl({ store, random })
  const face = { store, control, logs: options.logs ?? noLogs }
  const harness = { place: 'manager' as Harness['place'] }
  const node: LocalNode = {
    status: () =>
      harness.place === 'inactive'
        ? { state: 'inactive', error: '', nodeId: undefined, role: undefined, address: '', managers: [] }
        : {
            state: 'active',
            error: '',
            nodeId: MANAGER_ID,
            role: harness.place,
            address: '10.9.0.1',
            managers: [{ nodeId: MANAGER_ID, address: '10.9.0.1:2377' }],
          },
    manager: () => (harness.place === 'manager' ? face : undefined),
    init: async () => {
      if (harness.place !== 'inactive') throw new ShoalError('unavailable', 'This node is already part of a swarm.')
      harness.place = 'manager'
      return MANAGER_ID
    },
    join: async () => {
      throw new ShoalError('unknown', 'invalid join token')
    },
    leave: async () => {
      if (harness.place === 'inactive') throw new ShoalError('unavailable', 'This node is not part of a swarm')
      harness.place = 'inactive'
    },
  }
  const api = createApi({
    node,
    engineSocket,
    clock: realClock,
    log: silentLogger,
    ready: () => true,
    version: '0.1.0',
    ownSocket: socket,
    ...options.deps,
  })
  const server = await serveApi(api, [`unix://${socket}`])
  const open = (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) =>
    new Promise<IncomingMessage>((resolve, reject) => {
      const outgoing = request({ socketPath: socket, method, path, headers, agent: false }, resolve)
      outgoing.on('error', reject)
      outgoing.end(body === undefined ? undefined : typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body))
    })
  return Object.assign(harness, {
    store,
    socket,
    engine,
    open: (method: string, path: string) => open(method, path),
    async call(method: string, path: string, body?: unknown, headers?: Record<string, string>) {
      const incoming = await open(method, path, body, headers)
      const chunks: Buffer[] = []
      for await (const chunk of incoming as AsyncIterable<Buffer>) chunks.push(chunk)
      const text = Buffer.concat(chunks).toString()
      let json: unknown
      try {
        json = JSON.parse(text)
      } catch {
        json = undefined
      }
      return { status: incoming.statusCode ?? 0, headers: incoming.headers, text, json }
    },
    async close() {
      await server.close()
      await closeEngine()
      await store.close()
      await rm(folder, { recursive: true, force: true })
    },
  })
}

export function freshNode(id: string, hostname: string, role: 'manager' | 'worker' = 'worker'): Fresh<Node> {
  return {
    id: id as NodeId,
    spec: { name: '', labels: {}, desiredRole: role, membership: 'accepted', availability: 'active' },
    role,
    number: hostname.length,
    description: {
      hostname,
      platform: { architecture: 'x86_64', os: 'linux' },
      resources: { nanoCpus: 2e9, memoryBytes: 1e9, generic: [] },
      engineVersion: '20.10.24',
      engineLabels: {},
      plugins: [{ type: 'Network', name: 'overlay' }],
      tls: { trustRoot: '-----BEGIN', issuerSubject: 'AA==', issuerPublicKey: 'AA==' },
    },
    status: { state: 'ready', message: '', address: '10.9.0.1' },
    ...(role === 'manager' && { managerStatus: { leader: true, reachability: 'reachable' as const, address: '10.9.0.1:2377' } }),
    certificate: { csrPem: '', state: 'issued', certificatePem: '', error: '' },
    agent: 'shoal',
    dataPlane: { on: true, reason: '' },
  }
}

/** A swarm of one manager and two workers. */
export async function initialise(store: Store): Promise<void> {
  const random = createRandom(2)
  await store.transact((tx) => {
    createInitialObjects(tx, random, {
      id: newId<ClusterId>(random),
      spec: DEFAULT_CLUSTER_SPEC,
      rootCaPem: '-----BEGIN',
      rootCaKeyPem: 'secret-key',
      joinTokens: { worker: `SWMTKN-1-${'a'.repeat(50)}-${'b'.repeat(25)}`, manager: `SWMTKN-1-${'a'.repeat(50)}-${'c'.repeat(25)}` },
      defaultAddressPools: [],
      subnetSize: 24,
      dataPathPort: 4789,
      networkKeys: [],
    })
    tx.nodes.create(freshNode(MANAGER_ID, 'm1', 'manager'))
    tx.nodes.create(freshNode('worker00000000000000000001', 'w1'))
    tx.nodes.create(freshNode('worker00000000000000000002', 'w2'))
  })
}

export const SPEC = { Name: 'web', TaskTemplate: { ContainerSpec: { Image: 'nginx' } }, Mode: { Replicated: { Replicas: 2 } } }
