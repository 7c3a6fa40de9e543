// The mesh stream of an own agent: takes updates, gives them to the data plane, acknowledges what is in the kernel, answers pings at once.
import type { MessageInitShape } from '@bufbuild/protobuf'
import { applyMeshUpdate, emptyMeshState, type MeshState, type MeshUpdate } from '../dataplane/index.ts'
import { BoundedQueue, errorText, isShoalError, type Logger, ShoalError } from '../lib/index.ts'
import { MESH_LEASE_MS } from '../model/index.ts'
import type { Channel, Clock } from '../ports/index.ts'
import { Mesh, type MeshUpSchema, type MeshUpdate as WireMeshUpdate } from '../proto/index.ts'
import type { Supervisor } from './supervisor.ts'
import type { AgentDataPlane } from './types.ts'

type Up = MessageInitShape<typeof MeshUpSchema>

const RETRY_FIRST_MS = 100
const RETRY_MOST_MS = 5_000
/** Acknowledgements and pongs that the connection has not taken yet; a manager that takes none for so long is gone. */
const UP_LIMIT = 1_000
/** How often connections of tasks that shall stop are looked at; a full connection table takes longer to read, then it is a tenth of the time. */
const DRAIN_LOOK_MS = 150
const DRAIN_LOOK_SHARE = 10

export interface MeshDeps {
  readonly clock: Clock
  readonly log: Logger
  readonly dataPlane: AgentDataPlane
  readonly nodeId: string
  readonly daemonVersion: string
  readonly supervisor: Supervisor
}

/** Lives as long as the agent: what it has acknowledged outlasts sessions and is announced again. */
export class MeshClient {
  readonly #deps: MeshDeps
  /** The last state that is in the kernel. */
  #acked: MeshState = emptyMeshState
  /** The newest state that was received. */
  #wanted: MeshState = emptyMeshState
  #applying = false
  #up: BoundedQueue<Up> | undefined
  /** What the manager of the present stream wants to know. */
  #draining = new Set<string>()
  #watching = false
  #skewMs: number | undefined
  /** Monotonic: when a manager was last heard of on this stream. */
  #heardMs: number

  constructor(deps: MeshDeps) {
    this.#deps = deps
    this.#heardMs = deps.clock.monotonicMs()
  }

  /** How far our clock is ahead of the manager's, give or take the way of a message. */
  get clockSkewMs(): number | undefined {
    return this.#skewMs
  }

  /**
   * Keeps the lease until the signal aborts: without a word from a manager for that long, addresses of other nodes may have new owners, so this node
   * sends nothing to them any more. Its own tasks stay reachable; the next stream begins with a snapshot.
   */
  async keepLease(signal: AbortSignal): Promise<void> {
    const { clock, log, nodeId } = this.#deps
    while (!signal.aborted) {
      const leftMs = this.#heardMs + MESH_LEASE_MS - clock.monotonicMs()
      if (leftMs <= 0 && [...this.#wanted.endpoints.values()].some((endpoint) => endpoint.nodeId !== nodeId)) {
        log.warn('no manager was heard of for too long: traffic goes to the tasks of this node only', { leaseMs: MESH_LEASE_MS })
        const own = [...this.#wanted.endpoints].filter(([, endpoint]) => endpoint.nodeId === nodeId)
        this.#want({ ...this.#wanted, version: 0n, endpoints: new Map(own) })
      }
      await clock.sleep(leftMs > 0 ? leftMs : MESH_LEASE_MS, signal).catch(() => {}) // aborted
    }
  }

  /** Keeps a stream open until the signal aborts. A manager without this service (a stock one) gets no second call. */
  async run(channel: Channel, signal: AbortSignal): Promise<void> {
    let failures = 0
    while (!signal.aborted) {
      try {
        await this.#stream(channel, signal, () => {
          failures = 0
        })
      } catch (error) {
        if (signal.aborted) return
        if (isShoalError(error, 'unimplemented')) {
          this.#deps.log.info('this manager has no mesh: published ports and overlays of Shoal do not work with it')
          return
        }
        this.#deps.log.info('the mesh stream broke', { error: errorText(error) })
      }
      await this.#deps.clock.sleep(Math.min(RETRY_FIRST_MS * 2 ** failures, RETRY_MOST_MS), signal).catch(() => {}) // aborted
      failures += 1
    }
  }

