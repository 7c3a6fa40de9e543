// Stories: what a person sees a swarm do, over the real store and all loops.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ServiceSpec } from '../../src/model/index.ts'
import { TaskState } from '../../src/model/index.ts'
import { createHarness, type Harness, specOf } from './harness.ts'

async function threeNodes(): Promise<Harness> {
  const swarm = await createHarness()
  await swarm.nodes('m1', 'w1', 'w2')
  return swarm
}

const slotsOf = (tasks: readonly { readonly slot: number }[]) => tasks.map((task) => task.slot)

test('five replicas spread over three nodes and run', async () => {
  const swarm = await threeNodes()
  const web = await swarm.create(specOf({ name: 'web', replicas: 5 }))
  await swarm.pass(2_000)
  assert.deepEqual(swarm.errors, [])
  assert.deepEqual(Object.values(swarm.countByNode(web)).sort(), [1, 2, 2])
  assert.deepEqual(slotsOf(swarm.running(web)), [1, 2, 3, 4, 5])
})

test('scaled up and down: the first slots stay, and of the removed ones no row is left', async () => {
  const swarm = await threeNodes()
  const web = await swarm.create(specOf({ name: 'web', replicas: 5 }))
  await swarm.pass(2_000)
  await swarm.scale(web, 8)
  await swarm.pass(2_000)
  assert.deepEqual(Object.values(swarm.countByNode(web)).sort(), [2, 3, 3])
  await swarm.scale(web, 2)
  await swarm.pass(2_000)
  assert.deepEqual(slotsOf(swarm.tasks(web)), [1, 2])
  assert.equal(Object.keys(swarm.countByNode(web)).length, 2)
  assert.equal(swarm.service(web).updateStatus, undefined)
  await swarm.scale(web, 0)
  await swarm.pass(2_000)
  assert.deepEqual(swarm.tasks(web), [])
})

test('a drained node is emptied and its tasks run elsewhere; active again it gets nothing back by itself', async () => {
  const swarm = await threeNodes()
  const web = await swarm.create(specOf({ name: 'web', replicas: 5 }))
  await swarm.pass(2_000)
  await swarm.availability('w1', 'drain')
  await swarm.pass(3_000)
  assert.equal(swarm.running(web).length, 5)
  assert.equal(swarm.countByNode(web).w1, undefined)
  const history = swarm.tasks(web).filter((task) => task.nodeId === 'w1')
  assert.ok(
    history.length > 0 && history.every((task) => task.status.state === TaskState.SHUTDOWN && task.desiredState === TaskState.SHUTDOWN),
  )
  await swarm.availability('w1', 'active')
  await swarm.pass(5_000)
  assert.equal(swarm.countByNode(web).w1, undefined)
})

test('a paused node keeps what it has and gets nothing new', async () => {
  const swarm = await threeNodes()
  const web = await swarm.create(specOf({ name: 'web', replicas: 3 }))
  await swarm.pass(2_000)
  await swarm.availability('w2', 'pause')
  await swarm.scale(web, 8)
  await swarm.pass(2_000)
  assert.equal(swarm.running(web).length, 8)
  assert.equal(swarm.countByNode(web).w2, 1)
})

test('a lost node: its tasks run elsewhere, and when it is back nothing runs twice', async () => {
  const swarm = await threeNodes()
  const web = await swarm.create(specOf({ name: 'web', replicas: 6 }))
  await swarm.pass(2_000)
  await swarm.lose('w1')
  await swarm.pass(2_000)
  const elsewhere = swarm.running(web).filter((task) => task.nodeId !== 'w1')
  assert.deepEqual(slotsOf(elsewhere), [1, 2, 3, 4, 5, 6])
  assert.ok(
    elsewhere.every((task) => task.restart === undefined),
    'losing a node is no failure of its tasks',
  )
  await swarm.back('w1')
  await swarm.pass(2_000)
  assert.deepEqual(slotsOf(swarm.containers(web)), [1, 2, 3, 4, 5, 6])
  assert.ok(swarm.containers(web).every((task) => task.nodeId !== 'w1'))
})

test('a node that was away for too short to be called down keeps its tasks', async () => {
  const swarm = await threeNodes()
  const web = await swarm.create(specOf({ name: 'web', replicas: 3 }))
  await swarm.pass(2_000)
  const before = swarm.running(web).map((task) => task.id)
  await swarm.changeNode('w1', (node) => ({ ...node, status: { ...node.status, state: 'unknown' } }))
  await swarm.pass(3_000)
  await swarm.changeNode('w1', (node) => ({ ...node, status: { ...node.status, state: 'ready' } }))
  await swarm.pass(3_000)
  assert.deepEqual(
    swarm.running(web).map((task) => task.id),
    before,
  )
})

