// Edges: what must not happen in between, although the end would look right.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { NodeId } from '../../src/lib/index.ts'
import { createRunner } from '../../src/loops/index.ts'
import { replicated } from '../../src/loops/replicated.ts'
import { TaskState } from '../../src/model/index.ts'
import { createRandom } from '../../src/ports/fakes/index.ts'
import { createHarness, specOf } from './harness.ts'

const DATA = { type: 'volume', source: 'data', target: '/data' } as const

test('a drained task with a volume starts elsewhere only when the old one has stopped', async () => {
  const swarm = await createHarness()
  await swarm.nodes('n1', 'n2')
  swarm.images.set('app:1', { stopMs: 5_000 })
  const db = await swarm.create(
    specOf({ name: 'db', task: { restart: { maxAttempts: 3 }, container: { image: 'app:1', mounts: [DATA] } } }),
  )
  await swarm.pass(1_000)
  const home = swarm.running(db)[0]?.nodeId as NodeId
  await swarm.availability(home, 'drain')
  await swarm.pass(4_000)
  assert.equal(swarm.containers(db).length, 1)
  assert.equal(swarm.tasks(db)[1]?.status.state, TaskState.READY, 'the new one is prepared meanwhile')
  await swarm.pass(3_000)
  assert.equal(swarm.running(db).length, 1)
  assert.notEqual(swarm.running(db)[0]?.nodeId, home)
})

test('a stop-first update never runs two of a slot, however long the old one takes to stop', async () => {
  const swarm = await createHarness()
  await swarm.nodes('n1', 'n2')
  swarm.images.set('app:1', { stopMs: 90_000 })
  const db = await swarm.create(specOf({ name: 'db', replicas: 2 }))
  await swarm.pass(1_000)
  await swarm.image(db, 'app:2')
  const done = await swarm.until(() => {
    const slots = swarm.containers(db).map((task) => task.slot)
    assert.equal(new Set(slots).size, slots.length)
    return swarm.service(db).updateStatus?.state === 'completed'
  })
  assert.ok(done)
})

test('restart attempts go along when a task is moved', async () => {
  const swarm = await createHarness()
  await swarm.nodes('n1', 'n2')
  swarm.images.set('app:1', { runMs: 3_000, exitCode: 1 })
  const web = await swarm.create(specOf({ name: 'web', task: { restart: { delayNs: 1e9, maxAttempts: 5 } } }))
  await swarm.until(() => swarm.running(web)[0]?.restart?.attempts === 2)
  await swarm.availability(swarm.running(web)[0]?.nodeId as string, 'drain')
  await swarm.until(() => swarm.running(web).length === 1 && swarm.tasks(web).length === 4)
  assert.equal(swarm.running(web)[0]?.restart?.attempts, 2)
})

test('a start-first update whose old task dies meanwhile makes no third task', async () => {
  const swarm = await createHarness()
  await swarm.nodes('n1', 'n2')
  const web = await swarm.create(specOf({ name: 'web', update: { parallelism: 1, order: 'start-first' } }))
  await swarm.pass(1_000)
  swarm.images.set('app:2', { startMs: 5_000 })
  await swarm.image(web, 'app:2')
  await swarm.pass(1_000)
  const old = swarm.containers(web)[0]!
  await swarm.report(old.id, TaskState.FAILED, 'task: non-zero exit (1)')
  await swarm.pass(20_000)
  assert.equal(swarm.tasks(web).length, 2)
})

test('a global service creates nothing on a node that is down, and nothing unbound when a constraint sends it away', async () => {
  const swarm = await createHarness()
  await swarm.nodes('n1', 'n2')
  await swarm.lose('n2')
  const agent = await swarm.create(specOf({ name: 'agent', mode: { kind: 'global' } }))
  await swarm.pass(1_000)
  assert.deepEqual(
    swarm.tasks(agent).map((task) => task.nodeId),
    ['n1'],
  )
  await swarm.back('n2')
  await swarm.pass(1_000)
  await swarm.update(agent, (spec) => ({ ...spec, task: { ...spec.task, placement: { constraints: ['node.id==n2'] } } }))
  await swarm.pass(2_000)
  assert.deepEqual(swarm.countByNode(agent), { n2: 1 })
  assert.equal(swarm.tasks(agent).length, 2)
})

