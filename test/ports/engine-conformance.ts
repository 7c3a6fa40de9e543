// What every adapter of the Engine port must do, as tests: run over the fake and over a real Docker Engine.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isShoalError } from '../../src/lib/index.ts'
import type { ContainerPlan, Engine, EngineEvent } from '../../src/ports/index.ts'

export interface EngineBench {
  readonly engine: Engine
  /** An image that is there and has a shell. */
  readonly image: string
  /** Waits for a promise, moving virtual time where there is one. */
  settle<T>(promise: Promise<T>): Promise<T>
  sleep(ms: number): Promise<void>
  close(): Promise<void>
}

const NODE = 'conformance-node'
let made = 0

/** A container that runs `script`. The fake knows the scripts `exit N`, `sleep ...`, `sick`. */
export function planOf(image: string, script: string, more: Partial<ContainerPlan> = {}): ContainerPlan {
  made += 1
  return {
    name: `conf.${made}.${process.pid}`,
    image,
    labels: { 'com.docker.swarm.node.id': NODE, 'com.docker.swarm.task.id': `task${made}` },
    command: ['sh', '-c', script],
    args: undefined,
    hostname: undefined,
    env: [],
    workingDir: undefined,
    user: undefined,
    groups: [],
    tty: false,
    openStdin: false,
    readOnlyRootfs: false,
    init: undefined,
    stopSignal: undefined,
    stopGraceMs: undefined,
    healthcheck: undefined,
    mounts: [],
    extraHosts: [],
    dns: { nameservers: [], search: [], options: [] },
    sysctls: {},
    capabilityAdd: [],
    capabilityDrop: [],
    ulimits: [],
    privileges: undefined,
    isolation: undefined,
    oomScoreAdj: undefined,
    limits: { nanoCpus: 0, memoryBytes: 0, pids: 0 },
    reservations: { nanoCpus: 0, memoryBytes: 0 },
    logDriver: undefined,
    networks: [],
    networkMode: undefined,
    hostPorts: [],
    files: [],
    ...more,
  }
}

const code = (expected: string) => (error: unknown) => isShoalError(error) && error.code === expected

