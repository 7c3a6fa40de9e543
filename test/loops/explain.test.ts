// Explanations and plans: each says what holds, in words and in codes.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ServiceId } from '../../src/lib/index.ts'
import { explainService, explainTask, planChange } from '../../src/loops/index.ts'
import type { Service, ServiceSpec } from '../../src/model/index.ts'
import { createHarness, type Harness, specOf } from './harness.ts'

const explain = (swarm: Harness, id: ServiceId) => explainService(swarm.store.view(), swarm.service(id), swarm.clock.now())

test('a service that finds no node: every node with all that is against it, counted, and what to do', async () => {
  const swarm = await createHarness()
  await swarm.node('m1', { memoryBytes: 1e9 })
  await swarm.node('w1', { labels: { zone: 'a' }, memoryBytes: 1e9 })
  await swarm.node('w2')
  await swarm.availability('w2', 'pause')
  const reservations = { memoryBytes: 4e9 }
  const placement = { constraints: ['node.labels.zone==a'] }
  const web = await swarm.create(specOf({ name: 'web', replicas: 2, task: { resources: { reservations }, placement } }))
  await swarm.pass(2_000)
  const { serving, wanted, waiting, placement: answer } = explain(swarm, web)
  assert.deepEqual([serving, wanted, waiting.length, answer.fits], [0, 2, 2, 0])
  assert.ok(waiting.every(({ code, text }) => code === 'no-suitable-node' && text.startsWith('no suitable node')))
  assert.deepEqual(
    answer.refusals.map(({ filter, nodes }) => `${filter} ${nodes}`),
    ['resources 2', 'constraint 2', 'ready 1'],
  )
  assert.deepEqual(
    answer.nodes.find(({ hostname }) => hostname === 'w1')?.objections.map(({ text }) => text),
    ['3814 MiB memory wanted, 953 MiB not reserved yet'],
  )
  assert.deepEqual(
    answer.nodes.find(({ hostname }) => hostname === 'w2')?.objections.map(({ text }) => text),
    ['is paused', 'does not meet node.labels.zone==a'],
  )
  assert.match(answer.refusals[0]?.remedy ?? '', /--reserve-memory/)
  const task = explainTask(swarm.store.view(), swarm.tasks(web)[0]!, swarm.clock.now())
  assert.deepEqual([task.code, task.serviceName, task.placement?.fits], ['no-suitable-node', 'web', 0])
})

test('host ports, limits per node, generic resources and the data plane are explained in figures', async () => {
  const swarm = await createHarness()
  await swarm.node('m1', { generic: [{ kind: 'gpu', discrete: 1 }], dataPlane: false })
  const ports = [{ protocol: 'tcp', targetPort: 80, publishedPort: 8080, publishMode: 'host' }] as const
  await swarm.create(specOf({ name: 'first', endpoint: { ports } }))
  const web = await swarm.create(
    specOf({
      name: 'web',
      replicas: 2,
      endpoint: { ports },
      task: {
        resources: { reservations: { generic: [{ kind: 'gpu', discrete: 2 }] } },
        placement: { maxReplicas: 1, platforms: [{ os: 'linux', architecture: 'arm64' }] },
        networks: [{ target: 'ingress' as never }],
      },
    }),
  )
  await swarm.pass(2_000)
  assert.deepEqual(
    explain(swarm, web).placement.nodes[0]?.objections.map(({ filter, text }) => `${filter}: ${text}`),
    [
      'resources: 2 gpu wanted, 1 free',
      'platform: is linux/amd64, wanted linux/arm64',
      'hostPort: port tcp/8080 is taken',
      'plane: has no data plane',
    ],
  )
})

test('why tasks were replaced is remembered with them', async () => {
  const swarm = await createHarness()
  await swarm.nodes('m1', 'w1', 'w2')
  swarm.images.set('flaky', { runMs: 3_000, exitCode: 3 })
  const web = await swarm.create(specOf({ name: 'web', replicas: 3 }))
  const flaky = await swarm.create(specOf({ name: 'flaky', image: 'flaky' }))
  await swarm.pass(5_000)
  await swarm.availability('w1', 'drain')
  await swarm.pass(2_000)
  await swarm.lose('w2')
  await swarm.pass(2_000)
  await swarm.image(web, 'app:2')
  await swarm.pass(30_000)
  const codes = new Set(explain(swarm, web).replaced.map(({ code }) => code))
  assert.deepEqual([...codes].sort(), ['node-drained', 'node-lost', 'updated'])
  const ended = explain(swarm, flaky).replaced[0]
  assert.equal(ended?.code, 'ended')
  assert.match(ended?.text ?? '', /ended by itself: task: non-zero exit \(3\)/)
  const task = swarm.tasks(flaky).find(({ id }) => id === ended?.taskId)
  assert.ok(task && explainTask(swarm.store.view(), task, swarm.clock.now()).successorId)
  await swarm.pass(1_000)
  const held = swarm.tasks(flaky).at(-1)
  assert.ok(held && ['restart-delay', 'running', 'starting'].includes(explainTask(swarm.store.view(), held, swarm.clock.now()).code))
})

