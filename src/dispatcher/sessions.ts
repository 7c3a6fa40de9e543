// Who is connected and alive: registration, heartbeats, and what the store says about each node's state.
import { type ClusterId, errorText, isShoalError, type Logger, type NodeId, newId, nsToMs, ShoalError } from '../lib/index.ts'
import { DEFAULT_CLUSTER_SPEC, type Node, type NodeDescription } from '../model/index.ts'
import type { Clock, Random, RpcPeer, Timer } from '../ports/index.ts'
import type { Change, Store } from '../store/index.ts'
import type { AgentInfo } from '../wire/index.ts'
import { Bell } from './bell.ts'
import type { DispatcherLimits } from './limits.ts'

export type SessionId = string

/** One registration of one node. Its streams end when `signal` aborts; the reason is a ShoalError. */
export interface Session {
  readonly id: SessionId
  readonly nodeId: NodeId
  readonly ownAgent: boolean
  readonly signal: AbortSignal
  /** Rung when the session message may have changed. */
  readonly bell: Bell
}

interface Entry extends Session {
  readonly controller: AbortController
  expiry: Timer | undefined
  /** The Session stream of this registration; a newer one takes its place. */
  stream: AbortController | undefined
}

export interface SessionsDeps {
  readonly store: Store
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly limits: DispatcherLimits
}

export class Sessions {
  readonly #deps: SessionsDeps
  readonly #byNode = new Map<NodeId, Entry>()
  readonly #registrations = new Map<NodeId, number[]>()
  readonly #startGrace = new Map<NodeId, Timer>()

  constructor(deps: SessionsDeps) {
    this.#deps = deps
  }

  /** Nodes that were up when we started get twice the time to come back: we may have been away longer than they. */
  start(): void {
    const { store, clock, limits } = this.#deps
    for (const node of store.view().nodes.values()) {
      if (node.status.state !== 'ready') continue
      const graceMs = this.#periodMs() * limits.heartbeatGrace * limits.startGraceFactor
      this.#startGrace.set(
        node.id,
        clock.setTimer(graceMs, () => {
          this.#startGrace.delete(node.id)
          if (!this.#byNode.has(node.id)) this.markDown(node.id)
        }),
      )
    }
  }

