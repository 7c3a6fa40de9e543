// Bug threads of market.md 2.B about where tasks may run, played over the whole swarm: host ports, limits per node, spreading, drained and returning nodes.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ServiceSpec, TaskState } from '../../src/model/index.ts'
import { World } from '../../src/sim/index.ts'

async function withSwarm(seed: string, hosts: number, body: (swarm: ReturnType<typeof swarmOf>) => Promise<void>): Promise<void> {
  const world = new World({ seed, hosts })
  try {
    assert.ok(await world.start(), 'the swarm comes up')
    await body(swarmOf(world))
    assert.deepEqual(world.violations, [])
  } finally {
    world.close()
  }
}

function swarmOf(world: World) {
  const service = (name: string) => world.view()?.services.byName(name)
  const tasks = (name: string) => {
    const found = service(name)
    return found ? [...world.view()!.tasks.byService(found.id)] : []
  }
  return {
    world,
    service,
    tasks,
    running: (name: string) =>
      tasks(name).filter((task) => task.status.state === TaskState.RUNNING && task.desiredState === TaskState.RUNNING),
    async create(spec: Omit<ServiceSpec, 'labels'>): Promise<void> {
      const made = world.manager()!.control.createService({ labels: {}, ...spec })
      await world.run(100)
      await made
    },
    async image(name: string, image: string): Promise<void> {
      const { spec, version, id } = service(name)!
      const container = { ...spec.task.container, image }
      const changed = world.manager()!.control.updateService(id, version, { ...spec, task: { ...spec.task, container } })
      await world.run(100)
      await changed
    },
    seconds: (seconds: number) => world.run(seconds * 1_000),
    async until(what: string, predicate: () => boolean, limitSeconds: number): Promise<void> {
      const done = await world.clock.runUntil(() => world.violations.length > 0 || predicate(), limitSeconds * 1_000)
      const trace = () => [...world.violations.map((one) => `${one.rule}: ${one.what}`), ...world.trace.tail().slice(-25)].join('\n')
      assert.ok(done && world.violations.length === 0, `${what} within ${limitSeconds} s: ${done ? '' : trace()}`)
    },
  }
}

const update = (order: 'stop-first' | 'start-first') => ({ parallelism: 1, order, monitorNs: 1e9 })
const task = (rest: Partial<ServiceSpec['task']> = {}): ServiceSpec['task'] => ({ forceUpdate: 0, container: { image: 'ok:1' }, ...rest })
const replicated = (replicas: number) => ({ kind: 'replicated', replicas }) as const

test('row 19 (moby 40797): a start-first update of a service that fills its nodes up to the limit per node comes to its end', () =>
  withSwarm('row19', 3, async ({ create, image, running, until, service }) => {
    await create({ name: 'web', mode: replicated(3), update: update('start-first'), task: task({ placement: { maxReplicas: 1 } }) })
    await until('all run', () => running('web').length === 3, 60)
    await image('web', 'ok:2')
    await until('the update completes', () => service('web')?.updateStatus?.state === 'completed', 120)
    assert.equal(new Set(running('web').map(({ nodeId }) => nodeId)).size, 3)
    assert.ok(running('web').every(({ specVersion }) => specVersion === service('web')?.specVersion))
  }))

test('row 39 (moby 36934, 41364): a start-first update of a service with a host port on every node does not stand in its own way', () =>
  withSwarm('row39', 3, async ({ create, image, running, until, service }) => {
    const ports = [{ protocol: 'tcp', targetPort: 80, publishedPort: 8080, publishMode: 'host' }] as const
    await create({ name: 'web', mode: replicated(3), endpoint: { ports }, update: update('start-first'), task: task() })
    await until('all run', () => running('web').length === 3, 60)
    await image('web', 'ok:2')
    await until('the update completes', () => service('web')?.updateStatus?.state === 'completed', 120)
    assert.equal(new Set(running('web').map(({ nodeId }) => nodeId)).size, 3)
  }))

test('row 47 (swarmkit 2d6aff7): scaling up where the lighter branches of a spread are full goes on with the others and ends', () =>
  withSwarm('row47', 4, async ({ world, create, running, until, tasks, seconds }) => {
    for (const [host, zone] of ['a', 'a', 'b', 'c'].entries()) world.play({ kind: 'label', host, zone })
    await seconds(1)
    const placement = { preferences: [{ spread: 'node.labels.zone' }, { spread: 'node.hostname' }], maxReplicas: 2 }
    await create({ name: 'web', mode: replicated(7), task: task({ placement }) })
    await until('all run', () => running('web').length === 7, 60)
    world.play({ kind: 'scale', service: 'web', replicas: 12 })
    await until('what has room runs', () => running('web').length === 8, 60)
    await seconds(5)
    const waiting = tasks('web').filter(({ nodeId }) => nodeId === undefined)
    assert.equal(waiting.length, 4)
    for (const { status } of waiting) assert.match(status.error, /max replicas per node limit exceed/)
  }))

test('moby 34139: a drained node keeps each task until its successor serves', () =>
  withSwarm('drain-capacity', 3, async ({ world, create, running, until, tasks }) => {
    await create({ name: 'web', mode: replicated(6), task: task({ container: { image: 'slow:1' } }) })
    await until('all run', () => running('web').length === 6, 90)
    const nodeId = world.hostList[1]!.nodeId
    let least = 6
    world.play({ kind: 'availability', host: 1, availability: 'drain' })
    const empty = () => {
      least = Math.min(least, running('web').length)
      return !tasks('web').some((one) => one.nodeId === nodeId && one.status.state === TaskState.RUNNING)
    }
    await until('the node is empty', empty, 120)
    assert.equal(least, 6)
  }))

test('row 44 (moby 38203): most of a swarm is cut off for longer than it takes to notice, and most of its tasks are not started anew', () =>
  withSwarm('row44-mass', 6, async ({ world, create, running, until, seconds }) => {
    await create({ name: 'web', mode: replicated(60), task: task() })
    await until('all run', () => running('web').length === 60, 90)
    const before = world.containersStarted
    for (const host of [1, 2, 3, 4, 5]) world.play({ kind: 'partition', host, to: 0, oneWay: false, forMs: 9_000 })
    await seconds(60)
    await until('all run', () => running('web').length === 60, 60)
    const anew = world.containersStarted - before
    assert.ok(anew <= 20, `${anew} of 50 tasks were started anew`)
  }))
