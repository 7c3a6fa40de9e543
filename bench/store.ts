// One manager with 1,000,000 running tasks: restart to serving from lmdb, heap, and `service ps` through the API.
//   npm run bench:store [-- --tasks 1000000]
// 200 replicas a service, 1,000 nodes, each task with a container and an address on an overlay. The journal is written first, in a process of its own. Serving
// means: every loop has looked at everything and is idle, the dispatcher has its projections, the API answers. Against: the figures that the design asks for.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { createApi, serveApi } from '../src/api/index.ts'
import { createDispatcher } from '../src/dispatcher/index.ts'
import { base36, type NetworkId, type NodeId, type ServiceId, silentLogger, type TaskId } from '../src/lib/index.ts'
import { createRunner } from '../src/loops/index.ts'
import { createControl } from '../src/manager/index.ts'
import { DEFAULT_CLUSTER_SPEC, encodeStored, specRevisionOf, type Task, TaskState } from '../src/model/index.ts'
import { realClock, realRandom } from '../src/ports/index.ts'
import { createStore, type JournalWrite, openLmdbJournal } from '../src/store/index.ts'
import { collectGarbage, cpuSeconds, line, mib, nodeObject, percentile, serviceObject } from './measure.ts'

const TARGET_HEAP_MIB = 1_200
const TARGET_RESTART_CPU_SECONDS = 25
const TARGET_PS_P99_MS = 20
const NODES = 1_000
const REPLICAS = 200
const SERVICES_PER_NETWORK = 250
const WRITES_PER_COMMIT = 5_000
const LOOK_UPS = 500

const { values: options } = parseArgs({
  options: { tasks: { type: 'string', default: '1000000' }, inside: { type: 'string' }, folder: { type: 'string' } },
})
const tasks = Number(options.tasks)

