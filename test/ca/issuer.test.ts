// What every Issuer must do, and what the real one must look like to SwarmKit's agents.
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { test } from 'node:test'
import { realIssuer } from '../../src/ca/index.ts'
import { createFakeIssuer, createRandom } from '../../src/ports/fakes/index.ts'
import type { Issuer } from '../../src/ports/index.ts'

const NOW = Date.UTC(2026, 5, 1)
const DAY = 24 * 3_600_000
const subject = { clusterId: 'cluster1', nodeId: 'node1', role: 'manager' as const }
const issuers: [string, Issuer][] = [
  ['real', realIssuer],
  ['fake', createFakeIssuer(createRandom(1))],
]

for (const [name, issuer] of issuers) {
  test(`${name} issuer: a certificate says whose it is and how long it is good`, async () => {
    const root = await issuer.createRoot(NOW)
    const { csrPem } = await issuer.createCsr()
    const pem = await issuer.issue(root, csrPem, subject, { notBefore: NOW, notAfter: NOW + DAY })
    assert.ok(pem.endsWith('-----END CERTIFICATE-----\n'))
    const facts = await issuer.inspect(pem)
    assert.deepEqual(facts.subject, subject)
    assert.equal(facts.notBefore, NOW)
    assert.equal(facts.notAfter, NOW + DAY)
    const ca = await issuer.inspect(root.certificatePem)
    assert.equal(ca.subject, undefined)
    assert.ok(ca.notAfter > NOW + 19 * 365 * DAY)
    assert.ok(ca.subjectDer && ca.publicKeyDer)
  })

  test(`${name} issuer: what is no request and no certificate is refused`, async () => {
    const root = await issuer.createRoot(NOW)
    const { csrPem } = await issuer.createCsr()
    await issuer.verifyCsr(csrPem)
    for (const wrong of ['', 'x', root.certificatePem, csrPem.slice(0, 60)]) {
      await assert.rejects(issuer.verifyCsr(wrong), { code: 'invalid-argument' })
      await assert.rejects(issuer.issue(root, wrong, subject, { notBefore: NOW, notAfter: NOW + DAY }), { code: 'invalid-argument' })
    }
    await assert.rejects(issuer.inspect(csrPem), { code: 'invalid-argument' })
  })
}

test('the real certificates have the names, uses and chain that agents check', async () => {
  const root = await realIssuer.createRoot(NOW)
  const { csrPem } = await realIssuer.createCsr()
  const pem = await realIssuer.issue(root, csrPem, subject, { notBefore: NOW, notAfter: NOW + DAY })
  const [ca, leaf] = [new X509Certificate(root.certificatePem), new X509Certificate(pem)]
  assert.equal(ca.subject, 'CN=swarm-ca')
  assert.equal(ca.ca, true)
  assert.equal(leaf.ca, false)
  assert.equal(leaf.subject, 'O=cluster1\nOU=swarm-manager\nCN=node1')
  assert.equal(leaf.subjectAltName, 'DNS:swarm-manager, DNS:node1, DNS:swarm-ca')
  assert.deepEqual(leaf.keyUsage, ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2'])
  assert.equal(leaf.checkIssued(ca), true)
  assert.equal(leaf.verify(ca.publicKey), true)
  const worker = await realIssuer.issue(root, csrPem, { ...subject, role: 'worker' }, { notBefore: NOW, notAfter: NOW + DAY })
  assert.equal(new X509Certificate(worker).subjectAltName, 'DNS:swarm-worker, DNS:node1')
})

test('a request whose signature is not its own key’s is refused', async () => {
  const { csrPem } = await realIssuer.createCsr()
  const der = Buffer.from(csrPem.replace(/-----[^-]+-----|\n/g, ''), 'base64')
  der[der.length - 1]! ^= 1
  const forged = `-----BEGIN CERTIFICATE REQUEST-----\n${der.toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`
  await assert.rejects(realIssuer.verifyCsr(forged), { code: 'invalid-argument' })
})
