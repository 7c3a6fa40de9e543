// What must survive: killed daemons, killed engines, killed machines; and clients that never notice.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { killMachine, startMachine } from '../../src/machine/index.ts'
import { curl, type TestCluster, testCluster, until } from './cluster.ts'

const MACHINES = ['mgr1', 'worker1', 'worker2'] as const
const SOAK = process.env.SHOAL_SOAK === '1'
let cluster: TestCluster

before(
  async () => {
    cluster = await testCluster('faults', '10.84.0.0/24', MACHINES, { swarm: true })
    await cluster.docker('service', 'create', '--name', 'who', '--replicas', '6', '--restart-delay', '500ms', '-p', '8080:80', 'whoami')
  },
  { timeout: 300_000 },
)
after(() => cluster?.down(), { timeout: 120_000 })

/** `node container-id started-at` of every container, for comparing before and after. */
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
const ready = (count: number) =>
  until(
    () => cluster.docker('node', 'ls', '--format', '{{.Hostname}} {{.Status}}'),
    (text) => (text.match(/ Ready/g) ?? []).length === count,
    60_000,
  )
const tasks = async () =>
  (await cluster.docker('service', 'ps', 'who', '-f', 'desired-state=running', '--format', '{{.ID}} {{.Node}} {{.CurrentState}}'))
    .split('\n')
    .filter((line) => / Running /.test(line))
const kill = (machine: string, pidFile: string) => cluster.ok(machine, 'sh', '-c', `kill -9 $(cat ${pidFile})`)
const back = (machine: string) =>
  until(
    () => cluster.ssh(machine, 'docker', 'version'),
    ({ code }) => code === 0,
  )

test('every client address is seen, on every node, and no connection fails', { timeout: 240_000 }, async () => {
  const seconds = SOAK ? 60 : 10
  for (const machine of MACHINES)
    await until(
      () => curl(cluster.ip[machine] as string, 8080),
      (text) => text !== '',
    )
  for (const machine of MACHINES) {
    let failed = 0
    const seen = new Map<string, number>()
    for (let i = 0; i < seconds * 50; i++) {
      const began = Date.now()
      const text = await request(cluster.ip[machine] as string, 8080)
      const remote = /^RemoteAddr: (\S+):\d+$/m.exec(text ?? '')?.[1]
      if (remote) seen.set(remote, (seen.get(remote) ?? 0) + 1)
      else failed++
      await sleep(Math.max(0, 20 - (Date.now() - began)))
    }
    assert.equal(failed, 0, `failed connections through ${machine}`)
    assert.deepEqual([...seen.keys()], [cluster.set.gateway], `source addresses through ${machine}`)
  }
})

test('kill -9 of the manager daemon touches no container and loses nothing that was acknowledged', { timeout: 240_000 }, async () => {
  const before = await containers()
  const id = (await cluster.docker('service', 'create', '-d', '--name', 'kept', '--replicas', '0', 'busybox', 'sleep', '1000')).trim()
  await kill('mgr1', '/run/shoald.pid')
  await back('mgr1')
  assert.equal((await cluster.docker('service', 'inspect', '-f', '{{.ID}}', 'kept')).trim(), id)
  await ready(3)
  await sleep(8_000) // longer than a node's patience: nobody may be declared down late
  await ready(3)
  assert.deepEqual(await containers(), before)
  await cluster.docker('service', 'rm', 'kept')
})

test('kill -9 of a worker daemon touches no container', { timeout: 240_000 }, async () => {
  const before = await containers()
  await kill('worker1', '/run/shoald.pid')
  await back('worker1')
  await ready(3)
  assert.deepEqual(await containers(), before)
  assert.equal((await tasks()).length, 6)
})

test('kill -9 of an engine under live-restore touches no container', { timeout: 240_000 }, async () => {
  const before = await containers()
  await kill('worker2', '/run/docker.pid')
  await sleep(500)
  await until(
    () => cluster.ssh('worker2', 'docker', 'ps', '-q'),
    ({ code }) => code === 0,
  )
  await sleep(3_000)
  assert.deepEqual(await containers(), before)
  assert.equal((await tasks()).length, 6)
  assert.notEqual(await curl(cluster.ip.worker2 as string, 8080), '')
})

test('the tasks of a machine that dies run elsewhere; when it is back it is Ready and nothing is there twice', {
  timeout: 300_000,
}, async () => {
  await killMachine('worker2', { set: cluster.set })
  await until(
    () => cluster.docker('node', 'ls'),
    (text) => /worker2\s+Down/.test(text),
  )
  await until(tasks, (lines) => lines.length === 6 && !lines.some((line) => line.includes(' worker2 ')))
  for (const machine of ['mgr1', 'worker1']) assert.match(await curl(cluster.ip[machine] as string, 8080), /Hostname/)
  await startMachine('worker2', { set: cluster.set })
  await ready(3)
  await until(containers, (list) => list.length === 6)
  await sleep(3_000)
  assert.equal((await containers()).length, 6)
  assert.equal((await tasks()).length, 6)
})

/** One new connection, no keep-alive. */
async function request(address: string, port: number): Promise<string | undefined> {
  try {
    const response = await fetch(`http://${address}:${port}/`, { signal: AbortSignal.timeout(3_000), headers: { connection: 'close' } })
    return await response.text()
  } catch {
    return undefined
  }
}