test('an update says how far it is and what it waits for', async () => {
  const swarm = await createHarness()
  await swarm.nodes('m1', 'w1')
  swarm.images.set('slow', { startMs: 4_000 })
  swarm.images.set('bad', { runMs: 100, exitCode: 1 })
  const update = { parallelism: 1, delayNs: 10e9, monitorNs: 1e9 }
  const web = await swarm.create(specOf({ name: 'web', replicas: 3, update }))
  await swarm.pass(2_000)
  await swarm.image(web, 'slow')
  await swarm.pass(2_000)
  assert.equal(explain(swarm, web).update?.text, '0 of 3 are up to date, 1 on the way, the next ones wait for these')
  await swarm.pass(4_000)
  assert.match(explain(swarm, web).update?.text ?? '', /^1 of 3 are up to date, the next ones wait for the delay, in \d+ s$/)
  await swarm.pass(60_000)
  assert.equal(explain(swarm, web).update?.state, 'completed')
  await swarm.image(web, 'bad')
  await swarm.pass(10_000)
  assert.match(explain(swarm, web).update?.text ?? '', /update paused due to failure.*service rollback/)
})

test('a drained task says what it waits for and for how long', async () => {
  const swarm = await createHarness()
  await swarm.nodes('w1')
  const web = await swarm.create(specOf({ name: 'web' }))
  await swarm.pass(2_000)
  await swarm.availability('w1', 'drain')
  await swarm.pass(60_000)
  const task = explainTask(swarm.store.view(), swarm.running(web)[0]!, swarm.clock.now())
  assert.equal(task.code, 'node-drained')
  assert.match(task.text, /at the latest in 540 s/)
})

/** The plan for a change, and nothing of it stays. */
async function plan(swarm: Harness, id: ServiceId, change: (spec: ServiceSpec) => ServiceSpec) {
  const before = swarm.service(id)
  const after: Service = { ...before, spec: change(before.spec) }
  return planChange(swarm.store.view(), before, after, swarm.clock.now())
}

test('the plan of an update: differences, what is replaced, where tasks would go, and nothing is changed', async () => {
  const swarm = await createHarness()
  await swarm.nodes('m1', 'w1', 'w2')
  const web = await swarm.create(specOf({ name: 'web', replicas: 3 }))
  await swarm.pass(2_000)
  const seq = swarm.store.view().seq
  const scaled = await plan(swarm, web, (spec) => ({ ...spec, mode: { kind: 'replicated', replicas: 6 } }))
  assert.deepEqual(scaled.differences, [{ path: 'mode.replicas', before: 3, after: 6 }])
  assert.deepEqual([scaled.replaces, scaled.added, scaled.version], [undefined, 3, swarm.service(web).version])
  assert.deepEqual(
    scaled.placed.map(({ tasks }) => tasks),
    [1, 1, 1],
  )
  const moved = await plan(swarm, web, (spec) => ({
    ...spec,
    task: { ...spec.task, container: { image: 'app:2' }, placement: { constraints: ['node.id==w1'] } },
  }))
  assert.deepEqual(moved.replaces, { tasks: 3, order: 'stop-first', parallelism: 1 })
  assert.deepEqual(moved.placed, [{ nodeId: 'w1', hostname: 'w1', tasks: 3 }])
  const nowhere = await plan(swarm, web, (spec) => ({
    ...spec,
    mode: { kind: 'replicated', replicas: 4 },
    task: { ...spec.task, placement: { constraints: ['node.id==mars'] } },
  }))
  assert.deepEqual(nowhere.waiting, [{ reason: 'no suitable node (scheduling constraints not satisfied on 3 nodes)', tasks: 1 }])
  const fewer = await plan(swarm, web, (spec) => ({ ...spec, mode: { kind: 'replicated', replicas: 1 } }))
  assert.deepEqual([fewer.removed, fewer.added], [2, 0])
  assert.equal((await plan(swarm, web, (spec) => spec)).action, 'nothing')
  assert.equal(swarm.store.view().seq, seq)
})

test('what a plan says comes true', async () => {
  const swarm = await createHarness()
  await swarm.nodes('m1', 'w1', 'w2')
  const placement = { maxReplicas: 2 }
  const web = await swarm.create(
    specOf({ name: 'web', replicas: 4, task: { placement }, update: { parallelism: 1, order: 'start-first' } }),
  )
  await swarm.pass(2_000)
  const change = (spec: ServiceSpec): ServiceSpec => ({
    ...spec,
    task: { ...spec.task, container: { image: 'app:2' } },
    mode: { kind: 'replicated', replicas: 7 },
  })
  const { placed, waiting } = await plan(swarm, web, change)
  await swarm.update(web, change)
  await swarm.pass(60_000)
  const sum = (list: readonly { tasks: number }[]) => list.reduce((all, { tasks }) => all + tasks, 0)
  assert.equal(sum(placed), 6)
  assert.equal(sum(waiting), 1)
  assert.deepEqual(Object.values(swarm.countByNode(web)).sort(), placed.map(({ tasks }) => tasks).sort())
  assert.equal(explain(swarm, web).waiting.filter(({ code }) => code === 'no-suitable-node').length, 1)
})
