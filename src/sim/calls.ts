// One call over a simulated connection: its server's half and its client's half.
import type { DescMethod } from '@bufbuild/protobuf'
import { errorText, isShoalError, ShoalError } from '../lib/index.ts'
import type { CallContext, Identity, Route, RpcPeer } from '../ports/index.ts'
import { authorize } from '../wire/index.ts'
import type { Connection, Endpoint } from './network.ts'
import { Pipe } from './pipe.ts'
import type { SimProcess } from './process.ts'

/** Messages of one direction of a stream that may be under way or unread (HTTP/2 flow control counts bytes). */
const WINDOW = 64
/** A handler whose call has ended must end too. */
const HANDLER_LEAK_MS = 60_000

/** What the other side gets of a message: one of its own, sometimes after a way through its bytes. */
export type Carry = (schema: DescMethod['input'], init: unknown) => unknown

export interface Listener {
  readonly endpoint: Endpoint
  readonly identity: () => Identity
  readonly routes: ReadonlyMap<DescMethod, Route>
  readonly calls: Set<ServerCall>
  readonly connections: Set<Connection>
}

/** What the server's half tells the client's half; called in the client's process. */
export interface ClientFace {
  message(value: unknown): void
  end(): void
  fail(error: ShoalError): void
}

/** Flow control of one sender. */
class Window {
  #inFlight = 0
  #room: (() => void) | undefined

  sent(): void {
    this.#inFlight += 1
  }

  /** `enter` brings the news into the sender's process. */
  read(enter: (fn: () => void) => void): void {
    this.#inFlight -= 1
    if (this.#room) enter(() => this.open())
  }

  open(): void {
    this.#room?.()
    this.#room = undefined
  }

  async room(): Promise<void> {
    if (this.#inFlight < WINDOW) return
    await new Promise<void>((resolve) => {
      this.#room = resolve
    })
  }
}

export interface ServerCallOptions {
  readonly listener: Listener
  readonly connection: Connection
  readonly peer: RpcPeer
  readonly method: DescMethod
  readonly client: ClientFace
  readonly carry: Carry
  readonly onDefect: (what: string) => void
}

type UntypedHandler = (request: unknown, ctx: CallContext) => unknown

/** The handler's side. Lives in the server's process. */
export class ServerCall {
  readonly requests = new Pipe<unknown>()
  readonly window = new Window()
  readonly #options: ServerCallOptions
  #controller: AbortController | undefined
  #ended: ShoalError | undefined
  #handlerDone = false
  #leak: { cancel(): void } | undefined

  constructor(options: ServerCallOptions) {
    this.#options = options
    options.listener.calls.add(this)
  }

  get connection(): Connection {
    return this.#options.connection
  }

  /** The caller went away, or the server stops: the handler's signal aborts and nothing is sent any more. */
  abort(reason: ShoalError): void {
    if (this.#ended) return
    this.#ended = reason
    this.requests.fail(reason)
    this.#controller?.abort(reason)
    this.window.open()
    const { listener, method, onDefect } = this.#options
    listener.calls.delete(this)
    if (this.#handlerDone) return
    const { process } = listener.endpoint
    this.#leak = process.clock.setTimer(HANDLER_LEAK_MS, () =>
      onDefect(`the handler of ${method.name} on ${process.name} goes on ${HANDLER_LEAK_MS / 1000} s after its call ended`),
    )
  }

  start(): void {
    this.#serve().catch((error: unknown) => this.#options.onDefect(`serving a call failed: ${errorText(error)}`))
  }

  async #serve(): Promise<void> {
    try {
      await this.#answer()
    } catch (error) {
      this.#fail(error)
    } finally {
      this.#handlerDone = true
      this.#leak?.cancel()
      this.#options.listener.calls.delete(this)
      this.requests.end()
    }
  }

  async #answer(): Promise<void> {
    const { listener, method, peer, client } = this.#options
    const route = listener.routes.get(method)
    if (!route) throw new ShoalError('unimplemented', `unknown method ${method.name}`)
    authorize(method, peer, listener.identity().clusterId)
    const handler = route.handler as unknown as UntypedHandler
    const { methodKind } = method
    const input = methodKind === 'unary' || methodKind === 'server_streaming' ? await this.#onlyRequest() : this.requests
    const result = handler(input, this.#context())
    if (methodKind === 'server_streaming' || methodKind === 'bidi_streaming') return this.#stream(result as AsyncIterable<unknown>)
    const value = this.#carried(await result)
    this.#send(() => {
      client.message(value)
      client.end()
    })
  }

