// Three managers: the leader is killed again and again under a write load, and nothing that was acknowledged is lost.
import assert from 'node:assert/strict'
import { request } from 'node:http'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type TestCluster, testCluster, until } from './cluster.ts'

const MACHINES = ['mgr1', 'mgr2', 'mgr3'] as const
const SOAK = process.env.SHOAL_SOAK === '1'
const CYCLES = SOAK ? 50 : 5
/** A write that hangs this long is given up; it counts as not acknowledged. */
const WRITE_TIMEOUT_MS = 10_000
let cluster: TestCluster

before(
  async () => {
    cluster = await testCluster('mgrs', '10.94.0.0/24', MACHINES, { swarm: false })
    await cluster.docker('swarm', 'init', '--advertise-addr', cluster.ip.mgr1 as string)
    const token = (await cluster.docker('swarm', 'join-token', '-q', 'manager')).trim()
    for (const machine of MACHINES.slice(1))
      await cluster.ok(machine, 'docker', 'swarm', 'join', '--token', token, `${cluster.ip.mgr1}:2377`)
    await cluster.docker('service', 'create', '--name', 'who', '--replicas', '6', 'whoami')
  },
  { timeout: 300_000 },
)
after(() => cluster?.down(), { timeout: 120_000 })

interface Reply {
  readonly status: number
  readonly body: string
}

function call(machine: string, method: string, path: string, body?: unknown): Promise<Reply> {
  return new Promise((resolve) => {
    const socketPath = join(cluster.set.runDir, machine, 'docker.sock')
    const req = request({
      socketPath,
      method,
      path: `/v1.41${path}`,
      headers: { 'Content-Type': 'application/json' },
      timeout: WRITE_TIMEOUT_MS,
    })
    req.on('timeout', () => req.destroy(new Error('timeout')))
    req.on('error', (error) => resolve({ status: 0, body: error.message }))
    req.on('response', (response) => {
      let text = ''
      response.on('data', (data) => (text += data))
      response.on('error', (error) => resolve({ status: 0, body: error.message }))
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: text }))
    })
    req.end(body === undefined ? undefined : JSON.stringify(body))
  })
}

/** Creates secrets, one after the other, until it is stopped. */
function writer(prefix: string, machines: () => readonly string[]) {
  const acknowledged: { readonly name: string; readonly at: number }[] = []
  let stopped = false
  const done = (async () => {
    for (let n = 0; !stopped; n++) {
      const name = `${prefix}-${n}`
      const choice = machines()
      const { status } = await call(choice[n % choice.length] as string, 'POST', '/secrets/create', { Name: name, Data: 'YQ==' })
      if (status === 201) acknowledged.push({ name, at: Date.now() })
      else await sleep(20)
    }
  })()
  return {
    acknowledged,
    async stop() {
      stopped = true
      await done
    },
  }
}

/** `machine container-id started-at`. */
async function containers(): Promise<string[]> {
  const found: string[] = []
  for (const machine of MACHINES) {
    const ids = (await cluster.ok(machine, 'docker', 'ps', '-q', '--no-trunc', '-f', 'label=com.docker.swarm.service.name=who'))
      .split('\n')
      .filter(Boolean)
    for (const id of ids)
      found.push(`${machine} ${id} ${(await cluster.ok(machine, 'docker', 'inspect', '-f', '{{.State.StartedAt}}', id)).trim()}`)
  }
  return found.sort()
}

const nodes = async (machine: string) => {
  const { code, stdout } = await cluster.ssh(machine, 'docker', 'node', 'ls', '--format', '{{.Hostname}} {{.Status}} {{.ManagerStatus}}')
  return code === 0 ? stdout : ''
}
const healthy = (text: string) => (text.match(/Ready (Leader|Reachable)/g) ?? []).length === 3 && (text.match(/Leader/g) ?? []).length === 1

test(`${CYCLES} leaders are killed under load: no acknowledged write is lost, writes go on, no container restarts`, {
  timeout: CYCLES * 90_000,
}, async (t) => {
  const before = await containers()
  assert.equal(before.length, 6)
  const gaps: number[] = []
  const acknowledged: string[] = []
  for (let cycle = 0; cycle < CYCLES; cycle++) {
    const list = await until(() => nodes(MACHINES[cycle % 3] as string), healthy, 60_000)
    const leader = /^(\S+) Ready Leader$/m.exec(list)?.[1] as string
    const others = MACHINES.filter((machine) => machine !== leader)
    const load = [0, 1, 2].map((n) => writer(`c${cycle}-${n}`, () => others))
    await sleep(1_500)
    const killedAt = Date.now()
    await cluster.ok(leader, 'sh', '-c', 'kill -9 $(cat /run/shoald.pid)')
    const diedAt = Date.now()
    const first = () =>
      Math.min(...load.flatMap(({ acknowledged: done }) => done.filter(({ at }) => at > diedAt + 150).map(({ at }) => at)))
    await until(
      async () => first(),
      (at) => at < Number.POSITIVE_INFINITY,
      30_000,
    )
    await sleep(1_000)
    for (const one of load) await one.stop()
    const all = load.flatMap(({ acknowledged: done }) => done).sort((a, b) => a.at - b.at)
    acknowledged.push(...all.map(({ name }) => name))
    let gap = 0
    for (let n = 1; n < all.length; n++) {
      const [a, b] = [all[n - 1] as { at: number }, all[n] as { at: number }]
      if (b.at > killedAt) gap = Math.max(gap, b.at - a.at)
    }
    gaps.push(gap)
  }
  gaps.sort((a, b) => a - b)
  t.diagnostic(`${acknowledged.length} writes acknowledged; without writes: ${gaps.join(', ')} ms`)
  const list = JSON.parse((await call(MACHINES[0], 'GET', '/secrets')).body) as { Spec: { Name: string } }[]
  const stored = new Set(list.map(({ Spec }) => Spec.Name))
  assert.deepEqual(
    acknowledged.filter((name) => !stored.has(name)),
    [],
    'acknowledged and not there',
  )
  const median = gaps[Math.floor(gaps.length / 2)] as number
  // Five cycles on a shared machine of two cores are no statistic: the figures of the issue are held by the soak, the short form only tells a hang from an election.
  assert.ok(median <= (SOAK ? 2_000 : 10_000), `writes went on after ${median} ms (median)`)
  assert.ok((gaps[Math.floor(gaps.length * 0.95)] as number) <= (SOAK ? 5_000 : 20_000), `p95 of ${gaps}`)
  assert.deepEqual(await containers(), before)
})