test('a task that waits for a drain and a placement in the same batch goes nowhere wrong', async () => {
  const swarm = await createHarness()
  await swarm.node('n1')
  const bad: string[] = []
  swarm.store.watch((commit) => {
    for (const change of commit.changes) {
      if (
        change.table !== 'task' ||
        change.after?.status.state !== TaskState.ASSIGNED ||
        change.before?.status.state === TaskState.ASSIGNED
      )
        continue
      const node = change.after.nodeId && swarm.store.view().nodes.get(change.after.nodeId)
      if (node && node.spec.availability !== 'active') bad.push(change.after.id)
    }
  })
  for (let round = 0; round < 20; round++) {
    const made = swarm.create(specOf({ name: `s${round}`, replicas: 3 }))
    // Drain and activate again at every step of the work, so that some transactions share a batch with it.
    for (let step = 0; step <= round; step++) {
      const availability = step % 2 === 0 ? ('drain' as const) : ('active' as const)
      void swarm.store.transact((tx) => {
        const node = tx.nodes.get('n1' as NodeId)
        if (node) tx.nodes.update({ ...node, spec: { ...node.spec, availability } })
      })
      for (let tick = 0; tick < round; tick++) await Promise.resolve()
    }
    await made
    await swarm.pass(100)
  }
  assert.deepEqual(bad, [])
})

test('a rollout whose failed task is forgotten by history goes on to the next slot', async () => {
  const swarm = await createHarness()
  await swarm.nodes('n1', 'n2')
  await swarm.write((tx) => tx.cluster && tx.setCluster({ ...tx.cluster, spec: { ...tx.cluster.spec, taskHistoryRetentionLimit: 1 } }))
  const update = { parallelism: 1, failureAction: 'continue' as const, delayNs: 0 }
  const web = await swarm.create(specOf({ name: 'web', replicas: 2, update, task: { restart: { delayNs: 1e6 } } }))
  await swarm.pass(1_000)
  swarm.images.set('never', { rejected: true })
  await swarm.image(web, 'never')
  await swarm.pass(3_000)
  assert.ok(swarm.tasks(web).every((task) => swarm.imageOf(task) === 'never'))
  assert.equal(swarm.service(web).updateStatus?.state, 'completed')
})

test('a revision is kept as long as a task in history carries it', async () => {
  const swarm = await createHarness()
  await swarm.nodes('n1')
  const web = await swarm.create(specOf({ name: 'web', update: { parallelism: 1, monitorNs: 1e8 } }))
  await swarm.pass(1_000)
  for (let version = 2; version < 5; version++) {
    await swarm.image(web, `app:${version}`)
    await swarm.pass(5_000)
  }
  assert.deepEqual(
    swarm.tasks(web).map((task) => swarm.imageOf(task)),
    ['app:1', 'app:2', 'app:3', 'app:4'],
  )
})

test('a key that fails is tried again with growing pauses and holds up nobody', async () => {
  const swarm = await createHarness()
  await swarm.stopRunner()
  const tried: number[] = []
  const lines: string[] = []
  let healed = false
  const faulty = {
    kind: 'loop' as const,
    name: 'faulty',
    *keys() {
      yield 'bad'
      yield 'good'
    },
    *dirty() {},
    reconcile(_ctx: unknown, key: string) {
      if (key === 'bad') {
        tried.push(swarm.clock.now())
        if (!healed) throw new Error('broken')
      }
      return 'done' as const
    },
  }
  const log = { debug() {}, info() {}, warn() {}, error: (message: string) => void lines.push(message), with: () => log }
  const runner = createRunner({ store: swarm.store, clock: swarm.clock, random: createRandom(1), log, loops: [faulty, replicated] })
  runner.start()
  await swarm.clock.settle()
  const web = await swarm.create(specOf({ name: 'web', replicas: 2 }))
  assert.equal(swarm.tasks(web).length, 2, 'the others go on')
  await swarm.pass(10_000)
  const gaps = tried.slice(1).map((at, index) => at - tried[index]!)
  assert.deepEqual(gaps.slice(0, 4), [100, 200, 400, 800])
  assert.equal(lines.length, tried.length)
  healed = true
  await swarm.pass(60_000)
  const total = tried.length
  await swarm.pass(60_000)
  assert.equal(tried.length, total)
  await swarm.clock.settle()
  assert.ok(runner.idle)
  await runner.stop()
})

