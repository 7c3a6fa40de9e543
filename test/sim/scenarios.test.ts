// What hurt users of swarms, played again: the bug threads of market.md 2.B that concern orchestration, by row.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isTerminal, type Service, type Task, TaskState } from '../../src/model/index.ts'
import { type ServiceShape, World } from '../../src/sim/index.ts'

const SHAPE: ServiceShape = {
  mode: 'replicated',
  replicas: 3,
  image: 'ok:1',
  order: 'stop-first',
  parallelism: 1,
  delaySeconds: 0,
  monitorSeconds: 5,
  failureAction: 'pause',
  restartDelaySeconds: 1,
  healthcheck: false,
  stopGraceSeconds: 10,
  zone: undefined,
  published: undefined,
  network: undefined,
}

/** A swarm that is up, and what a test needs to look at it. */
async function withSwarm(seed: string, hosts: number, body: (swarm: Swarm) => Promise<void>): Promise<void> {
  const world = new World({ seed, hosts })
  try {
    assert.ok(await world.start(), `the swarm comes up: ${tell(world)}`)
    await body(swarmOf(world))
    assert.deepEqual(world.violations, [], tell(world))
  } finally {
    world.close()
  }
}

function swarmOf(world: World) {
  const service = (name: string): Service => {
    const found = world.view()?.services.byName(name)
    assert.ok(found, `service ${name} is there`)
    return found
  }
  /** Nothing while no manager runs. */
  const tasks = (name: string): Task[] => {
    const found = world.view()?.services.byName(name)
    return found ? [...world.view()!.tasks.byService(found.id)] : []
  }
  return {
    world,
    service,
    tasks,
    running: (name: string) =>
      tasks(name).filter((task) => task.status.state === TaskState.RUNNING && task.desiredState === TaskState.RUNNING),
    create: (name: string, shape: Partial<ServiceShape> = {}) =>
      world.play({ kind: 'create', service: name, shape: { ...SHAPE, ...shape } }),
    seconds: (seconds: number) => world.run(seconds * 1_000),
    async until(what: string, predicate: () => boolean, limitSeconds: number): Promise<void> {
      const done = await world.clock.runUntil(() => world.violations.length > 0 || predicate(), limitSeconds * 1_000)
      assert.ok(done && world.violations.length === 0, `${what} within ${limitSeconds} s: ${tell(world)}`)
    },
    containersMade: () => world.containersStarted,
  }
}
type Swarm = ReturnType<typeof swarmOf>

function tell(world: World): string {
  return [...world.violations.map(({ rule, what }) => `${rule}: ${what}`), ...world.trace.tail().slice(-40)].join('\n')
}

test('row 36 (moby 31694, 33795, 40989): a manager that dies in the middle of handing out addresses never hands one out twice', () =>
  withSwarm('row36', 3, async ({ world, create, running, seconds, until, tasks }) => {
    for (let i = 0; i < 4; i += 1) create(`web${i}`, { replicas: 6, published: 8_000 + i })
    await seconds(0.05)
    for (let round = 0; round < 6; round += 1) {
      world.play({ kind: 'kill', host: 0, forMs: 700 })
      await seconds(1.9 + round / 10)
      for (let i = 0; i < 4; i += 1) world.play({ kind: 'scale', service: `web${i}`, replicas: 2 + ((round * 3 + i) % 7) })
      await seconds(0.01 + round * 0.007)
    }
    for (let i = 0; i < 4; i += 1) world.play({ kind: 'scale', service: `web${i}`, replicas: 6 })
    const all = () => [0, 1, 2, 3].every((i) => running(`web${i}`).length === 6)
    await until('all tasks run', all, 120)
    const held = [0, 1, 2, 3].flatMap((i) => tasks(`web${i}`).filter((task) => !isTerminal(task.status.state)))
    const addresses = held.flatMap((task) =>
      task.attachments.flatMap(({ networkId, addresses }) => addresses.map((a) => `${networkId} ${a}`)),
    )
    assert.equal(new Set(addresses).size, addresses.length)
    assert.ok(addresses.length >= 24)
  }))

test('row 37 (moby 38841, 30321): a start-first update never serves with fewer tasks than asked for, whatever the stop grace', () =>
  withSwarm('row37', 3, async ({ world, create, running, until, service, tasks }) => {
    create('web', { replicas: 4, order: 'start-first', parallelism: 2, stopGraceSeconds: 30, healthcheck: true, image: 'slow:1' })
    await until('4 tasks run', () => running('web').length === 4, 60)
    world.play({ kind: 'update', service: 'web', image: 'slow:2', order: 'start-first' })
    const done = () => service('web').updateStatus?.state === 'completed'
    let least = 4
    await until(
      'the update completes',
      () => {
        const up = tasks('web').filter((task) => task.status.state === TaskState.RUNNING && task.desiredState === TaskState.RUNNING)
        least = Math.min(least, up.length)
        return done()
      },
      300,
    )
    assert.equal(least, 4)
    assert.ok(running('web').every((task) => task.specVersion === service('web').specVersion))
  }))

