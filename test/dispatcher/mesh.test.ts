// The mesh stream: snapshot, deltas, acknowledgements, and how fast a silent agent is found.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDispatcher } from '../../src/dispatcher/index.ts'
import { type NetworkId, type NodeId, type ServiceId, silentLogger, type TaskId } from '../../src/lib/index.ts'
import { TaskState } from '../../src/model/index.ts'
import { Mesh, type MeshUpdate, Dispatcher as Service } from '../../src/proto/index.ts'
import { attachmentOf, collect, nodeChannel, type TestCluster, testCluster } from './harness.ts'

async function bench() {
  const c = await testCluster()
  const dispatcher = createDispatcher({ ...c, logger: silentLogger, self: () => ({ nodeId: 'm1', address: '10.0.0.1:2377' }) })
  await c.addService('web')
  await c.write((tx) => {
    tx.networks.create({
      id: 'net' as NetworkId,
      spec: {
        name: 'ingress',
        labels: {},
        driver: 'overlay',
        driverOptions: {},
        ipv6: false,
        internal: false,
        attachable: false,
        ingress: true,
        ipamDriver: 'default',
        ipamOptions: {},
        ipam: [],
      },
      plane: 'shoal',
      vni: 4096,
      subnets: [{ subnet: '10.0.0.0/24', gateway: '10.0.0.1' }],
    })
    tx.services.create({
      id: 'web' as ServiceId,
      spec: { name: 'web', labels: {}, task: { container: { image: 'nginx' }, forceUpdate: 0 }, mode: { kind: 'replicated', replicas: 1 } },
      specVersion: 1,
      endpoint: {
        spec: {},
        ports: [{ protocol: 'tcp', targetPort: 80, publishedPort: 8080, publishMode: 'ingress' }],
        vips: [{ networkId: 'net' as NetworkId, address: '10.0.0.2/24' }],
      },
    })
  })
  dispatcher.start()
  return { ...c, dispatcher }
}
type Bench = TestCluster & { dispatcher: ReturnType<typeof createDispatcher> }

/** An agent of ours that answers pings and acknowledges while `alive` and `acking`. */
async function agent(b: Bench, id: string, ackedVersion = 0, dataPlaneOn = true) {
  const channel = nodeChannel(b.dispatcher.routes(), { clusterId: b.cluster.id, nodeId: id, ownAgent: true })
  const session = collect(channel.serverStream(Service.method.session, {}))
  await b.clock.settle()
  const state = { alive: true, acking: true, updates: [] as MeshUpdate[], pings: 0 }
  const outgoing: object[] = [{ msg: { case: 'hello', value: { ackedVersion: BigInt(ackedVersion), dataPlaneOn } } }]
  let wake = () => {}
  const say = (message: object) => {
    outgoing.push(message)
    wake()
  }
  async function* up() {
    for (;;) {
      const next = outgoing.shift()
      if (next) yield next
      else
        await new Promise<void>((resolve) => {
          wake = resolve
        })
    }
  }
  const heard = collect(
    (async function* () {
      for await (const { msg } of channel.bidiStream(Mesh.method.stream, up() as never)) {
        if (msg.case === 'ping') {
          state.pings += 1
          if (state.alive) say({ msg: { case: 'pong', value: { seq: msg.value.seq } } })
        } else if (msg.case === 'update') {
          state.updates.push(msg.value)
          if (state.alive && state.acking) say({ msg: { case: 'ack', value: { version: msg.value.version } } })
        }
        yield msg
      }
    })(),
  )
  await b.clock.settle()
  const heartbeat = () => channel.unary(Service.method.heartbeat, { sessionId: session.items[0]!.sessionId })
  return { channel, session, state, heard, say, heartbeat }
}

const running = { status: { state: TaskState.RUNNING, at: 0, message: '', error: '' } } as const

test('an agent gets a snapshot, then what changes; endpoints serve only while they run and are wanted', async () => {
  const b = await bench()
  await b.addNode('n1')
  const one = await agent(b, 'n1')
  const [snapshot] = one.state.updates
  assert.equal(snapshot?.snapshot, true)
  assert.deepEqual(
    snapshot?.networks.map((network) => [network.name, network.vni, network.subnet]),
    [['ingress', 4096, '10.0.0.0/24']],
  )
  assert.deepEqual(
    snapshot?.services[0]?.vips.map((vip) => vip.address),
    ['10.0.0.2'],
  )
  assert.deepEqual(
    snapshot?.services[0]?.ports.map((port) => [port.published, port.target]),
    [[8080, 80]],
  )
  await b.addTask('t1', 'n1', { attachments: attachmentOf('net', '10.0.0.5/24') })
  await b.clock.advance(100)
  const before = one.state.updates.length
  await b.patchTask('t1', running)
  await b.clock.advance(100)
  await b.patchTask('t1', { desiredState: TaskState.SHUTDOWN })
  await b.clock.advance(100)
  await b.patchTask('t1', { status: { ...running.status, state: TaskState.SHUTDOWN } })
  await b.clock.advance(100)
  const [up, draining, gone] = one.state.updates.slice(before)
  assert.deepEqual(
    up?.endpoints.map((e) => [e.taskId, e.serving, e.addresses[0]?.address]),
    [['t1', true, '10.0.0.5']],
  )
  assert.deepEqual(
    draining?.endpoints.map((e) => [e.taskId, e.serving]),
    [['t1', false]],
  )
  assert.deepEqual(gone?.goneEndpoints, ['t1'])
  assert.equal(draining?.base, up?.version)
})

