// The manager's side of joining and renewing: CA and NodeCA over the store.
import { create } from '@bufbuild/protobuf'
import { type Logger, type NodeId, newId, ShoalError } from '../lib/index.ts'
import type { Availability, Cluster, Node, NodeRole } from '../model/index.ts'
import { type CallContext, type Clock, handle, type Issuer, type Random, type Route, type RpcPeer } from '../ports/index.ts'
import {
  CA,
  IssuanceStatus_State,
  type IssueNodeCertificateRequest,
  NodeCA,
  NodeCertificateStatusResponseSchema,
  NodeSpec_Membership,
  NodeRole as WireRole,
} from '../proto/index.ts'
import type { Store } from '../store/index.ts'
import { availabilities } from '../wire/index.ts'
import { issueNodeCertificate, newNode } from './nodes.ts'
import { sameToken } from './tokens.ts'

/** A request for a P-256 key is about 330 bytes; RSA 4096 about 1,700. */
const MAX_CSR_BYTES = 8 << 10

export interface CaDeps {
  readonly store: Store
  readonly issuer: Issuer
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
}

export function caRoutes(deps: CaDeps): Route[] {
  return [
    handle(CA.method.getRootCACertificate, async () => ({ certificate: encode(theCluster(deps.store).rootCaPem) })),

    handle(CA.method.getUnlockKey, async (_request, { peer }) => {
      if (peer.role !== 'manager') throw new ShoalError('permission-denied', 'only managers may have the unlock key')
      const { unlockKey, version } = theCluster(deps.store)
      return { unlockKey: encode(unlockKey ?? ''), version: { index: BigInt(version) } }
    }),

    handle(NodeCA.method.issueNodeCertificate, async (request, ctx) => {
      const nodeId = isMember(ctx, theCluster(deps.store)) ? await renew(deps, ctx.peer, request) : await join(deps, ctx.peer, request)
      return { nodeId, nodeMembership: NodeSpec_Membership.ACCEPTED }
    }),

    handle(NodeCA.method.nodeCertificateStatus, async ({ nodeId }) => {
      const node = deps.store.view().nodes.get(nodeId as NodeId)
      if (!node) throw new ShoalError('not-found', `node ${nodeId} not found`)
      return certificateStatus(node)
    }),
  ]
}

/** `status` and the very bytes of the request are always there: engines read them unchecked (wire-protocol 4, 7). */
function certificateStatus(node: Node) {
  const { state, csrPem, certificatePem, error } = node.certificate
  const status = {
    state: {
      pending: IssuanceStatus_State.PENDING,
      issued: IssuanceStatus_State.ISSUED,
      rotate: IssuanceStatus_State.ROTATE,
      failed: IssuanceStatus_State.FAILED,
    }[state],
    err: error,
  }
  return create(NodeCertificateStatusResponseSchema, {
    status,
    certificate: {
      role: node.role === 'manager' ? WireRole.MANAGER : WireRole.WORKER,
      csr: encode(csrPem),
      status,
      certificate: encode(certificatePem),
      cn: node.id,
    },
  })
}

/** The transport has checked the certificate against our root and its end; a foreign or expired one counts as none. */
function isMember(ctx: CallContext, cluster: Cluster): boolean {
  return ctx.peer.nodeId !== undefined && ctx.peer.clusterId === cluster.id
}

async function join(deps: CaDeps, peer: RpcPeer, request: IssueNodeCertificateRequest): Promise<NodeId> {
  const cluster = theCluster(deps.store)
  const role = roleOfToken(cluster, request.token) // first of all: strangers get no work done
  refuseUnfit(role, peer)
  const csrPem = await readCsr(deps, request.csr)
  const nodeId = newId<NodeId>(deps.random)
  const certificatePem = await issueNodeCertificate(deps.issuer, cluster, { csrPem, nodeId, role }, deps.clock.now())
  const availability: Availability = availabilities.fromWire(request.availability)
  await deps.store.transact((tx) => {
    // The token may have been rotated while we were signing.
    roleOfToken(theCluster({ view: () => tx }), request.token)
    const agent = peer.ownAgent ? 'shoal' : 'stock'
    const node = newNode(tx.nodes, { id: nodeId, role, availability, address: peer.address, agent, csrPem, certificatePem })
    tx.nodes.create({ ...node, specIndex: tx.seq })
  })
  deps.logger.info('node joined', { node: nodeId, role, address: peer.address, agent: peer.ownAgent ? 'shoal' : 'stock' })
  return nodeId
}

/** What a token is good for. The words are Swarm's: clients look for them. */
function roleOfToken(cluster: Cluster, token: string): NodeRole {
  // Both are compared, so that the time does not tell which one it was.
  const worker = sameToken(token, cluster.joinTokens.worker)
  const manager = sameToken(token, cluster.joinTokens.manager)
  if (worker) return 'worker'
  if (manager) return 'manager'
  throw new ShoalError('invalid-argument', 'A valid join token is necessary to join this cluster', {
    next: 'Run "docker swarm join-token worker" on a manager for a valid one.',
  })
}

function refuseUnfit(role: NodeRole, peer: RpcPeer): void {
  if (role === 'worker') return
  if (!peer.ownAgent) {
    // It would get its certificate, fail at Raft, and leave a dead node behind.
    throw new ShoalError(
      'failed-precondition',
      'a stock Docker Engine can join this cluster as a worker only: use the worker token, or run shoald on it',
    )
  }
}

/** Keeps the node's id; the role is what the cluster wants it to be. */
async function renew(deps: CaDeps, peer: RpcPeer, request: IssueNodeCertificateRequest): Promise<NodeId> {
  const cluster = theCluster(deps.store)
  const nodeId = peer.nodeId as NodeId
  const node = deps.store.view().nodes.get(nodeId)
  if (!node) throw new ShoalError('not-found', `node ${nodeId} not found when attempting to renew certificate`)
  const csrPem = await readCsr(deps, request.csr)
  // A manager that shall be a worker is one when it has left the group, not before: who demotes it then writes its role.
  const role: NodeRole = node.agent === 'stock' ? 'worker' : node.spec.desiredRole === 'manager' ? 'manager' : node.role
  const certificatePem = await issueNodeCertificate(deps.issuer, cluster, { csrPem, nodeId, role }, deps.clock.now())
  await deps.store.transact((tx) => {
    const current = tx.nodes.get(nodeId)
    if (!current) throw new ShoalError('not-found', `node ${nodeId} was removed`)
    tx.nodes.update({ ...current, role, certificate: { csrPem, state: 'issued', certificatePem, error: '' } })
  })
  deps.logger.info('certificate renewed', { node: nodeId, role })
  return nodeId
}

async function readCsr(deps: CaDeps, bytes: Uint8Array): Promise<string> {
  if (bytes.length === 0 || bytes.length > MAX_CSR_BYTES)
    throw new ShoalError('invalid-argument', 'the certificate request is empty or too long')
  const csrPem = new TextDecoder('utf-8').decode(bytes)
  // The joiner compares bytes: what does not survive the text form is no PEM.
  if (Buffer.compare(encode(csrPem), bytes) !== 0) throw new ShoalError('invalid-argument', 'the certificate request is not PEM')
  await deps.issuer.verifyCsr(csrPem)
  return csrPem
}

function theCluster(store: Pick<Store, 'view'>): Cluster {
  const { cluster } = store.view()
  if (!cluster) throw new ShoalError('unavailable', 'the cluster is not ready yet: try again')
  return cluster
}

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}
