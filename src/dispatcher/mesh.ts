// The mesh stream's server: each agent of ours gets the versioned network state, pings, and says what its kernel has.

import type { MessageInitShape } from '@bufbuild/protobuf'
import { errorText, type Instant, type Logger, type NodeId, ShoalError, type TaskId } from '../lib/index.ts'
import type { Node } from '../model/index.ts'
import { type CallContext, type Clock, handle, type Route, type Timer } from '../ports/index.ts'
import { Mesh, type MeshDownSchema, type MeshHello, type MeshUp } from '../proto/index.ts'
import type { Commit, Store } from '../store/index.ts'
import { Bell } from './bell.ts'
import type { DispatcherLimits } from './limits.ts'
import { MeshState } from './meshState.ts'
import type { Sessions } from './sessions.ts'

type Down = MessageInitShape<typeof MeshDownSchema>

interface Stream {
  readonly nodeId: NodeId
  readonly bell: Bell
  readonly ended: AbortController
  /** Undefined until the snapshot or the resumed version is known. */
  sentVersion: number | undefined
  ackedVersion: number
  pingSeq: number
  pingDue: boolean
  pongSeq: number
  /** Monotonic. */
  lastPongAt: number
  /** Tasks that the node has still to be asked about. */
  readonly toDrain: Set<TaskId>
}

export interface MeshDeps {
  readonly store: Store
  readonly clock: Clock
  readonly logger: Logger
  readonly limits: DispatcherLimits
  readonly sessions: Sessions
}

/** What loops may ask: how far the kernels of all live nodes are. */
export interface MeshAcks {
  /** Every live agent of ours with a data plane has this commit (and all before) in its kernel. With no such agent: the newest commit. */
  lowestAcked(): number
  /** Called (soon, not at once) when `lowestAcked` has grown. Returns the unsubscriber. */
  onAcked(listener: (version: number) => void): () => void
  /** The node's kernel counts: it lives, has a data plane, and is an agent of ours. */
  isLive(nodeId: NodeId): boolean
  /** Asks the node to say when the last connection of a task has ended; asked again after each reconnect, until it has answered or `forget`. */
  drain(nodeId: NodeId, taskId: TaskId): void
  forget(nodeId: NodeId, taskId: TaskId): void
  /** Called when a node has said that these tasks have no connections left. Returns the unsubscriber. */
  onDrained(listener: (taskIds: readonly TaskId[]) => void): () => void
}

export class MeshHub implements MeshAcks {
  readonly #deps: MeshDeps
  readonly #state: MeshState
  readonly #streams = new Map<NodeId, Stream>()
  /** Own agents whose stream has ended and whose session has not: since when (monotonic). */
  readonly #silent = new Map<NodeId, number>()
  /** Nodes that must acknowledge. */
  readonly #live = new Set<NodeId>()
  readonly #listeners = new Set<(version: number) => void>()
  readonly #drainListeners = new Set<(taskIds: readonly TaskId[]) => void>()
  readonly #draining = new Map<NodeId, Set<TaskId>>()
  #announced = 0
  #tick: Timer | undefined
  #announce: Timer | undefined
  /** Runs while changes wait for company. */
  #flush: Timer | undefined
  #flushedAt = Number.NEGATIVE_INFINITY

  constructor(deps: MeshDeps) {
    this.#deps = deps
    this.#state = new MeshState(deps.limits.meshTombstones)
  }

