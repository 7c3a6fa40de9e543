// Calls as a server takes them: one HTTP/2 stream each, authorized first, answered with messages and a status.
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2'
import type { DescMethod } from '@bufbuild/protobuf'
import { isShoalError, type Logger, ShoalError } from '../lib/index.ts'
import type { CallContext, Route, RpcPeer } from '../ports/index.ts'
import { authorize } from './authorize.ts'
import { errorTrailers, OK_TRAILERS } from './codes.ts'
import { decode, frame, Incoming, sendAll } from './frames.ts'

/** A message may hold a secret or config (500 KB, 1000 KB) or a burst of log lines; more is a mistake or an attack. */
const READ_MAX_BYTES = 16 << 20
/** Longer deadlines than timers can hold are none. */
const MOST_TIMEOUT_MS = 2 ** 31 - 1

type UntypedHandler = (request: unknown, ctx: CallContext) => unknown

export interface Calls {
  take(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, peer: RpcPeer): void
  /** Tells all handlers to end; their callers hear 'unavailable'. */
  stop(): void
}

export function serveCalls(routes: readonly Route[], clusterId: () => string, logger: Logger): Calls {
  const byPath = new Map(routes.map((route) => [`/${route.method.parent.typeName}/${route.method.name}`, route]))
  const open = new Set<Call>()
  return {
    take(stream, headers, peer) {
      const route = byPath.get(headers[':path'] ?? '')
      if (!route || !headers['content-type']?.startsWith('application/grpc')) {
        stream.resume()
        refuse(stream, new ShoalError('unimplemented', 'unknown method'))
        return
      }
      const call = new Call(stream, headers, peer)
      open.add(call)
      stream.once('close', () => {
        open.delete(call)
        call.gone()
      })
      answer(call, route, clusterId, logger).catch((error: unknown) => {
        logger.error('a call could not be answered', { method: route.method.name, error: String(error) })
        stream.close()
      })
    },
    stop() {
      const reason = new ShoalError('unavailable', 'the manager is stopping')
      for (const call of open) call.abort(reason)
    },
  }
}

/** One call. The signal exists only for handlers that ask for it: most are done before anything could abort them. */
class Call implements CallContext {
  readonly stream: ServerHttp2Stream
  readonly peer: RpcPeer
  readonly #contentType: string
  #controller: AbortController | undefined
  #aborted = false
  #reason: ShoalError | undefined
  #deadline: NodeJS.Timeout | undefined
  #finished = false

  constructor(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, peer: RpcPeer) {
    this.stream = stream
    this.peer = peer
    this.#contentType = headers['content-type'] ?? 'application/grpc'
    const timeoutMs = timeoutOf(headers['grpc-timeout'])
    if (timeoutMs === undefined) return
    this.#deadline = setTimeout(() => this.abort(new ShoalError('deadline-exceeded', 'the call took too long')), timeoutMs) // real-time: a deadline that the caller set
  }

  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController()
      if (this.#aborted) this.#controller.abort(this.reason)
    }
    return this.#controller.signal
  }

  get aborted(): boolean {
    return this.#aborted
  }

  /** Why the call ended early. Made when somebody asks: every call ends, hardly any early. */
  get reason(): ShoalError {
    this.#reason ??= new ShoalError('canceled', 'the caller has gone')
    return this.#reason
  }

  /** Without a reason: the caller has gone. */
  abort(reason?: ShoalError): void {
    if (this.#aborted || this.#finished) return
    this.#aborted = true
    this.#reason = reason
    this.#controller?.abort(this.reason)
  }

  /** The stream has ended, in whatever way. */
  gone(): void {
    clearTimeout(this.#deadline)
    this.abort()
  }

  /** The headers, unless they have been sent. */
  begin(): void {
    const { stream } = this
    if (stream.headersSent || stream.destroyed) return
    stream.respond({ ':status': 200, 'content-type': this.#contentType }, { waitForTrailers: true })
  }

  finish(error: unknown): void {
    if (this.#finished) return
    this.#finished = true
    clearTimeout(this.#deadline)
    const { stream } = this
    if (stream.destroyed) return
    if (error !== undefined && !stream.headersSent) {
      refuse(stream, error)
      return
    }
    stream.once('wantTrailers', () => stream.sendTrailers(error === undefined ? OK_TRAILERS : errorTrailers(error)))
    this.begin()
    stream.end()
  }
}

function refuse(stream: ServerHttp2Stream, error: unknown): void {
  stream.respond({ ':status': 200, 'content-type': 'application/grpc', ...errorTrailers(error) }, { endStream: true })
}

async function answer(call: Call, route: Route, clusterId: () => string, logger: Logger): Promise<void> {
  const { method } = route
  const { stream } = call
  const requests = new Incoming(stream, method.input, READ_MAX_BYTES)
  try {
    authorize(method, call.peer, clusterId())
    const input = requestsOf(call, requests, method)
    const request = method.methodKind === 'unary' || method.methodKind === 'server_streaming' ? await input : requests
    if (call.aborted) throw call.reason
    const result = (route.handler as unknown as UntypedHandler)(request, call)
    if (method.methodKind === 'unary' || method.methodKind === 'client_streaming') {
      const message = (await result) as never
      if (!stream.destroyed) {
        const bytes = frame(method.output, message)
        call.begin()
        stream.write(bytes)
      }
    } else {
      call.begin() // a caller may wait for the headers before it goes on
      await sendAll(stream, method.output, result as AsyncIterable<never>, () => !call.aborted)
      // A stream that ends because we stop, or too late, must not look like a regular end.
      if (call.aborted) throw call.reason
    }
    call.finish(undefined)
  } catch (error) {
    if (!isShoalError(error)) {
      logger.error('handler failed', {
        method: method.name,
        error: error instanceof Error ? (error.stack ?? error.message) : String(error),
      })
    }
    call.finish(error)
  } finally {
    stream.resume() // what else the caller sends is of no interest
  }
}

/** Lets the caller's messages come in. Resolves with the only one of a call that has one; for streams of requests it does not matter. */
function requestsOf(call: Call, requests: Incoming<DescMethod['input']>, { methodKind, input }: DescMethod): Promise<unknown> {
  const { stream } = call
  const single = methodKind === 'unary' || methodKind === 'server_streaming'
  let failed = false
  stream.on('data', (chunk: Buffer) => {
    if (failed) return
    try {
      requests.add(chunk)
    } catch (error) {
      failed = true
      requests.finish(error as ShoalError)
      call.abort(error as ShoalError)
    }
  })
  let whole = false
  stream.once('end', () => {
    whole = true
    requests.finish()
  })
  stream.once('close', () => {
    if (!whole) requests.finish(call.reason)
  })
  if (!single) return Promise.resolve()
  return requests.next().then(({ done, value }) => (done ? decode(input, new Uint8Array()) : value))
}

/** `100m`, `5S`, ... in milliseconds. */
function timeoutOf(text: string | string[] | undefined): number | undefined {
  const match = typeof text === 'string' ? /^(\d{1,8})([HMSmun])$/.exec(text) : null
  if (!match) return undefined
  const unitMs = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 1e-3, n: 1e-6 }[match[2] as 'H'] ?? 1
  const ms = Number(match[1]) * unitMs
  return ms > MOST_TIMEOUT_MS ? undefined : ms
}
