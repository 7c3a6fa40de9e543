// The node's side of joining and renewing: fetch the root, prove it by the token, ask for a certificate, wait for it.
import { type Instant, isShoalError, MINUTE_MS, ShoalError } from '../lib/index.ts'
import type { Availability } from '../model/index.ts'
import type { ChannelSecurity, Clock, Identity, Issuer, Random, Rpc } from '../ports/index.ts'
import { CA, IssuanceStatus_State, NodeCA, type NodeCertificateStatusResponse } from '../proto/index.ts'
import { availabilities } from '../wire/index.ts'
import { parseJoinToken, rootDigest } from './tokens.ts'

const ISSUE_TIMEOUT_MS = 10_000
const POLL_FIRST_MS = 250
const POLL_MAX_MS = 30_000
const POLL_TRIES = 20

/**
 * The root certificate of the cluster behind `address`, exact bytes as text. Throws 'failed-precondition' when it is not the one that the token was made for,
 * 'unavailable' when nobody answers.
 */
export async function fetchRootCa(rpc: Rpc, address: string, token: string, signal?: AbortSignal): Promise<string> {
  const { rootDigest: expected } = parseJoinToken(token)
  const channel = rpc.connect(address, { kind: 'bootstrap' })
  try {
    const { certificate } = await channel.unary(CA.method.getRootCACertificate, {}, { signal })
    if (rootDigest(certificate) !== expected) {
      throw new ShoalError('failed-precondition', 'remote CA does not match fingerprint', {
        next: `Check that ${address} is a manager of the cluster that the token is from.`,
      })
    }
    return new TextDecoder().decode(certificate)
  } finally {
    channel.close()
  }
}

export interface CertificateDeps {
  readonly rpc: Rpc
  readonly issuer: Issuer
  readonly clock: Clock
  readonly signal?: AbortSignal
}

/** How a node proves that it may have a certificate: a join token, or the certificate that it has. */
export type CertificateClaim =
  | { readonly kind: 'join'; readonly token: string; readonly rootCaPem: string; readonly availability: Availability }
  | { readonly kind: 'renew'; readonly identity: () => Identity }

/** A new key and certificate. Errors are the manager's (a wrong token is 'invalid-argument'), or 'unavailable' / 'deadline-exceeded'. */
export async function requestCertificate(deps: CertificateDeps, address: string, claim: CertificateClaim): Promise<Identity> {
  const { csrPem, privateKeyPem } = await deps.issuer.createCsr()
  const rootCaPem = claim.kind === 'join' ? claim.rootCaPem : claim.identity().rootCaPem
  const security: ChannelSecurity =
    claim.kind === 'join'
      ? { kind: 'anonymous', rootCaPem, serverName: 'swarm-ca' }
      : { kind: 'mutual', identity: claim.identity, serverName: 'swarm-ca' }
  const channel = deps.rpc.connect(address, security)
  try {
    const csr = new TextEncoder().encode(csrPem)
    const { nodeId } = await channel.unary(
      NodeCA.method.issueNodeCertificate,
      {
        csr,
        token: claim.kind === 'join' ? claim.token : '',
        availability: claim.kind === 'join' ? availabilities.toWire(claim.availability) : 0,
      },
      { signal: deps.signal, timeoutMs: ISSUE_TIMEOUT_MS },
    )
    const certificatePem = await waitForCertificate(deps, nodeId, csr, () =>
      channel.unary(NodeCA.method.nodeCertificateStatus, { nodeId }, { signal: deps.signal }),
    )
    const { subject } = await deps.issuer.inspect(certificatePem)
    if (!subject || subject.nodeId !== nodeId) throw new ShoalError('internal', 'the manager sent a certificate that names another node')
    return { nodeId, clusterId: subject.clusterId, role: subject.role, certificatePem, privateKeyPem, rootCaPem }
  } finally {
    channel.close()
  }
}

/** Until it is issued for exactly our request: after a renewal the old certificate may be shown for a moment. */
async function waitForCertificate(
  deps: CertificateDeps,
  nodeId: string,
  csr: Uint8Array,
  ask: () => Promise<NodeCertificateStatusResponse>,
): Promise<string> {
  let delayMs = POLL_FIRST_MS
  for (let attempt = 0; attempt < POLL_TRIES; attempt += 1) {
    const response = await ask().catch((error: unknown) => {
      if (isShoalError(error, 'unavailable') || isShoalError(error, 'deadline-exceeded')) return undefined
      throw error
    })
    const state = response?.status?.state
    if (state === IssuanceStatus_State.FAILED)
      throw new ShoalError('failed-precondition', response?.status?.err || 'the manager could not issue a certificate')
    const issued = state === IssuanceStatus_State.ISSUED || state === IssuanceStatus_State.ROTATE
    if (issued && response?.certificate && Buffer.compare(response.certificate.csr, csr) === 0) {
      return new TextDecoder().decode(response.certificate.certificate)
    }
    await deps.clock.sleep(delayMs, deps.signal)
    delayMs = Math.min(delayMs * 2, POLL_MAX_MS)
  }
  throw new ShoalError('deadline-exceeded', `node ${nodeId} was not given its certificate in time`, {
    next: 'Look into the log of the manager.',
  })
}

/**
 * Milliseconds from `now` until a certificate should be renewed: a random whole minute between 50 % and 80 % of its life, so that the nodes of a cluster
 * do not come all at once. 0 when that is past.
 */
export function renewalDelayMs(
  certificate: { readonly notBefore: Instant; readonly notAfter: Instant },
  now: Instant,
  random: Random,
): number {
  const lifetimeMs = certificate.notAfter - certificate.notBefore
  const first = Math.ceil((lifetimeMs * 0.5) / MINUTE_MS)
  const last = Math.floor((lifetimeMs * 0.8) / MINUTE_MS)
  const afterMs = last < first ? lifetimeMs * 0.5 : (first + random.int(last - first + 1)) * MINUTE_MS
  return Math.max(0, certificate.notBefore + afterMs - now)
}
