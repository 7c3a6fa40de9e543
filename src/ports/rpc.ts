// The Rpc port: typed calls between nodes, without a word about sockets, TLS or HTTP/2.
import type {
  DescMethod,
  DescMethodBiDiStreaming,
  DescMethodClientStreaming,
  DescMethodServerStreaming,
  DescMethodUnary,
  MessageInitShape,
  MessageShape,
} from '@bufbuild/protobuf'

/** Who is at the other end of a call, as proved by the transport. */
export interface RpcPeer {
  /** The node id in a valid certificate of this cluster; undefined for a caller without one. */
  readonly nodeId: string | undefined
  readonly role: 'worker' | 'manager' | undefined
  /** O of the certificate: the cluster id. */
  readonly clusterId: string | undefined
  /** IP address of the caller, no port. */
  readonly address: string
  /** The caller announced itself as an agent of ours (metadata header `shoal-agent`). */
  readonly ownAgent: boolean
}

export interface CallContext {
  readonly peer: RpcPeer
  /** Aborted when the caller went away or its deadline passed. */
  readonly signal: AbortSignal
}

type In<M extends DescMethod> = MessageShape<M['input']>
type Out<M extends DescMethod> = MessageInitShape<M['output']>

/** What serves one method. Errors are thrown as ShoalError; its code is carried over the wire as the gRPC code. */
export type Handler<M extends DescMethod> = M extends DescMethodUnary
  ? (request: In<M>, ctx: CallContext) => Promise<Out<M>>
  : M extends DescMethodServerStreaming
    ? (request: In<M>, ctx: CallContext) => AsyncIterable<Out<M>>
    : M extends DescMethodClientStreaming
      ? (requests: AsyncIterable<In<M>>, ctx: CallContext) => Promise<Out<M>>
      : M extends DescMethodBiDiStreaming
        ? (requests: AsyncIterable<In<M>>, ctx: CallContext) => AsyncIterable<Out<M>>
        : never

/** One entry of a server's routing table; make it with `handle`. */
export interface Route {
  readonly method: DescMethod
  readonly handler: Handler<DescMethod>
}

export function handle<M extends DescMethod>(method: M, handler: Handler<M>): Route {
  return { method, handler: handler as Handler<DescMethod> }
}

export interface CallOptions {
  readonly signal?: AbortSignal
  /** Deadline of a unary call; without one 5 s. Streams have none. */
  readonly timeoutMs?: number
}

/** A connection to one remote address. It reconnects by itself at the next call; a broken call is the caller's to repeat. */
export interface Channel {
  unary<M extends DescMethodUnary>(
    method: M,
    request: MessageInitShape<M['input']>,
    options?: CallOptions,
  ): Promise<MessageShape<M['output']>>
  serverStream<M extends DescMethodServerStreaming>(
    method: M,
    request: MessageInitShape<M['input']>,
    options?: CallOptions,
  ): AsyncIterable<MessageShape<M['output']>>
  clientStream<M extends DescMethodClientStreaming>(
    method: M,
    requests: AsyncIterable<MessageInitShape<M['input']>>,
    options?: CallOptions,
  ): Promise<MessageShape<M['output']>>
  bidiStream<M extends DescMethodBiDiStreaming>(
    method: M,
    requests: AsyncIterable<MessageInitShape<M['input']>>,
    options?: CallOptions,
  ): AsyncIterable<MessageShape<M['output']>>
  close(): void
}

/** Certificate, key and root of this node, PEM. Read anew for each connection, so a renewal needs no restart. */
export interface Identity {
  readonly nodeId: string
  readonly clusterId: string
  readonly role: 'worker' | 'manager'
  readonly certificatePem: string
  readonly privateKeyPem: string
  readonly rootCaPem: string
}

export type ChannelSecurity =
  /** No client certificate and no check of the server: only for fetching the root certificate, whose digest the caller checks. */
  | { readonly kind: 'bootstrap' }
  /** No client certificate; the server must prove `serverName` under this root. */
  | { readonly kind: 'anonymous'; readonly rootCaPem: string; readonly serverName: 'swarm-ca' | 'swarm-manager' }
  /** Mutual TLS. */
  | { readonly kind: 'mutual'; readonly identity: () => Identity; readonly serverName: 'swarm-ca' | 'swarm-manager' }

export interface RpcServer {
  /** The address that is really listened on, `host:port`. */
  readonly address: string
  /** Ends all calls (streams included) and stops listening. */
  close(): Promise<void>
}

/** Calls between nodes. The real one is gRPC over HTTP/2 with mutual TLS (`wire/`); the simulator has its own. */
export interface Rpc {
  /** address: `host:port`. */
  connect(address: string, security: ChannelSecurity): Channel
  /** Serves routes at `host:port` with the identity of this node; unknown methods answer `unimplemented`. */
  serve(address: string, identity: () => Identity, routes: readonly Route[]): Promise<RpcServer>
}