test('a removed node leaves no live task behind', async () => {
  const swarm = await threeNodes()
  const web = await swarm.create(specOf({ name: 'web', replicas: 3 }))
  const agent = await swarm.create(specOf({ name: 'agent', mode: { kind: 'global' } }))
  await swarm.pass(2_000)
  await swarm.lose('w1')
  await swarm.pass(1_000)
  await swarm.removeNode('w1')
  await swarm.pass(1_000)
  assert.equal(swarm.running(web).length, 3)
  assert.deepEqual(
    swarm
      .tasks(agent)
      .map((task) => task.nodeId)
      .sort(),
    ['m1', 'w2'],
  )
  const orphans = swarm.tasks(web).filter((task) => task.nodeId === 'w1')
  assert.ok(orphans.every((task) => task.status.state === TaskState.ORPHANED))
})

test('a removed service takes its tasks, revisions and rows along', async () => {
  const swarm = await threeNodes()
  const web = await swarm.create(specOf({ name: 'web', replicas: 4 }))
  await swarm.pass(2_000)
  await swarm.remove(web)
  await swarm.pass(2_000)
  const view = swarm.store.view()
  assert.deepEqual([...view.tasks.byService(web)], [])
  assert.deepEqual([...view.specRevisions.byService(web)], [])
})

test('a global service has one task on each node, also on new ones, and none on a drained one', async () => {
  const swarm = await threeNodes()
  const agent = await swarm.create(specOf({ name: 'agent', mode: { kind: 'global' } }))
  await swarm.pass(2_000)
  assert.deepEqual(swarm.countByNode(agent), { m1: 1, w1: 1, w2: 1 })
  await swarm.node('w3')
  await swarm.availability('w2', 'drain')
  await swarm.pass(2_000)
  assert.deepEqual(swarm.countByNode(agent), { m1: 1, w1: 1, w3: 1 })
  await swarm.availability('w2', 'active')
  await swarm.pass(2_000)
  assert.deepEqual(swarm.countByNode(agent), { m1: 1, w1: 1, w2: 1, w3: 1 })
  await swarm.lose('w3')
  await swarm.pass(1_000)
  await swarm.back('w3')
  await swarm.pass(1_000)
  assert.deepEqual(swarm.countByNode(agent), { m1: 1, w1: 1, w2: 1, w3: 1 })
  assert.equal(swarm.tasks(agent).filter((task) => task.nodeId === 'w3').length, 1, 'what still ran on the lost node was kept')
})

test('a pending task says why, and goes on by itself when the reason has gone', async () => {
  const swarm = await threeNodes()
  const picky = await swarm.create(specOf({ name: 'picky', task: { placement: { constraints: ['node.labels.zone==a'] } } }))
  await swarm.pass(1_000)
  const [waiting] = swarm.tasks(picky)
  assert.equal(waiting?.status.error, 'no suitable node (scheduling constraints not satisfied on 3 nodes)')
  assert.equal(waiting?.status.state, TaskState.PENDING)
  await swarm.label('w2', { zone: 'a' })
  await swarm.pass(1_000)
  assert.deepEqual(swarm.countByNode(picky), { w2: 1 })
  assert.equal(swarm.running(picky)[0]?.status.error, '')
})

test('resources that become free are given to who waits for them', async () => {
  const swarm = await createHarness()
  await swarm.node('n1', { memoryBytes: 1e9 })
  const reserve = { resources: { reservations: { memoryBytes: 6e8 } } }
  const first = await swarm.create(specOf({ name: 'first', task: reserve }))
  await swarm.pass(1_000)
  const second = await swarm.create(specOf({ name: 'second', task: reserve }))
  await swarm.pass(1_000)
  assert.equal(swarm.tasks(second)[0]?.status.error, 'no suitable node (insufficient resources on 1 node)')
  await swarm.remove(first)
  await swarm.pass(1_000)
  assert.equal(swarm.running(second).length, 1)
})

test('replicas beyond the limit per node wait, and say so', async () => {
  const swarm = await threeNodes()
  const web = await swarm.create(specOf({ name: 'web', replicas: 4, task: { placement: { maxReplicas: 1 } } }))
  await swarm.pass(1_000)
  assert.deepEqual(swarm.countByNode(web), { m1: 1, w1: 1, w2: 1 })
  assert.equal(
    swarm.tasks(web).find((task) => task.status.state === TaskState.PENDING)?.status.error,
    'no suitable node (max replicas per node limit exceed)',
  )
})