test('a stopped runner leaves no timer and writes nothing more', async () => {
  const swarm = await createHarness()
  await swarm.nodes('n1')
  swarm.images.set('fails', { runMs: 50, exitCode: 1 })
  await swarm.create(specOf({ name: 'web', image: 'fails', task: { restart: { delayNs: 60e9 } } }))
  await swarm.pass(1_000)
  assert.ok(swarm.clock.pending > 0)
  await swarm.stopRunner()
  assert.equal(swarm.clock.pending, 0)
  const { seq } = swarm.store.view()
  await swarm.pass(300_000)
  assert.equal(swarm.store.view().seq, seq)
})

test('an address that is used up is told on the task, and given on when it comes free', async () => {
  const swarm = await createHarness()
  await swarm.nodes('n1')
  const options = {
    driver: 'overlay',
    driverOptions: {},
    ipv6: false,
    internal: false,
    attachable: false,
    ingress: false,
    ipamDriver: 'default',
    ipamOptions: {},
  }
  await swarm.write((tx) =>
    tx.networks.create({
      id: 'small' as never,
      spec: { name: 'small', labels: {}, ...options, ipam: [{ subnet: '10.7.0.0/29', range: '', gateway: '' }] },
      plane: 'shoal',
      vni: 0,
      subnets: [],
    }),
  )
  const web = await swarm.create(specOf({ name: 'web', replicas: 5, task: { networks: [{ target: 'small' as never }] } }))
  await swarm.pass(1_000)
  assert.equal(swarm.running(web).length, 4, 'one of five addresses is the VIP')
  const waiting = swarm.tasks(web).find((task) => task.status.state === TaskState.NEW)
  assert.equal(waiting?.status.error, 'no free address left in network small (10.7.0.0/29)')
  await swarm.report(swarm.running(web)[0]!.id, TaskState.COMPLETE)
  await swarm.scale(web, 4)
  await swarm.pass(10_000)
  assert.equal(swarm.running(web).length, 4)
})

test('a node that has become too small sends away what it cannot hold, the newest first; a global task waits for it there', async () => {
  const swarm = await createHarness()
  await swarm.node('n1', { memoryBytes: 1000 })
  const task = { resources: { reservations: { memoryBytes: 400 } } }
  const agent = await swarm.create(specOf({ name: 'agent', mode: { kind: 'global' }, task }))
  await swarm.pass(1_000)
  const web = await swarm.create(specOf({ name: 'web', task }))
  await swarm.pass(1_000)
  const resize = (memoryBytes: number) =>
    swarm.changeNode('n1', (node) => ({
      ...node,
      description: node.description && { ...node.description, resources: { ...node.description.resources, memoryBytes } },
    }))
  await resize(500)
  await swarm.pass(2_000)
  assert.equal(swarm.running(agent).length, 1)
  assert.equal(swarm.running(web).length, 0)
  await resize(100)
  await swarm.pass(2_000)
  assert.deepEqual(
    swarm.tasks(agent).map((waiting) => waiting.nodeId),
    ['n1', 'n1'],
  )
  assert.equal(swarm.tasks(agent)[1]?.status.error, 'no suitable node (insufficient resources on 1 node)')
  await resize(1000)
  await swarm.pass(2_000)
  assert.equal(swarm.running(agent).length + swarm.running(web).length, 2)
})

test('an old task that comes back with its node after the update was over ends when its successor serves, found by seed 12', async () => {
  const swarm = await createHarness()
  await swarm.nodes('m1', 'w1')
  swarm.images.set('app:2', { startMs: 4_000 })
  const web = await swarm.create(
    specOf({
      name: 'web',
      update: { parallelism: 1, order: 'start-first', monitorNs: 1_000_000_000 },
      task: { forceUpdate: 0, placement: { constraints: ['node.hostname==w1'] } },
    }),
  )
  await swarm.pass(3_000)
  await swarm.image(web, 'app:2')
  await swarm.pass(1_000) // the new one starts beside the old one
  await swarm.lose('w1')
  await swarm.pass(200_000)
  await swarm.back('w1')
  await swarm.pass(60_000)
  assert.deepEqual(swarm.running(web).map(swarm.imageOf, swarm), ['app:2'])
  assert.equal(swarm.containers(web).length, 1)
})
