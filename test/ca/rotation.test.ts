// A new root that the old one has signed: certificates of it are good for who trusts either.
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { test } from 'node:test'
import { crossSignRoot, issueNodeCertificate, realIssuer } from '../../src/ca/index.ts'
import type { ClusterId, NodeId } from '../../src/lib/index.ts'
import { DEFAULT_CLUSTER_SPEC } from '../../src/model/index.ts'
import { realClock } from '../../src/ports/index.ts'

test('during a rotation a node certificate carries its way to the root before', async () => {
  const now = realClock.now()
  const [old, next] = [await realIssuer.createRoot(now), await realIssuer.createRoot(now)]
  const rootRotation = { ...next, crossSignedPem: await crossSignRoot(old, next) }
  const { csrPem } = await realIssuer.createCsr()
  const chain = await issueNodeCertificate(
    realIssuer,
    { id: 'c' as ClusterId, spec: DEFAULT_CLUSTER_SPEC, rootCaPem: old.certificatePem, rootCaKeyPem: old.privateKeyPem, rootRotation },
    { csrPem, nodeId: 'n' as NodeId, role: 'worker' },
    now,
  )
  const [leaf, cross, ...more] = chain.match(/-----BEGIN[^-]+-----[^-]+-----END[^-]+-----/g)!.map((pem) => new X509Certificate(pem))
  assert.equal(more.length, 0)
  const [oldRoot, newRoot] = [new X509Certificate(old.certificatePem), new X509Certificate(next.certificatePem)]
  assert.ok(leaf!.verify(newRoot.publicKey) && leaf!.checkIssued(newRoot), 'who trusts the new root')
  assert.ok(leaf!.checkIssued(cross!) && cross!.verify(oldRoot.publicKey) && cross!.checkIssued(oldRoot), 'who trusts the old one')
  assert.ok(cross!.ca && !leaf!.verify(oldRoot.publicKey))
})