test('row 40 (moby 37493, 32158): a rollout that fails says so, and rolls back when told to', () =>
  withSwarm('row40', 3, async ({ world, create, running, until, service, tasks }) => {
    create('paused', { failureAction: 'pause' })
    create('back', { failureAction: 'rollback' })
    await until('both run', () => running('paused').length === 3 && running('back').length === 3, 60)
    world.play({ kind: 'kill', host: 0, forMs: 2_000 })
    await until('the manager is back', () => world.manager() !== undefined, 30)
    for (const name of ['paused', 'back']) world.play({ kind: 'update', service: name, image: 'absent:1', order: 'stop-first' })
    await until('the first one pauses', () => service('paused').updateStatus?.state === 'paused', 120)
    assert.match(service('paused').updateStatus?.message ?? '', /update paused due to failure/)
    await until('the second one is rolled back', () => service('back').updateStatus?.state === 'rollback_completed', 180)
    assert.equal(service('back').spec.task.container?.image, 'ok:1')
    await until('it runs again', () => running('back').length === 3, 60)
    assert.ok(tasks('paused').some((task) => task.status.error !== ''))
  }))

test('row 41 (moby 33807, 25069): a task that waits says why, and runs as soon as what stopped it is gone', () =>
  withSwarm('row41', 3, async ({ world, create, running, until, seconds, tasks }) => {
    create('zoned', { zone: 'c' })
    await seconds(20)
    assert.equal(running('zoned').length, 0)
    for (const task of tasks('zoned')) assert.match(task.status.error, /no suitable node/)
    world.play({ kind: 'label', host: 2, zone: 'c' })
    await until('all run', () => running('zoned').length === 3, 30)
    assert.ok(running('zoned').every((task) => task.nodeId === world.hostList[2]!.nodeId))

    for (const host of [0, 1, 2]) world.play({ kind: 'availability', host, availability: 'pause' })
    await seconds(1)
    create('later')
    await seconds(10)
    assert.equal(running('later').length, 0)
    world.play({ kind: 'availability', host: 1, availability: 'active' })
    await until('it is placed', () => running('later').length === 3, 30)
  }))

test('row 44 (moby 38203): short trouble of the manager or the network restarts nothing', () =>
  withSwarm('row44', 4, async ({ world, create, running, until, seconds, containersMade }) => {
    for (let i = 0; i < 3; i += 1) create(`web${i}`, { replicas: 5 })
    const all = () => [0, 1, 2].every((i) => running(`web${i}`).length === 5)
    await until('all run', all, 60)
    const before = containersMade()
    world.play({ kind: 'kill', host: 0, forMs: 4_000 })
    await seconds(30)
    world.play({ kind: 'stop', host: 0, forMs: 8_000 })
    await seconds(40)
    world.play({ kind: 'partition', host: 0, to: undefined, oneWay: false, forMs: 3_000 })
    await seconds(30)
    world.play({ kind: 'pause', host: 0, forMs: 15_000 })
    await seconds(60)
    world.play({ kind: 'reset', host: 0 })
    await seconds(30)
    for (let host = 1; host < 4; host += 1) world.play({ kind: 'kill', host, forMs: 2_000 })
    await seconds(30)
    await until('all run still', all, 60)
    assert.equal(containersMade(), before)
  }))

test('row 46 (swarmkit 2672, moby 37520): a service that crashes for an hour leaves no more history than the limit', () =>
  withSwarm('row46', 2, async ({ world, create, seconds, tasks }) => {
    create('crash', { image: 'crash:1', replicas: 2, restartDelaySeconds: 1 })
    for (let minute = 0; minute < 60 && world.violations.length === 0; minute += 10) await seconds(600)
    for (const slot of [1, 2]) {
      const dead = tasks('crash').filter((task) => task.slot === slot && isTerminal(task.status.state))
      assert.ok(dead.length <= 6, `slot ${slot} keeps ${dead.length}`)
    }
    const kept = world.hostList.reduce((sum, host) => sum + host.engine.containers().length, 0)
    assert.ok(kept <= 2 * 7, `${kept} containers are left on the engines`)
  }))

test('row 50 (moby 30327): a machine that reboots faster than anybody notices does not keep its tasks on paper', () =>
  withSwarm('row50', 3, async ({ world, create, running, until, seconds }) => {
    create('web', { replicas: 6 })
    await until('all run', () => running('web').length === 6, 60)
    world.play({ kind: 'power-off', host: 1, forMs: 1_500 })
    await seconds(5)
    const really = () => {
      const ids = new Set(
        world.hostList
          .flatMap((host) => host.engine.containers())
          .filter((c) => c.status === 'running')
          .map((c) => c.labels['com.docker.swarm.task.id']),
      )
      return running('web').length === 6 && running('web').every((task) => ids.has(task.id))
    }
    await until('every running task has its container', really, 90)
  }))

