// The responder: sockets on the gateways, answers from the zone, the rest to other name servers.
import { createSocket, type Socket as UdpSocket } from 'node:dgram'
import { createServer, type Server, type Socket } from 'node:net'
import { errorText } from '../../lib/index.ts'
import type { Clock } from '../../ports/index.ts'
import { Frames, framed } from './frames.ts'
import { type Answer, MAX_TCP_BYTES, parseQuery, RCODE, writeAnswer, writeRefusal } from './message.ts'
import type { Upstream } from './upstream.ts'
import { type Asker, Zone } from './zone.ts'

const MAX_TCP_CONNECTIONS = 256
const TCP_IDLE_MS = 10_000

export interface ResponderDeps {
  readonly clock: Clock
  /** Port of all listeners; a rule of the data plane leads there from port 53. */
  readonly port: number
  /** Name servers of this host. */
  readonly hostServers: () => Promise<readonly string[]>
  readonly upstream: Upstream
}

export interface ResponderCounters {
  readonly queries: number
  readonly forwarded: number
  /** Askers that are no tasks of this node, and what is no question at all. */
  readonly ignored: number
}

interface Listener {
  readonly udp: UdpSocket
  readonly tcp: Server
}

export class Responder {
  readonly zone = new Zone()
  readonly #deps: ResponderDeps
  readonly #listeners = new Map<string, Listener>()
  readonly #connections = new Set<Socket>()
  readonly #counters = { queries: 0, forwarded: 0, ignored: 0 }

  constructor(deps: ResponderDeps) {
    this.#deps = deps
  }

  counters(): ResponderCounters {
    return { ...this.#counters }
  }

  /** Listens on exactly these addresses; a sentence for each that failed, to be tried again. Never rejects. */
  async listen(addresses: readonly string[]): Promise<string[]> {
    for (const [address, listener] of this.#listeners) {
      if (addresses.includes(address)) continue
      this.#listeners.delete(address)
      close(listener)
    }
    const failures: string[] = []
    for (const address of addresses) {
      if (this.#listeners.has(address)) continue
      try {
        this.#listeners.set(address, await this.#open(address))
      } catch (error) {
        failures.push(`${address}:${this.#deps.port}: ${errorText(error)}`)
      }
    }
    return failures
  }

  close(): void {
    for (const listener of this.#listeners.values()) close(listener)
    this.#listeners.clear()
    for (const connection of this.#connections) connection.destroy()
  }

  async #open(address: string): Promise<Listener> {
    const { port } = this.#deps
    // peers are addresses already: nothing to look up
    const udp = createSocket({ type: 'udp4', recvBufferSize: RECEIVE_BYTES, lookup: (host, _, done) => done(null, host, 4) })
    udp.on('message', (bytes, from) => {
      this.#take(bytes, from.address, false, (reply) => udp.send(reply, from.port, from.address))
    })
    const tcp = createServer((connection) => this.#connected(connection))
    try {
      await new Promise<void>((resolve, reject) => udp.once('error', reject).bind({ address, port, exclusive: true }, resolve))
      await new Promise<void>((resolve, reject) => tcp.once('error', reject).listen({ host: address, port, exclusive: true }, resolve))
    } catch (error) {
      close({ udp, tcp })
      throw error
    }
    for (const socket of [udp, tcp]) {
      socket.removeAllListeners('error')
      socket.on('error', () => {}) // an answer that cannot be delivered; the asker asks again
    }
    return { udp, tcp }
  }

  #connected(connection: Socket): void {
    const from = connection.remoteAddress
    connection.on('error', () => connection.destroy())
    if (from === undefined || this.#connections.size >= MAX_TCP_CONNECTIONS || !this.zone.asker(from)) {
      connection.destroy()
      return
    }
    this.#connections.add(connection)
    connection.on('close', () => this.#connections.delete(connection))
    connection.setTimeout(TCP_IDLE_MS, () => connection.destroy()) // real-time: the socket's own idle timer
    const frames = new Frames()
    connection.on('data', (data) => {
      for (const message of frames.take(data)) {
        this.#take(message, from, true, (reply) => {
          if (connection.writable) connection.write(framed(reply))
        })
      }
    })
  }

  #take(bytes: Buffer, from: string, tcp: boolean, send: (reply: Buffer) => void): void {
    const asker = this.zone.asker(from)
    const parsed = asker ? parseQuery(bytes) : undefined
    if (!asker || !parsed || parsed.kind === 'ignore') {
      this.#counters.ignored += 1
      return
    }
    this.#counters.queries += 1
    if (parsed.kind === 'refuse') {
      send(writeRefusal(parsed.id, parsed.rcode))
      return
    }
    const { query } = parsed
    const answer = (content: Answer) => send(writeAnswer(query, content, tcp ? MAX_TCP_BYTES : query.udpBytes))
    if (!query.internet) {
      answer({ rcode: RCODE.notImplemented, answers: [], ttlSeconds: 0 })
      return
    }
    const resolution = this.zone.resolve(asker, from, query.name, query.type)
    if (resolution.kind === 'answer') {
      answer(resolution.answer)
      return
    }
    this.#counters.forwarded += 1
    this.#forward(bytes, asker, tcp).then(
      (reply) => {
        if (reply === 'none') answer({ rcode: RCODE.nameError, answers: [], ttlSeconds: 0 })
        else if (reply) send(reply)
      },
      () => {}, // never rejects
    )
  }

  /**
   * Without any server a name is unknown, and that is said at once: REFUSED and SERVFAIL make clients wait for 5 s (data-plane.md E). When servers are silent
   * we are silent, too: the client's own time-out applies, as without us.
   */
  async #forward(question: Buffer, asker: Asker, tcp: boolean): Promise<Buffer | 'none' | undefined> {
    const servers = asker.nameservers.length > 0 ? asker.nameservers : await this.#deps.hostServers()
    const reply = await this.#deps.upstream.ask(
      question,
      servers.filter((server) => !this.#listeners.has(server)), // never in a circle
      tcp,
    )
    return reply.kind === 'reply' ? reply.bytes : reply.kind === 'none' ? 'none' : undefined
  }
}

/** Bursts of questions wait here; the kernel doubles it and caps it at net.core.rmem_max. */
const RECEIVE_BYTES = 1 << 20

function close({ udp, tcp }: Listener): void {
  for (const socket of [udp, tcp]) {
    socket.removeAllListeners('error')
    socket.on('error', () => {})
    try {
      socket.close()
    } catch {} // it never was open
  }
}
