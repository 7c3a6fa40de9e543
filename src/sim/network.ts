// The simulated network: connections between hosts that carry messages in order, with delay, resets, partitions, silent hosts.

import type { SeededRandom } from '../ports/fakes/index.ts'
import type { Clock } from '../ports/index.ts'
import type { SimProcess } from './process.ts'

/** What a broken path costs until the two ends notice (HTTP/2 pings on the client, TCP keep-alive on the server). */
const CLIENT_NOTICES_MS = 15_000
const SERVER_NOTICES_MS = 30_000
export const CONNECT_TIMEOUT_MS = 5_000

export type Side = 'client' | 'server'

export interface Endpoint {
  readonly process: SimProcess
  readonly address: string
}

export interface NetworkOptions {
  readonly clock: Clock
  readonly random: SeededRandom
  /** One way. */
  readonly latencyMs?: readonly [min: number, max: number]
  /** Probability that a message finds its connection reset. */
  readonly resetRate?: number
  /** Probability that a message is lost and sent again by TCP: 200 ms to 1 s later, with all behind it. */
  readonly lossRate?: number
}

/** A connection as its two ends see it: each learns on its own that it is broken. */
export interface Connection {
  readonly client: Endpoint
  readonly server: Endpoint
  isOpen(side: Side): boolean
  /** Hands `deliver` to the other side's process, in order after everything sent before; never when that side is gone. */
  send(from: Side, deliver: () => void): void
  /** This side closes; the other one hears of it. */
  close(from: Side, reason: string): void
  onBreak(side: Side, listener: (reason: string) => void): void
}

export class Network {
  readonly #clock: Clock
  readonly #random: SeededRandom
  readonly #latency: readonly [number, number]
  readonly #blocked = new Set<string>()
  readonly #silent = new Set<string>()
  readonly #connections = new Set<LiveConnection>()
  resetRate: number
  lossRate: number
  messages = 0

  constructor({ clock, random, latencyMs = [0.5, 3], resetRate = 0, lossRate = 0 }: NetworkOptions) {
    this.#clock = clock
    this.#random = random
    this.#latency = latencyMs
    this.resetRate = resetRate
    this.lossRate = lossRate
  }

  get clock(): Clock {
    return this.#clock
  }

  latencyMs(): number {
    const [min, max] = this.#latency
    return min + this.#random.float() * (max - min)
  }

  retransmissionMs(): number {
    return this.lossRate > 0 && this.#random.chance(this.lossRate) ? 200 + this.#random.float() * 800 : 0
  }

  drawsReset(): boolean {
    return this.resetRate > 0 && this.#random.chance(this.resetRate)
  }

