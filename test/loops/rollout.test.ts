// Stories of updates and rollbacks.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ServiceId } from '../../src/lib/index.ts'
import type { ServiceSpec, UpdateConfig } from '../../src/model/index.ts'
import { TaskState } from '../../src/model/index.ts'
import { createHarness, type Harness, specOf } from './harness.ts'

const QUICK: UpdateConfig = { parallelism: 1, delayNs: 1e9, monitorNs: 1e9 }

async function running(
  replicas = 3,
  update: Partial<UpdateConfig> = {},
  more: Partial<ServiceSpec> = {},
): Promise<{ swarm: Harness; up: ServiceId }> {
  const swarm = await createHarness()
  await swarm.nodes('m1', 'w1', 'w2')
  swarm.images.set('bad', { runMs: 300, exitCode: 1 })
  const up = await swarm.create(specOf({ name: 'up', replicas, update: { ...QUICK, ...update }, rollback: QUICK, ...more }))
  await swarm.pass(2_000)
  assert.equal(swarm.running(up).length, replicas)
  return { swarm, up }
}

const state = (swarm: Harness, up: ServiceId) => swarm.service(up).updateStatus?.state
const images = (swarm: Harness, up: ServiceId) => swarm.running(up).map((task) => swarm.imageOf(task))

test('an update replaces one slot after the other and says that it is completed', async () => {
  const { swarm, up } = await running()
  await swarm.image(up, 'app:2')
  let fewest = 3
  let most = 0
  const done = await swarm.until(() => {
    fewest = Math.min(fewest, swarm.running(up).length)
    most = Math.max(most, swarm.containers(up).length)
    return state(swarm, up) === 'completed'
  }, 60_000)
  assert.ok(done)
  assert.equal(fewest, 2)
  assert.ok(most <= 3, 'stop-first: the old one had stopped before the new one started')
  assert.deepEqual(images(swarm, up), ['app:2', 'app:2', 'app:2'])
  const status = swarm.service(up).updateStatus
  assert.equal(status?.message, 'update completed')
  assert.ok(status?.startedAt !== undefined && status.completedAt !== undefined && status.completedAt > status.startedAt)
  assert.equal(swarm.store.view().rollouts.size, 0)
})

test('a start-first update never has fewer running than before', async () => {
  const { swarm, up } = await running(3, { order: 'start-first', parallelism: 3, delayNs: 0 })
  await swarm.image(up, 'app:2')
  let fewest = 3
  await swarm.until(() => {
    fewest = Math.min(fewest, swarm.containers(up).length)
    return state(swarm, up) === 'completed'
  }, 60_000)
  assert.equal(fewest, 3)
  assert.deepEqual(images(swarm, up), ['app:2', 'app:2', 'app:2'])
})

test('a failing update pauses, and the others are untouched', async () => {
  const { swarm, up } = await running()
  await swarm.image(up, 'bad')
  await swarm.until(() => state(swarm, up) === 'paused', 60_000)
  await swarm.pass(20_000)
  assert.match(swarm.service(up).updateStatus?.message ?? '', /^update paused due to failure or early termination of task [0-9a-z]{25}$/)
  assert.equal(images(swarm, up).filter((image) => image === 'app:1').length, 2)
  await swarm.image(up, 'app:3')
  assert.ok(await swarm.until(() => state(swarm, up) === 'completed', 60_000), 'a new update goes on')
  assert.deepEqual(images(swarm, up), ['app:3', 'app:3', 'app:3'])
})

test('a failing update rolls back by itself when it shall', async () => {
  const { swarm, up } = await running(3, { failureAction: 'rollback' })
  await swarm.image(up, 'bad')
  await swarm.until(() => state(swarm, up) === 'rollback_started', 60_000)
  assert.match(
    swarm.service(up).updateStatus?.message ?? '',
    /^update rolled back due to failure or early termination of task [0-9a-z]{25}$/,
  )
  assert.ok(await swarm.until(() => state(swarm, up) === 'rollback_completed', 60_000))
  assert.equal(swarm.service(up).updateStatus?.message, 'rollback completed')
  assert.deepEqual(images(swarm, up), ['app:1', 'app:1', 'app:1'])
  assert.equal(swarm.service(up).previousSpec, undefined)
})

test('a rollback that fails is paused', async () => {
  const { swarm, up } = await running(2, { failureAction: 'rollback' })
  await swarm.image(up, 'bad')
  swarm.images.set('app:1', { runMs: 100, exitCode: 1 }) // the old one does not come up any more either
  await swarm.until(() => state(swarm, up) === 'rollback_paused', 120_000)
  assert.match(swarm.service(up).updateStatus?.message ?? '', /^rollback paused due to/)
})

test('a start-first update that fails leaves the old tasks running', async () => {
  const { swarm, up } = await running(2, { order: 'start-first', failureAction: 'rollback' })
  const before = swarm.running(up).map((task) => task.id)
  await swarm.image(up, 'bad')
  swarm.images.set('bad', { rejected: true })
  assert.ok(await swarm.until(() => state(swarm, up) === 'rollback_completed', 60_000))
  await swarm.pass(10_000)
  assert.deepEqual(
    swarm.running(up).map((task) => task.id),
    before,
  )
})

