// Stories of drained and lost nodes: capacity is kept where it can be, and what is still there when a node returns is not started anew.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ServiceId } from '../../src/lib/index.ts'
import { isLive } from '../../src/loops/index.ts'
import { type Task, TaskState } from '../../src/model/index.ts'
import { createHarness, type Harness, specOf } from './harness.ts'

const DATA = { type: 'volume', source: 'data', target: '/data' } as const
const withData = (image = 'app:1') => ({ container: { image, mounts: [DATA] } })

async function swarmOf(...nodes: string[]): Promise<Harness> {
  const swarm = await createHarness()
  await swarm.nodes(...nodes)
  return swarm
}

/** The smallest number of running tasks (meant to run) from now on, and the largest number of containers in a slot. */
function watchCapacity(swarm: Harness, id: ServiceId): { least: number; crowd: number } {
  const seen = { least: swarm.running(id).length, crowd: 1 }
  swarm.store.watch(() => {
    if (!swarm.store.view().services.get(id)) return
    seen.least = Math.min(seen.least, swarm.running(id).length)
    const slots = new Map<number, number>()
    for (const { slot } of swarm.containers(id)) slots.set(slot, (slots.get(slot) ?? 0) + 1)
    seen.crowd = Math.max(seen.crowd, ...slots.values())
  })
  return seen
}

const on = (tasks: readonly Task[], node: string) => tasks.filter(({ nodeId }) => nodeId === node)

test('a drained node keeps its tasks until their successors serve: capacity never falls below the replicas', async () => {
  const swarm = await swarmOf('m1', 'w1', 'w2')
  swarm.images.set('app:1', { startMs: 5_000, stopMs: 3_000 })
  const web = await swarm.create(specOf({ name: 'web', replicas: 9, update: { parallelism: 1, order: 'stop-first' } }))
  await swarm.pass(10_000)
  assert.equal(on(swarm.running(web), 'w1').length, 3)
  const capacity = watchCapacity(swarm, web)
  await swarm.availability('w1', 'drain')
  await swarm.pass(4_000)
  assert.equal(on(swarm.running(web), 'w1').length, 3)
  await swarm.pass(2_000)
  assert.deepEqual([on(swarm.running(web), 'w1').length, swarm.running(web).length, capacity.least], [0, 9, 9])
  await swarm.pass(5_000)
  assert.equal(on(swarm.containers(web), 'w1').length, 0)
  assert.ok(on(swarm.tasks(web), 'w1').every((task) => task.endReason === 'node-drained' && task.status.state === TaskState.SHUTDOWN))
})

test('host ports and a limit per node do not stand in the way of a successor on another node', async () => {
  const swarm = await swarmOf('m1', 'w1', 'w2')
  const ports = [{ protocol: 'tcp', targetPort: 80, publishedPort: 8080, publishMode: 'host' }] as const
  const web = await swarm.create(specOf({ name: 'web', replicas: 2, endpoint: { ports }, task: { placement: { maxReplicas: 1 } } }))
  await swarm.pass(2_000)
  const capacity = watchCapacity(swarm, web)
  const home = swarm.running(web)[0]!.nodeId!
  await swarm.availability(home, 'drain')
  await swarm.pass(3_000)
  assert.deepEqual([swarm.running(web).length, on(swarm.containers(web), home).length, capacity.least], [2, 0, 2])
})

test('without another place a task stays on the drained node until the deadline, and no longer', async () => {
  const swarm = await swarmOf('m1', 'w1')
  const stay = { placement: { constraints: ['node.id==w1'] } }
  const web = await swarm.create(specOf({ name: 'web', labels: { 'shoal.drain.deadline': '2m' }, task: stay }))
  const long = await swarm.create(specOf({ name: 'long', task: stay }))
  await swarm.pass(2_000)
  await swarm.availability('w1', 'drain')
  await swarm.pass(115_000)
  assert.equal(swarm.running(web).length, 1)
  assert.match(swarm.tasks(web).at(-1)?.status.error ?? '', /no suitable node/)
  await swarm.pass(10_000)
  assert.deepEqual([swarm.containers(web).length, swarm.running(long).length], [0, 1])
  await swarm.pass(480_000)
  assert.equal(swarm.containers(long).length, 0, 'ten minutes when nothing else is said')
  await swarm.availability('w1', 'active')
  await swarm.pass(2_000)
  assert.deepEqual([swarm.running(web).length, swarm.running(long).length], [1, 1])
})

