// What stock engines do to a TLS server, and what must not pass it.
import assert from 'node:assert/strict'
import { connect as connectHttp2 } from 'node:http2'
import { test } from 'node:test'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { realIssuer } from '../../src/ca/index.ts'
import { silentLogger } from '../../src/lib/index.ts'
import { handle, type Identity, realClock } from '../../src/ports/index.ts'
import { Dispatcher } from '../../src/proto/index.ts'
import { createWireRpc, parseHostPort } from '../../src/wire/index.ts'

const now = realClock.now()
const root = await realIssuer.createRoot(now)
const rpc = createWireRpc({ logger: silentLogger })
const routes = [
  handle(Dispatcher.method.heartbeat, async (_request, { peer }) => ({ period: { seconds: BigInt(peer.nodeId?.length ?? 0), nanos: 0 } })),
]

async function identity(role: 'worker' | 'manager', nodeId: string, lifeMs = 3_600_000, clusterId = 'cluster'): Promise<Identity> {
  const { csrPem, privateKeyPem } = await realIssuer.createCsr()
  const subject = { role, nodeId, clusterId }
  const certificatePem = await realIssuer.issue(root, csrPem, subject, { notBefore: now - 7_200_000, notAfter: now + lifeMs })
  return { ...subject, certificatePem, privateKeyPem, rootCaPem: root.certificatePem }
}

function tls(address: string, who: Identity, alpn?: string[]): Promise<TLSSocket> {
  const { host, port } = parseHostPort(address)
  return new Promise((resolve, reject) => {
    const options = { host, port, ca: who.rootCaPem, cert: who.certificatePem, key: who.privateKeyPem, servername: 'swarm-manager' }
    const socket = connectTls({ ...options, ...(alpn ? { ALPNProtocols: alpn } : {}) }, () => resolve(socket))
    socket.once('error', reject)
  })
}

test('a client that offers no ALPN is served, as stock engines offer none after a renewal', { timeout: 20_000 }, async () => {
  const server = await rpc.serve('127.0.0.1:0', await identity('manager', 'm1').then((mine) => () => mine), routes)
  try {
    const socket = await tls(server.address, await identity('worker', 'w1'))
    assert.equal(socket.alpnProtocol, false)
    const session = connectHttp2(`https://${server.address}`, { createConnection: () => socket })
    const status = await new Promise<string>((resolve, reject) => {
      const stream = session.request({
        ':method': 'POST',
        ':path': '/docker.swarmkit.v1.Dispatcher/Heartbeat',
        'content-type': 'application/grpc',
        te: 'trailers',
      })
      stream.on('error', reject)
      stream.on('trailers', (trailers) => resolve(String(trailers['grpc-status'])))
      stream.on('data', () => {})
      stream.end(Buffer.from([0, 0, 0, 0, 0]))
    })
    assert.equal(status, '0')
    session.close()
  } finally {
    await server.close()
  }
})

test('a renewed certificate of the server is in use at the next connection', { timeout: 20_000 }, async () => {
  let current = await identity('manager', 'm1')
  const server = await rpc.serve('127.0.0.1:0', () => current, routes)
  try {
    const worker = await identity('worker', 'w1')
    const serial = async () => {
      const socket = await tls(server.address, worker, ['h2'])
      const { serialNumber } = socket.getPeerCertificate()
      socket.destroy()
      return serialNumber
    }
    const before = await serial()
    assert.equal(await serial(), before)
    current = await identity('manager', 'm1')
    assert.notEqual(await serial(), before)
  } finally {
    await server.close()
  }
})

test('an ended certificate and one of another cluster count as none', { timeout: 20_000 }, async () => {
  const server = await rpc.serve('127.0.0.1:0', await identity('manager', 'm1').then((mine) => () => mine), routes)
  try {
    const attempt = async (who: Identity) => {
      const channel = rpc.connect(server.address, { kind: 'mutual', identity: () => who, serverName: 'swarm-manager' })
      try {
        return await channel.unary(Dispatcher.method.heartbeat, {})
      } finally {
        channel.close()
      }
    }
    assert.equal((await attempt(await identity('worker', 'w1'))).period?.seconds, 2n)
    await assert.rejects(attempt(await identity('worker', 'w1', -60_000)), { code: 'permission-denied' })
    await assert.rejects(attempt(await identity('worker', 'w1', 60_000, 'elsewhere')), { code: 'permission-denied' })
  } finally {
    await server.close()
  }
})

test('a client does not talk to a node that cannot prove to be a manager', { timeout: 20_000 }, async () => {
  const server = await rpc.serve('127.0.0.1:0', await identity('worker', 'w2').then((mine) => () => mine), routes)
  const worker = await identity('worker', 'w1')
  const channel = rpc.connect(server.address, { kind: 'mutual', identity: () => worker, serverName: 'swarm-manager' })
  try {
    await assert.rejects(channel.unary(Dispatcher.method.heartbeat, {}), { code: 'unavailable' })
  } finally {
    channel.close()
    await server.close()
  }
})

test('garbage on the port harms nobody', { timeout: 20_000 }, async () => {
  const server = await rpc.serve('127.0.0.1:0', await identity('manager', 'm1').then((mine) => () => mine), routes)
  try {
    const worker = await identity('worker', 'w1')
    const socket = await tls(server.address, worker, ['h2'])
    socket.on('error', () => {})
    socket.write(Buffer.from('GET / HTTP/1.1\r\n\r\n'))
    await new Promise((resolve) => socket.once('close', resolve).resume())
    const channel = rpc.connect(server.address, { kind: 'mutual', identity: () => worker, serverName: 'swarm-manager' })
    await channel.unary(Dispatcher.method.heartbeat, {})
    channel.close()
  } finally {
    await server.close()
  }
})

test('addresses are host:port and nothing else', () => {
  assert.deepEqual(parseHostPort('[::1]:2377'), { host: '::1', port: 2377 })
  assert.deepEqual(parseHostPort('mgr1:0'), { host: 'mgr1', port: 0 })
  for (const wrong of ['', 'mgr1', ':2377', 'mgr1:99999', 'a b:1', '::1:2377'])
    assert.throws(() => parseHostPort(wrong), { code: 'invalid-argument' })
})
