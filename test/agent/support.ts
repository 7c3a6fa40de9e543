// A manager stub behind an in-memory Rpc, and an agent with fake engine, clock and disk around it.
import type { DescMethod } from '@bufbuild/protobuf'
import { type Agent, type AgentDataPlane, type AgentDeps, createAgent } from '../../src/agent/index.ts'
import type { MeshState } from '../../src/dataplane/index.ts'
import { BoundedQueue, type NodeId, type SecretId, type ServiceId, ShoalError, silentLogger, type TaskId } from '../../src/lib/index.ts'
import type { AssignedSecret, AssignedTask, ContainerSpec, TaskReport, TaskState } from '../../src/model/index.ts'
import { TaskState as States } from '../../src/model/index.ts'
import {
  createFakeDisk,
  createFakeEngine,
  createRandom,
  createVirtualClock,
  type FakeDisk,
  type FakeEngine,
  type FakeEngineOptions,
  type VirtualClock,
} from '../../src/ports/fakes/index.ts'
import { type CallContext, type CallOptions, type Channel, handle, type Identity, type Route, type Rpc } from '../../src/ports/index.ts'
import { Dispatcher, LogBroker, Mesh, type MeshDown, type MeshUp } from '../../src/proto/index.ts'
import {
  type AssignmentChange,
  buildAssignments,
  buildSessionMessage,
  buildSubscription,
  duration,
  type LogLine,
  type LogOptions,
  parseLogLine,
  parseTaskReport,
} from '../../src/wire/index.ts'

export const NODE = 'n1' as NodeId
const IDENTITY: Identity = {
  nodeId: NODE,
  clusterId: 'c1',
  role: 'worker',
  certificatePem: 'cert',
  privateKeyPem: 'key',
  rootCaPem: 'root\n',
}

/** Calls go straight to the routes of the address. `cut` ends all calls, as a broken connection does. */
export interface MemoryRpc extends Rpc {
  listen(address: string, routes: readonly Route[]): void
  unlisten(address: string): void
  cut(): void
}

export function createMemoryRpc(): MemoryRpc {
  const servers = new Map<string, readonly Route[]>()
  const calls = new Set<AbortController>()

  const open = (address: string, method: DescMethod, options: CallOptions = {}) => {
    const route = servers.get(address)?.find((candidate) => candidate.method === method)
    if (!servers.has(address)) throw new ShoalError('unavailable', `nobody listens at ${address}`)
    if (!route) throw new ShoalError('unimplemented', `${method.name} is not served`)
    const broken = new AbortController()
    calls.add(broken)
    const signal = options.signal ? AbortSignal.any([options.signal, broken.signal]) : broken.signal
    const ended = () =>
      options.signal?.aborted ? new ShoalError('canceled', 'canceled') : new ShoalError('unavailable', 'the connection broke')
    const ctx: CallContext = { peer: { nodeId: NODE, role: 'worker', clusterId: 'c1', address: '10.0.0.1', ownAgent: true }, signal }
    const done = () => calls.delete(broken)
    return { handler: route.handler as (request: unknown, ctx: CallContext) => unknown, ctx, signal, ended, done }
  }

  const guarded = <T>(promise: Promise<T>, signal: AbortSignal, ended: () => Error): Promise<T> =>
    new Promise((resolve, reject) => {
      const onAbort = () => reject(ended())
      if (signal.aborted) return onAbort()
      signal.addEventListener('abort', onAbort, { once: true })
      promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
    })

  async function* stream(address: string, method: DescMethod, request: unknown, options?: CallOptions): AsyncGenerator<unknown> {
    const { handler, ctx, signal, ended, done } = open(address, method, options)
    const items = (handler(request, ctx) as AsyncIterable<unknown>)[Symbol.asyncIterator]()
    try {
      for (;;) {
        const { value, done: last } = await guarded(items.next(), signal, ended)
        if (last) return
        yield value
      }
    } finally {
      done()
    }
  }

  async function once(address: string, method: DescMethod, request: unknown, options?: CallOptions): Promise<unknown> {
    const { handler, ctx, signal, ended, done } = open(address, method, options)
    return guarded(handler(request, ctx) as Promise<unknown>, signal, ended).finally(done)
  }

  return {
    connect: (address): Channel => ({
      unary: (method, request, options) => once(address, method, request, options) as Promise<never>,
      serverStream: (method, request, options) => stream(address, method, request, options) as AsyncIterable<never>,
      clientStream: (method, requests, options) => once(address, method, requests, options) as Promise<never>,
      bidiStream: (method, requests, options) => stream(address, method, requests, options) as AsyncIterable<never>,
      close: () => {},
    }),
    serve: () => Promise.reject(new Error('not here')),
    listen: (address, routes) => void servers.set(address, routes),
    unlisten: (address) => void servers.delete(address),
    cut: () => {
      for (const call of calls) call.abort()
      calls.clear()
    },
  }
}

