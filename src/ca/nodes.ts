// Node objects and node certificates: made here for joiners, and by `swarm init` for the first manager.
import { HOUR_MS, type Instant, type NodeId, nsToMs, ShoalError } from '../lib/index.ts'
import type { Availability, Cluster, Node, NodeRole } from '../model/index.ts'
import type { Issuer } from '../ports/index.ts'
import type { Fresh, NodeReadTable } from '../store/index.ts'

/** Certificates start a little in the past, so that a node whose clock is behind can use them. */
const BACKDATE_MS = HOUR_MS
const MAX_NODE_NUMBER = 65_535

export interface NewNode {
  readonly id: NodeId
  readonly role: NodeRole
  readonly availability: Availability
  /** IP address that it called from, no port. */
  readonly address: string
  readonly agent: 'shoal' | 'stock'
  readonly csrPem: string
  readonly certificatePem: string
}

/** The Node object of a node that has its first certificate but has not opened a session yet. */
export function newNode(nodes: NodeReadTable, node: NewNode): Fresh<Node> {
  return {
    id: node.id,
    spec: { name: '', labels: {}, desiredRole: node.role, membership: 'accepted', availability: node.availability },
    role: node.role,
    number: freeNumber(nodes),
    status: { state: 'unknown', message: '', address: node.address },
    certificate: { csrPem: node.csrPem, state: 'issued', certificatePem: node.certificatePem, error: '' },
    agent: node.agent,
    dataPlane: { on: false, reason: node.agent === 'stock' ? 'a stock engine has no data plane of ours' : 'the node has not reported yet' },
  }
}

/** Above all numbers in use, so that a removed node's number rests as long as possible; else the lowest free one. */
function freeNumber(nodes: NodeReadTable): number {
  const used = new Set<number>()
  let highest = 0
  for (const node of nodes.values()) {
    used.add(node.number)
    highest = Math.max(highest, node.number)
  }
  if (highest < MAX_NODE_NUMBER) return highest + 1
  for (let number = 1; number <= MAX_NODE_NUMBER; number += 1) if (!used.has(number)) return number
  throw new ShoalError('resource-exhausted', `a cluster has at most ${MAX_NODE_NUMBER} nodes`, {
    next: 'Remove nodes that are gone with "docker node rm".',
  })
}

/** Signs a node's certificate with the cluster's root, or the one to come with its way to the present one, for as long as the cluster's spec says. */
export async function issueNodeCertificate(
  issuer: Issuer,
  cluster: Pick<Cluster, 'id' | 'rootCaPem' | 'rootCaKeyPem' | 'rootRotation' | 'spec'>,
  request: { readonly csrPem: string; readonly nodeId: NodeId; readonly role: NodeRole },
  now: Instant,
): Promise<string> {
  const lifetimeMs = nsToMs(cluster.spec.nodeCertExpiryNs)
  // The renewal moment counts from notBefore: with a backdate near the lifetime a node would renew without end.
  const backdateMs = Math.min(BACKDATE_MS, lifetimeMs / 4)
  const leaf = await issuer.issue(
    cluster.rootRotation ?? { certificatePem: cluster.rootCaPem, privateKeyPem: cluster.rootCaKeyPem },
    request.csrPem,
    { clusterId: cluster.id, nodeId: request.nodeId, role: request.role },
    { notBefore: now - backdateMs, notAfter: now + lifetimeMs },
  )
  return leaf + (cluster.rootRotation?.crossSignedPem ?? '')
}