/** Registers the tests. `open` makes a bench for each; containers are removed afterwards. */
export function engineConformance(name: string, open: () => Promise<EngineBench>): void {
  const scene = (title: string, body: (bench: EngineBench) => Promise<void>) =>
    test(`${name}: ${title}`, { timeout: 60_000 }, async () => {
      const bench = await open()
      try {
        await body(bench)
      } finally {
        for (const container of await bench.settle(bench.engine.list(NODE))) await bench.settle(bench.engine.remove(container.id))
        await bench.close()
      }
    })

  scene('an image that is there is present, one that is nowhere is not found by name', async ({ engine, image, settle }) => {
    await settle(engine.ensureImage(image, {}))
    await assert.rejects(settle(engine.ensureImage('nowhere.invalid/none:1', {})), (error) => {
      return isShoalError(error, 'not-found') && error.message === 'No such image: nowhere.invalid/none:1'
    })
  })

  scene('a container is created, started, stopped and removed, and seen in each state', async ({ engine, image, settle }) => {
    const plan = planOf(image, 'sleep 1000')
    const id = await settle(engine.create(plan))
    const created = await settle(engine.inspect(id))
    assert.equal(created?.status, 'created')
    assert.equal(created?.name, plan.name)
    assert.equal(created?.labels['com.docker.swarm.node.id'], NODE)
    await settle(engine.start(id))
    const running = await settle(engine.inspect(id))
    assert.equal(running?.status, 'running')
    assert.equal(running?.health, 'none')
    assert((running?.pid ?? 0) > 0)
    assert(running?.startedAt)
    await settle(engine.stop(id, { graceMs: 1_000 }))
    const exited = await settle(engine.inspect(id))
    assert.equal(exited?.status, 'exited')
    assert.notEqual(exited?.exitCode, 0)
    assert.equal(exited?.pid, 0)
    await settle(engine.stop(id, { graceMs: 1_000 })) // once more is no error
    await settle(engine.remove(id))
    assert.equal(await settle(engine.inspect(id)), undefined)
    await settle(engine.remove(id)) // nor is this
  })

  scene('a container is also found by its name, and a name is taken only once', async ({ engine, image, settle }) => {
    const plan = planOf(image, 'sleep 1000')
    const id = await settle(engine.create(plan))
    assert.equal((await settle(engine.inspect(plan.name)))?.id, id)
    await assert.rejects(settle(engine.create(plan)), code('already-exists'))
  })

  scene('a container that ends by itself shows its exit code', async ({ engine, image, settle, sleep }) => {
    const id = await settle(engine.create(planOf(image, 'exit 3')))
    await settle(engine.start(id))
    for (let tries = 0; tries < 100 && (await settle(engine.inspect(id)))?.status !== 'exited'; tries += 1) await sleep(50)
    assert.equal((await settle(engine.inspect(id)))?.exitCode, 3)
  })

  scene('a killed container has exit code 137', async ({ engine, image, settle, sleep }) => {
    const id = await settle(engine.create(planOf(image, 'sleep 1000')))
    await settle(engine.start(id))
    await settle(engine.kill(id))
    for (let tries = 0; tries < 100 && (await settle(engine.inspect(id)))?.status !== 'exited'; tries += 1) await sleep(50)
    assert.equal((await settle(engine.inspect(id)))?.exitCode, 137)
  })

  scene('a running container is removed by force', async ({ engine, image, settle }) => {
    const id = await settle(engine.create(planOf(image, 'sleep 1000')))
    await settle(engine.start(id))
    await settle(engine.remove(id))
    assert.equal(await settle(engine.inspect(id)), undefined)
  })

  scene('what is not there is not found', async ({ engine, settle }) => {
    await assert.rejects(settle(engine.start('nothing')), code('not-found'))
    await assert.rejects(settle(engine.stop('nothing', { graceMs: 0 })), code('not-found'))
    assert.equal(await settle(engine.inspect('nothing')), undefined)
  })

  scene('only the containers of a node are listed', async ({ engine, image, settle }) => {
    const mine = await settle(engine.create(planOf(image, 'sleep 1000')))
    const other = await settle(engine.create(planOf(image, 'sleep 1000', { labels: { 'com.docker.swarm.node.id': 'other' } })))
    assert.deepEqual(
      (await settle(engine.list(NODE))).map((container) => container.id),
      [mine],
    )
    await settle(engine.remove(other))
  })

  scene('a health check leads from starting to healthy', async ({ engine, image, settle, sleep }) => {
    const healthcheck = { test: ['CMD-SHELL', 'true'], intervalNs: 300e6, timeoutNs: 5e9, retries: 1, startPeriodNs: 0, startIntervalNs: 0 }
    const id = await settle(engine.create(planOf(image, 'sleep 1000', { healthcheck })))
    await settle(engine.start(id))
    assert.equal((await settle(engine.inspect(id)))?.health, 'starting')
    for (let tries = 0; tries < 100 && (await settle(engine.inspect(id)))?.health !== 'healthy'; tries += 1) await sleep(100)
    assert.equal((await settle(engine.inspect(id)))?.health, 'healthy')
  })

  scene('events begin with "reconnected" and tell what happens to containers', async ({ engine, image, settle, sleep }) => {
    const abort = new AbortController()
    const seen: EngineEvent[] = []
    const reading = (async () => {
      for await (const event of engine.events(abort.signal)) seen.push(event)
    })()
    for (let tries = 0; tries < 100 && seen.length === 0; tries += 1) await sleep(20)
    assert.deepEqual(seen, [{ kind: 'reconnected' }])
    const id = await settle(engine.create(planOf(image, 'sleep 1000')))
    await settle(engine.start(id))
    await settle(engine.remove(id))
    const actions = () => seen.flatMap((event) => (event.kind === 'container' && event.containerId === id ? [event.action] : []))
    for (let tries = 0; tries < 100 && !actions().includes('destroy'); tries += 1) await sleep(20)
    assert.deepEqual(
      actions().filter((action) => action !== 'kill'),
      ['create', 'start', 'die', 'destroy'],
    )
    const event = seen.at(-1)
    assert(event?.kind === 'container' && event.labels['com.docker.swarm.node.id'] === NODE)
    abort.abort()
    await settle(reading)
  })

  scene('a network of ours is made once, listed by its label, used, and removed', async ({ engine, image, settle }) => {
    const network = {
      name: 'agent-conf',
      subnet: '10.212.7.0/24',
      gateway: '10.212.7.1',
      bridge: 'agentconf0',
      mtu: 1450,
      internal: false,
      labels: { 'shoal.network.id': 'net1' },
    }
    await settle(engine.ensureNetwork(network))
    await settle(engine.ensureNetwork(network))
    assert.deepEqual(
      (await settle(engine.listNetworks('shoal.network.id'))).map((found) => found.name),
      ['agent-conf'],
    )
    const networks = [{ engineName: 'agent-conf', networkId: 'net1', address: '10.212.7.9', aliases: [] }]
    const id = await settle(engine.create(planOf(image, 'sleep 1000', { networks })))
    await settle(engine.start(id))
    await assert.rejects(settle(engine.removeNetwork('agent-conf')), code('failed-precondition'))
    await settle(engine.remove(id))
    await settle(engine.removeNetwork('agent-conf'))
    await settle(engine.removeNetwork('agent-conf')) // no error when it is gone
    assert.deepEqual(await settle(engine.listNetworks('shoal.network.id')), [])
  })

  scene('a network that is not there stops the creation', async ({ engine, image, settle }) => {
    const networks = [{ engineName: 'nope', networkId: 'x', address: '10.212.8.9', aliases: [] }]
    await assert.rejects(
      settle(
        (async () => {
          const id = await engine.create(planOf(image, 'sleep 1000', { networks }))
          await engine.start(id) // some engines find out only now
        })(),
      ),
      code('not-found'),
    )
  })

  scene('the engine says what it is', async ({ engine, settle }) => {
    await settle(engine.ping())
    const info = await settle(engine.info())
    assert(info.hostname.length > 0 && info.nanoCpus > 0 && info.memoryBytes > 0)
    assert.equal(info.architecture, 'x86_64')
    assert(info.plugins.some((plugin) => plugin.type === 'Network' && plugin.name === 'bridge'))
    assert.match((await settle(engine.capabilities())).apiVersion, /^1\.\d+$/)
  })
}