test('rollback by hand, twice, toggles', async () => {
  const { swarm, up } = await running()
  await swarm.image(up, 'app:2')
  await swarm.until(() => state(swarm, up) === 'completed', 60_000)
  await swarm.rollback(up)
  await swarm.pass(10)
  assert.equal(swarm.service(up).updateStatus?.message, 'manually requested rollback')
  assert.ok(await swarm.until(() => state(swarm, up) === 'rollback_completed', 60_000))
  assert.deepEqual(images(swarm, up), ['app:1', 'app:1', 'app:1'])
  await swarm.rollback(up)
  assert.ok(await swarm.until(() => state(swarm, up) === 'rollback_completed', 60_000))
  assert.deepEqual(images(swarm, up), ['app:2', 'app:2', 'app:2'])
})

test('an update in the middle of an update takes over', async () => {
  const { swarm, up } = await running(6)
  await swarm.image(up, 'app:2')
  await swarm.until(() => images(swarm, up).filter((image) => image === 'app:2').length === 2)
  await swarm.image(up, 'app:3')
  assert.ok(await swarm.until(() => state(swarm, up) === 'completed', 120_000))
  assert.deepEqual(new Set(images(swarm, up)), new Set(['app:3']))
  await swarm.pass(10_000)
  assert.equal(swarm.running(up).length, 6)
})

test('a restart of the manager in the middle of a rollout changes nothing', async () => {
  const { swarm, up } = await running(6)
  await swarm.image(up, 'app:2')
  for (let updated = 1; updated < 6; updated++) {
    await swarm.until(() => images(swarm, up).filter((image) => image === 'app:2').length === updated)
    await swarm.restartRunner()
    assert.equal(state(swarm, up), 'updating')
    await swarm.pass(900)
    assert.equal(images(swarm, up).filter((image) => image === 'app:2').length, updated, 'the delay holds')
  }
  assert.ok(await swarm.until(() => state(swarm, up) === 'completed', 60_000))
})

test('failures before a restart of the manager still count after it', async () => {
  const { swarm, up } = await running(4, { maxFailureRatio: 0.25 })
  await swarm.image(up, 'bad')
  await swarm.until(() => [...swarm.store.view().rollouts.values()][0]?.failedTaskIds.length === 1)
  await swarm.restartRunner()
  assert.ok(await swarm.until(() => state(swarm, up) === 'paused', 60_000))
  assert.equal(images(swarm, up).filter((image) => image === 'app:1').length, 2)
})

test('failures within the ratio, or with action continue, do not stop an update', async () => {
  for (const config of [{ maxFailureRatio: 1 }, { failureAction: 'continue' as const }]) {
    const { swarm, up } = await running(3, config)
    await swarm.image(up, 'bad')
    assert.ok(await swarm.until(() => state(swarm, up) === 'completed', 120_000))
    assert.equal(images(swarm, up).filter((image) => image === 'app:1').length, 0)
  }
})

test('labels, replicas and update settings change without a new task', async () => {
  const { swarm, up } = await running()
  const before = swarm.running(up).map((task) => task.id)
  await swarm.update(up, (spec) => ({ ...spec, labels: { a: 'b' }, update: { parallelism: 2 } }))
  await swarm.scale(up, 4)
  await swarm.pass(5_000)
  assert.deepEqual(
    swarm
      .running(up)
      .slice(0, 3)
      .map((task) => task.id),
    before,
  )
  assert.equal(swarm.service(up).updateStatus, undefined)
})

test('start-first with host ports or one replica per node on full nodes does not hang', async () => {
  const ports: NonNullable<ServiceSpec['endpoint']> = {
    ports: [{ protocol: 'tcp', targetPort: 80, publishedPort: 8080, publishMode: 'host' }],
  }
  for (const more of [{ endpoint: ports }, { task: { forceUpdate: 0, container: { image: 'app:1' }, placement: { maxReplicas: 1 } } }]) {
    const { swarm, up } = await running(3, { order: 'start-first', delayNs: 0 }, more)
    await swarm.image(up, 'app:2')
    assert.ok(await swarm.until(() => state(swarm, up) === 'completed', 60_000), JSON.stringify(swarm.tasks(up).map((task) => task.status)))
    assert.deepEqual(images(swarm, up), ['app:2', 'app:2', 'app:2'])
  }
})

test('a global service is updated node by node; a node that was away follows when it is back', async () => {
  const { swarm, up } = await running(3, {}, { mode: { kind: 'global' } })
  await swarm.lose('w2')
  await swarm.image(up, 'app:2')
  assert.ok(await swarm.until(() => state(swarm, up) === 'completed', 60_000))
  await swarm.back('w2')
  await swarm.pass(10_000)
  assert.deepEqual(images(swarm, up), ['app:2', 'app:2', 'app:2'])
  assert.equal(swarm.running(up).length, 3)
})

test('a node that is drained in the middle of an update costs no slot', async () => {
  const { swarm, up } = await running(6)
  await swarm.image(up, 'app:2')
  await swarm.until(() => images(swarm, up).includes('app:2'))
  await swarm.availability('w1', 'drain')
  assert.ok(await swarm.until(() => state(swarm, up) === 'completed', 120_000))
  await swarm.pass(10_000)
  assert.equal(swarm.running(up).length, 6)
  assert.equal(swarm.countByNode(up).w1, undefined)
  assert.ok(swarm.tasks(up).every((task) => task.desiredState !== TaskState.READY))
})

test('old revisions are dropped when nothing needs them', async () => {
  const { swarm, up } = await running(1, { delayNs: 0 })
  for (let version = 2; version < 12; version++) {
    await swarm.image(up, `app:${version}`)
    await swarm.until(() => state(swarm, up) === 'completed', 60_000)
  }
  assert.ok([...swarm.store.view().specRevisions.byService(up)].length <= 6)
  assert.equal(swarm.tasks(up).length, 5)
})
