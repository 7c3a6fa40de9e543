// The real adapter of the Rpc port.
import type { Logger } from '../lib/index.ts'
import type { Rpc } from '../ports/index.ts'
import { connect } from './client.ts'
import { serve } from './server.ts'

export interface WireOptions {
  readonly logger: Logger
}

/** Calls between nodes as gRPC over HTTP/2 with mutual TLS. */
export function createWireRpc(options: WireOptions): Rpc {
  return {
    connect,
    serve: (address, identity, routes) => serve(address, identity, routes, options.logger),
  }
}