  stop(reason: ShoalError): void {
    for (const timer of this.#startGrace.values()) timer.cancel()
    this.#startGrace.clear()
    for (const nodeId of [...this.#byNode.keys()]) this.end(nodeId, reason)
  }

  all(): Iterable<Session> {
    return this.#byNode.values()
  }

  get(nodeId: NodeId): Session | undefined {
    return this.#byNode.get(nodeId)
  }

  /** Whether a Session stream is open: when it is not, the connection has broken. */
  isStreaming(nodeId: NodeId): boolean {
    return this.#byNode.get(nodeId)?.stream !== undefined
  }

  /**
   * Registers a node, or takes up the session that it names if that is still good. Resolves when the store says Ready.
   * 'not-found' for a node that was removed, 'unavailable' for one that registers too often.
   */
  async register(
    peer: RpcPeer,
    offered: SessionId,
    description: { description: NodeDescription; agent: AgentInfo | undefined } | undefined,
  ): Promise<Session> {
    const nodeId = this.requireNode(peer).id
    let entry = this.#byNode.get(nodeId)
    if (!entry || entry.id !== offered) {
      this.#limitRate(nodeId)
      this.end(nodeId, new ShoalError('invalid-argument', 'the node has opened another session'))
      entry = this.#newEntry(nodeId, peer.ownAgent)
      this.#byNode.set(nodeId, entry)
    }
    this.#startGrace.get(nodeId)?.cancel()
    this.#startGrace.delete(nodeId)
    this.#alive(entry)
    try {
      await this.#markReady(nodeId, peer, description)
    } catch (error) {
      if (this.#byNode.get(nodeId) === entry) this.end(nodeId, isShoalError(error) ? error : new ShoalError('internal', errorText(error)))
      throw error
    }
    return entry
  }

  /** The Session stream of a registration; the one before is ended. Call the returned function at its end. */
  openStream(session: Session): { readonly signal: AbortSignal; close(): void } {
    const entry = session as Entry
    entry.stream?.abort(new ShoalError('aborted', 'the node has opened a newer stream'))
    const controller = new AbortController()
    entry.stream = controller
    return {
      signal: AbortSignal.any([controller.signal, entry.signal]),
      close: () => {
        if (entry.stream === controller) entry.stream = undefined
      },
    }
  }

  /** The node of a caller; 'not-found' when it is not (or no more) in the cluster: the engine then keeps trying, as Swarm's does. */
  requireNode(peer: RpcPeer): Node {
    const view = this.#deps.store.view()
    const node = peer.nodeId === undefined ? undefined : view.nodes.get(peer.nodeId as NodeId)
    if (!node || view.cluster?.id !== (peer.clusterId as ClusterId | undefined)) {
      throw new ShoalError('not-found', `node ${peer.nodeId ?? ''} is not in this cluster`)
    }
    return node
  }

  /** The session of a call, and a sign of life. 'not-found' = register first; 'invalid-argument' = another session has taken its place. */
  require(peer: RpcPeer, sessionId: SessionId): Session {
    const nodeId = this.requireNode(peer).id
    const entry = this.#byNode.get(nodeId)
    if (!entry) throw new ShoalError('not-found', 'the node is not registered')
    if (entry.id !== sessionId) throw new ShoalError('invalid-argument', 'the session is not valid any more')
    this.#alive(entry)
    return entry
  }

  /** How long the node should wait until its next heartbeat, in milliseconds. */
  nextPeriodMs(): number {
    const { random, limits } = this.#deps
    return this.#periodMs() * (1 + limits.heartbeatJitter * (2 * random.float() - 1))
  }

  /** Ends the session of a node, if it has one, without a word to the store. */
  end(nodeId: NodeId, reason: ShoalError): void {
    const entry = this.#byNode.get(nodeId)
    if (!entry) return
    this.#byNode.delete(nodeId)
    entry.expiry?.cancel()
    entry.controller.abort(reason)
  }

  /** Ends the session and lets the store say Down, unless the node registers anew before that is written. */
  markDown(nodeId: NodeId, message = 'heartbeat failure'): void {
    const { store, clock, logger } = this.#deps
    this.end(nodeId, new ShoalError('not-found', 'the node was not heard of for too long'))
    logger.warn('node is down', { node: nodeId, reason: message })
    const at = clock.now()
    store
      .transact((tx) => {
        const node = tx.nodes.get(nodeId)
        if (!node || node.status.state === 'down' || this.#byNode.has(nodeId)) return
        tx.nodes.update({ ...node, status: { ...node.status, state: 'down', message }, downSince: at })
      })
      .catch((error: unknown) => logger.error('a node could not be marked down', { node: nodeId, error: errorText(error) }))
  }

  /** Nodes that were removed lose their session. */
  changed(change: Change): void {
    if (change.table === 'node' && change.after === undefined) {
      this.#registrations.delete(change.id)
      this.#startGrace.get(change.id)?.cancel()
      this.#startGrace.delete(change.id)
      this.end(change.id, new ShoalError('not-found', 'the node was removed from the cluster'))
    }
  }

  #newEntry(nodeId: NodeId, ownAgent: boolean): Entry {
    const controller = new AbortController()
    const id = newId<SessionId>(this.#deps.random)
    return { id, nodeId, ownAgent, controller, signal: controller.signal, bell: new Bell(), expiry: undefined, stream: undefined }
  }

  #periodMs(): number {
    return nsToMs(this.#deps.store.view().cluster?.spec.heartbeatPeriodNs || DEFAULT_CLUSTER_SPEC.heartbeatPeriodNs)
  }

  /** Each sign of life starts the wait anew. */
  #alive(entry: Entry): void {
    const { clock, limits } = this.#deps
    entry.expiry?.cancel()
    const graceMs = this.#periodMs() * limits.heartbeatGrace
    const due = clock.monotonicMs() + graceMs
    entry.expiry = clock.setTimer(graceMs, () => {
      if (this.#byNode.get(entry.nodeId) !== entry) return
      // When we were held up ourselves, its heartbeats may wait in our own queue: it gets another round.
      if (clock.monotonicMs() - due > limits.ownLagMs) this.#alive(entry)
      else this.markDown(entry.nodeId)
    })
  }

  #limitRate(nodeId: NodeId): void {
    const { clock, limits } = this.#deps
    const now = clock.monotonicMs()
    const recent = (this.#registrations.get(nodeId) ?? []).filter((at) => now - at < limits.registrationWindowMs)
    if (recent.length >= limits.registrations) throw new ShoalError('unavailable', 'the node registers too often: wait a few seconds')
    recent.push(now)
    this.#registrations.set(nodeId, recent)
  }

  async #markReady(
    nodeId: NodeId,
    peer: RpcPeer,
    described: { description: NodeDescription; agent: AgentInfo | undefined } | undefined,
  ): Promise<void> {
    const { store, logger } = this.#deps
    const next = (node: Node): Node => {
      const { downSince: _, ...rest } = node
      return {
        ...rest,
        status: { state: 'ready', message: '', address: peer.address },
        ...(described ? { description: described.description } : {}),
        agent: peer.ownAgent ? 'shoal' : 'stock',
        dataPlane: described?.agent?.dataPlane ?? node.dataPlane,
      }
    }
    const node = store.view().nodes.get(nodeId)
    if (node && sameJson(node, next(node))) return
    await store.transact((tx) => {
      const current = tx.nodes.get(nodeId)
      if (!current) throw new ShoalError('not-found', `node ${nodeId} was removed from the cluster`)
      tx.nodes.update(next(current))
    })
    logger.info('node is ready', { node: nodeId, address: peer.address })
  }
}

/** Members of our objects are made in one order, so their JSON tells. */
function sameJson(a: object, b: object): boolean {
  return JSON.stringify(Object.entries(a).sort()) === JSON.stringify(Object.entries(b).sort())
}
