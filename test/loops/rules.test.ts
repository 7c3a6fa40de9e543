// Rules of issue 3 that must hold whatever comes, played over random services and behaviours: updates, global services, jobs, generic resources.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { NodeId, ServiceId } from '../../src/lib/index.ts'
import { isLive } from '../../src/loops/index.ts'
import { TaskState } from '../../src/model/index.ts'
import { createRandom } from '../../src/ports/fakes/index.ts'
import { createHarness, type Harness, specOf } from './harness.ts'

const SEEDS = Number(process.env.SHOAL_SEEDS ?? 12)

function leastRunning(swarm: Harness, id: ServiceId): () => number {
  let least = swarm.running(id).length
  swarm.store.watch(() => {
    least = Math.min(least, swarm.running(id).length)
  })
  return () => least
}

for (let seed = 1; seed <= SEEDS; seed++)
  test(`an update never has fewer running than its order and parallelism allow, over restarts of the manager and updates during it (${seed})`, async () => {
    const random = createRandom(`update-${seed}`)
    const swarm = await createHarness(`update-${seed}`)
    await swarm.nodes('n1', 'n2', 'n3')
    for (const image of ['app:2', 'app:3']) swarm.images.set(image, { startMs: random.int(4_000), stopMs: random.int(4_000) })
    swarm.images.set('app:1', { stopMs: random.int(6_000) })
    const replicas = 2 + random.int(8)
    const order = random.pick(['stop-first', 'start-first'] as const)
    const parallelism = 1 + random.int(3)
    const update = { parallelism, order, delayNs: random.int(3) * 1e9, monitorNs: random.int(3) * 1e9 }
    const web = await swarm.create(specOf({ name: 'web', replicas, update, rollback: update }))
    await swarm.pass(10_000)
    const least = leastRunning(swarm, web)
    await swarm.image(web, 'app:2')
    await swarm.pass(random.int(8_000))
    await swarm.restartRunner()
    const second = random.pick(['none', 'update', 'rollback'] as const)
    if (second === 'update') await swarm.image(web, 'app:3')
    if (second === 'rollback') await swarm.rollback(web)
    await swarm.pass(random.int(5_000))
    await swarm.restartRunner()
    await swarm.pass(200_000)
    const wanted = { none: 'app:2', update: 'app:3', rollback: 'app:1' }[second]
    assert.ok(swarm.running(web).length === replicas && swarm.running(web).every((task) => swarm.imageOf(task) === wanted))
    // Slots that were being changed when another update came are changed again: they were down already, so as many more may be.
    const down = order === 'start-first' ? 0 : second === 'none' ? parallelism : 2 * parallelism
    assert.ok(least() >= replicas - down, `${least()} of ${replicas} with ${order} ${parallelism}, ${second}`)
  })

for (let seed = 1; seed <= SEEDS; seed++)
  test(`a global service has one task on each node that it fits, and none elsewhere (${seed})`, async () => {
    const random = createRandom(`global-${seed}`)
    const swarm = await createHarness(`global-${seed}`)
    const names = ['n1', 'n2', 'n3', 'n4', 'n5']
    for (const name of names) await swarm.node(name, { labels: { zone: random.pick(['a', 'b']) } })
    const agent = await swarm.create(
      specOf({ name: 'agent', mode: { kind: 'global' }, task: { placement: { constraints: ['node.labels.zone==a'] } } }),
    )
    for (let step = 0; step < 12; step++) {
      const name = random.pick(names)
      const node = swarm.store.view().nodes.get(name as NodeId)
      const isDown = node?.status.state === 'down'
      const how = random.int(4)
      if (how === 0) await swarm.label(name, { zone: random.pick(['a', 'b']) })
      else if (how === 1) await swarm.availability(name, random.pick(['active', 'drain']))
      else if (how === 2) await swarm.image(agent, `app:${step}`)
      else if (isDown) await swarm.back(name)
      else await swarm.lose(name)
      await swarm.pass(random.int(3_000))
      const perNode = new Map<string, number>()
      for (const task of swarm.tasks(agent)) if (isLive(task)) perNode.set(task.nodeId ?? '', (perNode.get(task.nodeId ?? '') ?? 0) + 1)
      for (const [where, count] of perNode) assert.equal(count, 1, `${count} on ${where}`)
    }
    for (const name of names) if (swarm.store.view().nodes.get(name as NodeId)?.status.state === 'down') await swarm.back(name)
    await swarm.pass(30_000)
    const fitting = [...swarm.store.view().nodes.values()].filter(({ spec }) => spec.availability === 'active' && spec.labels.zone === 'a')
    assert.deepEqual(swarm.countByNode(agent), Object.fromEntries(fitting.map(({ id }) => [id, 1])))
  })