  async #onlyRequest(): Promise<unknown> {
    const first = await this.requests.next()
    if (first.done) throw new ShoalError('invalid-argument', 'no request')
    return first.value
  }

  async #stream(responses: AsyncIterable<unknown>): Promise<void> {
    const { client } = this.#options
    const iterator = responses[Symbol.asyncIterator]()
    for (;;) {
      const result = await iterator.next()
      if (this.#ended) break
      if (result.done) return this.#send(() => client.end())
      const value = this.#carried(result.value)
      this.window.sent()
      this.#send(() => client.message(value))
      await this.window.room()
      if (this.#ended) break
    }
    await iterator.return?.()
  }

  #context(): CallContext {
    const call = this
    return {
      peer: this.#options.peer,
      get signal() {
        return call.#signal()
      },
    }
  }

  /** Made only for handlers that look at it: signals are dear. */
  #signal(): AbortSignal {
    this.#controller ??= new AbortController()
    if (this.#ended && !this.#controller.signal.aborted) this.#controller.abort(this.#ended)
    return this.#controller.signal
  }

  #carried(message: unknown): unknown {
    return this.#options.carry(this.#options.method.output, message)
  }

  #send(deliver: () => void): void {
    if (!this.#ended) this.connection.send('server', deliver)
  }

  #fail(error: unknown): void {
    if (this.#ended) return
    const { method, listener, client, onDefect } = this.#options
    if (!isShoalError(error)) {
      onDefect(
        `the handler of ${method.name} on ${listener.endpoint.process.name} threw ${error instanceof Error ? error.stack : String(error)}`,
      )
    }
    const { code, message, next } = isShoalError(error) ? error : new ShoalError('internal', 'internal error')
    this.#send(() => client.fail(new ShoalError(code, message, next === undefined ? {} : { next })))
  }
}

/** A connection that stands, and the call's way to its other side. */
export interface Link {
  readonly connection: Connection
  accept(client: ClientFace, method: DescMethod): ServerCall
}

export interface ClientCallOptions {
  readonly method: DescMethod
  /** One message, or a stream of them. */
  readonly requests: { readonly only: unknown } | AsyncIterable<unknown>
  readonly signal: AbortSignal | undefined
  readonly timeoutMs: number | undefined
  readonly process: SimProcess
  readonly carry: Carry
  connect(): Promise<Link>
}

/** The caller's side. Lives in the client's process. */
export class ClientCall implements ClientFace {
  readonly #options: ClientCallOptions
  readonly #responses = new Pipe<unknown>()
  readonly #window = new Window()
  #connection: Connection | undefined
  #server: ServerCall | undefined
  #source: AsyncIterator<unknown> | undefined
  #over = false

  constructor(options: ClientCallOptions) {
    this.#options = options
  }

  message(value: unknown): void {
    this.#responses.push(value)
  }

  end(): void {
    this.#over = true
    this.#responses.end()
    this.#window.open()
  }

  fail(error: ShoalError): void {
    this.#over = true
    this.#responses.fail(error)
    this.#window.open()
  }

  /** The call from its start to its end, message by message. */
  async *run(): AsyncGenerator<unknown> {
    const { signal, timeoutMs, method, process } = this.#options
    if (signal?.aborted) throw new ShoalError('canceled', 'the call was canceled')
    const cancel = () => this.#giveUp(new ShoalError('canceled', 'the call was canceled'))
    signal?.addEventListener('abort', cancel, { once: true })
    const tooLong = () => this.#giveUp(new ShoalError('deadline-exceeded', `${method.name} took longer than ${timeoutMs} ms`))
    const deadline = timeoutMs === undefined ? undefined : process.clock.setTimer(timeoutMs, tooLong)
    this.#send().catch((error: unknown) => this.#giveUp(isShoalError(error) ? error : new ShoalError('unknown', errorText(error))))
    try {
      for (;;) {
        const next = await this.#responses.next()
        if (next.done) return
        yield next.value
      }
    } finally {
      deadline?.cancel()
      signal?.removeEventListener('abort', cancel)
      this.#giveUp(new ShoalError('canceled', 'the caller left'))
      this.#source?.return?.().catch(() => {}) // the requests are not wanted any more, however their source ends
    }
  }

  #giveUp(error: ShoalError): void {
    if (this.#over) return
    this.fail(error)
    const reason = new ShoalError('canceled', error.message)
    this.#connection?.send('client', () => this.#server?.abort(reason))
  }

  async #send(): Promise<void> {
    const { method, requests, carry } = this.#options
    const link = await this.#options.connect()
    if (this.#over) return
    const { connection } = link
    this.#connection = connection
    if ('only' in requests) {
      const value = carry(method.input, requests.only)
      connection.send('client', () => {
        const server = this.#enter(link)
        server.requests.push(value)
        server.requests.end()
      })
      return
    }
    connection.send('client', () => this.#enter(link))
    const source = requests[Symbol.asyncIterator]()
    this.#source = source
    for (;;) {
      const next = await source.next()
      if (this.#over) return
      if (next.done) {
        connection.send('client', () => this.#server?.requests.end())
        return
      }
      const value = carry(method.input, next.value)
      this.#window.sent()
      connection.send('client', () => this.#server?.requests.push(value))
      await this.#window.room()
    }
  }

  /** Runs in the server's process, when the first packet of the call arrives. Reading on one side makes room on the other. */
  #enter(link: Link): ServerCall {
    const server = link.accept(this, this.#options.method)
    this.#server = server
    this.#responses.onRead = () => server.window.read((fn) => server.connection.server.process.run(fn))
    server.requests.onRead = () => this.#window.read((fn) => this.#options.process.run(fn))
    server.start()
    return server
  }
}
