// The simulated network: the Rpc port's conformance, and what only a simulated network can do.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  createFakeIssuer,
  createRandom,
  createVirtualClock,
  type VirtualClock,
  verifyFakeCertificate,
} from '../../src/ports/fakes/index.ts'
import { handle, type Identity, type Issuer } from '../../src/ports/index.ts'
import { Dispatcher } from '../../src/proto/index.ts'
import { createProcess, type SimProcess } from '../../src/sim/process.ts'
import { createSimNetwork, type SimNetwork } from '../../src/sim/rpc.ts'
import { rpcConformance } from '../ports/rpc-conformance.ts'

interface Bench {
  readonly clock: VirtualClock
  readonly net: SimNetwork
  readonly defects: string[]
  readonly a: SimProcess
  readonly b: SimProcess
  readonly identity: (role: 'worker' | 'manager', nodeId: string, root?: 'ours' | 'foreign') => Promise<Identity>
  settle<T>(promise: Promise<T>): Promise<T>
}

async function createBench(encodeEvery = 2): Promise<Bench> {
  const clock = createVirtualClock()
  const random = createRandom('rpc')
  const issuer: Issuer = createFakeIssuer(random)
  const roots = { ours: await issuer.createRoot(clock.now()), foreign: await issuer.createRoot(clock.now()) }
  const defects: string[] = []
  const net = createSimNetwork({
    clock,
    random,
    encodeEvery,
    verify: (certificate, root) => verifyFakeCertificate(certificate, root, clock.now()),
    onDefect: (what) => defects.push(what),
  })
  return {
    clock,
    net,
    defects,
    a: createProcess({ name: 'a', clock }),
    b: createProcess({ name: 'b', clock }),
    async identity(role, nodeId, root = 'ours') {
      const { csrPem, privateKeyPem } = await issuer.createCsr()
      const subject = { role, nodeId, clusterId: 'cluster' }
      const certificatePem = await issuer.issue(roots[root], csrPem, subject, { notBefore: 0, notAfter: clock.now() + 1e9 })
      return { ...subject, certificatePem, privateKeyPem, rootCaPem: roots[root].certificatePem }
    },
    async settle(promise) {
      let settled = false
      const done = () => {
        settled = true
      }
      promise.then(done, done)
      await clock.runUntil(() => settled, 120_000)
      assert.ok(settled, 'nothing came within two minutes')
      return promise
    },
  }
}

rpcConformance('simulated', async () => {
  const bench = await createBench()
  return {
    server: bench.net.rpc(bench.a, '10.0.0.1'),
    client: bench.net.rpc(bench.b, '10.0.0.2'),
    listenAddress: '0.0.0.0:0',
    reach: (address) => address.replace('0.0.0.0', '10.0.0.1'),
    deadAddress: '10.0.0.1:9',
    identity: bench.identity,
    settle: bench.settle,
    sleep: (ms) => bench.clock.advance(ms),
    close: async () => {},
  }
})

async function withServer(bench: Bench) {
  const log: string[] = []
  const manager = await bench.identity('manager', 'm1')
  const worker = await bench.identity('worker', 'w1')
  await bench.net.rpc(bench.a, '10.0.0.1').serve('0.0.0.0:2377', () => manager, [
    handle(Dispatcher.method.heartbeat, async () => ({})),
    handle(Dispatcher.method.session, async function* (_request, ctx) {
      for (let i = 0; !ctx.signal.aborted; i += 1) {
        yield { sessionId: String(i) }
        await bench.a.clock.sleep(1_000, ctx.signal).catch(() => {})
      }
      log.push('handler ended')
    }),
  ])
  const channel = bench.net
    .rpc(bench.b, '10.0.0.2')
    .connect('10.0.0.1:2377', { kind: 'mutual', serverName: 'swarm-manager', identity: () => worker })
  const seen: string[] = []
  const listen = () =>
    (async () => {
      for await (const message of channel.serverStream(Dispatcher.method.session, {})) seen.push(message.sessionId)
    })().catch((error: { code: string }) => log.push(`client ${error.code}`))
  return { channel, log, seen, listen }
}

test('a short partition delays a stream, a long one breaks both its ends', async () => {
  const bench = await createBench()
  const { channel, log, seen, listen } = await withServer(bench)
  void listen()
  await bench.clock.advance(3_500)
  assert.equal(seen.length, 4)
  bench.net.network.block('10.0.0.1', '10.0.0.2')
  await bench.clock.advance(5_000)
  assert.equal(seen.length, 4)
  bench.net.network.unblock('10.0.0.1', '10.0.0.2')
  await bench.clock.advance(1_000)
  assert.ok(seen.length >= 9, String(seen))
  assert.deepEqual(
    seen,
    Array.from({ length: seen.length }, (_, i) => String(i)),
  )
  bench.net.network.block('10.0.0.2', '10.0.0.1')
  await assert.rejects(bench.settle(channel.unary(Dispatcher.method.heartbeat, {})), { code: 'deadline-exceeded' })
  await bench.clock.advance(31_000)
  assert.deepEqual(log, ['client unavailable', 'handler ended'])
  await assert.rejects(bench.settle(channel.unary(Dispatcher.method.heartbeat, {}, { timeoutMs: 20_000 })), { code: 'unavailable' })
  bench.net.network.healAll()
  await bench.settle(channel.unary(Dispatcher.method.heartbeat, {}))
  assert.deepEqual(bench.defects, [])
})

test('a paused process neither runs timers nor hears messages, and gets all of it in order when it goes on', async () => {
  const bench = await createBench()
  const { channel, seen, listen } = await withServer(bench)
  void listen()
  await bench.clock.advance(2_500)
  bench.b.pause()
  await bench.clock.advance(3_000)
  assert.equal(seen.length, 3)
  bench.b.resume()
  await bench.clock.advance(1)
  assert.deepEqual(seen, ['0', '1', '2', '3', '4', '5'])
  bench.a.pause()
  await assert.rejects(bench.settle(channel.unary(Dispatcher.method.heartbeat, {})), { code: 'deadline-exceeded' })
  bench.a.resume()
  await bench.settle(channel.unary(Dispatcher.method.heartbeat, {}))
})

test('a killed process resets its connections; a host without power says nothing', async () => {
  for (const silent of [false, true]) {
    const bench = await createBench()
    const { log, listen } = await withServer(bench)
    void listen()
    await bench.clock.advance(1_500)
    if (silent) bench.net.network.silence('10.0.0.1')
    bench.a.kill()
    bench.net.processDied(bench.a)
    await bench.clock.advance(10)
    assert.deepEqual(log, silent ? [] : ['client unavailable'])
    await bench.clock.advance(20_000)
    assert.deepEqual(log, ['client unavailable'])
  }
})

test('the answers of a port reach only a process that runs', async () => {
  const clock = createVirtualClock()
  const process = createProcess({ name: 'p', clock })
  const port = process.gated({ answer: (n: number) => clock.sleep(n * 10).then(() => n) })
  const seen: number[] = []
  for (const n of [1, 2, 3]) void port.answer(n).then((value) => seen.push(value))
  await clock.advance(10)
  process.pause()
  await clock.advance(10)
  assert.deepEqual(seen, [1])
  process.resume()
  await clock.advance(0)
  assert.deepEqual(seen, [1, 2])
  process.kill()
  await clock.advance(100)
  assert.deepEqual(seen, [1, 2])
})
