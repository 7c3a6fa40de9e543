// Random stories: nodes go and come, services change, managers restart; rules hold all along, and in the end everything is as asked.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { NodeId, ServiceId } from '../../src/lib/index.ts'
import { type Node, type ServiceSpec, type Task, TaskState } from '../../src/model/index.ts'
import { createRandom } from '../../src/ports/fakes/index.ts'
import { createHarness, type Harness, specOf } from './harness.ts'

const SEEDS = Number(process.env.SHOAL_SEEDS ?? 40)
const NODES = ['n1', 'n2', 'n3', 'n4']

/** `strays`: tasks that were replaced while their node could not be reached: only they may run beside their successor. */
function watchRules(swarm: Harness, strays: ReadonlySet<string>): () => string[] {
  const broken: string[] = []
  swarm.store.watch((commit) => {
    for (const change of commit.changes) {
      if (change.table !== 'task' || !change.after) continue
      const { before, after } = change
      if (before && after.status.state < before.status.state)
        broken.push(`${after.id}: state went back from ${before.status.state} to ${after.status.state}`)
      if (before && after.desiredState < before.desiredState) broken.push(`${after.id}: desired state went back`)
      const assigned = after.status.state === TaskState.ASSIGNED && before?.status.state !== TaskState.ASSIGNED
      const node = after.nodeId && swarm.store.view().nodes.get(after.nodeId)
      if (assigned && node && node.spec.availability !== 'active')
        broken.push(`${after.id}: assigned to ${node.spec.availability} node ${node.id}`)
    }
    const running = new Map<string, number>()
    const owners = new Map<string, string>()
    for (const task of swarm.store.view().tasks.values()) {
      const service = task.serviceId && swarm.store.view().services.get(task.serviceId)
      const node = task.nodeId && swarm.store.view().nodes.get(task.nodeId)
      if (
        task.status.state !== TaskState.RUNNING ||
        !service ||
        service.spec.mode.kind !== 'replicated' ||
        !node ||
        node.status.state !== 'ready'
      )
        continue
      if (strays.has(task.id) || leavesOrLeft(task, node)) continue
      const key = `${service.id}/${task.slot}`
      running.set(key, (running.get(key) ?? 0) + 1)
      const orders = [service.spec.update?.order, service.spec.rollback?.order, service.previousSpec?.update?.order]
      if ((running.get(key) ?? 0) > (orders.includes('start-first') ? 2 : 1))
        broken.push(`slot ${task.slot} of ${service.spec.name} runs too often`)
    }
    for (const task of swarm.store.view().tasks.values()) {
      if (task.status.state > TaskState.RUNNING || (task.status.state < TaskState.ASSIGNED && task.desiredState > TaskState.COMPLETE))
        continue
      for (const { networkId, addresses } of task.attachments)
        for (const address of addresses) {
          const key = `${networkId}/${address}`
          if (owners.has(key)) broken.push(`${address} belongs to ${owners.get(key)} and ${task.id}`)
          owners.set(key, task.id)
        }
    }
  })
  return () => broken
}

/** A drained task runs beside its successor, and where the node is taken back too soon one of the two goes. */
function leavesOrLeft(task: Task, node: Node): boolean {
  return node.spec.availability === 'drain' || task.endReason === 'node-drained' || task.endReason === 'not-needed'
}