/** A manager that does as a test says. */
export class ManagerStub {
  readonly reports: TaskReport[] = []
  readonly lines: LogLine[] = []
  readonly closedSubscriptions: string[] = []
  readonly meshUp: MeshUp[] = []
  sessions = 0
  sessionDescriptions: string[] = []
  managers: { nodeId: string; address: string }[] = [{ nodeId: 'm1', address: 'm1:2377' }]
  rotate = false
  /** What a new session is told first. */
  changes: AssignmentChange[] = []
  #assignments: BoundedQueue<{ complete: boolean; changes: readonly AssignmentChange[] }> | undefined
  #mesh: BoundedQueue<MeshDown> | undefined
  #subscriptions: BoundedQueue<ReturnType<typeof buildSubscription>> | undefined
  #wrongChain = false

  routes(): readonly Route[] {
    const stub = this
    return [
      handle(Dispatcher.method.session, async function* (request, ctx) {
        stub.sessions += 1
        stub.sessionDescriptions.push(request.description?.hostname ?? '')
        yield buildSessionMessage({
          sessionId: `s${stub.sessions}`,
          node: {
            id: NODE,
            name: '',
            labels: {},
            availability: 'active',
            desiredRole: 'worker',
            role: 'worker',
            rotateCertificate: stub.rotate,
            attachments: [],
            dataPathPort: 4789,
          },
          managers: stub.managers,
          networkKeys: [],
          rootCaPem: IDENTITY.rootCaPem,
        })
        await new Promise<void>((resolve) => ctx.signal.addEventListener('abort', () => resolve(), { once: true }))
      }),
      handle(Dispatcher.method.heartbeat, () => Promise.resolve({ period: duration(5e9, 'period') })),
      handle(Dispatcher.method.assignments, async function* () {
        const queue = new BoundedQueue<{ complete: boolean; changes: readonly AssignmentChange[] }>(1000)
        stub.#assignments = queue
        let sequence = 0
        queue.push({ complete: true, changes: stub.changes })
        for await (const { complete, changes } of queue) {
          const appliesTo = complete ? '' : stub.#wrongChain ? 'nonsense' : String(sequence)
          stub.#wrongChain = false
          sequence += 1
          yield buildAssignments({ complete, appliesTo, resultsIn: String(sequence), changes }, true)
        }
      }),
      handle(Dispatcher.method.updateTaskStatus, (request) => {
        for (const update of request.updates) stub.reports.push(parseTaskReport(update, 0))
        return Promise.resolve({})
      }),
      handle(LogBroker.method.listenSubscriptions, async function* () {
        const queue = new BoundedQueue<ReturnType<typeof buildSubscription>>(100)
        stub.#subscriptions = queue
        yield* queue
      }),
      handle(LogBroker.method.publishLogs, async (requests) => {
        for await (const message of requests) {
          stub.lines.push(...message.messages.map(parseLogLine))
          if (message.close) stub.closedSubscriptions.push(message.subscriptionId)
        }
        return {}
      }),
      handle(Mesh.method.stream, async function* (requests) {
        const queue = new BoundedQueue<MeshDown>(100)
        stub.#mesh = queue
        const reader = (async () => {
          for await (const message of requests) stub.meshUp.push(message as MeshUp)
        })()
        reader.catch(() => {})
        yield* queue
      }),
    ]
  }

  /** Changes what is wanted, and tells the agent if it is there. */
  send(...changes: AssignmentChange[]): void {
    for (const change of changes) {
      this.changes = this.changes.filter((old) => idOf(old) !== idOf(change))
      if (change.action === 'update') this.changes.push(change)
    }
    this.#assignments?.push({ complete: false, changes })
  }

  run(task: AssignedTask): void {
    this.send({ action: 'update', kind: 'task', task })
  }

  remove(id: TaskId): void {
    this.send({ action: 'remove', kind: 'task', id })
  }

  breakChain(): void {
    this.#wrongChain = true
    this.#assignments?.push({ complete: false, changes: [] })
  }

  subscribe(id: string, options: Partial<LogOptions> = {}): void {
    this.#subscriptions?.push(
      buildSubscription({
        id,
        close: false,
        selector: { serviceIds: ['s1' as ServiceId], nodeIds: [], taskIds: [] },
        options: { stdout: true, stderr: true, follow: false, ...options },
      }),
    )
  }

  unsubscribe(id: string): void {
    this.#subscriptions?.push(buildSubscription({ id, close: true }))
  }

  mesh(message: MeshDown['msg']): void {
    this.#mesh?.push({ msg: message } as MeshDown)
  }

  /** States that were reported for a task, in order, without repetitions. */
  states(id: string): readonly TaskState[] {
    return this.reports
      .filter((report) => report.taskId === id)
      .map((report) => report.state)
      .filter((state, index, all) => state !== all[index - 1])
  }

  last(id: string): TaskReport | undefined {
    return this.reports.findLast((report) => report.taskId === id)
  }
}

