// The server side of the Rpc port: gRPC over HTTP/2 with mutual TLS, for our agents and for stock engines.
import { constants } from 'node:crypto'
import {
  createSecureServer,
  type Http2SecureServer,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import type { AddressInfo } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { errorText, type Logger, ShoalError } from '../lib/index.ts'
import type { Identity, Route, RpcServer } from '../ports/index.ts'
import { formatHostPort, parseHostPort } from './address.ts'
import { type Calls, serveCalls } from './calls.ts'
import { type TlsPeer, tlsPeer } from './peer.ts'

const HANDSHAKE_TIMEOUT_MS = 10_000
/** Node's own default of 10 MB closes a session with many slow streams. */
const SESSION_MEMORY_MB = 64
const MAX_STREAMS_PER_SESSION = 1_000
const KEEP_ALIVE_MS = 30_000

/** Listens at `address` and serves `routes`. Throws 'unavailable' when the address cannot be listened on. */
export async function serve(address: string, identity: () => Identity, routes: readonly Route[], logger: Logger): Promise<RpcServer> {
  const { host, port } = parseHostPort(address)
  const server = createSecureServer({
    ...tlsMaterial(identity()),
    requestCert: true,
    rejectUnauthorized: false, // joiners have no certificate yet; every call is authorized on its own
    minVersion: 'TLSv1.2',
    ALPNProtocols: ['h2'],
    handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
    // A resumed session would keep the verdict on a certificate that may have ended since.
    secureOptions: constants.SSL_OP_NO_TICKET,
    maxSessionMemory: SESSION_MEMORY_MB,
    settings: { maxConcurrentStreams: MAX_STREAMS_PER_SESSION },
  })
  followIdentity(server, identity)
  repairAlpn(server)
  const sessions = trackSessions(server, logger)
  const calls = serveCalls(routes, () => identity().clusterId, logger)
  takeCalls(server, calls)
  await listen(server, host, port, address)

  return {
    address: formatHostPort(host, (server.address() as AddressInfo).port),
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      calls.stop()
      // The handlers have a moment to end their streams with that error; what is left is cut.
      await nextTurn()
      for (const session of sessions) session.close()
      await nextTurn()
      for (const session of sessions) session.destroy()
      await closed
    },
  }
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve)) // real-time: a turn of the event loop, no time
}

function tlsMaterial(identity: Identity) {
  return { cert: identity.certificatePem, key: identity.privateKeyPem, ca: identity.rootCaPem }
}

/** Takes a renewed certificate or root into use at the next connection, before its handshake. */
function followIdentity(server: Http2SecureServer, identity: () => Identity): void {
  let loaded = identity()
  server.prependListener('connection', () => {
    const current = identity()
    if (current.certificatePem === loaded.certificatePem && current.rootCaPem === loaded.rootCaPem) return
    server.setSecureContext({ ...tlsMaterial(current), minVersion: 'TLSv1.2', secureOptions: constants.SSL_OP_NO_TICKET })
    loaded = current
  })
}

/**
 * Stock engines offer no ALPN any more after they renewed their certificate, and Node closes such connections: the node would be lost
 * weeks after it joined (wire-protocol 5.2). They do speak HTTP/2, so we say it for them before Node looks.
 */
function repairAlpn(server: Http2SecureServer): void {
  server.prependListener('secureConnection', (socket: TLSSocket) => {
    if (socket.alpnProtocol === false) socket.alpnProtocol = 'h2'
  })
}

function trackSessions(server: Http2SecureServer, logger: Logger): ReadonlySet<ServerHttp2Session> {
  const sessions = new Set<ServerHttp2Session>()
  server.on('session', (session) => {
    sessions.add(session)
    session.on('close', () => sessions.delete(session))
    session.on('error', (error) => logger.debug('connection broke', { error: errorText(error) }))
  })
  server.on('secureConnection', (socket: TLSSocket) => socket.setKeepAlive(true, KEEP_ALIVE_MS))
  server.on('tlsClientError', (error, socket) =>
    logger.debug('TLS handshake failed', { from: socket.remoteAddress, error: errorText(error) }),
  )
  server.on('error', (error) => logger.warn('listener failed', { error: errorText(error) }))
  return sessions
}

function listen(server: Http2SecureServer, host: string, port: number, address: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (error: Error) =>
      reject(new ShoalError('unavailable', `cannot listen on ${address}: ${error.message}`, { cause: error }))
    server.once('error', failed)
    server.listen({ host, port }, () => {
      server.off('error', failed)
      resolve()
    })
  })
}

/** Whoever is at the other end of a connection is known once for all its calls. */
function takeCalls(server: Http2SecureServer, calls: Calls): void {
  const peers = new WeakMap<object, TlsPeer>()
  server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    stream.on('error', () => {}) // a caller who hung up: the call hears of it by the end of the stream
    const { session } = stream
    if (!session) return
    let peer = peers.get(session)
    if (!peer) {
      peer = tlsPeer(session.socket as TLSSocket)
      peers.set(session, peer)
    }
    calls.take(stream, headers, { ...peer, ownAgent: headers['shoal-agent'] === '1' })
  })
}
