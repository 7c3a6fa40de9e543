// A task's life on a node: states, ends, restarts of agent and engine, with a fake engine and a virtual clock.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { TaskId } from '../../src/lib/index.ts'
import { TaskState as S } from '../../src/model/index.ts'
import { createWorld, task } from './support.ts'

const NETWORK = {
  id: 'net1' as never,
  name: 'front',
  labels: {},
  driver: 'overlay',
  vni: 4097,
  subnet: '10.0.1.0/24',
  gateway: '10.0.1.1',
  mtu: 0,
  internal: false,
  attachable: false,
  ingress: false,
}

describe('a task', () => {
  it('goes from assigned to running and says so', async () => {
    const { manager, engine, until } = await createWorld({ images: [], registry: ['nginx'] })
    manager.run(task('t1'))
    await until(() => manager.last('t1')?.state === S.RUNNING)
    const states = manager.states('t1')
    assert.deepEqual(
      states,
      [...states].sort((a, b) => a - b),
    )
    assert.equal(manager.last('t1')?.message, 'started')
    const [container] = engine.containers()
    assert.equal(container?.name, 'web.1.t1')
    assert.equal(manager.last('t1')?.container?.containerId, container?.id)
    assert.equal(container?.labels['com.docker.swarm.task'], '')
    assert.equal(container?.labels['com.docker.swarm.service.name'], 'web')
  })

  it('holds at ready until it is wanted running', async () => {
    const { manager, engine, clock, until } = await createWorld()
    manager.run(task('t1', S.READY))
    await until(() => manager.last('t1')?.state === S.READY)
    await clock.advance(120_000)
    assert.equal(engine.containers()[0]?.status, 'created')
    manager.run(task('t1', S.RUNNING))
    await until(() => manager.last('t1')?.state === S.RUNNING)
  })

  it('is complete when its process ends with 0, and runs for a job too', async () => {
    const { manager, until } = await createWorld({ behaviour: () => ({ exitAfterMs: 100, exitCode: 0 }) })
    manager.run(task('t1', S.COMPLETE))
    await until(() => manager.last('t1')?.state === S.COMPLETE)
    assert.equal(manager.last('t1')?.message, 'finished')
  })

  it('fails with the exit code of its process', async () => {
    const { manager, until } = await createWorld({ behaviour: () => ({ exitAfterMs: 100, exitCode: 3 }) })
    manager.run(task('t1'))
    await until(() => manager.last('t1')?.state === S.FAILED)
    assert.equal(manager.last('t1')?.error, 'task: non-zero exit (3)')
    assert.equal(manager.last('t1')?.container?.exitCode, 3)
  })

  it('is rejected when there is no image, and when the plan cannot work', async () => {
    const { manager, until } = await createWorld({
      images: ['nginx'],
      behaviour: (plan) => (plan.env.includes('BAD=1') ? { createError: 'invalid mount config' } : {}),
    })
    manager.run(task('t1', S.RUNNING, { image: 'none:1' }))
    manager.run(task('t2', S.RUNNING, { env: ['BAD=1'] }))
    manager.run(task('t3', S.RUNNING, { env: ['X={{.Nope}}'] }))
    manager.run(
      task('t4', S.RUNNING, {
        secrets: [{ secretId: 'gone' as never, secretName: 'pw', file: { name: 'pw', uid: '0', gid: '0', mode: 0o444 } }],
      }),
    )
    await until(() => ['t1', 't2', 't3', 't4'].every((id) => manager.last(id)?.state === S.REJECTED))
    assert.equal(manager.last('t1')?.error, 'No such image: none:1')
    assert.equal(manager.last('t2')?.error, 'invalid mount config')
    assert.match(manager.last('t3')?.error ?? '', /^expanding env failed/)
    assert.match(manager.last('t4')?.error ?? '', /^secret pw \(gone\) not found/)
    assert.equal(manager.last('t1')?.message, 'preparing')
  })

  it('fails when its container cannot be started', async () => {
    const { manager, until } = await createWorld({ behaviour: () => ({ startError: 'exec: "nope": not found' }) })
    manager.run(task('t1'))
    await until(() => manager.last('t1')?.state === S.FAILED)
    assert.equal(manager.last('t1')?.error, 'starting container failed: exec: "nope": not found')
  })

  it('runs only when its health check says so, also the one of its image', async () => {
    const { manager, clock, until } = await createWorld({ behaviour: () => ({ health: { afterMs: 5_000, outcome: 'healthy' } }) })
    manager.run(task('t1'))
    await until(() => manager.last('t1')?.state === S.STARTING)
    await clock.advance(4_000)
    assert.equal(manager.last('t1')?.state, S.STARTING)
    await until(() => manager.last('t1')?.state === S.RUNNING)
  })

  it('fails as unhealthy, before and after it ran', async () => {
    const { manager, engine, until } = await createWorld({
      behaviour: (plan) => ({ health: { afterMs: 1_000, outcome: plan.name.includes('t1') ? 'unhealthy' : 'healthy' }, stopExitCode: 7 }),
    })
    manager.run(task('t1'))
    manager.run(task('t2', S.RUNNING, {}, { slot: 2 }))
    await until(() => manager.last('t1')?.state === S.FAILED)
    assert.equal(manager.last('t1')?.error, 'task: non-zero exit (7): dockerexec: unhealthy container')
    await until(() => manager.last('t2')?.state === S.RUNNING)
    engine.setHealth(manager.last('t2')!.container!.containerId, 'unhealthy')
    await until(() => manager.last('t2')?.state === S.FAILED)
  })

  it('is shut down with its grace and keeps its container until it is removed', async () => {
    const { manager, engine, until } = await createWorld({ behaviour: () => ({ stopMs: 60_000 }) })
    manager.run(task('t1', S.RUNNING, { stopGracePeriodNs: 3e9 }))
    await until(() => manager.last('t1')?.state === S.RUNNING)
    manager.run(task('t1', S.SHUTDOWN, { stopGracePeriodNs: 3e9 }))
    await until(() => manager.last('t1')?.state === S.SHUTDOWN, 4_000)
    assert.equal(manager.last('t1')?.message, 'shutdown')
    assert.equal(manager.last('t1')?.container?.exitCode, 137)
    assert.equal(engine.containers().length, 1)
    manager.remove('t1' as TaskId)
    await until(() => engine.containers().length === 0)
  })

  it('is shut down while its image is still being pulled', async () => {
    const { manager, engine, clock, until } = await createWorld({ images: [], registry: ['nginx'], pullMs: 600_000 })
    manager.run(task('t1'))
    await until(() => manager.last('t1')?.state === S.PREPARING)
    await clock.advance(1_000)
    manager.run(task('t1', S.SHUTDOWN))
    await until(() => manager.last('t1')?.state === S.SHUTDOWN, 1_000)
    assert.equal(engine.containers().length, 0)
  })

  it('is removed by force when the managers forget it while it runs', async () => {
    const { manager, engine, until } = await createWorld({ behaviour: () => ({ stopMs: 60_000 }) })
    manager.run(task('t1'))
    await until(() => manager.last('t1')?.state === S.RUNNING)
    manager.remove('t1' as TaskId)
    await until(() => engine.containers().length === 0, 2_000)
  })

  it('fails when somebody removes or kills its container', async () => {
    const { manager, engine, until } = await createWorld()
    manager.run(task('t1'))
    manager.run(task('t2', S.RUNNING, {}, { slot: 2 }))
    await until(() => manager.last('t1')?.state === S.RUNNING && manager.last('t2')?.state === S.RUNNING)
    engine.removeByHand(manager.last('t1')!.container!.containerId)
    engine.exit(manager.last('t2')!.container!.containerId, 137)
    await until(() => manager.last('t1')?.state === S.FAILED && manager.last('t2')?.state === S.FAILED)
    assert.match(manager.last('t1')?.error ?? '', /^No such container: /)
    assert.equal(manager.last('t2')?.error, 'task: non-zero exit (137)')
  })

  it('reports host ports as the engine bound them', async () => {
    const { manager, until } = await createWorld()
    manager.run(
      task(
        't1',
        S.RUNNING,
        {},
        {
          ports: [
            { protocol: 'tcp', targetPort: 80, publishedPort: 8282, publishMode: 'host' },
            { protocol: 'udp', targetPort: 53, publishedPort: 0, publishMode: 'host' },
            { protocol: 'tcp', targetPort: 80, publishedPort: 8080, publishMode: 'ingress' },
          ],
        },
      ),
    )
    await until(() => manager.last('t1')?.state === S.RUNNING)
    assert.deepEqual(manager.last('t1')?.ports, [
      { protocol: 'tcp', targetPort: 80, publishedPort: 8282 },
      { protocol: 'udp', targetPort: 53, publishedPort: 32768 },
    ])
  })

  it('gets its networks before it is created, and gives them back when it has ended', async () => {
    const { manager, engine, dataPlane, until } = await createWorld()
    const attached = { attachments: [{ network: NETWORK, addresses: ['10.0.1.5/24'], aliases: [] }] }
    manager.run(task('t1', S.RUNNING, {}, attached))
    await until(() => manager.last('t1')?.state === S.RUNNING)
    assert.deepEqual(
      dataPlane.calls.filter((call) => call.includes(' t1') || call === 'hairpin'),
      ['attach t1', 'hairpin'],
    )
    assert.equal(engine.networks()[0]?.name, 'shoal-n-net1')
    assert.equal(engine.containers()[0]?.plan.networks[0]?.address, '10.0.1.5')
    manager.run(task('t2', S.RUNNING, {}, { ...attached, slot: 2 }))
    await until(() => manager.last('t2')?.state === S.RUNNING)
    manager.run(task('t1', S.SHUTDOWN, {}, attached))
    await until(() => dataPlane.calls.includes('detach t1'))
    assert.equal(engine.networks().length, 1)
    manager.run(task('t2', S.SHUTDOWN, {}, { ...attached, slot: 2 }))
    await until(() => dataPlane.calls.includes('detach t2'))
    assert.equal(engine.networks().length, 0)
  })

  it('is rejected with the reason when the data plane is off', async () => {
    const { manager, dataPlane, until } = await createWorld()
    dataPlane.off = 'this node cannot attach tasks to swarm networks: switched off'
    manager.run(task('t1', S.RUNNING, {}, { attachments: [{ network: NETWORK, addresses: ['10.0.1.5/24'], aliases: [] }] }))
    await until(() => manager.last('t1')?.state === S.REJECTED)
    assert.match(manager.last('t1')?.error ?? '', /switched off/)
  })

  it('uses the network of the host where a network says so', async () => {
    const { manager, engine, until } = await createWorld()
    manager.run(
      task('t1', S.RUNNING, {}, { attachments: [{ network: { ...NETWORK, driver: 'host', name: 'host' }, addresses: [], aliases: [] }] }),
    )
    await until(() => manager.last('t1')?.state === S.RUNNING)
    assert.equal(engine.containers()[0]?.plan.networkMode, 'host')
  })
})