  route(): Route {
    return handle(Mesh.method.stream, (requests, ctx) => this.#serve(requests, ctx))
  }

  start(): void {
    const view = this.#deps.store.view()
    this.#state.load(view)
    for (const node of view.nodes.values()) if (mustAck(node)) this.#live.add(node.id)
    this.#schedulePing(this.#deps.clock.monotonicMs())
  }

  stop(): void {
    this.#tick?.cancel()
    this.#announce?.cancel()
    this.#flush?.cancel()
    for (const stream of this.#streams.values()) stream.ended.abort(new ShoalError('unavailable', 'the manager is stopping'))
  }

  committed(commit: Commit): void {
    for (const change of commit.changes) {
      if (change.table !== 'node') continue
      if (change.after && mustAck(change.after)) this.#live.add(change.id)
      else this.#live.delete(change.id)
    }
    const keys = this.#state.apply(commit.seq, commit.changes, this.#deps.store.view())
    if (keys.length > 0) this.#flushSoon()
    this.#announceSoon()
  }

  /** At once after a quiet time; otherwise changes wait for company. */
  #flushSoon(): void {
    if (this.#flush) return
    const { clock, limits } = this.#deps
    const waitMs = Math.max(0, this.#flushedAt + limits.meshBatchMs - clock.monotonicMs())
    this.#flush = clock.setTimer(waitMs, () => {
      this.#flush = undefined
      this.#flushedAt = clock.monotonicMs()
      for (const stream of this.#streams.values()) stream.bell.ring()
    })
  }

  lowestAcked(): number {
    let lowest = this.#state.version
    for (const nodeId of this.#live) {
      const stream = this.#streams.get(nodeId)
      lowest = Math.min(lowest, stream ? this.#reached(stream) : 0)
    }
    // Who has seen a low figure (a node has come) is told when it has grown again.
    this.#announced = Math.min(this.#announced, lowest)
    return lowest
  }

  isLive(nodeId: NodeId): boolean {
    return this.#live.has(nodeId)
  }

  drain(nodeId: NodeId, taskId: TaskId): void {
    const tasks = this.#draining.get(nodeId) ?? new Set()
    if (tasks.has(taskId)) return
    this.#draining.set(nodeId, tasks.add(taskId))
    const stream = this.#streams.get(nodeId)
    stream?.toDrain.add(taskId)
    stream?.bell.ring()
  }

  forget(nodeId: NodeId, taskId: TaskId): void {
    const tasks = this.#draining.get(nodeId)
    tasks?.delete(taskId)
    if (tasks?.size === 0) this.#draining.delete(nodeId)
    this.#streams.get(nodeId)?.toDrain.delete(taskId)
  }

  onDrained(listener: (taskIds: readonly TaskId[]) => void): () => void {
    this.#drainListeners.add(listener)
    return () => this.#drainListeners.delete(listener)
  }

  onAcked(listener: (version: number) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** A node that nothing concerns has all there is to have. */
  #reached(stream: Stream): number {
    const { sentVersion } = stream
    const caughtUp = sentVersion !== undefined && sentVersion >= this.#state.lastChange && stream.ackedVersion >= sentVersion
    return caughtUp ? this.#state.version : stream.ackedVersion
  }

  async *#serve(requests: AsyncIterable<MeshUp>, ctx: CallContext): AsyncGenerator<Down> {
    const { sessions, clock } = this.#deps
    const nodeId = sessions.requireNode(ctx.peer).id
    const session = sessions.get(nodeId)
    if (!session) throw new ShoalError('not-found', 'the node is not registered')
    if (!session.ownAgent) throw new ShoalError('permission-denied', 'the mesh stream is for our own agents')
    this.#streams.get(nodeId)?.ended.abort(new ShoalError('aborted', 'the node has opened a newer mesh stream'))
    const stream: Stream = {
      nodeId,
      bell: new Bell(),
      toDrain: new Set(this.#draining.get(nodeId)),
      ended: new AbortController(),
      sentVersion: undefined,
      ackedVersion: 0,
      pingSeq: 0,
      pingDue: false,
      pongSeq: 0,
      lastPongAt: clock.monotonicMs(),
    }
    const signal = AbortSignal.any([ctx.signal, session.signal, stream.ended.signal])
    this.#streams.set(nodeId, stream)
    this.#silent.delete(nodeId)
    const hello = firstHello()
    this.#read(requests, stream, hello.arrived).then(
      () => stream.ended.abort(new ShoalError('canceled', 'the agent has ended its mesh stream')),
      (error: unknown) => stream.ended.abort(error instanceof ShoalError ? error : new ShoalError('canceled', errorText(error))),
    )
    try {
      const first = await hello.within(signal)
      if (first) yield* this.#send(stream, first, signal)
      if (signal.aborted && !ctx.signal.aborted) throw signal.reason
    } finally {
      stream.ended.abort(new ShoalError('canceled', 'the mesh stream has ended'))
      if (this.#streams.get(nodeId) === stream) {
        this.#streams.delete(nodeId)
        if (sessions.get(nodeId) === session) this.#silent.set(nodeId, clock.monotonicMs())
      }
    }
  }

  async *#send(stream: Stream, hello: MeshHello, signal: AbortSignal): AsyncGenerator<Down> {
    yield { msg: { case: 'update', value: this.#opening(stream, Number(hello.ackedVersion)) } }
    for (;;) {
      await stream.bell.wait(signal)
      if (signal.aborted) return
      if (stream.pingDue) {
        stream.pingDue = false
        const sentAtMs = BigInt(Math.max(0, Math.round(this.#deps.clock.now())))
        yield { msg: { case: 'ping', value: { seq: BigInt(stream.pingSeq), sentAtMs } } }
      }
      if (stream.toDrain.size > 0) {
        const taskIds = [...stream.toDrain]
        stream.toDrain.clear()
        yield { msg: { case: 'drain', value: { taskIds } } }
      }
      const base = stream.sentVersion ?? 0
      if (this.#flush || base >= this.#state.lastChange) continue
      const update = this.#state.since(base)
      if (update.snapshot) stream.ackedVersion = 0 // it was too far behind
      stream.sentVersion = this.#state.version
      yield { msg: { case: 'update', value: update } }
    }
  }

  /** The difference to what the agent has, or everything. */
  #opening(stream: Stream, acked: number) {
    const update = acked > 0 ? this.#state.since(acked) : this.#state.snapshot()
    stream.sentVersion = this.#state.version
    stream.ackedVersion = update.snapshot ? 0 : acked
    return update
  }

  async #read(requests: AsyncIterable<MeshUp>, stream: Stream, arrived: (hello: MeshHello) => void): Promise<void> {
    for await (const { msg } of requests) {
      if (stream.ended.signal.aborted) return
      // Anything that it says is a sign of life.
      stream.lastPongAt = this.#deps.clock.monotonicMs()
      switch (msg.case) {
        case 'hello':
          await this.#noteDataPlane(stream.nodeId, msg.value)
          arrived(msg.value)
          break
        case 'ack': {
          const version = Number(msg.value.version)
          if (version > (stream.sentVersion ?? 0)) throw new ShoalError('invalid-argument', 'the agent acknowledges what it was not sent')
          stream.ackedVersion = Math.max(stream.ackedVersion, version)
          this.#announceSoon()
          break
        }
        case 'drained':
          this.#drained(stream.nodeId, msg.value.taskIds as TaskId[])
          break
        case 'pong':
          stream.pongSeq = Math.max(stream.pongSeq, Math.min(Number(msg.value.seq), stream.pingSeq))
          break
      }
    }
  }

  /** Answers to what was asked; anything else is a late one. */
  #drained(nodeId: NodeId, said: readonly TaskId[]): void {
    const asked = this.#draining.get(nodeId)
    const taskIds = said.filter((id) => asked?.has(id))
    if (taskIds.length === 0) return
    for (const id of taskIds) this.forget(nodeId, id)
    for (const listener of this.#drainListeners) listener(taskIds)
  }

  async #noteDataPlane(nodeId: NodeId, hello: MeshHello): Promise<void> {
    const { store } = this.#deps
    const same = (node: Node) => node.dataPlane.on === hello.dataPlaneOn && node.dataPlane.reason === hello.dataPlaneOffReason
    const node = store.view().nodes.get(nodeId)
    if (!node || same(node)) return
    await store.transact((tx) => {
      const current = tx.nodes.get(nodeId)
      if (current && !same(current)) tx.nodes.update({ ...current, dataPlane: { on: hello.dataPlaneOn, reason: hello.dataPlaneOffReason } })
    })
  }

  #schedulePing(due: Instant): void {
    const { clock, limits } = this.#deps
    const next = Math.max(due + limits.pingPeriodMs, clock.monotonicMs())
    this.#tick = clock.setTimer(next - clock.monotonicMs(), () => {
      const lagMs = clock.monotonicMs() - next
      this.#ping(lagMs > limits.ownLagMs ? lagMs : 0)
      this.#schedulePing(next)
    })
  }

  /** `lagMs`: how long we were held up ourselves; pongs may wait in our own queue that long. */
  #ping(lagMs: number): void {
    const { clock, limits, sessions } = this.#deps
    const now = clock.monotonicMs()
    for (const stream of this.#streams.values()) {
      stream.lastPongAt += lagMs
      const missed = stream.pingSeq - stream.pongSeq
      if (missed >= limits.ownMissedPings && now - stream.lastPongAt >= limits.ownDownAfterMs) {
        sessions.markDown(stream.nodeId)
        continue
      }
      stream.pingSeq += 1
      stream.pingDue = true
      stream.bell.ring()
    }
    for (const [nodeId, since] of this.#silent) {
      // With a Session stream the connection is whole and heartbeats decide; without one both have broken.
      if (!sessions.get(nodeId)) this.#silent.delete(nodeId)
      else if (sessions.isStreaming(nodeId)) this.#silent.set(nodeId, now)
      else if (lagMs > 0) this.#silent.set(nodeId, since + lagMs)
      else if (now - since >= limits.ownDownAfterMs) {
        this.#silent.delete(nodeId)
        sessions.markDown(nodeId)
      }
    }
  }

  #announceSoon(): void {
    if (this.#announce || this.#listeners.size === 0) return
    this.#announce = this.#deps.clock.setTimer(this.#deps.limits.ackBatchMs, () => {
      this.#announce = undefined
      const before = this.#announced
      const lowest = this.lowestAcked()
      if (lowest <= before) return
      this.#announced = lowest
      for (const listener of this.#listeners) listener(lowest)
    })
  }
}

/** The agents whose kernels traffic goes through. */
function mustAck(node: Node): boolean {
  return node.agent === 'shoal' && node.dataPlane.on && node.status.state === 'ready'
}

function firstHello() {
  let arrived: (hello: MeshHello) => void = () => {}
  const hello = new Promise<MeshHello>((resolve) => {
    arrived = resolve
  })
  return {
    arrived: (message: MeshHello) => arrived(message),
    within: (signal: AbortSignal) =>
      Promise.race([
        hello,
        new Promise<undefined>((resolve) => {
          if (signal.aborted) resolve(undefined)
          else signal.addEventListener('abort', () => resolve(undefined), { once: true })
        }),
      ]),
  }
}