test('drained at once: everything stops now, whatever labels say', async () => {
  const swarm = await swarmOf('m1', 'w1')
  swarm.images.set('app:1', { startMs: 5_000 })
  const web = await swarm.create(specOf({ name: 'web', replicas: 4, labels: { 'shoal.drain.deadline': '1h' } }))
  await swarm.pass(10_000)
  await swarm.availability('w1', 'drain', { deadlineMs: 0 })
  await swarm.pass(500)
  assert.equal(on(swarm.containers(web), 'w1').length, 0)
  await swarm.pass(10_000)
  assert.equal(swarm.running(web).length, 4)
})

test('tasks that write to volumes leave a drained node one by one, and never two run in a slot', async () => {
  const swarm = await swarmOf('m1', 'w1', 'w2')
  swarm.images.set('app:1', { startMs: 2_000, stopMs: 2_000 })
  const db = await swarm.create(specOf({ name: 'db', replicas: 9, task: withData() }))
  await swarm.pass(10_000)
  const capacity = watchCapacity(swarm, db)
  await swarm.availability('w1', 'drain')
  await swarm.pass(6_000)
  assert.equal(on(swarm.running(db), 'w1').length, 1)
  await swarm.restartRunner()
  await swarm.pass(10_000)
  assert.deepEqual([swarm.running(db).length, on(swarm.running(db), 'w1').length], [9, 0])
  assert.deepEqual(capacity, { least: 8, crowd: 1 })
})

test('a label says which order a service takes when its node is drained', async () => {
  const swarm = await swarmOf('m1', 'w1')
  const first = await swarm.create(specOf({ name: 'first', labels: { 'shoal.drain.order': 'start-first' }, task: withData() }))
  const last = await swarm.create(specOf({ name: 'last', labels: { 'shoal.drain.order': 'stop-first' } }))
  await swarm.pass(2_000)
  const seen = [watchCapacity(swarm, first), watchCapacity(swarm, last)]
  for (const node of ['m1', 'w1']) {
    await swarm.availability(node, 'drain')
    await swarm.pass(5_000)
    await swarm.availability(node, 'active')
  }
  assert.deepEqual(seen, [
    { least: 1, crowd: 2 },
    { least: 0, crowd: 1 },
  ])
})

test('a node that is taken back keeps what no successor serves for yet', async () => {
  const swarm = await swarmOf('m1', 'w1')
  swarm.images.set('app:1', { startMs: 5_000 })
  const web = await swarm.create(specOf({ name: 'web', replicas: 4 }))
  await swarm.pass(10_000)
  const before = swarm.running(web).map(({ id }) => id)
  for (const stop of [false, true]) {
    await swarm.availability('w1', 'drain')
    await swarm.pass(2_000)
    if (stop) await swarm.stopRunner()
    await swarm.availability('w1', 'active')
    await swarm.restartRunner()
    await swarm.pass(20_000)
    assert.deepEqual(
      swarm.running(web).map(({ id }) => id),
      before,
    )
    assert.ok(swarm.tasks(web).every((task) => before.includes(task.id) || (!isLive(task) && task.endReason === 'not-needed')))
  }
})