if (options.inside === 'write') await write(options.folder ?? '')
else if (options.inside === 'serve') await serve(options.folder ?? '')
else {
  const folder = mkdtempSync(join(tmpdir(), 'shoal-bench-'))
  try {
    for (const inside of ['write', 'serve']) {
      const again = [...process.execArgv, fileURLToPath(import.meta.url), '--inside', inside, '--folder', folder, '--tasks', options.tasks]
      const { status } = spawnSync(process.execPath, again, { stdio: 'inherit' })
      if (status !== 0) throw new Error(`${inside} failed`)
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function write(folder: string): Promise<void> {
  const start = process.cpuUsage()
  const journal = await openLmdbJournal(folder)
  let seq = 0
  let writes: JournalWrite[] = []
  const flush = async () => {
    await journal.commit(++seq, writes)
    writes = []
  }
  const put = async (table: string, object: { readonly id: string }) => {
    writes.push({ key: `${table}/${object.id}`, value: encodeStored(table, object) })
    if (writes.length >= WRITES_PER_COMMIT) await flush()
  }
  const now = realClock.now()
  const meta = { version: 1, createdAt: now, updatedAt: now }
  await put('cluster', {
    ...meta,
    id: 'cluster0',
    spec: DEFAULT_CLUSTER_SPEC,
    rootCaPem: '',
    rootCaKeyPem: '',
    joinTokens: { worker: '', manager: '' },
    defaultAddressPools: [],
    subnetSize: 24,
    dataPathPort: 4789,
    networkKeys: [],
  } as { id: string })
  for (let i = 0; i < NODES; i++) await put('node', { ...meta, ...nodeObject(i), dataPlane: { on: true, reason: '' } } as { id: string })
  for (let i = 0; i < tasks / REPLICAS; i++) await putService(i)
  await flush()
  await journal.close()
  console.log(
    `wrote ${tasks} tasks: ${cpuSeconds(start).toFixed(1)} CPU-s, ${mib(statSync(join(folder, 'store.mdb')).size).toFixed(0)} MiB`,
  )

  async function putService(i: number): Promise<void> {
    const second = 1 + Math.floor(i / SERVICES_PER_NETWORK)
    const networkId = `net${String(second).padStart(22, '0')}` as NetworkId
    if (i % SERVICES_PER_NETWORK === 0) {
      await put('network', {
        ...meta,
        id: networkId,
        spec: {
          name: `net${second}`,
          labels: {},
          driver: 'overlay',
          driverOptions: {},
          ipv6: false,
          internal: false,
          attachable: false,
          ingress: false,
          ipamDriver: 'default',
          ipamOptions: {},
          ipam: [],
        },
        plane: 'shoal',
        vni: 4096 + second,
        subnets: [{ subnet: `10.${second}.0.0/16`, gateway: `10.${second}.0.1` }],
      } as { id: string })
    }
    const fresh = serviceObject(i, REPLICAS)
    const spec = { ...fresh.spec, task: { ...fresh.spec.task, networks: [{ target: networkId, aliases: [] }] } }
    const address = (host: number) => `10.${second}.${host >> 8}.${host & 255}/16`
    const at = (i % SERVICES_PER_NETWORK) * (REPLICAS + 1) + 2
    const service = { ...meta, ...fresh, spec, endpoint: { spec: {}, ports: [], vips: [{ networkId, address: address(at) }] } }
    await put('service', service)
    await put('specRevision', { ...meta, ...specRevisionOf(service) } as { id: string })
    for (let slot = 1; slot <= REPLICAS; slot++)
      await put('task', runningTask(service.id, slot, i * REPLICAS + slot, networkId, address(at + slot)))
  }

  function runningTask(serviceId: ServiceId, slot: number, n: number, networkId: NetworkId, address: string): Task {
    const startedAt = now - 10_000 + (n % 5_000)
    return {
      ...meta,
      id: base36(realRandom.bytes(16), 25) as TaskId,
      updatedAt: startedAt + 500,
      serviceId,
      slot,
      nodeId: nodeObject(n % NODES).id as NodeId,
      specVersion: 1,
      desiredState: TaskState.RUNNING,
      status: {
        state: TaskState.RUNNING,
        at: startedAt,
        message: 'started',
        error: '',
        container: { containerId: Buffer.from(realRandom.bytes(32)).toString('hex'), pid: 1_000 + (n % 30_000), exitCode: 0 },
        ports: [],
      },
      attachments: [{ networkId, addresses: [address] }],
      servedAt: startedAt + 500,
    }
  }
}

async function serve(folder: string): Promise<void> {
  const wall = realClock.monotonicMs()
  const start = process.cpuUsage()
  const step = (name: string) =>
    console.log(`  ${name}: ${cpuSeconds(start).toFixed(1)} CPU-s, heap ${mib(process.memoryUsage().heapUsed).toFixed(0)} MiB`)
  const journal = await openLmdbJournal(folder)
  const store = await createStore({ clock: realClock, journal, log: silentLogger })
  step('store loaded')
  const dispatcher = createDispatcher({
    store,
    clock: realClock,
    random: realRandom,
    logger: silentLogger,
    limits: { startGraceFactor: 1_000 },
    self: () => undefined,
  })
  dispatcher.start()
  step('dispatcher started')
  const runner = createRunner({ store, clock: realClock, random: realRandom, log: silentLogger })
  runner.start()
  step('loops started')
  while (!runner.idle) await realClock.sleep(10)
  const socket = join(folder, 'api.sock')
  const control = createControl({ store, random: realRandom })
  const api = createApi({
    node: {
      status: () => ({ state: 'active', error: '', nodeId: nodeObject(0).id, role: 'manager', address: '', managers: [] }),
      manager: () => ({ store, control, logs: dispatcher.logs }),
      init: () => Promise.reject(new Error('not here')),
      join: () => Promise.reject(new Error('not here')),
      leave: () => Promise.reject(new Error('not here')),
    },
    engineSocket: join(folder, 'no-engine.sock'),
    clock: realClock,
    log: silentLogger,
    ready: () => true,
    version: 'bench',
  })
  const server = await serveApi(api, [`unix://${socket}`])
  await get(socket, `/tasks?filters=${encodeURIComponent('{"service":{"service-0":true}}')}`)
  step('serving')
  line(`store ${tasks} tasks: restart to serving`, cpuSeconds(start), 'CPU-s', 'target', TARGET_RESTART_CPU_SECONDS)
  console.log(`  wall ${((realClock.monotonicMs() - wall) / 1_000).toFixed(1)} s`)
  collectGarbage()
  line(`store ${tasks} tasks: heap`, mib(process.memoryUsage().heapUsed), 'MiB', 'target', TARGET_HEAP_MIB)
  const { external, rss } = process.memoryUsage()
  console.log(`  external ${mib(external).toFixed(0)} MiB, RSS ${mib(rss).toFixed(0)} MiB (the mapped journal included)`)

  // Every service once: no list is answered from the cache of printed texts.
  const services = [...store.view().services.ids()]
  const cold: number[] = []
  const warm: number[] = []
  const before = process.cpuUsage()
  for (let i = 0; i < LOOK_UPS; i++) {
    const path = `/tasks?filters=${encodeURIComponent(JSON.stringify({ service: { [services[(i * 7_919) % services.length] ?? '']: true } }))}`
    for (const times of [cold, warm]) {
      const askedAt = realClock.monotonicMs()
      const bytes = await get(socket, path)
      times.push(realClock.monotonicMs() - askedAt)
      if (i === 0 && times === cold) console.log(`  one service: ${REPLICAS} tasks, ${(bytes / 1_024).toFixed(0)} KiB of JSON`)
    }
  }
  console.log(`  service ps, CPU time of client and server: ${((cpuSeconds(before) / (2 * LOOK_UPS)) * 1_000).toFixed(1)} ms each`)
  for (const [name, times] of [
    ['first time', cold],
    ['again', warm],
  ] as const) {
    console.log(`  service ps, ${name}: p50 ${percentile(times, 0.5).toFixed(1)} ms, p99 ${percentile(times, 0.99).toFixed(1)} ms`)
    line(`store ${tasks} tasks: service ps p99, ${name}`, percentile(times, 0.99), 'ms', 'target', TARGET_PS_P99_MS)
  }
  await server.close()
  await runner.stop()
  await dispatcher.stop()
  await store.close()
}

function get(socketPath: string, path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath, path: `/v1.41${path}` }, (response) => {
      let bytes = 0
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length
      })
      response.on('end', () => (response.statusCode === 200 ? resolve(bytes) : reject(new Error(`${response.statusCode} for ${path}`))))
    })
    call.on('error', reject)
    call.end()
  })
}
