// The client side of the Rpc port: a channel to one address that connects when it is called and reads its identity anew each time.
import { type ClientHttp2Stream, constants, type IncomingHttpHeaders } from 'node:http2'
import { create, type DescMethod, type MessageInitShape, type MessageShape } from '@bufbuild/protobuf'
import { errorText, isShoalError, ShoalError } from '../lib/index.ts'
import type { CallOptions, Channel, ChannelSecurity } from '../ports/index.ts'
import { errorOf, hasStatus, httpError } from './codes.ts'
import { Connection } from './connection.ts'
import { frame, Incoming, sendAll } from './frames.ts'

const UNARY_TIMEOUT_MS = 5_000
/** The first assignments of a node hold all its tasks, secrets and configs. */
const READ_MAX_BYTES = 64 << 20

export function connect(address: string, security: ChannelSecurity): Channel {
  const connection = new Connection(address, security)
  // The port's types follow the method; the generic functions below lose that link, hence `never`.
  return {
    unary: (method, request, options) => unary(connection, method, request, options) as Promise<never>,
    serverStream: (method, request, options) => stream(connection, method, request, options) as AsyncIterable<never>,
    clientStream: (method, requests, options) => clientStream(connection, method, requests, options) as Promise<never>,
    bidiStream: (method, requests, options) => stream(connection, method, requests, options) as AsyncIterable<never>,
    close: () => connection.close(),
  }
}

type Requests<M extends DescMethod> = MessageInitShape<M['input']> | AsyncIterable<MessageInitShape<M['input']>>

async function unary<M extends DescMethod>(
  connection: Connection,
  method: M,
  request: MessageInitShape<M['input']>,
  options: CallOptions = {},
): Promise<MessageShape<M['output']>> {
  const bytes = frame(method.input, request)
  const call = await Call.open(connection, method, options, options.timeoutMs ?? UNARY_TIMEOUT_MS)
  call.stream.end(bytes)
  const { done, value } = await call.answers.next()
  if (done) throw new ShoalError('internal', `${method.name} was answered without a message`)
  await call.answers.next() // its status
  return value
}

async function* stream<M extends DescMethod>(
  connection: Connection,
  method: M,
  requests: Requests<M>,
  options: CallOptions = {},
): AsyncGenerator<MessageShape<M['output']>> {
  const only = method.methodKind === 'server_streaming' ? frame(method.input, requests as MessageInitShape<M['input']>) : undefined
  const call = await Call.open(connection, method, options, options.timeoutMs)
  if (only) call.stream.end(only)
  else call.send(method, requests as AsyncIterable<MessageInitShape<M['input']>>)
  yield* call.answers
}

async function clientStream<M extends DescMethod>(
  connection: Connection,
  method: M,
  requests: AsyncIterable<MessageInitShape<M['input']>>,
  options: CallOptions = {},
): Promise<MessageShape<M['output']>> {
  const answers = stream(connection, method, requests, options)
  let answer: MessageShape<M['output']> | undefined
  for await (const message of answers) answer ??= message
  // A stock manager ends PublishLogs with OK and no message (wire-protocol 10).
  return answer ?? (create(method.output) as MessageShape<M['output']>)
}

/** One call: its answers end with the status that the other side gives, or with why there is none. */
class Call<M extends DescMethod> {
  readonly stream: ClientHttp2Stream
  readonly answers: Incoming<M['output']>
  #ended = false
  #deadline: NodeJS.Timeout | undefined
  #cleanUp: () => void = () => {}

  static async open<M extends DescMethod>(
    connection: Connection,
    method: M,
    { signal }: CallOptions,
    timeoutMs: number | undefined,
  ): Promise<Call<M>> {
    const canceled = () => new ShoalError('canceled', 'the call was canceled')
    if (signal?.aborted) throw canceled()
    const stream = await connection.request({
      ':method': 'POST',
      ':path': `/${method.parent.typeName}/${method.name}`,
      'content-type': 'application/grpc+proto',
      te: 'trailers',
      'shoal-agent': '1',
      ...(timeoutMs === undefined ? {} : { 'grpc-timeout': `${Math.max(1, Math.ceil(timeoutMs))}m` }),
    })
    const call = new Call(connection, method, stream)
    if (signal) {
      const abort = () => call.#end(canceled())
      signal.addEventListener('abort', abort, { once: true })
      call.#cleanUp = () => signal.removeEventListener('abort', abort)
      if (signal.aborted) abort()
    }
    if (timeoutMs !== undefined) {
      const late = () => call.#end(new ShoalError('deadline-exceeded', `no answer within ${timeoutMs / 1000} s`))
      call.#deadline = setTimeout(late, timeoutMs) // real-time: the deadline of a real call
    }
    return call
  }

  private constructor(connection: Connection, method: M, stream: ClientHttp2Stream) {
    this.stream = stream
    this.answers = new Incoming(stream, method.output as M['output'], READ_MAX_BYTES)
    this.answers.onLeft = () => this.#end(undefined)
    let status: IncomingHttpHeaders | undefined
    let failure: ShoalError | undefined
    stream.on('response', (headers) => {
      if (headers[':status'] !== 200) this.#end(httpError(headers[':status']))
      else if (hasStatus(headers)) status = headers
    })
    stream.on('trailers', (trailers: IncomingHttpHeaders) => {
      status = trailers
    })
    stream.on('data', (chunk: Buffer) => {
      try {
        this.answers.add(chunk)
      } catch (error) {
        this.#end(isShoalError(error) ? error : new ShoalError('internal', errorText(error)))
      }
    })
    stream.on('error', (error) => {
      failure = new ShoalError('unavailable', errorText(error), { cause: error })
    })
    stream.once('close', () => {
      if (status) this.#end(errorOf(status), 'done')
      else if (failure) this.#end(failure)
      else connection.reason().then((reason) => this.#end(reason))
    })
  }

  /** Sends requests until they end. That the call ends first is no error here: its answers say why. */
  send(method: M, requests: AsyncIterable<MessageInitShape<M['input']>>): void {
    const { stream } = this
    const iterator = requests[Symbol.asyncIterator]()
    sendAll(stream, method.input, { [Symbol.asyncIterator]: () => iterator }, () => !this.#ended).then(
      () => stream.end(),
      (error: unknown) => this.#end(isShoalError(error) ? error : new ShoalError('internal', errorText(error), { cause: error })),
    )
    // A source that waits for its next message would never see that nobody wants it any more.
    stream.once('close', () => {
      iterator.return?.().catch(() => {}) // the source's own clean-up: the call is over
    })
  }

  #end(error: ShoalError | undefined, how: 'done' | 'break' = 'break'): void {
    if (this.#ended) return
    this.#ended = true
    clearTimeout(this.#deadline)
    this.#cleanUp()
    this.answers.finish(error)
    if (how === 'break') this.stream.close(constants.NGHTTP2_CANCEL)
  }
}