test('host ports: two services cannot have the same on one node', async () => {
  const swarm = await threeNodes()
  const ports: NonNullable<ServiceSpec['endpoint']> = {
    ports: [{ protocol: 'tcp', targetPort: 80, publishedPort: 8282, publishMode: 'host' }],
  }
  const one = await swarm.create(specOf({ name: 'one', mode: { kind: 'global' }, endpoint: ports }))
  const two = await swarm.create(specOf({ name: 'two', mode: { kind: 'global' }, endpoint: ports }))
  await swarm.pass(1_000)
  assert.equal(swarm.running(one).length, 3)
  assert.ok(swarm.tasks(two).every((task) => task.status.error === 'no suitable node (host-mode port already in use on 1 node)'))
  await swarm.remove(one)
  await swarm.pass(1_000)
  assert.equal(swarm.running(two).length, 3)
})

test('a published port gives the service a virtual address and its tasks an ingress address first', async () => {
  const swarm = await threeNodes()
  const web = await swarm.create(
    specOf({
      name: 'web',
      replicas: 2,
      endpoint: { ports: [{ protocol: 'tcp', targetPort: 80, publishedPort: 0, publishMode: 'ingress' }] },
    }),
  )
  await swarm.pass(1_000)
  const { endpoint } = swarm.service(web)
  assert.equal(endpoint?.ports[0]?.publishedPort, 30_000)
  assert.match(endpoint?.vips[0]?.address ?? '', /^10\.0\.0\.\d+\/24$/)
  const ingress = swarm.store.view().networks.byName('ingress')
  assert.equal(ingress?.vni, 4096)
  assert.deepEqual(ingress?.subnets, [{ subnet: '10.0.0.0/24', gateway: '10.0.0.1' }])
  assert.equal(new Set(swarm.running(web).map((task) => task.attachments[0]?.addresses[0])).size, 2)
  assert.deepEqual([...swarm.store.view().nodes.values()].map((node) => node.number).sort(), [1, 2, 3])
})

