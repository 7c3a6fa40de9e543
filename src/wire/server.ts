// The server side of the Rpc port: gRPC over HTTP/2 with mutual TLS, for our agents and for stock engines.
import { constants } from 'node:crypto'
import {
  createSecureServer,
  type Http2SecureServer,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
} from 'node:http2'
import type { AddressInfo } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { DescMethod } from '@bufbuild/protobuf'
import { Code, ConnectError, createConnectRouter, createContextKey, createContextValues, type HandlerContext } from '@connectrpc/connect'
import { universalRequestFromNodeRequest, universalResponseToNodeResponse } from '@connectrpc/connect-node'
import { errorText, isShoalError, type Logger, ShoalError } from '../lib/index.ts'
import type { CallContext, Identity, Route, RpcPeer, RpcServer } from '../ports/index.ts'
import { formatHostPort, parseHostPort } from './address.ts'
import { authorize } from './authorize.ts'
import { toConnectError } from './codes.ts'
import { type TlsPeer, tlsPeer } from './peer.ts'

/** A message may hold a secret or config (500 KB, 1000 KB) or a burst of log lines; more is a mistake or an attack. */
const READ_MAX_BYTES = 16 << 20
const HANDSHAKE_TIMEOUT_MS = 10_000
/** Node's own default of 10 MB closes a session with many slow streams. */
const SESSION_MEMORY_MB = 64
const MAX_STREAMS_PER_SESSION = 1_000
const KEEP_ALIVE_MS = 30_000

const peerKey = createContextKey<RpcPeer>(
  { nodeId: undefined, role: undefined, clusterId: undefined, address: '', ownAgent: false },
  { description: 'peer' },
)

type UntypedHandler = (request: unknown, ctx: CallContext) => unknown

/** Listens at `address` and serves `routes`. Throws 'unavailable' when the address cannot be listened on. */
export async function serve(address: string, identity: () => Identity, routes: readonly Route[], logger: Logger): Promise<RpcServer> {
  const { host, port } = parseHostPort(address)
  const shutdown = new AbortController()
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
  const handler = requestHandler(routes, identity, shutdown.signal, logger)
  server.on('request', handler)
  await listen(server, host, port, address)

  return {
    address: formatHostPort(host, (server.address() as AddressInfo).port),
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      shutdown.abort(new ConnectError('the manager is stopping', Code.Unavailable))
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

function requestHandler(routes: readonly Route[], identity: () => Identity, shutdownSignal: AbortSignal, logger: Logger) {
  const router = createConnectRouter({
    grpc: true,
    connect: false,
    grpcWeb: false,
    acceptCompression: [],
    readMaxBytes: READ_MAX_BYTES,
    shutdownSignal,
  })
  for (const route of routes) router.rpc(route.method, implementation(route, identity, logger) as never)
  const handlers = new Map(router.handlers.map((handler) => [handler.requestPath, handler]))
  const peers = new WeakMap<object, TlsPeer>()

  return (request: Http2ServerRequest, response: Http2ServerResponse): void => {
    const session = request.stream.session
    const handler = handlers.get(request.url)
    if (!handler || !session) {
      refuseUnknown(request, response)
      return
    }
    let peer = peers.get(session)
    if (!peer) {
      peer = tlsPeer(session.socket as TLSSocket)
      peers.set(session, peer)
    }
    const values = createContextValues().set(peerKey, { ...peer, ownAgent: request.headers['shoal-agent'] === '1' })
    answer(handler, request, response, values).catch((error: unknown) => {
      // Only a caller who hung up ends here: errors of handlers are trailers by now.
      logger.debug('response was not delivered', { method: handler.method.name, error: errorText(error) })
      response.stream?.destroy()
    })
  }
}

async function answer(
  handler: ReturnType<typeof createConnectRouter>['handlers'][number],
  request: Http2ServerRequest,
  response: Http2ServerResponse,
  values: ReturnType<typeof createContextValues>,
): Promise<void> {
  const reply = await handler(universalRequestFromNodeRequest(request, response, undefined, values))
  await universalResponseToNodeResponse(reply, response)
}

function refuseUnknown(request: Http2ServerRequest, response: Http2ServerResponse): void {
  request.resume()
  response.writeHead(200, {
    'content-type': 'application/grpc',
    'grpc-status': String(Code.Unimplemented),
    'grpc-message': 'unknown method',
  })
  response.end()
}

/** A handler of ours in the shape that connect calls: authorized first, errors translated. */
function implementation(route: Route, identity: () => Identity, logger: Logger): unknown {
  const method: DescMethod = route.method
  const handler = route.handler as unknown as UntypedHandler
  const enter = (context: HandlerContext): CallContext => {
    const peer = context.values.get(peerKey)
    authorize(method, peer, identity().clusterId)
    return { peer, signal: context.signal }
  }
  const fail = (error: unknown): ConnectError => {
    if (!isShoalError(error) && !(error instanceof ConnectError)) {
      logger.error('handler failed', {
        method: method.name,
        error: error instanceof Error ? (error.stack ?? error.message) : String(error),
      })
    }
    return toConnectError(error)
  }
  if (method.methodKind === 'unary' || method.methodKind === 'client_streaming') {
    return async (request: unknown, context: HandlerContext) => {
      try {
        return await handler(request, enter(context))
      } catch (error) {
        throw fail(error)
      }
    }
  }
  return async function* (request: unknown, context: HandlerContext) {
    try {
      yield* handler(request, enter(context)) as AsyncIterable<unknown>
      // A stream that ends because we stop must not look like a regular end.
      if (context.signal.aborted && context.signal.reason instanceof ConnectError) throw context.signal.reason
    } catch (error) {
      throw fail(error)
    }
  }
}
