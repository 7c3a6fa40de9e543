// Asks other name servers what the swarm does not know, the way the task's own resolver would have done.
import { createSocket } from 'node:dgram'
import { connect, isIP } from 'node:net'
import type { Clock } from '../../ports/index.ts'
import { Frames, framed } from './frames.ts'

/** A resolver that asks us waits 5 s before it gives up; two servers get their turn within that. */
const SERVER_TIMEOUT_MS = 2_000
const MAX_SERVERS = 3
/** Questions under way; a task that floods us must not exhaust the sockets of the host. */
const MAX_PENDING = 512
const DNS_PORT = 53

/** `none`: no server could even be asked. `silent`: those that were asked said nothing in time, or there are too many questions. */
export type UpstreamReply = { readonly kind: 'reply'; readonly bytes: Buffer } | { readonly kind: 'none' } | { readonly kind: 'silent' }

export class Upstream {
  readonly #clock: Clock
  readonly #port: number
  #pending = 0

  constructor(clock: Clock, port = DNS_PORT) {
    this.#clock = clock
    this.#port = port
  }

  /** Sends the question as it is to one server after the other. Never rejects. */
  async ask(question: Buffer, servers: readonly string[], tcp: boolean): Promise<UpstreamReply> {
    if (this.#pending >= MAX_PENDING) return { kind: 'silent' }
    this.#pending += 1
    let silent = false
    try {
      for (const server of servers.slice(0, MAX_SERVERS)) {
        if (isIP(server) === 0) continue
        const result = await (tcp ? this.#askTcp(question, server) : this.#askUdp(question, server))
        if (typeof result !== 'string') return { kind: 'reply', bytes: result }
        if (result === 'silent') silent = true
      }
      return { kind: silent ? 'silent' : 'none' }
    } finally {
      this.#pending -= 1
    }
  }

  /** A socket for each question: its port is drawn anew, and the kernel takes only answers of the server that was asked. */
  #askUdp(question: Buffer, server: string): Promise<Buffer | 'silent' | 'refused'> {
    return new Promise((resolve) => {
      const socket = createSocket(isIP(server) === 6 ? 'udp6' : 'udp4')
      const settle = (result: Buffer | 'silent' | 'refused') => {
        timer.cancel()
        socket.removeAllListeners()
        socket.on('error', () => {}) // of a socket that is being closed
        socket.close()
        resolve(result)
      }
      const timer = this.#clock.setTimer(SERVER_TIMEOUT_MS, () => settle('silent'))
      socket.on('error', () => settle('refused'))
      socket.on('message', (bytes) => {
        if (bytes.length >= 12 && bytes.readUInt16BE(0) === question.readUInt16BE(0)) settle(bytes)
      })
      socket.connect(this.#port, server, () => socket.send(question, (error) => error && settle('refused')))
    })
  }

  #askTcp(question: Buffer, server: string): Promise<Buffer | 'silent' | 'refused'> {
    return new Promise((resolve) => {
      const socket = connect({ host: server, port: this.#port })
      const frames = new Frames()
      const settle = (result: Buffer | 'silent' | 'refused') => {
        timer.cancel()
        socket.destroy()
        resolve(result)
      }
      const timer = this.#clock.setTimer(SERVER_TIMEOUT_MS, () => settle('silent'))
      socket.on('error', () => settle('refused'))
      socket.on('close', () => settle('refused'))
      socket.on('data', (data) => {
        const [reply] = frames.take(data)
        if (reply) settle(reply)
      })
      socket.write(framed(question))
    })
  }
}

/** The name servers of a resolv.conf. */
export function nameserversOf(resolvConf: string): readonly string[] {
  return resolvConf.split('\n').flatMap((line) => {
    const [keyword, server] = line.trim().split(/\s+/)
    return keyword === 'nameserver' && server !== undefined && isIP(server) !== 0 ? [server] : []
  })
}

/** Reads the host's name servers anew now and then: networks of laptops change. */
export class HostNameservers {
  readonly #clock: Clock
  readonly #read: () => Promise<string>
  #servers: Promise<readonly string[]> | undefined
  #readAtMs = 0

  constructor(clock: Clock, read: () => Promise<string>) {
    this.#clock = clock
    this.#read = read
  }

  /** Empty when there is no resolv.conf. */
  get(): Promise<readonly string[]> {
    const nowMs = this.#clock.monotonicMs()
    if (!this.#servers || nowMs - this.#readAtMs > REREAD_MS) {
      this.#readAtMs = nowMs
      this.#servers = this.#read().then(nameserversOf, () => [])
    }
    return this.#servers
  }
}

const REREAD_MS = 5_000