test('nodes without a data plane get no task that needs one', async () => {
  const swarm = await createHarness()
  await swarm.node('n1', { dataPlane: false })
  const web = await swarm.create(
    specOf({ name: 'web', endpoint: { ports: [{ protocol: 'tcp', targetPort: 80, publishedPort: 80, publishMode: 'ingress' }] } }),
  )
  await swarm.pass(1_000)
  assert.match(swarm.tasks(web)[0]?.status.error ?? '', /no data plane for the task's networks on 1 node/)
})

test('restart condition none leaves a failed task as it is', async () => {
  const swarm = await threeNodes()
  swarm.images.set('fails', { runMs: 100, exitCode: 3 })
  const once = await swarm.create(specOf({ name: 'once', image: 'fails', task: { restart: { condition: 'none' } } }))
  await swarm.pass(30_000)
  const tasks = swarm.tasks(once)
  assert.equal(tasks.length, 1)
  assert.equal(tasks[0]?.status.state, TaskState.FAILED)
  assert.equal(tasks[0]?.desiredState, TaskState.SHUTDOWN)
})

test('restart attempts are counted, and the last one stays', async () => {
  const swarm = await threeNodes()
  swarm.images.set('fails', { runMs: 100, exitCode: 1 })
  const retry = await swarm.create(
    specOf({ name: 'retry', image: 'fails', task: { restart: { condition: 'on-failure', maxAttempts: 2, delayNs: 5e8 } } }),
  )
  await swarm.pass(60_000)
  assert.equal(swarm.tasks(retry).length, 3)
  await swarm.restartRunner()
  await swarm.pass(60_000)
  assert.equal(swarm.tasks(retry).length, 3, 'a new leader knows the attempts')
})

test('a restart waits for its delay, also across a restart of the manager', async () => {
  const swarm = await threeNodes()
  swarm.images.set('fails', { runMs: 1_000, exitCode: 1 })
  const slow = await swarm.create(specOf({ name: 'slow', image: 'fails', task: { restart: { delayNs: 10e9 } } }))
  await swarm.until(() => swarm.tasks(slow).length === 2)
  const failedAt = swarm.clock.now()
  await swarm.restartRunner()
  await swarm.until(() => swarm.tasks(slow)[1]?.status.state === TaskState.RUNNING)
  assert.ok(swarm.clock.now() - failedAt >= 10_000)
  assert.ok(swarm.clock.now() - failedAt < 11_000)
})

test('history keeps as many rows of a slot as the cluster says', async () => {
  const swarm = await threeNodes()
  swarm.images.set('fails', { runMs: 100, exitCode: 1 })
  const crash = await swarm.create(specOf({ name: 'crash', image: 'fails', task: { restart: { delayNs: 2e8 } } }))
  await swarm.pass(20_000)
  assert.equal(swarm.tasks(crash).length, 5)
  await swarm.write((tx) => tx.cluster && tx.setCluster({ ...tx.cluster, spec: { ...tx.cluster.spec, taskHistoryRetentionLimit: 1 } }))
  await swarm.pass(5_000)
  assert.ok(swarm.tasks(crash).length <= 2)
})

test('a task that completes is not restarted on failure', async () => {
  const swarm = await threeNodes()
  swarm.images.set('ends', { runMs: 100 })
  const ok = await swarm.create(specOf({ name: 'ok', image: 'ends', task: { restart: { condition: 'on-failure' } } }))
  await swarm.pass(30_000)
  assert.equal(swarm.tasks(ok).length, 1)
  assert.equal(swarm.tasks(ok)[0]?.status.state, TaskState.COMPLETE)
})

test('a node label that goes takes the tasks that need it along', async () => {
  const swarm = await threeNodes()
  await swarm.label('w1', { zone: 'a' })
  await swarm.label('w2', { zone: 'a' })
  const web = await swarm.create(specOf({ name: 'web', replicas: 2, task: { placement: { constraints: ['node.labels.zone==a'] } } }))
  await swarm.pass(1_000)
  await swarm.label('w1', {})
  await swarm.pass(2_000)
  assert.deepEqual(swarm.countByNode(web), { w2: 2 })
  await swarm.update(web, (spec) => ({ ...spec, task: { ...spec.task, placement: { constraints: ['node.hostname!=w2'] } } }))
  await swarm.pass(2_000)
  assert.equal(swarm.running(web).length, 2)
  assert.equal(swarm.countByNode(web).w2, undefined)
})

test('a replicated job runs so many completions, so many at a time, from slot 0 on', async () => {
  const swarm = await threeNodes()
  swarm.images.set('work', { runMs: 1_000 })
  const job = await swarm.create(
    specOf({ name: 'job', image: 'work', mode: { kind: 'replicated-job', maxConcurrent: 2, totalCompletions: 4 } }),
  )
  let most = 0
  await swarm.until(() => {
    most = Math.max(most, swarm.tasks(job).filter((task) => task.status.state <= TaskState.RUNNING).length)
    return swarm.tasks(job).filter((task) => task.status.state === TaskState.COMPLETE).length === 4
  })
  assert.equal(most, 2)
  await swarm.pass(10_000)
  assert.deepEqual(slotsOf(swarm.tasks(job)), [0, 1, 2, 3])
  assert.ok(swarm.tasks(job).every((task) => task.desiredState === TaskState.COMPLETE))
  await swarm.update(job, (spec) => ({ ...spec, task: { ...spec.task, forceUpdate: 1 } }))
  await swarm.pass(10_000)
  const again = swarm.tasks(job).filter((task) => task.jobIteration === 1)
  assert.deepEqual(
    again.map((task) => task.status.state),
    [TaskState.COMPLETE, TaskState.COMPLETE, TaskState.COMPLETE, TaskState.COMPLETE],
  )
})

test('a job on a node that is lost or drained completes elsewhere, once for each completion', async () => {
  const swarm = await threeNodes()
  swarm.images.set('work', { runMs: 5_000 })
  const job = await swarm.create(
    specOf({ name: 'job', image: 'work', mode: { kind: 'replicated-job', maxConcurrent: 3, totalCompletions: 3 } }),
  )
  await swarm.pass(1_000)
  await swarm.lose('w1')
  await swarm.availability('w2', 'drain')
  await swarm.pass(20_000)
  const completed = swarm.tasks(job).filter((task) => task.status.state === TaskState.COMPLETE)
  assert.deepEqual(slotsOf(completed).sort(), [0, 1, 2])
})

test('a global job completes once on each node', async () => {
  const swarm = await threeNodes()
  swarm.images.set('work', { runMs: 500 })
  const job = await swarm.create(specOf({ name: 'job', image: 'work', mode: { kind: 'global-job' } }))
  await swarm.pass(10_000)
  assert.deepEqual(
    swarm
      .tasks(job)
      .map((task) => task.nodeId)
      .sort(),
    ['m1', 'w1', 'w2'],
  )
  assert.ok(swarm.tasks(job).every((task) => task.status.state === TaskState.COMPLETE))
})

test('generic resources are counted and named, and nobody gets one twice', async () => {
  const swarm = await createHarness()
  await swarm.node('n1', {
    generic: [
      { kind: 'gpu', named: 'a' },
      { kind: 'gpu', named: 'b' },
      { kind: 'fpga', discrete: 3 },
    ],
  })
  const task = {
    resources: {
      reservations: {
        generic: [
          { kind: 'gpu', discrete: 1 },
          { kind: 'fpga', discrete: 1 },
        ],
      },
    },
  }
  const ml = await swarm.create(specOf({ name: 'ml', replicas: 3, task }))
  await swarm.pass(2_000)
  const given = swarm
    .running(ml)
    .flatMap((running) => (running.genericResources ?? []).flatMap((got) => ('named' in got ? [got.named] : [])))
  assert.deepEqual(given.sort(), ['a', 'b'])
  assert.equal(swarm.tasks(ml).filter((waiting) => waiting.status.error.includes('insufficient resources on 1 node')).length, 1)
})