test('endpoints of a node that is down do not serve', async () => {
  const b = await bench()
  await b.addNode('n1')
  await b.addNode('n2', 'shoal', { status: { state: 'ready', message: '', address: '10.0.0.8' } })
  await b.addTask('t1', 'n2', { ...running, attachments: attachmentOf('net', '10.0.0.5/24') })
  const one = await agent(b, 'n1')
  assert.equal(one.state.updates[0]?.endpoints[0]?.serving, true)
  await b.write((tx) => tx.nodes.update({ ...tx.nodes.get('n2' as NodeId)!, status: { state: 'down', message: '', address: '10.0.0.8' } }))
  await b.clock.advance(100)
  assert.equal(one.state.updates.at(-1)?.endpoints[0]?.serving, false)
})

test('the lowest acknowledged version waits for the slowest live agent with a data plane', async () => {
  const b = await bench()
  await b.addNode('n1')
  await b.addNode('n2')
  await b.addNode('n3')
  const one = await agent(b, 'n1')
  const two = await agent(b, 'n2')
  await agent(b, 'n3', 0, false) // no data plane: nobody waits for it
  await b.clock.advance(100)
  const { mesh } = b.dispatcher
  assert.equal(mesh.lowestAcked(), b.store.view().seq)
  const heard: number[] = []
  const unsubscribe = mesh.onAcked((version) => heard.push(version))
  two.state.acking = false
  const task = await b.addTask('t1', 'n1', { ...running, attachments: attachmentOf('net', '10.0.0.5/24') })
  await b.clock.advance(100)
  assert.ok(mesh.lowestAcked() < task.version)
  two.say({ msg: { case: 'ack', value: { version: two.state.updates.at(-1)!.version } } })
  await b.clock.advance(100)
  assert.ok(mesh.lowestAcked() >= task.version)
  assert.ok(heard.at(-1)! >= task.version)
  // what concerns nobody counts as acknowledged
  await b.addTask('t2', undefined, { status: { state: TaskState.NEW, at: 0, message: '', error: '' } })
  assert.equal(mesh.lowestAcked(), b.store.view().seq)
  unsubscribe()
  assert.equal(one.heard.ended, false)
})

test('an agent that comes back goes on where it was, or gets everything when that is too long ago', async () => {
  const b = await bench()
  await b.addNode('n1')
  const one = await agent(b, 'n1')
  await b.clock.advance(100)
  const acked = Number(one.state.updates.at(-1)!.version)
  one.channel.cut()
  await b.addTask('t1', 'n1', { ...running, attachments: attachmentOf('net', '10.0.0.5/24') })
  const back = await agent(b, 'n1', acked)
  assert.equal(back.state.updates[0]?.snapshot, false)
  assert.equal(Number(back.state.updates[0]?.base), acked)
  assert.deepEqual(
    back.state.updates[0]?.endpoints.map((endpoint) => endpoint.taskId),
    ['t1'],
  )
  back.channel.cut()
  const lost = await agent(b, 'n1', 10 ** 6)
  assert.equal(lost.state.updates[0]?.snapshot, true)
})

test('an agent that does not answer pings is down after five seconds; one that does stays', async () => {
  const b = await bench()
  await b.addNode('n1')
  await b.addNode('n2')
  const one = await agent(b, 'n1')
  const two = await agent(b, 'n2')
  await b.clock.advance(3_000)
  one.state.alive = false
  await b.clock.advance(4_500)
  assert.equal(b.store.view().nodes.get('n1' as NodeId)?.status.state, 'ready')
  await b.clock.advance(2_000)
  assert.equal(b.store.view().nodes.get('n1' as NodeId)?.status.state, 'down')
  assert.equal(b.store.view().nodes.get('n2' as NodeId)?.status.state, 'ready')
  assert.equal(one.heard.ended, true)
  assert.equal(two.heard.ended, false)
})

test('an agent whose connections have all broken is down after five seconds, and up again when it comes back in time', async () => {
  const b = await bench()
  await b.addNode('n1')
  const one = await agent(b, 'n1')
  one.channel.cut()
  await b.clock.advance(4_000)
  const back = await agent(b, 'n1')
  await b.clock.advance(4_000)
  assert.equal(b.store.view().nodes.get('n1' as NodeId)?.status.state, 'ready')
  back.channel.cut()
  await b.clock.advance(6_500)
  assert.equal(b.store.view().nodes.get('n1' as NodeId)?.status.state, 'down')
})

test('a stock engine is not served, and what was never sent cannot be acknowledged', async () => {
  const b = await bench()
  await b.addNode('n1')
  const one = await agent(b, 'n1')
  one.say({ msg: { case: 'ack', value: { version: 10n ** 9n } } })
  await b.clock.settle()
  assert.equal((one.heard.error as { code: string }).code, 'invalid-argument')
  const stock = nodeChannel(b.dispatcher.routes(), { clusterId: b.cluster.id, nodeId: 'n1', ownAgent: false })
  const session = collect(stock.serverStream(Service.method.session, {}))
  await b.clock.settle()
  const mesh = collect(stock.bidiStream(Mesh.method.stream, (async function* () {})()))
  await b.clock.settle()
  assert.equal(session.items.length, 1)
  assert.equal((mesh.error as { code: string }).code, 'permission-denied')
})

test('the store learns whether the data plane of a node is on', async () => {
  const b = await bench()
  await b.addNode('n1')
  await agent(b, 'n1', 0, true)
  assert.equal(b.store.view().nodes.get('n1' as NodeId)?.dataPlane.on, true)
  assert.equal(b.store.view().tasks.get('x' as TaskId), undefined)
})
