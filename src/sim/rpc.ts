// The Rpc port over the simulated network: the same promises as gRPC over TLS, with peers proved by the fake issuer's certificates.
import { create, type DescMethod, fromBinary, toBinary } from '@bufbuild/protobuf'
import { ShoalError } from '../lib/index.ts'
import type { CallOptions, Channel, ChannelSecurity, Identity, Route, Rpc, RpcPeer, RpcServer } from '../ports/index.ts'
import { formatHostPort, parseHostPort } from '../wire/index.ts'
import { type Carry, ClientCall, type Link, type Listener, ServerCall } from './calls.ts'
import { CONNECT_TIMEOUT_MS, type Connection, type Endpoint, Network, type NetworkOptions } from './network.ts'
import type { SimProcess } from './process.ts'

const UNARY_TIMEOUT_MS = 5_000
const FIRST_EPHEMERAL_PORT = 40_000

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

export function createSimNetwork(options: SimRpcOptions): SimNetwork {
  const network = new Network(options)
  const switchboard: Switchboard = {
    network,
    listeners: new Map(),
    verify: options.verify,
    carry: carrier(options.encodeEvery ?? 50),
    onDefect: options.onDefect ?? (() => {}),
  }
  let ports = FIRST_EPHEMERAL_PORT
  return {
    network,
    rpc: (process, address) => {
      const here: Endpoint = { process, address }
      return {
        connect: (target, security) => new SimChannel(switchboard, here, target, security),
        serve: async (listen, identity, routes) => {
          const { host, port } = parseHostPort(listen)
          if (port === 0) ports += 1
          return serve(switchboard, here, { host, port: port || ports }, identity, routes)
        },
      }
    },
    processDied: (process) => network.processDied(process),
  }
}

interface Switchboard {
  readonly network: Network
  /** By `host:port`. */
  readonly listeners: Map<string, Listener>
  readonly verify: SimRpcOptions['verify']
  readonly carry: Carry
  readonly onDefect: (what: string) => void
}

function carrier(encodeEvery: number): Carry {
  let messages = 0
  return (schema, init) => {
    const message = create(schema, init as never)
    messages += 1
    return messages % encodeEvery === 0 ? fromBinary(schema, toBinary(schema, message)) : message
  }
}

/** The address that a host text means, seen from a host. */
function resolveHost(host: string, here: string): string {
  return host === '127.0.0.1' || host === '0.0.0.0' || host === 'localhost' ? here : host
}

function serve(
  { listeners }: Switchboard,
  here: Endpoint,
  { host, port }: { host: string; port: number },
  identity: () => Identity,
  routes: readonly Route[],
): RpcServer {
  const address = formatHostPort(host, port)
  const key = formatHostPort(resolveHost(host, here.address), port)
  const holder = listeners.get(key)
  if (holder && holder.endpoint.process.state !== 'dead') {
    throw new ShoalError('unavailable', `cannot listen on ${address}: listen EADDRINUSE: address already in use ${address}`)
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
    address,
    close: async () => {
      if (listeners.get(key) === listener) listeners.delete(key)
      const stopping = new ShoalError('unavailable', 'the manager is stopping')
      for (const call of [...listener.calls]) call.abort(stopping)
      for (const connection of listener.connections) connection.close('server', stopping.message)
      listener.connections.clear()
    },
  }
}

/** Connects when it is called, and again when that connection has broken. */
class SimChannel implements Channel {
  readonly #board: Switchboard
  readonly #here: Endpoint
  readonly #target: string
  readonly #security: ChannelSecurity
  readonly #calls = new Set<ClientCall>()
  #link: Link | undefined
  #opening: Promise<Link> | undefined
  #closed = false

  constructor(board: Switchboard, here: Endpoint, target: string, security: ChannelSecurity) {
    parseHostPort(target)
    this.#board = board
    this.#here = here
    this.#target = target
    this.#security = security
  }

  // The port's types follow the method; the untyped calls below lose that link, hence `never`.
  unary(method: DescMethod, request: unknown, options?: CallOptions): Promise<never> {
    return this.#single(method, { only: request }, { ...options, timeoutMs: options?.timeoutMs ?? UNARY_TIMEOUT_MS })
  }

  serverStream(method: DescMethod, request: unknown, options?: CallOptions): AsyncIterable<never> {
    return this.#call(method, { only: request }, { signal: options?.signal })
  }