test('a successor that crashes again and again leaves the task on the drained node alone, and waits between its tries', async () => {
  const swarm = await swarmOf('m1', 'w1')
  const web = await swarm.create(specOf({ name: 'web', task: { placement: { constraints: ['node.id==w1'] } } }))
  await swarm.pass(2_000)
  const [task] = swarm.running(web)
  await swarm.update(web, (spec) => ({ ...spec, task: { ...spec.task, placement: {} } }))
  swarm.images.set('app:1', { runMs: 0, exitCode: 1, rejected: true })
  await swarm.availability('w1', 'drain')
  let made = 0
  swarm.store.watch((commit) => {
    for (const change of commit.changes) if (change.table === 'task' && !change.before) made++
  })
  await swarm.pass(60_000)
  assert.ok(swarm.running(web).some(({ id }) => id === task?.id))
  assert.ok(made >= 5 && made <= 13, `${made} tries in a minute with a delay of 5 s`)
  swarm.images.set('app:1', {})
  await swarm.pass(10_000)
  assert.deepEqual([swarm.running(web).length, swarm.running(web)[0]?.nodeId], [1, 'm1'])
})

test('a drain in the middle of an update, in both orders, ends with all on the new spec and off the node', async () => {
  for (const order of ['stop-first', 'start-first'] as const) {
    const swarm = await swarmOf('m1', 'w1', 'w2')
    swarm.images.set('app:2', { startMs: 3_000, stopMs: 1_000 })
    const web = await swarm.create(specOf({ name: 'web', replicas: 6, update: { parallelism: 1, order, monitorNs: 1e9 } }))
    await swarm.pass(5_000)
    const capacity = watchCapacity(swarm, web)
    await swarm.image(web, 'app:2')
    await swarm.pass(7_000)
    await swarm.availability('w1', 'drain')
    await swarm.pass(4_000)
    await swarm.restartRunner()
    await swarm.pass(60_000)
    assert.equal(swarm.running(web).length, 6)
    assert.ok(swarm.running(web).every((task) => swarm.imageOf(task) === 'app:2' && task.nodeId !== 'w1'))
    assert.equal(swarm.service(web).updateStatus?.state, 'completed')
    assert.ok(capacity.least >= (order === 'stop-first' ? 5 : 6), `${order}: ${capacity.least}`)
  }
})

test('a task of a job moves off a drained node the old way: it never runs twice at the same time', async () => {
  const swarm = await swarmOf('m1', 'w1')
  swarm.images.set('app:1', { runMs: 30_000 })
  const job = await swarm.create(specOf({ name: 'job', mode: { kind: 'replicated-job', maxConcurrent: 2, totalCompletions: 2 } }))
  await swarm.pass(5_000)
  const capacity = watchCapacity(swarm, job)
  await swarm.availability('w1', 'drain')
  await swarm.pass(60_000)
  assert.equal(capacity.crowd, 1)
  assert.equal(swarm.tasks(job).filter((task) => task.status.state === TaskState.COMPLETE).length, 2)
})

test('a node that returns before its tasks have been replaced keeps them', async () => {
  const swarm = await swarmOf('m1', 'w1', 'w2')
  swarm.images.set('app:1', { startMs: 5_000 })
  const web = await swarm.create(specOf({ name: 'web', replicas: 6 }))
  await swarm.pass(10_000)
  const before = swarm.running(web).map(({ id }) => id)
  await swarm.lose('w1')
  await swarm.pass(3_000)
  assert.equal(swarm.tasks(web).filter((task) => isLive(task) && !before.includes(task.id)).length, 2, 'successors are on their way')
  await swarm.back('w1')
  await swarm.pass(20_000)
  assert.deepEqual(
    swarm.running(web).map(({ id }) => id),
    before,
  )
  await swarm.lose('w1')
  await swarm.pass(20_000)
  assert.ok(on(swarm.tasks(web), 'w1').every((task) => task.endReason !== undefined))
  assert.equal(swarm.running(web).filter(({ nodeId }) => nodeId !== 'w1').length, 6)
})

test('with the successor waiting for room, a task of a lost node is taken back when its node is', async () => {
  const swarm = await createHarness()
  await swarm.node('m1', { memoryBytes: 1e9 })
  await swarm.node('w1', { memoryBytes: 1e9 })
  const resources = { reservations: { memoryBytes: 0.8e9 } }
  const big = await swarm.create(specOf({ name: 'big', replicas: 2, task: { resources } }))
  await swarm.pass(2_000)
  const before = swarm.running(big).map(({ id }) => id)
  await swarm.lose('w1')
  await swarm.pass(60_000)
  assert.match(swarm.tasks(big).at(-1)?.status.error ?? '', /insufficient resources/)
  await swarm.back('w1')
  await swarm.pass(5_000)
  assert.deepEqual(
    swarm.running(big).map(({ id }) => id),
    before,
  )
  assert.deepEqual(
    swarm.tasks(big).map(({ id }) => id),
    before,
    'nothing is left of the one that waited',
  )
})