  async #stream(channel: Channel, signal: AbortSignal, onUpdate: () => void): Promise<void> {
    const up = new BoundedQueue<Up>(UP_LIMIT)
    const end = () => up.close()
    signal.addEventListener('abort', end, { once: true })
    const status = this.#deps.dataPlane.status()
    // The manager goes on from what was acknowledged, so what came after it has to come again.
    let state = this.#acked
    up.push({
      msg: {
        case: 'hello',
        value: {
          ackedVersion: state.version,
          dataPlaneOn: status.on,
          dataPlaneOffReason: status.on ? '' : status.reason,
          daemonVersion: this.#deps.daemonVersion,
        },
      },
    })
    this.#up = up
    try {
      for await (const { msg } of channel.bidiStream(Mesh.method.stream, up, { signal })) {
        this.#heardMs = this.#deps.clock.monotonicMs()
        if (msg.case === 'ping') this.#skewMs = skewOf(this.#deps.clock.now(), msg.value.sentAtMs)
        if (msg.case === 'ping') send(up, { msg: { case: 'pong', value: { seq: msg.value.seq } } })
        if (msg.case === 'drain') this.#drain(msg.value.taskIds)
        if (msg.case === 'update') {
          state = this.#fold(state, msg.value)
          this.#want(state)
          onUpdate()
        }
      }
    } finally {
      signal.removeEventListener('abort', end)
      up.close()
      if (this.#up === up) this.#up = undefined
      this.#draining.clear() // it will be asked again
    }
  }

  #fold(state: MeshState, update: WireMeshUpdate): MeshState {
    try {
      return applyMeshUpdate(state, parseUpdate(update))
    } catch (error) {
      if (isShoalError(error, 'out-of-range')) this.#acked = emptyMeshState // announce nothing: a snapshot follows
      throw error
    }
  }

  #drain(taskIds: readonly string[]): void {
    for (const id of taskIds) this.#draining.add(id)
    if (this.#watching) return
    this.#watching = true
    this.#deps.supervisor.run('looking at connections that drain', () => this.#watchDraining())
  }

  async #watchDraining(): Promise<void> {
    const { clock } = this.#deps
    try {
      while (this.#draining.size > 0) {
        const startedMs = clock.monotonicMs()
        const up = this.#up
        const idle = await this.#idle([...this.#draining])
        if (idle.length > 0 && up && up === this.#up) {
          for (const id of idle) this.#draining.delete(id)
          send(up, { msg: { case: 'drained', value: { taskIds: [...idle] } } })
        }
        if (this.#draining.size === 0) break
        await clock.sleep(Math.max(DRAIN_LOOK_MS, (clock.monotonicMs() - startedMs) * DRAIN_LOOK_SHARE))
      }
    } finally {
      this.#watching = false
    }
  }

  /** None when it cannot be found out: the manager waits for a bounded time. */
  async #idle(taskIds: readonly string[]): Promise<readonly string[]> {
    try {
      return await this.#deps.dataPlane.idle(taskIds)
    } catch (error) {
      this.#deps.log.warn('the connections of tasks could not be looked at', { error: errorText(error) })
      return []
    }
  }

  #want(state: MeshState): void {
    this.#wanted = state
    if (this.#applying) return
    this.#applying = true
    this.#deps.supervisor.run('applying the mesh', () => this.#apply())
  }

  /** One state after the other; states that came meanwhile are taken together. */
  async #apply(): Promise<void> {
    try {
      while (this.#wanted !== this.#acked) {
        const state = this.#wanted
        await this.#deps.dataPlane.update(state)
        this.#acked = state
        if (this.#up) send(this.#up, ack(state))
      }
    } finally {
      this.#applying = false
    }
  }
}

/** A manager that does not tell its time says 0. */
function skewOf(nowMs: number, sentAtMs: bigint): number | undefined {
  return sentAtMs > 0n ? nowMs - Number(sentAtMs) : undefined
}

function ack(state: MeshState): Up {
  return { msg: { case: 'ack', value: { version: state.version } } }
}

function send(up: BoundedQueue<Up>, message: Up): void {
  if (!up.push(message) && !up.closed) up.fail(new ShoalError('resource-exhausted', 'the manager takes no mesh messages'))
}

/** The wire's message as the data plane's, without the generated extras, so that unchanged objects compare equal. */
function parseUpdate(update: WireMeshUpdate): MeshUpdate {
  return {
    snapshot: update.snapshot,
    base: update.base,
    version: update.version,
    peers: update.peers.map(({ nodeId, number, address, hostname }) => ({ nodeId, number, address, hostname })),
    gonePeers: update.gonePeers,
    networks: update.networks.map(({ id, name, vni, subnet, gateway, mtu, internal, ingress }) => ({
      id,
      name,
      vni,
      subnet,
      gateway,
      mtu,
      internal,
      ingress,
    })),
    goneNetworks: update.goneNetworks,
    services: update.services.map(({ id, name, dnsrr, vips, ports, clientAffinity }) => ({
      id,
      name,
      dnsrr,
      vips: vips.map(({ networkId, address }) => ({ networkId, address })),
      ports: ports.map(({ protocol, published, target, name: portName, address }) => ({
        protocol,
        published,
        target,
        name: portName,
        address,
      })),
      clientAffinity,
    })),
    goneServices: update.goneServices,
    endpoints: update.endpoints.map(({ taskId, serviceId, nodeId, serving, addresses, slot }) => ({
      taskId,
      serviceId,
      nodeId,
      serving,
      addresses: addresses.map(({ networkId, address, aliases }) => ({ networkId, address, aliases })),
      slot,
    })),
    goneEndpoints: update.goneEndpoints,
  }
}