function idOf(change: AssignmentChange): string {
  if (change.action === 'remove') return change.id
  return change.kind === 'task' ? change.task.id : change.kind === 'secret' ? change.secret.id : change.config.id
}

export function task(
  id: string,
  desiredState: TaskState = States.RUNNING,
  container: Partial<ContainerSpec> = {},
  more: Partial<AssignedTask> = {},
): AssignedTask {
  return {
    id: id as TaskId,
    serviceId: 's1' as ServiceId,
    serviceName: 'web',
    serviceLabels: {},
    slot: 1,
    nodeId: NODE,
    specVersion: 1,
    spec: { forceUpdate: 0, container: { image: 'nginx', ...container } },
    desiredState,
    knownState: States.ASSIGNED,
    attachments: [],
    ports: [],
    genericResources: [],
    ...more,
  }
}

export function secret(id: string, data: string): AssignmentChange {
  const value: AssignedSecret = { id: id as SecretId, name: id, data: new TextEncoder().encode(data) }
  return { action: 'update', kind: 'secret', secret: value }
}

export interface FakeDataPlane extends AgentDataPlane {
  readonly calls: string[]
  states: MeshState[]
  off: string | undefined
  /** Kernel work that has not ended. */
  hold: Promise<void> | undefined
  /** Tasks that have connections. */
  readonly busy: Set<string>
}

export function createFakeDataPlane(): FakeDataPlane {
  const plane: FakeDataPlane = {
    calls: [],
    states: [],
    off: undefined,
    hold: undefined,
    busy: new Set(),
    status: () => (plane.off === undefined ? { on: true } : { on: false, reason: plane.off }),
    update: async (state) => {
      await plane.hold
      plane.states.push(state)
    },
    setLocalTasks: async (tasks) => void plane.calls.push(`local ${tasks.map((t) => t.taskId).join(',')}`),
    attach: async (taskId, networks) => {
      if (plane.off !== undefined) throw new ShoalError('unavailable', plane.off)
      plane.calls.push(`attach ${taskId}`)
      return networks.map(({ networkId, address }) => ({
        networkId,
        engineNetwork: {
          name: `shoal-n-${networkId}`,
          subnet: '10.0.1.0/24',
          gateway: '10.0.1.1',
          bridge: `ov-${networkId}`,
          mtu: 1450,
          internal: false,
          labels: { 'shoal.network.id': networkId },
        },
        bridge: `ov-${networkId}`,
        address: address.split('/')[0]!,
        mac: '02:42:0a:00:01:05',
        gateway: '10.0.1.1',
        dns: undefined,
      }))
    },
    detach: async (taskId) => void plane.calls.push(`detach ${taskId}`),
    idle: async (taskIds) => taskIds.filter((id) => !plane.busy.has(id)),
    hairpin: async () => void plane.calls.push('hairpin'),
    engineReconnected: async () => void plane.calls.push('engine'),
  }
  return plane
}

export interface World {
  readonly clock: VirtualClock
  readonly engine: FakeEngine
  readonly disk: FakeDisk
  readonly rpc: MemoryRpc
  readonly manager: ManagerStub
  readonly dataPlane: FakeDataPlane
  agent: Agent
  /** Another run of the agent's process: nothing of the old one is left but engine and disk. */
  restart(): Promise<void>
  until(condition: () => boolean, limitMs?: number): Promise<void>
}

export async function createWorld(
  options: Partial<FakeEngineOptions> & { deps?: Partial<AgentDeps>; manager?: ManagerStub } = {},
): Promise<World> {
  const clock = createVirtualClock()
  const engine = createFakeEngine({ clock, hostname: 'host1', ...options })
  const disk = createFakeDisk()
  const rpc = createMemoryRpc()
  const manager = options.manager ?? new ManagerStub()
  const dataPlane = createFakeDataPlane()
  rpc.listen('m1:2377', manager.routes())
  const random = createRandom(1)
  const make = () =>
    createAgent({
      clock,
      random,
      rpc,
      engine,
      disk,
      log: silentLogger,
      issuer: {
        inspect: () => Promise.resolve({ subject: undefined, notBefore: 0, notAfter: 0, subjectDer: 'AA==', publicKeyDer: 'AA==' }),
      },
      dataPlane,
      nodeId: NODE,
      identity: () => IDENTITY,
      managers: () => ['m1:2377'],
      daemonVersion: 'test',
      ...options.deps,
    })
  const world: World = {
    clock,
    engine,
    disk,
    rpc,
    manager,
    dataPlane,
    agent: make(),
    async restart() {
      const stopped = world.agent.stop()
      await clock.advance(6_000)
      await stopped
      world.agent = make()
      await world.agent.start()
      await clock.advance(100)
    },
    async until(condition, limitMs = 60_000) {
      if (!(await clock.runUntil(condition, limitMs))) throw new Error(`not within ${limitMs} ms of virtual time: ${condition}`)
    },
  }
  await world.agent.start()
  await clock.advance(100)
  return world
}
