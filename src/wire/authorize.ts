// Who may call what: the first gate of every call, the same over TLS and in the simulator.
import type { DescMethod } from '@bufbuild/protobuf'
import { ShoalError } from '../lib/index.ts'
import type { RpcPeer } from '../ports/index.ts'
import { CA, NodeCA } from '../proto/index.ts'

const OPEN: ReadonlySet<DescMethod> = new Set<DescMethod>([
  CA.method.getRootCACertificate,
  NodeCA.method.issueNodeCertificate,
  NodeCA.method.nodeCertificateStatus,
])

/**
 * Lets joiners fetch the root and ask for a certificate; all else needs a valid certificate of this cluster. Whether the node still
 * exists is the dispatcher's question. Throws 'permission-denied'.
 */
export function authorize(method: DescMethod, peer: RpcPeer, clusterId: string): void {
  if (OPEN.has(method)) return
  if (peer.nodeId === undefined || peer.role === undefined) {
    throw new ShoalError('permission-denied', `${method.name} needs a certificate of this cluster`)
  }
  if (peer.clusterId !== clusterId) throw new ShoalError('permission-denied', 'the certificate belongs to another cluster')
}
