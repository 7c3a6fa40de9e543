// Joining and renewing, both sides of it, over an Rpc in this process.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { caRoutes, fetchRootCa, makeJoinToken, realIssuer, renewalDelayMs, requestCertificate } from '../../src/ca/index.ts'
import { type NodeId, silentLogger } from '../../src/lib/index.ts'
import { createRandom } from '../../src/ports/fakes/index.ts'
import { type ChannelSecurity, type Identity, type Issuer, type Rpc, type RpcPeer, realClock } from '../../src/ports/index.ts'
import { NodeCA } from '../../src/proto/index.ts'
import { createWireRpc } from '../../src/wire/index.ts'
import { nodeChannel, type TestCluster, testCluster } from '../dispatcher/harness.ts'

function rpcOf(c: TestCluster, peer: Partial<RpcPeer> = {}): Rpc {
  const routes = caRoutes({ ...c, logger: silentLogger })
  return {
    connect: (_address: string, security: ChannelSecurity) =>
      nodeChannel(routes, {
        clusterId: c.cluster.id,
        ...(security.kind === 'mutual' ? { nodeId: security.identity().nodeId } : {}),
        ...peer,
      }),
    serve: () => Promise.reject(new Error('not here')),
  }
}

async function join(c: TestCluster, token = c.cluster.joinTokens.worker, peer: Partial<RpcPeer> = {}): Promise<Identity> {
  const rpc = rpcOf(c, peer)
  const rootCaPem = await fetchRootCa(rpc, 'm:2377', token)
  return requestCertificate({ rpc, issuer: c.issuer, clock: c.clock }, 'm:2377', { kind: 'join', token, rootCaPem, availability: 'drain' })
}

test('a worker joins with the worker token and stands in the store', async () => {
  const c = await testCluster()
  const identity = await join(c)
  assert.equal(identity.role, 'worker')
  assert.equal(identity.clusterId, c.cluster.id)
  const node = c.store.view().nodes.get(identity.nodeId as NodeId)!
  assert.equal(node.spec.availability, 'drain')
  assert.equal(node.status.state, 'unknown')
  assert.equal(node.agent, 'shoal')
  assert.equal(node.number, 1)
  assert.equal(c.store.view().nodes.get((await join(c)).nodeId as NodeId)!.number, 2)
  const facts = await c.issuer.inspect(identity.certificatePem)
  assert.equal(facts.notAfter - c.clock.now(), 90 * 24 * 3_600_000)
  assert.equal(c.clock.now() - facts.notBefore, 3_600_000)
})

test('a wrong secret is refused in Swarm’s words; a token of another cluster does not match the root', async () => {
  const c = await testCluster()
  const forged = makeJoinToken(c.cluster.rootCaPem, createRandom(9))
  await assert.rejects(join(c, forged), { code: 'invalid-argument', message: 'A valid join token is necessary to join this cluster' })
  await assert.rejects(join(c, makeJoinToken('other', createRandom(9))), { message: 'remote CA does not match fingerprint' })
  assert.equal(c.store.view().nodes.size, 0)
})

test('the manager token makes managers of our own agents; a stock engine is refused and leaves no node behind', async () => {
  const c = await testCluster()
  await assert.rejects(join(c, c.cluster.joinTokens.manager, { ownAgent: false }), { code: 'failed-precondition' })
  assert.equal(c.store.view().nodes.size, 0)
  const identity = await join(c, c.cluster.joinTokens.manager)
  assert.equal(identity.role, 'manager')
  assert.equal(c.store.view().nodes.get(identity.nodeId as NodeId)?.role, 'manager')
})

test('a manager that is demoted gets a certificate of a worker when it has left the group, not before', async () => {
  const c = await testCluster()
  const identity = await join(c, c.cluster.joinTokens.manager)
  const nodeId = identity.nodeId as NodeId
  const renew = () =>
    requestCertificate({ rpc: rpcOf(c), issuer: c.issuer, clock: c.clock }, 'm:2377', { kind: 'renew', identity: () => identity })
  await c.write((tx) => {
    const node = tx.nodes.get(nodeId)!
    return tx.nodes.update({ ...node, spec: { ...node.spec, desiredRole: 'worker' } })
  })
  assert.equal((await renew()).role, 'manager')
  await c.write((tx) => tx.nodes.update({ ...tx.nodes.get(nodeId)!, role: 'worker' }))
  assert.equal((await renew()).role, 'worker')
})