for (let seed = 1; seed <= SEEDS; seed++)
  test(`a job completes each of its slots exactly once, whatever fails, drains or restarts meanwhile (${seed})`, async () => {
    const random = createRandom(`job-${seed}`)
    const swarm = await createHarness(`job-${seed}`)
    await swarm.nodes('n1', 'n2', 'n3')
    const kind = () => ({ runMs: 500 + random.int(5_000), exitCode: random.chance(0.3) ? 1 : 0, startMs: random.int(1_000) })
    swarm.images.set('done', kind())
    const total = 1 + random.int(9)
    const most = random.int(4)
    const restart = { condition: 'on-failure', delayNs: 1e9 } as const
    const mode = { kind: 'replicated-job', totalCompletions: total, maxConcurrent: most } as const
    const job = await swarm.create(specOf({ name: 'job', image: 'done', mode, task: { restart } }))
    let crowd = 0
    swarm.store.watch(() => {
      crowd = Math.max(crowd, swarm.containers(job).length)
    })
    for (let step = 0; step < 10; step++) {
      swarm.images.set('done', kind())
      const how = random.int(3)
      if (how === 0) await swarm.availability(random.pick(['n1', 'n2', 'n3']), random.pick(['active', 'drain']))
      if (how === 1) await swarm.restartRunner()
      await swarm.pass(random.int(4_000))
    }
    for (const name of ['n1', 'n2', 'n3']) await swarm.availability(name, 'active')
    swarm.images.set('done', { runMs: 500 })
    await swarm.pass(300_000)
    const completed = swarm.tasks(job).filter((task) => task.status.state === TaskState.COMPLETE)
    assert.deepEqual(
      completed.map(({ slot }) => slot).sort((a, b) => a - b),
      Array.from({ length: total }, (_, slot) => slot),
    )
    if (most > 0) assert.ok(crowd <= most, `${crowd} ran at once, allowed ${most}`)
    await swarm.update(job, (spec) => ({ ...spec, task: { ...spec.task, forceUpdate: 1 } }))
    await swarm.pass(300_000)
    const again = swarm.tasks(job).filter((task) => task.status.state === TaskState.COMPLETE && task.jobIteration === 1)
    assert.equal(again.length, total, 'forced, it runs again')
  })

test('named and counted generic resources are given to tasks, never twice, and come free with them', async () => {
  const swarm = await createHarness()
  const named = ['g1', 'g2', 'g3'].map((name) => ({ kind: 'gpu', named: name }))
  await swarm.node('n1', { generic: [...named, { kind: 'ssd', discrete: 4 }] })
  const generic = [
    { kind: 'gpu', discrete: 1 },
    { kind: 'ssd', discrete: 2 },
  ]
  const web = await swarm.create(specOf({ name: 'web', replicas: 3, task: { resources: { reservations: { generic } } } }))
  await swarm.pass(2_000)
  const given = () =>
    swarm
      .running(web)
      .flatMap((task) => (task.genericResources ?? []).map((one) => ('named' in one ? one.named : `${one.kind} ${one.discrete}`)))
  assert.deepEqual(given().sort(), ['g1', 'g2', 'ssd 2', 'ssd 2'])
  assert.match(swarm.tasks(web).find((task) => !task.nodeId)?.status.error ?? '', /insufficient resources on 1 node/)
  await swarm.changeNode('n1', (node) => ({
    ...node,
    description: node.description && {
      ...node.description,
      resources: { ...node.description.resources, generic: [...named, { kind: 'ssd', discrete: 6 }] },
    },
  }))
  await swarm.pass(2_000)
  assert.deepEqual(given().sort(), ['g1', 'g2', 'g3', 'ssd 2', 'ssd 2', 'ssd 2'])
  await swarm.image(web, 'app:2')
  await swarm.pass(30_000)
  assert.deepEqual(given().sort(), ['g1', 'g2', 'g3', 'ssd 2', 'ssd 2', 'ssd 2'])
})

test('several failures at once count each for itself: the ratio decides, not who comes first', async () => {
  for (const [ratio, state] of [
    [0.4, 'paused'],
    [0.6, 'completed'],
  ] as const) {
    const swarm = await createHarness()
    await swarm.nodes('n1', 'n2')
    const update = { parallelism: 0, monitorNs: 5e9, maxFailureRatio: ratio, failureAction: 'pause' } as const
    const web = await swarm.create(specOf({ name: 'web', replicas: 4, update, task: { restart: { delayNs: 1e9 } } }))
    await swarm.pass(2_000)
    swarm.images.set('odd', { startMs: 1_000 })
    await swarm.image(web, 'odd')
    await swarm.pass(500)
    const fresh = swarm.tasks(web).filter((task) => isLive(task) && swarm.imageOf(task) === 'odd')
    await Promise.all([...fresh.slice(0, 2).map((task) => swarm.report(task.id, TaskState.FAILED, 'boom')), swarm.pass(100)])
    await swarm.pass(60_000)
    assert.equal(swarm.service(web).updateStatus?.state, state)
  }
})

test('an image that cannot be had is tried once in a restart delay, not without rest', async () => {
  const swarm = await createHarness()
  await swarm.nodes('n1')
  swarm.images.set('absent', { rejected: true })
  let made = 0
  swarm.store.watch((commit) => {
    for (const change of commit.changes) if (change.table === 'task' && !change.before) made++
  })
  await swarm.create(specOf({ name: 'web', image: 'absent' }))
  await swarm.pass(60_000)
  assert.ok(made >= 11 && made <= 14, `${made} tries in a minute`)
})
