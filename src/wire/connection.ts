// The HTTP/2 connection under a channel: made when it is needed, watched by pings while it is in use, closed when it is idle.
import { type ClientHttp2Session, type ClientHttp2Stream, connect as connectHttp2, constants, type OutgoingHttpHeaders } from 'node:http2'
import { type ConnectionOptions, type TLSSocket, connect as tlsConnect } from 'node:tls'
import { errorText, ShoalError } from '../lib/index.ts'
import type { ChannelSecurity } from '../ports/index.ts'
import { parseHostPort } from './address.ts'

const CONNECT_TIMEOUT_MS = 5_000
const PING_INTERVAL_MS = 10_000
const PING_TIMEOUT_MS = 5_000
/** Pings without a call until an unused connection is closed. */
const IDLE_PINGS = 6
const SESSION_MEMORY_MB = 64

interface Open {
  readonly session: ClientHttp2Session
  readonly streams: Set<ClientHttp2Stream>
  idlePings: number
  /** Why it broke. */
  error: unknown
}

export class Connection {
  readonly #address: string
  readonly #security: ChannelSecurity
  #open: Promise<Open> | undefined
  #closed = false

  constructor(address: string, security: ChannelSecurity) {
    this.#address = address
    this.#security = security
  }

  /** A new stream on the connection. Throws 'unavailable' when it cannot be made, 'canceled' after `close`. */
  async request(headers: OutgoingHttpHeaders): Promise<ClientHttp2Stream> {
    for (let tries = 1; ; tries++) {
      if (this.#closed) throw new ShoalError('canceled', `the channel to ${this.#address} is closed`)
      this.#open ??= this.#connect()
      const opening = this.#open
      const open = await opening
      if (!open.session.closed && !open.session.destroyed) return this.#stream(open, headers)
      if (this.#open === opening) this.#open = undefined
      if (tries === 2) throw unavailable(this.#address, open.error)
    }
  }

  /** Breaks everything that is open. */
  close(): void {
    this.#closed = true
    this.#open?.then(
      ({ session }) => session.destroy(undefined, constants.NGHTTP2_CANCEL),
      () => {}, // there was none
    )
    this.#open = undefined
  }

  /** Why a stream of this connection broke without a word. */
  async reason(): Promise<ShoalError> {
    const open = await this.#open?.catch(() => undefined)
    return unavailable(this.#address, open?.error)
  }

  #stream(open: Open, headers: OutgoingHttpHeaders): ClientHttp2Stream {
    const stream = open.session.request(headers, { endStream: false })
    open.streams.add(stream)
    open.idlePings = 0
    stream.once('close', () => open.streams.delete(stream))
    return stream
  }

  #connect(): Promise<Open> {
    return new Promise((resolve, reject) => {
      const { host, port } = parseHostPort(this.#address)
      const session = connectHttp2(`https://${this.#address}`, {
        maxSessionMemory: SESSION_MEMORY_MB,
        createConnection: () => openSocket(host, port, this.#security),
      })
      const open: Open = { session, streams: new Set(), idlePings: 0, error: undefined }
      session.on('error', (error) => {
        open.error ??= error
      })
      session.once('connect', () => {
        resolve(open)
        if (this.#closed) session.destroy()
        else this.#watch(open)
      })
      // The next call makes a new one.
      const forget = () => {
        this.#open = undefined
      }
      session.once('goaway', forget)
      session.once('close', () => {
        forget()
        reject(unavailable(this.#address, open.error)) // too late if it was connected
      })
    })
  }

  /** A connection that does not answer is dead: calls must not wait for TCP to find out. */
  #watch(open: Open): void {
    const { session } = open
    let waiting: NodeJS.Timeout | undefined
    const check = () => {
      open.idlePings = open.streams.size > 0 ? 0 : open.idlePings + 1
      if (open.idlePings >= IDLE_PINGS) {
        session.close()
        return
      }
      if (waiting !== undefined || session.destroyed) return
      const late = () => session.destroy(new Error('the other side does not answer'))
      waiting = setTimeout(late, PING_TIMEOUT_MS) // real-time: keep-alive of a real connection
      session.ping(() => {
        clearTimeout(waiting)
        waiting = undefined
      })
    }
    const tick = setInterval(check, PING_INTERVAL_MS) // real-time: keep-alive of a real connection
    session.once('close', () => {
      clearInterval(tick)
      clearTimeout(waiting)
    })
  }
}

function unavailable(address: string, error: unknown): ShoalError {
  const text = error === undefined ? `the connection to ${address} broke` : errorText(error)
  return new ShoalError('unavailable', text, { cause: error })
}

function openSocket(host: string, port: number, security: ChannelSecurity): TLSSocket {
  const socket = tlsConnect({ host, port, ALPNProtocols: ['h2'], minVersion: 'TLSv1.2', ...tlsOptions(security) })
  // An address that swallows packets would hold a call for minutes.
  const tooLong = () => socket.destroy(new Error(`no connection to ${host}:${port} within ${CONNECT_TIMEOUT_MS / 1000} s`))
  socket.setTimeout(CONNECT_TIMEOUT_MS, tooLong) // real-time: an option of the socket
  socket.once('secureConnect', () => socket.setTimeout(0)) // real-time: an option of the socket
  return socket
}

function tlsOptions(security: ChannelSecurity): ConnectionOptions {
  switch (security.kind) {
    case 'bootstrap':
      return { rejectUnauthorized: false }
    case 'anonymous':
      return { ca: security.rootCaPem, servername: security.serverName }
    case 'mutual': {
      const identity = security.identity()
      return { ca: identity.rootCaPem, cert: identity.certificatePem, key: identity.privateKeyPem, servername: security.serverName }
    }
  }
}
