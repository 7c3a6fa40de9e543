// Faults seeded into single loops: each story holds for the program as it is, and is broken by the fault that it is there for.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ServiceId } from '../../src/lib/index.ts'
import { type AnyLoop, allLoops, type Context, type Loop } from '../../src/loops/index.ts'
import { type Node, type Service, type Task, TaskState } from '../../src/model/index.ts'
import { createHarness, type Harness, specOf } from './harness.ts'

type Loops = () => readonly AnyLoop[]
type Story = (swarm: Harness) => Promise<void>

const without =
  (name: string): Loops =>
  () =>
    allLoops().filter((loop) => loop.name !== name)

/** One loop that works on a changed context. */
const misled =
  (name: string, mislead: (ctx: Context, key: string) => Context): Loops =>
  () =>
    allLoops().map((loop) =>
      loop.name === name && loop.kind === 'loop'
        ? { ...loop, reconcile: (ctx, key) => (loop as Loop).reconcile(mislead(ctx, key), key) }
        : loop,
    )

/** The same object, but for the members that are given. */
function lie<T extends object>(truth: T, lies: Partial<T>): T {
  return new Proxy(truth, {
    get(target, key) {
      if (key in lies) return Reflect.get(lies, key)
      const value = Reflect.get(target, key, target) as unknown
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

const lieIn = (ctx: Context, lies: Partial<Context['tx']>): Context => ({ ...ctx, tx: lie(ctx.tx, lies) })

const seesNodes = (see: (node: Node) => Node) => (ctx: Context) =>
  lieIn(ctx, {
    nodes: lie(ctx.tx.nodes, {
      get: (id) => {
        const node = ctx.tx.nodes.get(id)
        return node && see(node)
      },
      values: () => [...ctx.tx.nodes.values()].map(see),
    }),
  })

/** The spec is seen otherwise than it is; what is written keeps the true one. */
const seesServices = (see: (service: Service) => Service) => (ctx: Context) =>
  lieIn(ctx, {
    services: lie(ctx.tx.services, {
      get: (id) => {
        const service = ctx.tx.services.get(id)
        return service && see(service)
      },
      update: (service) => ctx.tx.services.update({ ...service, spec: ctx.tx.services.get(service.id)?.spec ?? service.spec }),
    }),
  })

async function web(swarm: Harness, replicas: number, rest: Partial<Parameters<typeof specOf>[0]> = {}): Promise<ServiceId> {
  await swarm.nodes('n1', 'n2', 'n3')
  const id = await swarm.create(specOf({ name: 'web', replicas, ...rest }))
  await swarm.pass(5_000)
  return id
}

function watched(swarm: Harness, id: ServiceId): { least: number; crowd: number } {
  const seen = { least: swarm.running(id).length, crowd: 1 }
  swarm.store.watch(() => {
    seen.least = Math.min(seen.least, swarm.running(id).length)
    const slots = new Map<number, number>()
    for (const { slot } of swarm.containers(id)) slots.set(slot, (slots.get(slot) ?? 0) + 1)
    seen.crowd = Math.max(seen.crowd, ...slots.values())
  })
  return seen
}

const mounts = [{ type: 'volume', source: 'data', target: '/data' }] as const

const MUTANTS: readonly { readonly name: string; readonly loops: Loops; readonly story: Story }[] = [
  {
    name: 'tasks stay where their constraints do not hold any more',
    loops: without('enforcer'),
    async story(swarm) {
      const id = await web(swarm, 3)
      await swarm.update(id, (spec) => ({ ...spec, task: { ...spec.task, placement: { constraints: ['node.id!=n1'] } } }))
      await swarm.pass(5_000)
      assert.deepEqual([swarm.running(id).length, swarm.countByNode(id).n1], [3, undefined])
    },
  },
  {
    name: 'a new leader waits for changes instead of looking',
    loops: () => allLoops().map((loop) => ({ ...loop, keys: () => [] })),
    async story(swarm) {
      const id = await web(swarm, 2)
      await swarm.stopRunner()
      await swarm.scale(id, 4)
      await swarm.restartRunner()
      await swarm.pass(5_000)
      assert.equal(swarm.running(id).length, 4)
    },
  },
  {
    name: 'tasks of lost nodes are not replaced',
    loops: without('nodeLoss'),
    async story(swarm) {
      const id = await web(swarm, 6)
      await swarm.lose('n1')
      await swarm.pass(5_000)
      assert.equal(swarm.running(id).filter(({ nodeId }) => nodeId !== 'n1').length, 6)
    },
  },
  {
    name: 'a drained node is emptied at once',
    loops: misled(
      'restart',
      seesNodes((node) => (node.drain ? { ...node, drain: { ...node.drain, deadlineMs: 0 } } : node)),
    ),
    async story(swarm) {
      const id = await web(swarm, 6)
      const seen = watched(swarm, id)
      await swarm.availability('n1', 'drain')
      await swarm.pass(5_000)
      assert.deepEqual([seen.least, swarm.countByNode(id).n1], [6, undefined])
    },
  },
  {
    name: 'a drain has no end',
    loops: misled(
      'restart',
      seesNodes((node) => (node.drain ? { ...node, drain: { ...node.drain, deadlineMs: 1e12 } } : node)),
    ),
    async story(swarm) {
      const id = await web(swarm, 1, { task: { placement: { constraints: ['node.id==n1'] } } })
      await swarm.availability('n1', 'drain')
      await swarm.pass(700_000)
      assert.equal(swarm.containers(id).length, 0)
    },
  },
  {
    name: 'two tasks write to one volume while a node is drained',
    loops: misled(
      'restart',
      seesServices((service) => ({ ...service, spec: { ...service.spec, labels: { 'shoal.drain.order': 'start-first' } } })),
    ),
    async story(swarm) {
      swarm.images.set('app:1', { stopMs: 3_000 })
      const id = await web(swarm, 3, { task: { container: { image: 'app:1', mounts } } })
      const seen = watched(swarm, id)
      await swarm.availability('n1', 'drain')
      await swarm.pass(20_000)
      assert.deepEqual([seen.crowd, swarm.running(id).length], [1, 3])
    },
  },
  {
    name: 'a global service does not leave a drained node',
    loops: misled(
      'global',
      seesNodes((node) => ({ ...node, spec: { ...node.spec, availability: 'active' } })),
    ),
    async story(swarm) {
      await swarm.nodes('n1', 'n2')
      const id = await swarm.create(specOf({ name: 'agent', mode: { kind: 'global' } }))
      await swarm.pass(2_000)
      await swarm.availability('n1', 'drain')
      await swarm.pass(5_000)
      assert.deepEqual(swarm.countByNode(id), { n2: 1 })
    },
  },
  {
    name: 'a global service fills nodes that do not fit',
    loops: misled(
      'global',
      seesServices((service) => ({ ...service, spec: { ...service.spec, task: { ...service.spec.task, placement: {} } } })),
    ),
    async story(swarm) {
      await swarm.nodes('n1', 'n2')
      const placement = { constraints: ['node.id==n1'] }
      const id = await swarm.create(specOf({ name: 'agent', mode: { kind: 'global' }, task: { placement } }))
      await swarm.pass(5_000)
      assert.deepEqual(
        swarm.tasks(id).map(({ nodeId }) => nodeId),
        ['n1'],
      )
    },
  },
  {
    name: 'a job runs all its tasks at once',
    loops: misled(
      'jobs',
      seesServices((service) => ({
        ...service,
        spec: { ...service.spec, mode: { kind: 'replicated-job', totalCompletions: 6, maxConcurrent: 0 } },
      })),
    ),
    async story(swarm) {
      swarm.images.set('app:1', { runMs: 2_000 })
      const mode = { kind: 'replicated-job', totalCompletions: 6, maxConcurrent: 2 } as const
      await swarm.nodes('n1', 'n2')
      const id = await swarm.create(specOf({ name: 'job', mode }))
      let most = 0
      swarm.store.watch(() => {
        most = Math.max(most, swarm.containers(id).length)
      })
      await swarm.pass(60_000)
      assert.deepEqual([most, swarm.tasks(id).filter((task) => task.status.state === TaskState.COMPLETE).length], [2, 6])
    },
  },
  {
    name: 'a job that is run again leaves its former tasks running',
    loops: misled('jobs', (ctx) =>
      lieIn(ctx, {
        tasks: lie(ctx.tx.tasks, { update: (task: Task) => (task.desiredState >= TaskState.REMOVE ? task : ctx.tx.tasks.update(task)) }),
      }),
    ),
    async story(swarm) {
      swarm.images.set('app:1', { runMs: 60_000 })
      await swarm.nodes('n1')
      const id = await swarm.create(specOf({ name: 'job', mode: { kind: 'replicated-job', totalCompletions: 1, maxConcurrent: 1 } }))
      await swarm.pass(2_000)
      await swarm.update(id, (spec) => ({ ...spec, task: { ...spec.task, forceUpdate: 1 } }))
      await swarm.pass(5_000)
      assert.ok(swarm.containers(id).every((task) => task.jobIteration === 1) && swarm.containers(id).length === 1)
    },
  },
  {
    name: 'tasks of removed slots are not told to stop',
    loops: misled('replicated', (ctx) =>
      lieIn(ctx, {
        tasks: lie(ctx.tx.tasks, { update: (task: Task) => (task.desiredState > TaskState.COMPLETE ? task : ctx.tx.tasks.update(task)) }),
      }),
    ),
    async story(swarm) {
      const id = await web(swarm, 4)
      await swarm.scale(id, 2)
      await swarm.pass(5_000)
      assert.equal(swarm.containers(id).length, 2)
    },
  },
  {
    name: 'an update takes all slots at once',
    loops: misled(
      'rollout',
      seesServices((service) => ({ ...service, spec: { ...service.spec, update: { parallelism: 0 } } })),
    ),
    async story(swarm) {
      const id = await web(swarm, 4)
      const seen = watched(swarm, id)
      await swarm.image(id, 'app:2')
      await swarm.pass(60_000)
      assert.equal(seen.least, 3)
    },
  },
  {
    name: 'an update that fails goes on',
    loops: misled(
      'rollout',
      seesServices((service) => ({ ...service, spec: { ...service.spec, update: { parallelism: 1, failureAction: 'continue' } } })),
    ),
    async story(swarm) {
      const id = await web(swarm, 4)
      swarm.images.set('bad', { rejected: true })
      await swarm.image(id, 'bad')
      await swarm.pass(60_000)
      assert.equal(swarm.service(id).updateStatus?.state, 'paused')
      assert.equal(swarm.running(id).filter((task) => swarm.imageOf(task) === 'app:1').length, 3)
    },
  },
  {
    name: 'a task that ends is replaced without its delay',
    loops: misled(
      'restart',
      seesServices((service) => ({ ...service, spec: { ...service.spec, task: { ...service.spec.task, restart: { delayNs: 0 } } } })),
    ),
    async story(swarm) {
      swarm.images.set('app:1', { runMs: 1_000, exitCode: 1 })
      const id = await web(swarm, 1)
      await swarm.pass(55_000)
      assert.ok((swarm.tasks(id).at(-1)?.restart?.attempts ?? 0) <= 10)
    },
  },
  {
    name: 'history has no limit',
    loops: misled('reaper', (ctx) => {
      const { cluster } = ctx.tx
      return cluster ? lieIn(ctx, { cluster: { ...cluster, spec: { ...cluster.spec, taskHistoryRetentionLimit: -1 } } }) : ctx
    }),
    async story(swarm) {
      swarm.images.set('app:1', { runMs: 1_000, exitCode: 1 })
      const id = await web(swarm, 1)
      await swarm.pass(120_000)
      assert.ok(swarm.tasks(id).length <= 5)
    },
  },
]

async function play({ story, name }: (typeof MUTANTS)[number], loops?: Loops): Promise<void> {
  const swarm = await createHarness(name, loops)
  await story(swarm)
}

for (const mutant of MUTANTS)
  test(`caught: ${mutant.name}`, async () => {
    await play(mutant)
    await assert.rejects(play(mutant, mutant.loops), { name: 'AssertionError' })
  })
