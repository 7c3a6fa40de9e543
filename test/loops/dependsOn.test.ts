// depends_on: tasks wait, and say for what, until the services that theirs depends on are far enough; at every start anew.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TaskState } from '../../src/model/index.ts'
import { createHarness, type Harness, specOf } from './harness.ts'

const STACK = 'com.docker.stack.namespace'

async function oneNode(): Promise<Harness> {
  const swarm = await createHarness()
  await swarm.nodes('m1')
  return swarm
}

function waiter(condition: string, more: Record<string, string> = {}) {
  return specOf({ name: 'st_web', replicas: 2, labels: { [STACK]: 'st', 'shoal.depends-on.db': condition, ...more } })
}

function reasons(swarm: Harness, id: Parameters<Harness['tasks']>[0]): string[] {
  return swarm.tasks(id).map(({ status }) => `${status.state === TaskState.PENDING ? 'pending' : status.state}: ${status.error}`)
}

test('tasks wait until the service they depend on is healthy, and say so', async () => {
  const swarm = await oneNode()
  swarm.images.set('db:1', { startMs: 5_000 })
  const web = await swarm.create(waiter('service_healthy'))
  await swarm.pass(1_000)
  assert.deepEqual(reasons(swarm, web), ['pending: waits for db, which does not exist', 'pending: waits for db, which does not exist'])
  await swarm.create(specOf({ name: 'st_db', image: 'db:1', labels: { [STACK]: 'st' } }))
  await swarm.pass(1_000)
  assert.deepEqual(reasons(swarm, web), ['pending: waits for db to be healthy', 'pending: waits for db to be healthy'])
  assert.equal(swarm.tasks(web)[0]?.status.reason, 'waits-for-dependency')
  await swarm.pass(6_000)
  assert.equal(swarm.running(web).length, 2)
  assert.equal(swarm.running(web)[0]?.status.error, '')
  assert.deepEqual(swarm.errors, [])
})

test('started is enough when no more is asked for', async () => {
  const swarm = await oneNode()
  swarm.images.set('db:1', { startMs: 60_000 })
  const db = await swarm.create(specOf({ name: 'st_db', image: 'db:1' }))
  const web = await swarm.create(waiter('service_started'))
  await swarm.pass(1_000)
  assert.deepEqual(reasons(swarm, web)[0], 'pending: waits for db to be started')
  await swarm.report(swarm.tasks(db)[0]!.id, TaskState.STARTING)
  await swarm.pass(1_000)
  assert.equal(swarm.running(web).length, 2)
})

test('a job that others wait for must complete, each time it is run', async () => {
  const swarm = await oneNode()
  swarm.images.set('job:1', { runMs: 3_000 })
  swarm.images.set('job:2', { runMs: 3_000, exitCode: 1 })
  const db = await swarm.create(
    specOf({ name: 'db', image: 'job:1', mode: { kind: 'replicated-job', maxConcurrent: 1, totalCompletions: 2 } }),
  )
  const web = await swarm.create(waiter('service_completed_successfully'))
  await swarm.pass(4_000)
  assert.deepEqual(reasons(swarm, web)[0], 'pending: waits for db to complete', 'one of two is not all')
  await swarm.pass(4_000)
  assert.equal(swarm.running(web).length, 2)
  await swarm.image(db, 'job:2')
  await swarm.pass(1_000)
  await swarm.scale(web, 3)
  await swarm.pass(20_000)
  assert.equal(swarm.running(web).length, 2, 'what runs goes on')
  assert.match(reasons(swarm, web).at(-1) ?? '', /waits for db to complete/)
})

test('a service that ran to its end counts as completed, too', async () => {
  const swarm = await oneNode()
  swarm.images.set('init:1', { runMs: 2_000 })
  await swarm.create(specOf({ name: 'st_db', image: 'init:1', replicas: 2, task: { restart: { condition: 'none' } } }))
  const web = await swarm.create(waiter('service_completed_successfully'))
  await swarm.pass(1_000)
  assert.equal(swarm.running(web).length, 0)
  await swarm.pass(3_000)
  assert.equal(swarm.running(web).length, 2)
})

test('the order holds at a restart: a task that must be replaced waits for what is down', async () => {
  const swarm = await oneNode()
  const db = await swarm.create(specOf({ name: 'st_db', labels: { [STACK]: 'st' } }))
  const web = await swarm.create(waiter('service_healthy'))
  await swarm.pass(3_000)
  assert.equal(swarm.running(web).length, 2)
  await swarm.scale(db, 0)
  await swarm.pass(3_000)
  assert.equal(swarm.running(web).length, 2, 'nothing that runs is stopped')
  await swarm.report(swarm.running(web)[0]!.id, TaskState.FAILED, 'exit 1')
  await swarm.pass(20_000)
  assert.equal(swarm.running(web).length, 1)
  await swarm.restartRunner()
  await swarm.pass(1_000)
  assert.equal(swarm.running(web).length, 1, 'another leader keeps to it')
  await swarm.scale(db, 1)
  await swarm.pass(10_000)
  assert.equal(swarm.running(web).length, 2)
})

test('global services wait as well, and a chain starts from its end', async () => {
  const swarm = await createHarness()
  await swarm.nodes('m1', 'w1')
  const edge = await swarm.create(specOf({ name: 'edge', mode: { kind: 'global' }, labels: { 'shoal.depends-on.web': 'service_healthy' } }))
  const web = await swarm.create(specOf({ name: 'web', labels: { 'shoal.depends-on.db': 'service_healthy' } }))
  await swarm.pass(1_000)
  assert.deepEqual(reasons(swarm, edge), ['pending: waits for web to be healthy', 'pending: waits for web to be healthy'])
  await swarm.create(specOf({ name: 'db' }))
  await swarm.pass(3_000)
  assert.equal(swarm.running(web).length, 1)
  assert.equal(swarm.running(edge).length, 2)
})

test('a condition that nobody knows is told, and taking the label away lets the service go', async () => {
  const swarm = await oneNode()
  const web = await swarm.create(waiter('healthy'))
  await swarm.pass(1_000)
  assert.match(reasons(swarm, web)[0] ?? '', /the label shoal.depends-on.db has the unknown condition "healthy": use service_started, /)
  await swarm.update(web, (spec) => ({ ...spec, labels: {} }))
  await swarm.pass(2_000)
  assert.equal(swarm.running(web).length, 2)
})
