// A cluster in a test: store, virtual clock, fake issuer, and nodes that call routes in this process.
import type { DescMethod } from '@bufbuild/protobuf'
import { create } from '@bufbuild/protobuf'
import { makeJoinTokens, newNode } from '../../src/ca/index.ts'
import { type ClusterId, type NetworkId, type NodeId, newId, type ServiceId, silentLogger, type TaskId } from '../../src/lib/index.ts'
import { type Cluster, DEFAULT_CLUSTER_SPEC, type Node, type Task, TaskState } from '../../src/model/index.ts'
import { createFakeIssuer, createRandom, createVirtualClock, type VirtualClock } from '../../src/ports/fakes/index.ts'
import type { CallContext, Channel, Issuer, Random, Route, RpcPeer } from '../../src/ports/index.ts'
import { createMemoryJournal, createStore, type Fresh, type Store } from '../../src/store/index.ts'
import { authorize } from '../../src/wire/index.ts'

export interface TestCluster {
  readonly clock: VirtualClock
  readonly random: Random
  readonly store: Store
  readonly issuer: Issuer
  readonly cluster: Cluster
  /** Awaits a transaction (the journal is in memory: no time passes). */
  write<T>(fn: Parameters<Store['transact']>[0] extends (tx: infer W) => unknown ? (tx: W) => T : never): Promise<T>
  addNode(id: string, agent?: 'shoal' | 'stock', change?: Partial<Node>): Promise<Node>
  addService(id: string, container?: object): Promise<void>
  addTask(id: string, nodeId: string | undefined, change?: Partial<Task>): Promise<Task>
  patchTask(id: string, change: Partial<Task>): Promise<Task>
}

export async function testCluster(seed = 1): Promise<TestCluster> {
  const clock = createVirtualClock()
  const random = createRandom(seed)
  const store = await createStore({ clock, journal: createMemoryJournal(), log: silentLogger })
  const issuer = createFakeIssuer(random)
  const root = await issuer.createRoot(clock.now())
  const fresh: Fresh<Cluster> = {
    id: newId<ClusterId>(random),
    spec: DEFAULT_CLUSTER_SPEC,
    rootCaPem: root.certificatePem,
    rootCaKeyPem: root.privateKeyPem,
    joinTokens: makeJoinTokens(root.certificatePem, random),
    defaultAddressPools: [],
    subnetSize: 24,
    dataPathPort: 4789,
    networkKeys: [],
  }
  const cluster = await store.transact((tx) => tx.setCluster(fresh))
  const self: TestCluster = {
    clock,
    random,
    store,
    issuer,
    cluster,
    write: (fn) => store.transact(fn as never) as never,
    addNode: (id, agent = 'shoal', change = {}) =>
      store.transact((tx) =>
        tx.nodes.create({
          ...newNode(tx.nodes, {
            id: id as NodeId,
            role: 'worker',
            availability: 'active',
            address: '10.0.0.9',
            agent,
            csrPem: '',
            certificatePem: '',
          }),
          ...change,
        }),
      ),
    addService: async (id, container = {}) => {
      await store.transact((tx) => {
        tx.specRevisions.create({
          id: `${id}.1`,
          serviceId: id as ServiceId,
          specVersion: 1,
          serviceName: id,
          serviceLabels: {},
          task: { container: { image: 'nginx', ...container }, forceUpdate: 0 },
        })
      })
    },
    addTask: (id, nodeId, change = {}) =>
      store.transact((tx) =>
        tx.tasks.create({
          id: id as TaskId,
          serviceId: 'web' as ServiceId,
          slot: 1,
          nodeId: nodeId as NodeId | undefined,
          specVersion: 1,
          desiredState: TaskState.RUNNING,
          status: { state: TaskState.ASSIGNED, at: clock.now(), message: '', error: '' },
          attachments: [],
          ...change,
        }),
      ),
    patchTask: (id, change) => store.transact((tx) => tx.tasks.update({ ...tx.tasks.get(id as TaskId)!, ...change })),
  }
  return self
}

export function attachmentOf(network: string, address: string) {
  return [{ networkId: network as NetworkId, addresses: [address] }]
}

/** Calls of one node, straight into the handlers. */
export function nodeChannel(routes: readonly Route[], peer: Partial<RpcPeer> & { clusterId: string }): Channel & { cut(): void } {
  let controller = new AbortController()
  const full: RpcPeer = { nodeId: undefined, role: 'worker', address: '10.0.0.9', ownAgent: true, ...peer }
  const call = (method: DescMethod, request: unknown, signal?: AbortSignal) => {
    const route = routes.find((candidate) => candidate.method === method)
    if (!route) throw new Error(`no route for ${method.name}`)
    authorize(method, full, peer.clusterId)
    const ctx: CallContext = { peer: full, signal: signal ? AbortSignal.any([signal, controller.signal]) : controller.signal }
    return (route.handler as unknown as (request: unknown, ctx: CallContext) => never)(request, ctx)
  }
  const filled = (method: DescMethod, iterable: AsyncIterable<never>) =>
    (async function* () {
      for await (const message of iterable) yield create(method.output, message)
    })()
  return {
    unary: async (method, request, options) =>
      create(method.output, (await call(method, create(method.input, request as never), options?.signal)) as never) as never,
    serverStream: (method, request, options) =>
      filled(method, call(method, create(method.input, request as never), options?.signal)) as never,
    clientStream: async (method, requests, options) =>
      create(method.output, (await call(method, typed(method, requests), options?.signal)) as never) as never,
    bidiStream: (method, requests, options) => filled(method, call(method, typed(method, requests), options?.signal)) as never,
    close() {},
    /** The connection breaks: all calls end, new ones work again. */
    cut() {
      controller.abort()
      controller = new AbortController()
    },
  }
}

async function* typed(method: DescMethod, requests: AsyncIterable<unknown>) {
  for await (const request of requests) yield create(method.input, request as never)
}

/** Reads a stream in the background into a list. */
export function collect<T>(stream: AsyncIterable<T>): { readonly items: T[]; ended: boolean; error: unknown } {
  const result = { items: [] as T[], ended: false, error: undefined as unknown }
  ;(async () => {
    for await (const item of stream) result.items.push(item)
  })().then(
    () => {
      result.ended = true
    },
    (error: unknown) => {
      result.ended = true
      result.error = error
    },
  )
  return result
}