test('a node that is drained and taken back while a global task still stops there never runs two of it', () =>
  withSwarm('drain-and-back', 2, async ({ world, create, running, until, seconds }) => {
    create('agent', { mode: 'global', image: 'ok:1', stopGraceSeconds: 30 })
    create('every', { mode: 'global', image: 'slow:1', stopGraceSeconds: 30 })
    await until('all run', () => running('agent').length === 2 && running('every').length === 2, 60)
    await seconds(90) // the checker of slots trusts hosts that have been sound for a while
    for (let round = 0; round < 8; round += 1) {
      world.play({ kind: 'availability', host: round % 2, availability: 'drain' })
      await seconds(0.02 + round * 0.05)
      world.play({ kind: 'availability', host: round % 2, availability: 'active' })
      await until('all run again', () => running('agent').length === 2 && running('every').length === 2, 90)
    }
  }))

test('updates that overtake each other start-first never run more than two containers in a slot', () =>
  withSwarm('overtaken', 3, async ({ world, create, running, until, seconds, service }) => {
    create('web', { replicas: 3, order: 'start-first', parallelism: 0, stopGraceSeconds: 30, image: 'slow:1', healthcheck: true })
    await until('all run', () => running('web').length === 3, 60)
    await seconds(90) // the checker of slots trusts hosts that have been sound for a while
    for (let round = 2; round < 12; round += 1) {
      world.play({ kind: 'update', service: 'web', image: `${round % 2 ? 'ok' : 'slow'}:${round}`, order: 'start-first' })
      await seconds(round * 0.7)
    }
    const done = () => running('web').length === 3 && running('web').every((task) => task.specVersion === service('web').specVersion)
    await until('the last one wins', done, 180)
  }))

test('a rollback that begins while the old task still stops waits for it', () =>
  withSwarm('rollback-waits', 3, async ({ world, create, running, until, seconds, service }) => {
    for (let i = 0; i < 4; i += 1) create(`web${i}`, { replicas: 3, stopGraceSeconds: 30, parallelism: 0, failureAction: 'rollback' })
    await until('all run', () => [0, 1, 2, 3].every((i) => running(`web${i}`).length === 3), 60)
    await seconds(90) // the checker of slots trusts hosts that have been sound for a while
    for (let i = 0; i < 4; i += 1) world.play({ kind: 'update', service: `web${i}`, image: 'absent:1', order: 'stop-first' })
    const back = (i: number) => running(`web${i}`).length === 3 && service(`web${i}`).updateStatus?.state === 'rollback_completed'
    await until('all are back', () => [0, 1, 2, 3].every(back), 180)
  }))

test('a job that is run again and again keeps no more history than the limit', () =>
  withSwarm('job-history', 2, async ({ world, create, until, seconds, tasks, service }) => {
    create('job', { mode: 'job', image: 'done:1', replicas: 2, parallelism: 0, restartDelaySeconds: 1 })
    const completed = () => {
      const iteration = world.view()?.services.byName('job')?.job?.iteration
      const done = tasks('job').filter((task) => (task.jobIteration ?? 0) === iteration && task.status.state === TaskState.COMPLETE)
      return new Set(done.map((task) => task.slot)).size === 2
    }
    for (let round = 2; round < 16; round += 1) {
      await until('the job completes', completed, 120)
      world.play({ kind: 'update', service: 'job', image: `done:${round}`, order: 'stop-first' })
      await seconds(1)
    }
    await until('the job completes', completed, 120)
    await seconds(10)
    assert.equal(service('job').job?.iteration, 14)
    for (const slot of [0, 1]) {
      const kept = tasks('job').filter((task) => task.slot === slot)
      assert.ok(kept.length <= 6, `slot ${slot} keeps ${kept.length} tasks`)
    }
  }))

test('an update that pauses leaves no slot with two tasks of the update that it overtook', () =>
  withSwarm('paused-half-way', 3, async ({ world, create, running, until, seconds, service, tasks }) => {
    create('web', { replicas: 6, parallelism: 4, healthcheck: true })
    await until('all run', () => running('web').length === 6, 60)
    world.play({ kind: 'update', service: 'web', image: 'slow:2', order: 'start-first' })
    await seconds(6)
    world.play({ kind: 'update', service: 'web', image: 'sick:3', order: 'stop-first' })
    await until('the update pauses', () => service('web').updateStatus?.state === 'paused', 120)
    await seconds(60)
    for (let slot = 1; slot <= 6; slot += 1) {
      const live = tasks('web').filter((task) => task.slot === slot && task.desiredState <= TaskState.RUNNING)
      assert.equal(live.length, 1, `slot ${slot} has ${live.length} live tasks`)
    }
  }))