  clientStream(method: DescMethod, requests: AsyncIterable<unknown>, options?: CallOptions): Promise<never> {
    return this.#single(method, requests, { signal: options?.signal })
  }

  bidiStream(method: DescMethod, requests: AsyncIterable<unknown>, options?: CallOptions): AsyncIterable<never> {
    return this.#call(method, requests, { signal: options?.signal })
  }

  close(): void {
    this.#closed = true
    this.#break(new ShoalError('unavailable', 'the channel was closed'))
    this.#link?.connection.close('client', 'the channel was closed')
    this.#link = undefined
  }

  async *#call(
    method: DescMethod,
    requests: AsyncIterable<unknown> | { readonly only: unknown },
    options: CallOptions,
  ): AsyncGenerator<never> {
    if (this.#closed) throw new ShoalError('canceled', `the channel to ${this.#target} is closed`)
    const call = new ClientCall({
      method,
      requests,
      signal: options.signal,
      timeoutMs: options.timeoutMs,
      process: this.#here.process,
      carry: this.#board.carry,
      connect: () => this.#connect(),
    })
    this.#calls.add(call)
    try {
      yield* call.run() as AsyncGenerator<never>
    } finally {
      this.#calls.delete(call)
    }
  }

  async #single(method: DescMethod, requests: AsyncIterable<unknown> | { readonly only: unknown }, options: CallOptions): Promise<never> {
    let result: unknown
    for await (const message of this.#call(method, requests, options)) result ??= message
    return (result ?? create(method.output)) as never
  }

  #break(error: ShoalError): void {
    for (const call of [...this.#calls]) call.fail(error)
  }

  async #connect(): Promise<Link> {
    if (this.#link?.connection.isOpen('client')) return this.#link
    this.#opening ??= this.#open().finally(() => {
      this.#opening = undefined
    })
    return this.#opening
  }

  async #open(): Promise<Link> {
    const link = await openLink(this.#board, this.#here, this.#target, this.#security)
    this.#link = link
    link.connection.onBreak('client', (reason) => {
      if (this.#link === link) this.#link = undefined
      this.#break(new ShoalError('unavailable', reason))
    })
    if (this.#closed) this.close()
    return link
  }
}

/** TCP and TLS handshakes. Throws 'unavailable'. */
async function openLink(board: Switchboard, here: Endpoint, target: string, security: ChannelSecurity): Promise<Link> {
  const { network, listeners, verify, carry, onDefect } = board
  const { host, port } = parseHostPort(target)
  const { clock } = here.process
  const to = resolveHost(host, here.address)
  const timeOut = async () => {
    await clock.sleep(CONNECT_TIMEOUT_MS)
    return new ShoalError('unavailable', `no connection to ${target} within ${CONNECT_TIMEOUT_MS / 1000} s`)
  }
  await clock.sleep(network.latencyMs() * 2)
  if (!network.reaches(here.address, to)) throw await timeOut()
  const listener = listeners.get(formatHostPort(to, port))
  if (!listener || listener.endpoint.process.state === 'dead') throw new ShoalError('unavailable', `connect ECONNREFUSED ${target}`)
  // The kernel takes the connection, the handshake hangs.
  if (listener.endpoint.process.state === 'paused') throw await timeOut()

  const server = listener.identity()
  if (security.kind !== 'bootstrap') {
    const rootCaPem = security.kind === 'anonymous' ? security.rootCaPem : security.identity().rootCaPem
    if (verify(server.certificatePem, rootCaPem)?.role !== 'manager') {
      throw new ShoalError('unavailable', `the certificate of ${target} is not a manager's of this cluster`)
    }
  }
  const certified = security.kind === 'mutual' ? verify(security.identity().certificatePem, server.rootCaPem) : undefined
  const peer: RpcPeer = {
    nodeId: certified?.nodeId,
    role: certified?.role,
    clusterId: certified?.clusterId,
    address: here.address,
    ownAgent: true,
  }
  const connection = network.open(here, listener.endpoint)
  connection.onBreak('server', (reason) => forget(listener, connection, reason))
  listener.connections.add(connection)
  return { connection, accept: (client, method) => new ServerCall({ listener, connection, peer, method, client, carry, onDefect }) }
}

function forget(listener: Listener, connection: Connection, reason: string): void {
  listener.connections.delete(connection)
  const error = new ShoalError('canceled', reason)
  for (const call of [...listener.calls]) if (call.connection === connection) call.abort(error)
}