test('a renewal keeps the node and needs no token; a removed node gets none', async () => {
  const c = await testCluster()
  const identity = await join(c)
  const renew = () =>
    requestCertificate({ rpc: rpcOf(c), issuer: c.issuer, clock: c.clock }, 'm:2377', { kind: 'renew', identity: () => identity })
  await c.write((tx) => {
    const node = tx.nodes.get(identity.nodeId as NodeId)!
    return tx.nodes.update({ ...node, certificate: { ...node.certificate, state: 'rotate' } })
  })
  await c.clock.advance(1000)
  const renewed = await renew()
  assert.equal(renewed.nodeId, identity.nodeId)
  assert.notEqual(renewed.certificatePem, identity.certificatePem)
  assert.equal(c.store.view().nodes.get(identity.nodeId as NodeId)!.certificate.state, 'issued')
  assert.equal(c.store.view().nodes.size, 1)
  await c.write((tx) => tx.nodes.delete(identity.nodeId as NodeId))
  await assert.rejects(renew(), { code: 'not-found' })
})

test('a certificate without a token is worth nothing when it is of another cluster', async () => {
  const c = await testCluster()
  const identity = await join(c)
  const channel = nodeChannel(caRoutes({ ...c, logger: silentLogger }), { clusterId: 'other', nodeId: identity.nodeId })
  const { csrPem } = await c.issuer.createCsr()
  await assert.rejects(channel.unary(NodeCA.method.issueNodeCertificate, { csr: new TextEncoder().encode(csrPem) }), {
    code: 'invalid-argument',
  })
})

test('garbage as a request is refused', async () => {
  const c = await testCluster()
  const channel = nodeChannel(caRoutes({ ...c, logger: silentLogger }), { clusterId: c.cluster.id })
  for (const csr of [new Uint8Array(), new Uint8Array(9000), new Uint8Array([0xff, 0xfe]), new TextEncoder().encode('x')]) {
    await assert.rejects(channel.unary(NodeCA.method.issueNodeCertificate, { csr, token: c.cluster.joinTokens.worker }), {
      code: 'invalid-argument',
    })
  }
})

test('certificates are renewed between 50 and 80 percent of their life, on a whole minute', () => {
  const random = createRandom(4)
  const life = 91 * 24 * 3_600_000
  for (let i = 0; i < 200; i += 1) {
    const delay = renewalDelayMs({ notBefore: 0, notAfter: life }, 0, random)
    assert.ok(delay >= life * 0.5 && delay <= life * 0.8)
    assert.equal(delay % 60_000, 0)
  }
  assert.equal(renewalDelayMs({ notBefore: 0, notAfter: life }, life, random), 0)
  assert.equal(renewalDelayMs({ notBefore: 0, notAfter: 60_000 }, 10_000, random), 20_000)
})

test('the same over TLS with real certificates: join, then renew with the certificate', { timeout: 20_000 }, async () => {
  const c = await testCluster()
  const now = realClock.now()
  const root = await realIssuer.createRoot(now)
  const cluster = await c.write((tx) =>
    tx.setCluster({
      ...tx.cluster!,
      rootCaPem: root.certificatePem,
      rootCaKeyPem: root.privateKeyPem,
      joinTokens: { worker: makeJoinToken(root.certificatePem, c.random), manager: makeJoinToken(root.certificatePem, c.random) },
    }),
  )
  const issuer: Issuer = realIssuer
  const own = await issuer.createCsr()
  const subject = { clusterId: cluster.id, nodeId: 'm1', role: 'manager' as const }
  const certificatePem = await issuer.issue(root, own.csrPem, subject, { notBefore: now - 1000, notAfter: now + 3_600_000 })
  const identity: Identity = { ...subject, certificatePem, privateKeyPem: own.privateKeyPem, rootCaPem: root.certificatePem }
  const rpc = createWireRpc({ logger: silentLogger })
  const server = await rpc.serve('127.0.0.1:0', () => identity, caRoutes({ ...c, issuer, clock: realClock, logger: silentLogger }))
  try {
    const token = cluster.joinTokens.worker
    const rootCaPem = await fetchRootCa(rpc, server.address, token)
    const deps = { rpc, issuer, clock: realClock }
    const joined = await requestCertificate(deps, server.address, { kind: 'join', token, rootCaPem, availability: 'active' })
    const renewed = await requestCertificate(deps, server.address, { kind: 'renew', identity: () => joined })
    assert.equal(renewed.nodeId, joined.nodeId)
    assert.notEqual(renewed.privateKeyPem, joined.privateKeyPem)
    assert.equal(c.store.view().nodes.get(joined.nodeId as NodeId)!.status.address, '127.0.0.1')
  } finally {
    await server.close()
  }
})