test('when most of the swarm is lost at once tasks are replaced slowly, those that miss most first, and most are still there when it returns', async () => {
  const nodes = ['m1', 'm2', 'w1', 'w2', 'w3']
  const swarm = await swarmOf(...nodes)
  const large = await swarm.create(specOf({ name: 'large', replicas: 100 }))
  const singles: ServiceId[] = []
  const away = { placement: { preferences: [], constraints: ['node.id!=m1', 'node.id!=m2'] } }
  for (let i = 0; i < 3; i++) singles.push(await swarm.create(specOf({ name: `one${i}`, task: away })))
  await swarm.pass(5_000)
  for (const id of singles) await swarm.update(id, (spec) => ({ ...spec, task: { ...spec.task, placement: {} } }))
  const lost = swarm.running(large).filter(({ nodeId }) => nodeId?.startsWith('w')).length
  await swarm.write((tx) => {
    for (const node of [...tx.nodes.values()])
      if (node.id.startsWith('w')) tx.nodes.update({ ...node, status: { ...node.status, state: 'down' }, downSince: tx.now })
  })
  await swarm.pass(2_500)
  for (const id of singles)
    assert.equal(swarm.running(id).filter(({ nodeId }) => nodeId?.startsWith('m')).length, 1, 'a service that is gone comes first')
  await swarm.pass(3_500)
  const moved = () =>
    swarm.tasks(large).filter((task) => on([task], task.nodeId ?? '').length === 1 && task.endReason === 'node-lost').length
  assert.ok(moved() > 5 && moved() < lost / 2, `${moved()} of ${lost}`)
  for (const id of ['w1', 'w2', 'w3']) await swarm.back(id)
  await swarm.pass(10_000)
  assert.ok(moved() < lost / 2)
  assert.equal(swarm.running(large).length, 100)
  assert.equal(swarm.containers(large).length, 100)
})

test('one lost node of several is replaced in one go', async () => {
  const swarm = await swarmOf('m1', 'w1', 'w2')
  const web = await swarm.create(specOf({ name: 'web', replicas: 60 }))
  await swarm.pass(5_000)
  await swarm.lose('w1')
  await swarm.pass(1_500)
  assert.equal(swarm.running(web).filter(({ nodeId }) => nodeId !== 'w1').length, 60)
})

test('drained in the middle of a start-first update: the successor waits for the one that was still starting, found by seed 62', async () => {
  const swarm = await createHarness()
  await swarm.nodes('m1', 'w1')
  swarm.images.set('app:2', { startMs: 5_000, stopMs: 3_000 })
  await swarm.availability('m1', 'pause')
  const web = await swarm.create(specOf({ name: 'web', update: { parallelism: 1, order: 'start-first', monitorNs: 1_000_000_000 } }))
  await swarm.pass(3_000)
  await swarm.availability('m1', 'active')
  await swarm.availability('m1', 'pause')
  await swarm.image(web, 'app:2')
  await swarm.pass(2_000) // starting beside the old one
  await swarm.availability('m1', 'active')
  await swarm.availability('w1', 'drain')
  let most = 0
  for (let i = 0; i < 150; i++) {
    most = Math.max(
      most,
      swarm
        .tasks(web)
        .filter(
          (task) =>
            task.nodeId &&
            task.status.state >= TaskState.ASSIGNED &&
            task.status.state <= TaskState.RUNNING &&
            task.desiredState !== TaskState.READY,
        ).length,
    )
    await swarm.pass(100)
  }
  assert.equal(most, 2)
  assert.deepEqual(
    swarm.running(web).map((task) => [swarm.imageOf(task), task.nodeId]),
    [['app:2', 'm1']],
  )
})