describe('when the engine goes away', () => {
  it('no task fails, and what happened meanwhile is seen afterwards', async () => {
    const { manager, engine, clock, until } = await createWorld()
    manager.run(task('t1'))
    manager.run(task('t2', S.RUNNING, {}, { slot: 2 }))
    await until(() => manager.last('t1')?.state === S.RUNNING && manager.last('t2')?.state === S.RUNNING)
    engine.down()
    await clock.advance(70_000)
    engine.exit(manager.last('t2')!.container!.containerId, 9)
    manager.run(task('t3', S.RUNNING, {}, { slot: 3 }))
    await clock.advance(10_000)
    assert.equal(manager.last('t1')?.state, S.RUNNING)
    assert.notEqual(manager.last('t3')?.state, S.REJECTED)
    engine.up()
    await until(() => manager.last('t2')?.state === S.FAILED && manager.last('t3')?.state === S.RUNNING, 10_000)
    assert.equal(manager.last('t2')?.error, 'task: non-zero exit (9)')
    assert.equal(manager.last('t1')?.state, S.RUNNING)
  })

  it('a task that runs goes on running although its health checks begin anew', async () => {
    const { manager, engine, clock, until } = await createWorld({ behaviour: () => ({ health: { afterMs: 1_000, outcome: 'healthy' } }) })
    manager.run(task('t1'))
    await until(() => manager.last('t1')?.state === S.RUNNING)
    engine.down()
    await clock.advance(1_000)
    engine.up()
    await clock.advance(100)
    assert.equal(engine.containers()[0]?.health, 'starting')
    await clock.advance(5_000)
    assert.equal(manager.states('t1').at(-1), S.RUNNING)
    assert.equal(manager.states('t1').filter((state) => state === S.RUNNING).length, 1)
  })

  it('a start and a stop that it interrupts are done again', async () => {
    const { manager, engine, clock, until } = await createWorld({ behaviour: () => ({ startMs: 1_000, stopMs: 1_000 }) })
    manager.run(task('t1'))
    await until(() => manager.last('t1')?.state === S.STARTING)
    await clock.advance(500)
    engine.down()
    await clock.advance(3_000)
    engine.up()
    await until(() => manager.last('t1')?.state === S.RUNNING)
    manager.run(task('t1', S.SHUTDOWN))
    await clock.advance(100)
    engine.down()
    await clock.advance(3_000)
    engine.up()
    await until(() => manager.last('t1')?.state === S.SHUTDOWN)
  })
})

