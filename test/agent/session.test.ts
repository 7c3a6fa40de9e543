// The session client: registration, reconnects, chain of assignments, mesh acknowledgements, logs.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { MESH_LEASE_MS, TaskState as S } from '../../src/model/index.ts'
import { MeshUpdateSchema } from '../../src/proto/index.ts'
import { createWorld, ManagerStub, NODE, secret, task } from './support.ts'

const update = (version: bigint, base = 0n) =>
  create(MeshUpdateSchema, {
    snapshot: base === 0n,
    base,
    version,
    peers: [{ nodeId: 'n1', number: 1, address: '10.0.0.1', hostname: 'host1' }],
  })

describe('the session', () => {
  it('registers with the description of the engine and says when it stands', async () => {
    const { agent, manager } = await createWorld()
    await agent.connected()
    assert.equal(manager.sessions, 1)
    assert.deepEqual(manager.sessionDescriptions, ['host1'])
    assert.equal(agent.status().connected, true)
    assert.equal(agent.status().manager, 'm1:2377')
  })

  it('comes back after the connection breaks and tells every task again', async () => {
    const { manager, rpc, clock, until } = await createWorld()
    manager.run(task('t1'))
    await until(() => manager.last('t1')?.state === S.RUNNING)
    manager.reports.length = 0
    rpc.cut()
    await until(() => manager.sessions === 2)
    await clock.advance(1_000)
    assert.equal(manager.last('t1')?.state, S.RUNNING)
  })

  it('tries without end while there is no manager, at most every 8 s', async () => {
    const { agent, manager, rpc, clock, until } = await createWorld()
    rpc.unlisten('m1:2377')
    rpc.cut()
    await clock.advance(300_000)
    assert.equal(agent.status().connected, false)
    assert.match(agent.status().error, /nobody listens/)
    rpc.listen('m1:2377', manager.routes())
    await until(() => agent.status().connected, 8_100)
  })

  it('goes to another manager of the list that it was told', async () => {
    const told: string[] = []
    const manager = new ManagerStub()
    manager.managers = [
      { nodeId: 'm1', address: 'm1:2377' },
      { nodeId: 'm2', address: 'm2:2377' },
    ]
    const { agent, rpc, until } = await createWorld({
      manager,
      deps: { onManagers: (list) => told.push(...list.map((peer) => peer.address)) },
    })
    assert.deepEqual(told, ['m1:2377', 'm2:2377'])
    rpc.listen('m2:2377', manager.routes())
    rpc.unlisten('m1:2377')
    rpc.cut()
    await until(() => agent.status().manager === 'm2:2377', 20_000)
  })

  it('begins anew when the chain of assignments is broken', async () => {
    const { manager, until } = await createWorld()
    manager.breakChain()
    await until(() => manager.sessions === 2)
    manager.run(task('t1'))
    await until(() => manager.last('t1')?.state === S.RUNNING)
  })

  it('passes on that the certificate is to be renewed and what the node shall be', async () => {
    const said: string[] = []
    const manager = new ManagerStub()
    manager.rotate = true
    await createWorld({ manager, deps: { onRotateCertificate: () => said.push('rotate'), onDesiredRole: (role) => said.push(role) } })
    assert.deepEqual(said, ['rotate', 'worker'])
  })

  it('gives a task the secrets that came with it', async () => {
    const { manager, engine, until } = await createWorld()
    manager.send(
      {
        action: 'update',
        kind: 'task',
        task: task('t1', S.RUNNING, {
          secrets: [{ secretId: 'pw' as never, secretName: 'pw', file: { name: 'pw', uid: '1', gid: '2', mode: 0o400 } }],
        }),
      },
      secret('pw', 'hush'),
    )
    await until(() => manager.last('t1')?.state === S.RUNNING)
    const [file] = engine.containers()[0]!.plan.files
    assert.deepEqual(
      { ...file, data: new TextDecoder().decode(file?.data) },
      { target: '/run/secrets/pw', data: 'hush', uid: 1, gid: 2, mode: 0o400 },
    )
  })
})

/** The version that was announced when the mesh stream was opened last. */
function lastHello(manager: ManagerStub): bigint | undefined {
  const { msg } = manager.meshUp.findLast((up) => up.msg.case === 'hello') ?? { msg: undefined }
  return msg?.case === 'hello' ? msg.value.ackedVersion : undefined
}

describe('the mesh stream', () => {
  it('acknowledges what the kernel has, and answers pings while the kernel is slow', async () => {
    const { manager, dataPlane, clock } = await createWorld()
    const up = () =>
      manager.meshUp.map(({ msg }) => {
        if (msg.case === 'pong') return `pong ${msg.value.seq}`
        if (msg.case === 'ack') return `ack ${msg.value.version}`
        return msg.case === 'hello' ? `hello ${msg.value.ackedVersion}` : msg.case
      })
    assert.deepEqual(up(), ['hello 0'])
    let release = () => {}
    dataPlane.hold = new Promise((resolve) => {
      release = resolve
    })
    manager.mesh({ case: 'update', value: update(5n) })
    manager.mesh({ case: 'ping', value: { seq: 1n } as never })
    await clock.advance(1_000)
    assert.deepEqual(up(), ['hello 0', 'pong 1'])
    release()
    await clock.advance(10)
    assert.deepEqual(up(), ['hello 0', 'pong 1', 'ack 5'])
  })

  it('announces its last acknowledgement after a reconnect and asks for a snapshot when a change does not fit', async () => {
    const { manager, rpc, clock, until } = await createWorld()
    manager.mesh({ case: 'update', value: update(5n) })
    await clock.advance(100)
    rpc.cut()
    await until(() => manager.sessions === 2)
    await clock.advance(100)
    assert.equal(lastHello(manager), 5n)
    manager.mesh({ case: 'update', value: update(9n, 7n) })
    await clock.advance(1_000)
    assert.equal(lastHello(manager), 0n)
  })
})