async function story(seed: number): Promise<void> {
  const random = createRandom(seed)
  const swarm = await createHarness(`chaos-${seed}`)
  const strays = new Set<string>()
  const rules = watchRules(swarm, strays)
  await swarm.nodes(...NODES)
  swarm.images.set('app:1', { startMs: 500, stopMs: 800 })
  swarm.images.set('app:2', { startMs: 300, stopMs: 2_000 })
  swarm.images.set('flaky', { startMs: 100, runMs: 20_000, exitCode: 1 })
  swarm.images.set('bad', { runMs: 200, exitCode: 1 })
  const update = () => ({
    parallelism: random.int(3),
    delayNs: random.int(3) * 1e9,
    monitorNs: 1e9,
    order: random.pick(['stop-first', 'start-first'] as const),
    failureAction: random.pick(['pause', 'continue', 'rollback'] as const),
  })
  const ports: ServiceSpec['endpoint'] = { ports: [{ protocol: 'tcp', targetPort: 80, publishedPort: 0, publishMode: 'ingress' }] }
  const services: ServiceId[] = []
  for (let at = 0; at < 3; at++)
    services.push(
      await swarm.create(
        specOf({
          name: `r${at}`,
          replicas: 1 + random.int(6),
          update: update(),
          rollback: update(),
          ...(at === 0 ? { endpoint: ports } : {}),
        }),
      ),
    )
  const global = await swarm.create(specOf({ name: 'g', mode: { kind: 'global' }, update: update() }))
  const down = new Set<string>()
  for (let step = 0; step < 40; step++) {
    const service = random.pick(services)
    const node = random.pick(NODES)
    switch (random.int(9)) {
      case 0:
        await swarm.scale(service, random.int(8))
        break
      case 1:
        await swarm.image(random.chance(0.3) ? global : service, random.pick(['app:1', 'app:2', 'flaky', 'bad']))
        break
      case 2:
        if (down.size < 2 && !down.has(node)) {
          down.add(node)
          for (const task of swarm.store.view().tasks.byNode(node as NodeId)) strays.add(task.id)
          await swarm.lose(node)
        }
        break
      case 3:
        for (const id of down) await swarm.back(id)
        down.clear()
        break
      case 4:
        await swarm.availability(node, random.pick(['active', 'pause', 'drain']))
        break
      case 5:
        await swarm.rollback(service)
        break
      case 6:
        await swarm.restartRunner()
        break
      case 7:
        await swarm.update(service, (spec) => ({ ...spec, update: { ...update(), order: spec.update?.order } }))
        break
      default:
        await swarm.update(service, (spec) => ({
          ...spec,
          task: { ...spec.task, placement: { constraints: random.chance(0.5) ? [] : [`node.id!=${node}`] } },
        }))
    }
    await swarm.pass(random.int(6_000))
  }
  // Quiet: everything is reachable and active, every service gets a spec that works.
  for (const id of down) await swarm.back(id)
  for (const node of NODES) await swarm.availability(node, 'active')
  for (const id of [...services, global])
    await swarm.update(id, (spec) => ({
      ...spec,
      task: { ...spec.task, placement: {}, container: { image: 'good' }, forceUpdate: spec.task.forceUpdate + 1 },
    }))
  await swarm.pass(180_000)

  assert.deepEqual(rules(), [])
  assert.deepEqual(swarm.errors, [])
  for (const id of services) {
    const { mode } = swarm.service(id).spec
    const replicas = mode.kind === 'replicated' ? mode.replicas : -1
    const slots = swarm.containers(id).map((task) => task.slot)
    assert.equal(new Set(slots).size, slots.length, `${id}: a slot runs twice: ${describe(swarm.tasks(id))}`)
    assert.equal(
      slots.length,
      replicas,
      `${id} has ${slots.length} of ${replicas}: ${describe(swarm.tasks(id))} ${JSON.stringify(swarm.service(id).updateStatus)}`,
    )
    assert.ok(swarm.containers(id).every((task) => swarm.imageOf(task) === 'good'))
    assert.ok(['completed', undefined].includes(swarm.service(id).updateStatus?.state), swarm.service(id).updateStatus?.message)
    for (let slot = 1; slot < 10; slot++) assert.ok(swarm.tasks(id).filter((task) => task.slot === slot).length <= 5)
  }
  assert.deepEqual(swarm.countByNode(global), { n1: 1, n2: 1, n3: 1, n4: 1 })
  assert.equal(swarm.store.view().rollouts.size, 0)
}

function describe(tasks: readonly Task[]): string {
  return tasks
    .map((task) => `${task.slot}@${task.nodeId ?? '-'}:v${task.specVersion} ${task.desiredState}/${task.status.state} ${task.status.error}`)
    .join('\n')
}

for (let seed = 1; seed <= SEEDS; seed++) test(`chaos ${seed} ends as asked`, () => story(seed))
