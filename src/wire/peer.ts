// Who is at the other end of a TLS connection, as its certificate proves it.
import type { PeerCertificate, TLSSocket } from 'node:tls'
import type { RpcPeer } from '../ports/index.ts'

export type TlsPeer = Omit<RpcPeer, 'ownAgent'>

/**
 * Reads the subject of a verified client certificate: O = cluster, OU = role, CN = node. `authorized` is what counts: the server asks
 * for a certificate without demanding one, so a certificate of a foreign root gets through the handshake too (wire-protocol 5.1).
 */
export function tlsPeer(socket: TLSSocket): TlsPeer {
  const address = (socket.remoteAddress ?? '').replace(/^::ffff:/, '')
  const nobody: TlsPeer = { nodeId: undefined, role: undefined, clusterId: undefined, address }
  if (!socket.authorized) return nobody
  const subject: Partial<PeerCertificate['subject']> = socket.getPeerCertificate().subject ?? {}
  const { O: clusterId, OU: unit, CN: nodeId } = subject as Record<string, unknown>
  // a field given twice comes as an array: not one of our certificates
  if (typeof clusterId !== 'string' || typeof nodeId !== 'string') return nobody
  if (unit !== 'swarm-worker' && unit !== 'swarm-manager') return nobody
  return { nodeId, clusterId, role: unit === 'swarm-manager' ? 'manager' : 'worker', address }
}