describe('draining and the lease', () => {
  it('says that a task has no connections left, once it is so, and only to who has asked', async () => {
    const { manager, dataPlane, clock, rpc, until } = await createWorld()
    const said = () => manager.meshUp.flatMap(({ msg }) => (msg.case === 'drained' ? msg.value.taskIds : []))
    dataPlane.busy.add('t1')
    manager.mesh({ case: 'drain', value: { taskIds: ['t1', 't2'] } as never })
    await clock.advance(1_000)
    assert.deepEqual(said(), ['t2'])
    rpc.cut()
    await until(() => manager.sessions === 2)
    await clock.advance(1_000)
    dataPlane.busy.delete('t1')
    await clock.advance(1_000)
    assert.deepEqual(said(), ['t2'], 'nobody has asked on the new stream')
    manager.mesh({ case: 'drain', value: { taskIds: ['t1'] } as never })
    await clock.advance(100)
    assert.deepEqual(said(), ['t2', 't1'])
  })

  it('sends nothing to other nodes when no manager was heard of for the lease, and begins with a snapshot then', async () => {
    const { manager, dataPlane, rpc, clock, until } = await createWorld()
    const endpoint = (taskId: string, nodeId: string) => ({ taskId, nodeId, serviceId: 's', serving: true, addresses: [], slot: 1 })
    manager.mesh({ case: 'update', value: { ...update(5n), endpoints: [endpoint('mine', NODE), endpoint('theirs', 'n2')] } as never })
    await clock.advance(100)
    const known = () => [...(dataPlane.states.at(-1)?.endpoints.keys() ?? [])]
    assert.deepEqual(known(), ['mine', 'theirs'])
    rpc.unlisten('m1:2377')
    rpc.cut()
    await clock.advance(MESH_LEASE_MS - 1_000)
    assert.deepEqual(known(), ['mine', 'theirs'])
    await clock.advance(2_000)
    assert.deepEqual(known(), ['mine'])
    rpc.listen('m1:2377', manager.routes())
    const { sessions } = manager
    await until(() => manager.sessions > sessions)
    await clock.advance(100)
    assert.equal(lastHello(manager), 0n)
  })
})

describe('log subscriptions', () => {
  const running = async () => {
    const world = await createWorld()
    world.manager.run(task('t1'))
    await world.until(() => world.manager.last('t1')?.state === S.RUNNING)
    const id = world.engine.containers()[0]!.id
    return { ...world, id }
  }
  const texts = (manager: ManagerStub) => manager.lines.map((line) => new TextDecoder().decode(line.data).trim())

  it('bring what is there and end by themselves', async () => {
    const { manager, engine, clock, id } = await running()
    engine.print(id, 'stdout', 'one')
    engine.print(id, 'stderr', 'two')
    manager.subscribe('a')
    await clock.advance(100)
    assert.deepEqual(texts(manager), ['one', 'two'])
    assert.deepEqual(manager.closedSubscriptions, ['a'])
    assert.equal(manager.lines[0]?.taskId, 't1')
  })

  it('bring the last lines only, or one stream only', async () => {
    const { manager, engine, clock, id } = await running()
    for (const text of ['1', '2', '3']) engine.print(id, 'stdout', text)
    engine.print(id, 'stderr', 'e')
    manager.subscribe('a', { tail: 2, stderr: false })
    await clock.advance(100)
    assert.deepEqual(texts(manager), ['2', '3'])
  })

  it('follow until they are closed, with tasks that come later', async () => {
    const { manager, engine, clock, until, id } = await running()
    manager.subscribe('a', { follow: true })
    await clock.advance(100)
    engine.print(id, 'stdout', 'later')
    manager.run(task('t2', S.RUNNING, {}, { slot: 2 }))
    await until(() => manager.last('t2')?.state === S.RUNNING)
    await clock.advance(100)
    engine.print(engine.containers()[1]!.id, 'stdout', 'other')
    await clock.advance(100)
    assert.deepEqual(texts(manager), ['later', 'other'])
    assert.deepEqual(manager.closedSubscriptions, [])
    manager.unsubscribe('a')
    await clock.advance(100)
    assert.deepEqual(manager.closedSubscriptions, ['a'])
  })

  it('end at once when no task matches', async () => {
    const { manager, clock } = await createWorld()
    manager.subscribe('a')
    await clock.advance(100)
    assert.deepEqual(manager.closedSubscriptions, ['a'])
  })
})