  /** No packet goes from one host to the other any more (one way). Connections between them notice after their time-outs. */
  block(from: string, to: string): void {
    if (from === to) return
    this.#blocked.add(`${from}>${to}`)
    for (const connection of this.#connections) if (connection.uses(from, to)) connection.watchPath()
  }

  unblock(from: string, to: string): void {
    this.#blocked.delete(`${from}>${to}`)
    for (const connection of this.#connections) if (connection.uses(from, to)) connection.flush()
  }

  healAll(): void {
    this.#blocked.clear()
    for (const connection of this.#connections) connection.flush()
  }

  passes(from: string, to: string): boolean {
    return !this.#silent.has(from) && !this.#silent.has(to) && !this.#blocked.has(`${from}>${to}`)
  }

  /** Both directions work, and both machines are on. */
  reaches(a: string, b: string): boolean {
    return this.passes(a, b) && this.passes(b, a)
  }

  get partitioned(): boolean {
    return this.#blocked.size > 0
  }

  /** The machine has no power: it neither sends nor answers. */
  silence(address: string): void {
    this.#silent.add(address)
    for (const connection of this.#connections) if (connection.touches(address)) connection.watchPath()
  }

  /** It is on again; its old connections are unknown to it and break as soon as somebody writes to them. */
  unsilence(address: string): void {
    this.#silent.delete(address)
  }

  open(client: Endpoint, server: Endpoint): Connection {
    const connection = new LiveConnection(this, client, server, () => this.#connections.delete(connection))
    this.#connections.add(connection)
    return connection
  }

  /** The process is gone: the kernel of its host resets its connections, unless the host has no power. */
  processDied(process: SimProcess): void {
    for (const connection of [...this.#connections]) connection.processDied(process)
  }

  /** Breaks all connections of a host, as a flapping link or a restarted firewall does. */
  resetHost(address: string): void {
    for (const connection of [...this.#connections]) if (connection.touches(address)) connection.reset()
  }
}

class LiveConnection implements Connection {
  readonly client: Endpoint
  readonly server: Endpoint
  readonly #network: Network
  readonly #gone: () => void
  readonly #open = { client: true, server: true }
  readonly #lastAt = { client: 0, server: 0 }
  readonly #held: { readonly client: (() => void)[]; readonly server: (() => void)[] } = { client: [], server: [] }
  readonly #listeners: { client?: (reason: string) => void; server?: (reason: string) => void } = {}
  #watching = false

  constructor(network: Network, client: Endpoint, server: Endpoint, gone: () => void) {
    this.#network = network
    this.client = client
    this.server = server
    this.#gone = gone
  }

  isOpen(side: Side): boolean {
    return this.#open[side]
  }

  onBreak(side: Side, listener: (reason: string) => void): void {
    this.#listeners[side] = listener
  }

  uses(from: string, to: string): boolean {
    return (this.client.address === from && this.server.address === to) || (this.client.address === to && this.server.address === from)
  }

  touches(address: string): boolean {
    return this.client.address === address || this.server.address === address
  }

  send(from: Side, deliver: () => void): void {
    if (!this.#open[from]) return
    const network = this.#network
    network.messages += 1
    if (network.drawsReset()) {
      this.reset()
      return
    }
    const now = network.clock.monotonicMs()
    const at = Math.max(this.#lastAt[from], now + network.latencyMs() + network.retransmissionMs())
    this.#lastAt[from] = at
    network.clock.setTimer(at - now, () => this.#arrive(from, deliver))
  }

  #arrive(from: Side, deliver: () => void): void {
    const to = other(from)
    if (this.#held[from].length > 0 || !this.#passes(from)) {
      this.#held[from].push(deliver)
      return
    }
    if (!this.#open[to]) {
      // A packet for a connection that nobody knows is answered with a reset.
      if (this.#open[from]) this.#breakAfter(from, this.#network.latencyMs(), 'connection reset by peer')
      return
    }
    this[to].process.run(deliver)
  }

  #passes(from: Side): boolean {
    return this.#network.passes(this[from].address, this[other(from)].address)
  }

  close(from: Side, reason: string): void {
    if (!this.#open[from]) return
    const to = other(from)
    const now = this.#network.clock.monotonicMs()
    const at = Math.max(this.#lastAt[from], now + this.#network.latencyMs())
    this.#lastAt[from] = at
    this.#open[from] = false
    this.#network.clock.setTimer(at - now, () => this.#passes(from) && this.#break(to, reason))
    this.#finish()
  }

  reset(): void {
    for (const side of ['client', 'server'] as const) this.#breakAfter(side, this.#network.latencyMs(), 'connection reset by peer')
  }

  processDied(process: SimProcess): void {
    for (const side of ['client', 'server'] as const) {
      if (this[side].process !== process) continue
      this.#open[side] = false
      const to = other(side)
      this.#network.clock.setTimer(this.#network.latencyMs(), () => {
        if (this.#passes(side)) this.#break(to, 'connection reset by peer')
        else this.watchPath()
      })
    }
    this.#finish()
  }

  /** Called when the path is interrupted: each end gives up after its own time-out if the path is still broken then. */
  watchPath(): void {
    if (this.#watching) return
    this.#watching = true
    const notice = (side: Side, afterMs: number) =>
      this.#network.clock.setTimer(afterMs, () => {
        if (!this.#network.reaches(this.client.address, this.server.address)) this.#break(side, 'no answer from the other side')
        if (side === 'server') this.#watching = false
      })
    notice('client', CLIENT_NOTICES_MS)
    notice('server', SERVER_NOTICES_MS)
  }

  /** The path is whole again: what was held goes on its way; an end that has given up meanwhile resets the other. */
  flush(): void {
    for (const from of ['client', 'server'] as const) {
      const to = other(from)
      if (!this.#passes(from)) continue
      if (!this.#open[to] && this.#open[from]) this.#breakAfter(from, this.#network.latencyMs(), 'connection reset by peer')
      const held = this.#held[from].splice(0)
      if (held.length === 0 || !this.#open[to]) continue
      const now = this.#network.clock.monotonicMs()
      this.#lastAt[from] = Math.max(this.#lastAt[from], now)
      for (const deliver of held) this.#network.clock.setTimer(this.#lastAt[from] - now, () => this.#arrive(from, deliver))
    }
  }

  #breakAfter(side: Side, ms: number, reason: string): void {
    this.#network.clock.setTimer(ms, () => this.#break(side, reason))
  }

  #break(side: Side, reason: string): void {
    if (!this.#open[side]) return
    this.#open[side] = false
    this[side].process.run(() => this.#listeners[side]?.(reason))
    this.#finish()
  }

  #finish(): void {
    if (!this.#open.client && !this.#open.server) this.#gone()
  }
}

function other(side: Side): Side {
  return side === 'client' ? 'server' : 'client'
}
