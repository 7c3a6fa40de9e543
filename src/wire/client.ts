// The client side of the Rpc port: a channel to one address that connects when it is called and reads its identity anew each time.
import { type ConnectionOptions, type TLSSocket, connect as tlsConnect } from 'node:tls'
import {
  create,
  type DescMessage,
  type DescMethodStreaming,
  type DescMethodUnary,
  type MessageInitShape,
  type MessageShape,
} from '@bufbuild/protobuf'
import type { Transport } from '@connectrpc/connect'
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node'
import { isShoalError, ShoalError } from '../lib/index.ts'
import type { CallOptions, Channel, ChannelSecurity } from '../ports/index.ts'
import { parseHostPort } from './address.ts'
import { fromConnectError } from './codes.ts'

const CONNECT_TIMEOUT_MS = 5_000
const UNARY_TIMEOUT_MS = 5_000
const PING_INTERVAL_MS = 10_000
const PING_TIMEOUT_MS = 5_000
const IDLE_TIMEOUT_MS = 60_000
const SESSION_MEMORY_MB = 64
/** The first assignments of a node hold all its tasks, secrets and configs. */
const READ_MAX_BYTES = 64 << 20
const HEADERS = { 'shoal-agent': '1' }

export function connect(address: string, security: ChannelSecurity): Channel {
  const { host, port } = parseHostPort(address)
  const baseUrl = `https://${address}`
  const sessions = new Http2SessionManager(
    baseUrl,
    { pingIntervalMs: PING_INTERVAL_MS, pingTimeoutMs: PING_TIMEOUT_MS, idleConnectionTimeoutMs: IDLE_TIMEOUT_MS },
    { maxSessionMemory: SESSION_MEMORY_MB, createConnection: () => openSocket(host, port, security) },
  )
  const transport = createGrpcTransport({ baseUrl, sessionManager: sessions, acceptCompression: [], readMaxBytes: READ_MAX_BYTES })
  let closed = false
  const calls: Calls = {
    transport,
    assertOpen: () => {
      if (closed) throw new ShoalError('canceled', `the channel to ${address} is closed`)
    },
  }
  // The port's types follow the method; the generic functions below lose that link, hence `never`.
  return {
    unary: (method, request, options) => unary(calls, method, request, options) as Promise<never>,
    serverStream: (method, request, options) => stream(calls, method, once(request), options) as AsyncIterable<never>,
    clientStream: (method, requests, options) => clientStream(calls, method, requests, options) as Promise<never>,
    bidiStream: (method, requests, options) => stream(calls, method, requests, options) as AsyncIterable<never>,
    close: () => {
      closed = true
      sessions.abort()
    },
  }
}

interface Calls {
  readonly transport: Transport
  assertOpen(): void
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

async function unary<I extends DescMessage, O extends DescMessage>(
  calls: Calls,
  method: DescMethodUnary<I, O>,
  request: MessageInitShape<I>,
  options: CallOptions = {},
): Promise<MessageShape<O>> {
  calls.assertOpen()
  try {
    const response = await calls.transport.unary(method, options.signal, options.timeoutMs ?? UNARY_TIMEOUT_MS, HEADERS, request)
    return response.message
  } catch (error) {
    throw fromConnectError(error, options.signal?.aborted === true)
  }
}

async function* stream<I extends DescMessage, O extends DescMessage>(
  calls: Calls,
  method: DescMethodStreaming<I, O>,
  requests: AsyncIterable<MessageInitShape<I>>,
  options: CallOptions = {},
): AsyncGenerator<MessageShape<O>> {
  calls.assertOpen()
  // Leaving the loop early must end the call on the wire too.
  const left = new AbortController()
  const signal = options.signal ? AbortSignal.any([options.signal, left.signal]) : left.signal
  try {
    const response = await calls.transport.stream(method, signal, options.timeoutMs, HEADERS, requests)
    yield* response.message
  } catch (error) {
    throw fromConnectError(error, options.signal?.aborted === true)
  } finally {
    left.abort()
  }
}

async function clientStream<I extends DescMessage, O extends DescMessage>(
  calls: Calls,
  method: DescMethodStreaming<I, O>,
  requests: AsyncIterable<MessageInitShape<I>>,
  options: CallOptions = {},
): Promise<MessageShape<O>> {
  try {
    for await (const message of stream(calls, method, requests, options)) return message
  } catch (error) {
    // connect has its own words for the same thing as below
    if (!isShoalError(error, 'unimplemented') || !error.message.includes('missing response message')) throw error
  }
  // A stock manager ends PublishLogs with OK and no message (wire-protocol 10).
  return create(method.output)
}

async function* once<T>(item: T): AsyncGenerator<T> {
  yield item
}
