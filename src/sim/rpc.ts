// The Rpc port over the simulated network: the same promises as gRPC over TLS, with peers proved by the fake issuer's certificates.
import {
  create,
  type DescMessage,
  type DescMethod,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf'
import { errorText, isShoalError, ShoalError } from '../lib/index.ts'
import type { CallContext, CallOptions, Channel, ChannelSecurity, Identity, Route, Rpc, RpcPeer, RpcServer } from '../ports/index.ts'
import { authorize, formatHostPort, parseHostPort } from '../wire/index.ts'
import { CONNECT_TIMEOUT_MS, type Connection, type Endpoint, Network, type NetworkOptions } from './network.ts'
import { Pipe } from './pipe.ts'
import type { SimProcess } from './process.ts'

const UNARY_TIMEOUT_MS = 5_000
/** Messages of one direction of a stream that may be under way or unread (HTTP/2 flow control counts bytes). */
const WINDOW = 64
/** A handler whose call has ended must end too. */
const HANDLER_LEAK_MS = 60_000

export type CertifiedNode = { readonly nodeId: string; readonly clusterId: string; readonly role: 'worker' | 'manager' }

export interface SimRpcOptions extends NetworkOptions {
  /** Whether the certificate was signed by this root, and whose it is; the fake issuer knows. */
  readonly verify: (certificatePem: string, rootCaPem: string) => CertifiedNode | undefined
  /** Every n-th message goes through its binary form. */
  readonly encodeEvery?: number
  /** A handler threw something that is no ShoalError, or did not end after its call: programming errors, which the simulator reports. */
  readonly onDefect?: (what: string) => void
}

export interface SimNetwork {
  readonly network: Network
  /** What this process uses; its server sockets and connections live and die with it. */
  rpc(process: SimProcess, address: string): Rpc
  /** Call after `process.kill()`. */
  processDied(process: SimProcess): void
}

interface Listener {
  readonly endpoint: Endpoint
  readonly identity: () => Identity
  readonly routes: ReadonlyMap<DescMethod, Route>
  readonly calls: Set<ServerCall>
  readonly connections: Set<Connection>
}

/** One call as its server sees it. */
interface ServerCall {
  readonly connection: Connection
  readonly requests: Pipe<unknown>
  /** The caller went away, or the server stops: the handler's signal aborts and nothing is sent any more. */
  abort(reason: ShoalError): void
  readonly sent: { inFlight: number; room: (() => void) | undefined }
}

type UntypedHandler = (request: unknown, ctx: CallContext) => unknown

export function createSimNetwork(options: SimRpcOptions): SimNetwork {
  const network = new Network(options)
  const listeners = new Map<string, Listener>()
  const { verify, encodeEvery = 50, onDefect = () => {} } = options
  let messages = 0
  let nextPort = 40_000

  /** What the other side gets: a message of its own kind, sometimes after a way through its bytes. */
  const carry = <D extends DescMessage>(schema: D, init: MessageInitShape<D>): MessageShape<D> => {
    const message = create(schema, init)
    messages += 1
    return messages % encodeEvery === 0 ? fromBinary(schema, toBinary(schema, message)) : message
  }

  const accept = (listener: Listener, connection: Connection, peer: RpcPeer, method: DescMethod, client: ClientCall): ServerCall => {
    const { process } = listener.endpoint
    const clock = process.clock
    const requests = new Pipe<unknown>()
    let controller: AbortController | undefined
    let ended: ShoalError | undefined
    const sent: ServerCall['sent'] = { inFlight: 0, room: undefined }
    let handlerDone = false
    let leak: { cancel(): void } | undefined
    const call: ServerCall = {
      connection,
      requests,
      sent,
      abort(reason) {
        if (ended) return
        ended = reason
        requests.fail(reason)
        controller?.abort(reason)
        sent.room?.()
        listener.calls.delete(call)
        if (!handlerDone) {
          leak = clock.setTimer(HANDLER_LEAK_MS, () =>
            onDefect(`the handler of ${method.name} on ${process.name} goes on ${HANDLER_LEAK_MS / 1000} s after its call ended`),
          )
        }
      },
    }
    const done = (): void => {
      handlerDone = true
      leak?.cancel()
      listener.calls.delete(call)
    }
    const ctx: CallContext = {
      peer,
      get signal() {
        controller ??= new AbortController()
        if (ended && !controller.signal.aborted) controller.abort(ended)
        return controller.signal
      },
    }
    const answer = (message: unknown): void => {
      const value = carry(method.output, message as never)
      sent.inFlight += 1
      connection.send('server', () => client.message(value))
    }
    const fail = (error: unknown): void => {
      if (ended) return
      if (!isShoalError(error)) {
        onDefect(`the handler of ${method.name} on ${process.name} threw ${error instanceof Error ? error.stack : String(error)}`)
      }
      const { code, message, next } = isShoalError(error) ? error : new ShoalError('internal', 'internal error')
      connection.send('server', () => client.fail(new ShoalError(code, message, next === undefined ? {} : { next })))
    }
    const serve = async (): Promise<void> => {
      try {
        const route = listener.routes.get(method)
        if (!route) throw new ShoalError('unimplemented', `unknown method ${method.name}`)
        authorize(method, peer, listener.identity().clusterId)
        const handler = route.handler as unknown as UntypedHandler
        const single = method.methodKind === 'unary' || method.methodKind === 'server_streaming'
        let input: unknown = requests
        if (single) {
          const first = await requests.next()
          if (first.done) throw new ShoalError('invalid-argument', 'no request')
          input = first.value
        }
        if (method.methodKind === 'unary' || method.methodKind === 'client_streaming') {
          const response = await handler(input, ctx)
          if (!ended) {
            const value = carry(method.output, response as never)
            connection.send('server', () => {
              client.message(value)
              client.end()
            })
          }
        } else {
          const iterator = (handler(input, ctx) as AsyncIterable<unknown>)[Symbol.asyncIterator]()
          for (;;) {
            const result = await iterator.next()
            if (ended) {
              await iterator.return?.()
              break
            }
            if (result.done) {
              connection.send('server', () => client.end())
              break
            }
            answer(result.value)
            if (sent.inFlight >= WINDOW) {
              await new Promise<void>((resolve) => {
                sent.room = resolve
              })
              sent.room = undefined
              if (ended) {
                await iterator.return?.()
                break
              }
            }
          }
        }
      } catch (error) {
        fail(error)
      } finally {
        done()
        requests.end()
      }
    }
    listener.calls.add(call)
    void serve()
    return call
  }

  /** One call as its client sees it. */
  interface ClientCall {
    message(value: unknown): void
    end(): void
    fail(error: ShoalError): void
  }

  const rpc = (process: SimProcess, address: string): Rpc => {
    const here: Endpoint = { process, address }
    const resolveHost = (host: string) => (host === '127.0.0.1' || host === '0.0.0.0' || host === 'localhost' ? address : host)

    const connectTo = async (
      target: string,
      security: ChannelSecurity,
    ): Promise<{ connection: Connection; listener: Listener; peer: RpcPeer }> => {
      const { host, port } = parseHostPort(target)
      const to = resolveHost(host)
      await process.clock.sleep(network.latencyMs() * 2)
      if (!network.reaches(address, to)) {
        await process.clock.sleep(CONNECT_TIMEOUT_MS)
        throw new ShoalError('unavailable', `no connection to ${target} within ${CONNECT_TIMEOUT_MS / 1000} s`)
      }
      const listener = listeners.get(`${to}:${port}`)
      if (!listener || listener.endpoint.process.state === 'dead') {
        throw new ShoalError('unavailable', `connect ECONNREFUSED ${target}`)
      }
      if (listener.endpoint.process.state === 'paused') {
        // The kernel takes the connection, the handshake hangs.
        await process.clock.sleep(CONNECT_TIMEOUT_MS)
        throw new ShoalError('unavailable', `no connection to ${target} within ${CONNECT_TIMEOUT_MS / 1000} s`)
      }
      const serverIdentity = listener.identity()
      if (security.kind !== 'bootstrap') {
        const rootCaPem = security.kind === 'anonymous' ? security.rootCaPem : security.identity().rootCaPem
        const server = verify(serverIdentity.certificatePem, rootCaPem)
        if (server?.role !== 'manager')
          throw new ShoalError('unavailable', `the certificate of ${target} is not a manager's of this cluster`)
      }
      const certified = security.kind === 'mutual' ? verify(security.identity().certificatePem, serverIdentity.rootCaPem) : undefined
      const peer: RpcPeer = {
        nodeId: certified?.nodeId,
        role: certified?.role,
        clusterId: certified?.clusterId,
        address,
        ownAgent: true,
      }
      const connection = network.open(here, listener.endpoint)
      connection.onBreak('server', (reason) => {
        const error = new ShoalError('canceled', reason)
        listener.connections.delete(connection)
        for (const call of [...listener.calls]) if (call.connection === connection) call.abort(error)
      })
      listener.connections.add(connection)
      return { connection, listener, peer }
    }

    const connect = (target: string, security: ChannelSecurity): Channel => {
      parseHostPort(target)
      type Live = Awaited<ReturnType<typeof connectTo>>
      let opening: Promise<Live> | undefined
      let live: Live | undefined
      let closed = false
      const open = new Set<{ fail(error: ShoalError): void }>()

      const current = async (): Promise<Live> => {
        if (live?.connection.isOpen('client')) return live
        opening ??= connectTo(target, security)
          .then((made) => {
            live = made
            made.connection.onBreak('client', (reason) => {
              if (live === made) live = undefined
              for (const call of [...open]) call.fail(new ShoalError('unavailable', reason))
            })
            if (closed) made.connection.close('client', 'the channel was closed')
            return made
          })
          .finally(() => {
            opening = undefined
          })
        return opening
      }

      const start = async function* (
        method: DescMethod,
        requests: AsyncIterable<unknown> | { readonly only: unknown },
        callOptions: CallOptions = {},
        timeoutMs?: number,
      ): AsyncGenerator<unknown> {
        if (closed) throw new ShoalError('canceled', `the channel to ${target} is closed`)
        const { signal } = callOptions
        const responses = new Pipe<unknown>()
        let server: ServerCall | undefined
        let connection: Connection | undefined
        let over = false
        const sent = { inFlight: 0, room: undefined as (() => void) | undefined }
        let requestIterator: AsyncIterator<unknown> | undefined
        const handle = {
          message: (value: unknown) => responses.push(value),
          end: () => {
            over = true
            responses.end()
            sent.room?.()
          },
          fail: (error: ShoalError) => {
            over = true
            responses.fail(error)
            sent.room?.()
          },
        }
        const cancelServer = (reason: string): void => {
          connection?.send('client', () => server?.abort(new ShoalError('canceled', reason)))
        }
        const cancel = (): void => {
          if (over) return
          handle.fail(new ShoalError('canceled', 'the call was canceled'))
          cancelServer('the caller canceled')
        }
        if (signal?.aborted) throw new ShoalError('canceled', 'the call was canceled')
        signal?.addEventListener('abort', cancel, { once: true })
        const deadline =
          timeoutMs === undefined
            ? undefined
            : process.clock.setTimer(timeoutMs, () => {
                if (over) return
                handle.fail(new ShoalError('deadline-exceeded', `${method.name} took longer than ${timeoutMs} ms`))
                cancelServer('the deadline passed')
              })
        open.add(handle)

        const send = async (): Promise<void> => {
          const made = await current()
          if (over) return
          connection = made.connection
          const { listener, peer } = made
          if ('only' in requests) {
            const value = carry(method.input, requests.only as never)
            connection.send('client', () => {
              server = accept(listener, made.connection, peer, method, handle)
              server.requests.push(value)
              server.requests.end()
              hookFlow(server)
            })
            return
          }
          connection.send('client', () => {
            server = accept(listener, made.connection, peer, method, handle)
            hookFlow(server)
          })
          requestIterator = requests[Symbol.asyncIterator]()
          for (;;) {
            const next = await requestIterator.next()
            if (over) {
              await requestIterator.return?.()
              return
            }
            if (next.done) {
              connection.send('client', () => server?.requests.end())
              return
            }
            const value = carry(method.input, next.value as never)
            sent.inFlight += 1
            connection.send('client', () => server?.requests.push(value))
            if (sent.inFlight >= WINDOW) {
              await new Promise<void>((resolve) => {
                sent.room = resolve
              })
              sent.room = undefined
            }
          }
        }
        /** Reading on one side makes room on the other; the news crosses at once, but reaches a process only through its gate. */
        const hookFlow = (call: ServerCall): void => {
          responses.onRead = () => {
            call.sent.inFlight -= 1
            if (call.sent.room) call.connection.server.process.run(() => call.sent.room?.())
          }
          call.requests.onRead = () => {
            sent.inFlight -= 1
            if (sent.room) process.run(() => sent.room?.())
          }
        }
        send().catch((error: unknown) => {
          if (over) return
          handle.fail(isShoalError(error) ? error : new ShoalError('unknown', errorText(error)))
          cancelServer('the stream of requests failed')
        })

        try {
          for (;;) {
            const next = await responses.next()
            if (next.done) return
            yield next.value
          }
        } finally {
          deadline?.cancel()
          signal?.removeEventListener('abort', cancel)
          open.delete(handle)
          if (!over) cancelServer('the caller left')
          over = true
          sent.room?.()
          requestIterator?.return?.().catch(() => {}) // the requests are not wanted any more, however their source ends
        }
      }

      const single = async (calls: AsyncGenerator<unknown>, method: DescMethod): Promise<unknown> => {
        let result: unknown
        for await (const message of calls) result ??= message
        return result ?? create(method.output)
      }

      return {
        unary: (method, request, callOptions) =>
          single(start(method, { only: request }, callOptions, callOptions?.timeoutMs ?? UNARY_TIMEOUT_MS), method) as Promise<never>,
        serverStream: (method, request, callOptions) => start(method, { only: request }, callOptions) as AsyncIterable<never>,
        clientStream: (method, requests, callOptions) => single(start(method, requests, callOptions), method) as Promise<never>,
        bidiStream: (method, requests, callOptions) => start(method, requests, callOptions) as AsyncIterable<never>,
        close: () => {
          closed = true
          for (const call of [...open]) call.fail(new ShoalError('unavailable', 'the channel was closed'))
          live?.connection.close('client', 'the channel was closed')
          live = undefined
        },
      }
    }

    const serve = async (listenAddress: string, identity: () => Identity, routes: readonly Route[]): Promise<RpcServer> => {
      const { host, port: wanted } = parseHostPort(listenAddress)
      if (wanted === 0) nextPort += 1
      const port = wanted === 0 ? nextPort : wanted
      const key = `${resolveHost(host)}:${port}`
      const holder = listeners.get(key)
      if (holder && holder.endpoint.process.state !== 'dead') {
        throw new ShoalError('unavailable', `cannot listen on ${listenAddress}: listen EADDRINUSE: address already in use ${listenAddress}`)
      }
      const listener: Listener = {
        endpoint: here,
        identity,
        routes: new Map(routes.map((route) => [route.method, route])),
        calls: new Set(),
        connections: new Set(),
      }
      listeners.set(key, listener)
      return {
        address: formatHostPort(host, port),
        close: async () => {
          if (listeners.get(key) === listener) listeners.delete(key)
          const stopping = new ShoalError('unavailable', 'the manager is stopping')
          for (const call of [...listener.calls]) call.abort(stopping)
          for (const connection of listener.connections) connection.close('server', 'the manager is stopping')
          listener.connections.clear()
        },
      }
    }

    return { connect, serve }
  }

  return { network, rpc, processDied: (process) => network.processDied(process) }
}