describe('when the agent is killed and starts again', () => {
  it('running containers are taken over untouched', async () => {
    const world = await createWorld()
    const { manager, engine, until } = world
    manager.run(task('t1'))
    await until(() => manager.last('t1')?.state === S.RUNNING)
    const before = engine.containers()[0]!
    await world.restart()
    await until(() => manager.sessions === 2)
    await world.clock.advance(5_000)
    const [after] = engine.containers()
    assert.equal(engine.containers().length, 1)
    assert.equal(after?.id, before.id)
    assert.equal(after?.startedAt, before.startedAt)
    assert.equal(manager.last('t1')?.state, S.RUNNING)
    const states = manager.states('t1')
    assert.deepEqual(
      states,
      [...states].sort((a, b) => a - b),
    )
  })

  it('the networks of running containers are kept', async () => {
    const world = await createWorld()
    const { manager, engine, dataPlane, until } = world
    const attached = { attachments: [{ network: NETWORK, addresses: ['10.0.1.5/24'], aliases: [] }] }
    manager.run(task('t1', S.RUNNING, {}, attached))
    await until(() => manager.last('t1')?.state === S.RUNNING)
    await world.restart()
    await until(() => dataPlane.calls.includes('local t1'))
    manager.run(task('t2', S.RUNNING, {}, { ...attached, slot: 2 }))
    await until(() => manager.last('t2')?.state === S.RUNNING)
    manager.run(task('t2', S.SHUTDOWN, {}, { ...attached, slot: 2 }))
    await until(() => dataPlane.calls.includes('detach t2'))
    assert.equal(engine.networks().length, 1)
    manager.run(task('t1', S.SHUTDOWN, {}, attached))
    await until(() => engine.networks().length === 0)
  })

  it('running containers are taken over even when the records are lost', async () => {
    const world = await createWorld()
    const { manager, engine, until } = world
    manager.run(task('t1'))
    await until(() => manager.last('t1')?.state === S.RUNNING)
    manager.changes = [{ action: 'update', kind: 'task', task: task('t1', S.RUNNING, {}, { knownState: S.RUNNING }) }]
    await world.disk.remove('agent')
    await world.restart()
    await world.clock.advance(5_000)
    assert.equal(engine.containers().length, 1)
    assert.equal(engine.containers()[0]?.status, 'running')
    assert.equal(manager.last('t1')?.state, S.RUNNING)
  })

  it('what ended meanwhile is reported, and what had ended does not run again', async () => {
    const world = await createWorld({ images: ['nginx'] })
    const { manager, engine, until } = world
    manager.run(task('t1'))
    manager.run(task('t2', S.RUNNING, { image: 'none' }, { slot: 2 }))
    await until(() => manager.last('t1')?.state === S.RUNNING && manager.last('t2')?.state === S.REJECTED)
    await world.agent.stop()
    engine.exit(engine.containers()[0]!.id, 4)
    engine.setImage('none', true)
    await world.restart()
    await until(() => manager.last('t1')?.state === S.FAILED)
    await world.clock.advance(5_000)
    assert.equal(engine.containers().length, 1)
    assert.equal(manager.last('t2')?.state, S.REJECTED)
  })

  it('containers that no task claims go, but not before the managers have said everything', async () => {
    const world = await createWorld()
    const { manager, engine, until } = world
    manager.run(task('t1'))
    manager.run(task('t2', S.RUNNING, {}, { slot: 2 }))
    await until(() => manager.last('t1')?.state === S.RUNNING && manager.last('t2')?.state === S.RUNNING)
    await world.agent.stop()
    manager.changes = manager.changes.slice(0, 1)
    world.rpc.unlisten('m1:2377')
    await world.restart()
    await world.clock.advance(30_000)
    assert.equal(engine.containers().length, 2)
    world.rpc.listen('m1:2377', manager.routes())
    await until(() => engine.containers().length === 1)
    assert.equal(engine.containers()[0]?.labels['com.docker.swarm.task.id'], 't1')
  })

  it("leaving the swarm removes this node's containers and records", async () => {
    const world = await createWorld()
    const { manager, engine, until } = world
    manager.run(task('t1'))
    await until(() => manager.last('t1')?.state === S.RUNNING)
    const stopped = world.agent.stop()
    await world.clock.advance(6_000)
    await stopped
    assert.equal(engine.containers()[0]?.status, 'running')
    const destroyed = world.agent.destroy()
    await world.clock.advance(1_000)
    await destroyed
    assert.equal(engine.containers().length, 0)
    assert.deepEqual(world.disk.names(), [])
  })
})
