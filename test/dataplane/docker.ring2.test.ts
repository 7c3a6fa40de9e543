// The mesh with real Docker Engines that adopt our bridges: three engines, containers as tasks, and an engine that is killed.
import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { Attachment, MeshUpdate } from '../../src/dataplane/index.ts'
import type { Answer, LoadResult } from './inside.ts'
import { endpoint, type Host, INGRESS, type Inside, LAN_CLIENT, Lab, meshUpdate, overlay, peersOf, ROUTED_CLIENT, service } from './lab.ts'

const BUSYBOX = '/bin/busybox'
const APP = overlay('appnetworkid0000000000001', 4200, 4)
const VIP = '10.0.4.100'
const PORT = 8080
const TASKS = [0, 1, 1].map((host, i) => ({ name: `t${i + 1}`, host, ingress: `10.0.0.${11 + i}`, app: `10.0.4.${11 + i}` }))

/** An engine in a host's network namespace, with folders of its own. */
class Engine {
  readonly #directory: string
  readonly #namespace: string
  #daemon: ChildProcess | undefined

  constructor(directory: string, namespace: string) {
    this.#directory = join(directory, namespace)
    this.#namespace = namespace
    mkdirSync(this.#directory, { recursive: true })
  }

  async start(): Promise<void> {
    const at = (name: string) => join(this.#directory, name)
    const log = openSync(at('log'), 'a')
    const roots = ['--data-root', at('data'), '--exec-root', at('exec'), '--pidfile', at('pid'), '-H', `unix://${at('sock')}`]
    this.#daemon = spawn('nsenter', [`--net=/run/netns/${this.#namespace}`, 'dockerd', '--live-restore', ...roots], {
      stdio: ['ignore', log, log],
    })
    for (let i = 0; i < 200; i++) {
      await new Promise((resolve) => setTimeout(resolve, 100))
      try {
        this.docker('version')
        return
      } catch {}
    }
    throw new Error(`dockerd did not start: ${readFileSync(at('log'), 'utf8').slice(-2000)}`)
  }

  docker(...args: string[]): string {
    return execFileSync('docker', ['-H', `unix://${join(this.#directory, 'sock')}`, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 30_000,
    })
      .toString()
      .trim()
  }

  /** As kill -9 does. Where PID 1 does not reap, its containerd stays as a zombie that a new dockerd would wait for: so its pid file goes. */
  async crash(): Promise<void> {
    await this.kill('SIGKILL')
    rmSync(join(this.#directory, 'exec/containerd/containerd.pid'), { force: true })
  }

  async kill(signal: NodeJS.Signals): Promise<void> {
    const daemon = this.#daemon
    if (!daemon || daemon.exitCode !== null || daemon.signalCode !== null) return
    const gone = new Promise((resolve) => daemon.once('exit', resolve))
    daemon.kill(signal)
    await gone
  }

  /** Containers, the engine, and its containerd, which outlives it in live-restore. */
  async end(): Promise<void> {
    try {
      const all = this.docker('ps', '-aq').split('\n').filter(Boolean)
      if (all.length > 0) this.docker('rm', '-f', ...all)
    } catch {}
    await this.kill('SIGTERM')
    const containerd = join(this.#directory, 'exec/containerd/containerd.pid')
    if (existsSync(containerd)) {
      try {
        process.kill(Number(readFileSync(containerd, 'utf8')), 'SIGTERM')
      } catch {}
    }
    for (const line of readFileSync('/proc/mounts', 'utf8').split('\n').reverse()) {
      const mount = line.split(' ')[1]
      if (mount?.startsWith(`${this.#directory}/`)) execFileSync('umount', ['-l', mount])
    }
  }
}

const missing = process.getuid?.() !== 0 ? 'needs root' : [BUSYBOX, '/usr/sbin/dockerd'].find((path) => !existsSync(path))

describe('routing mesh with Docker Engines', { skip: missing ?? false }, () => {
  const lab = new Lab('dpd-')
  const directory = mkdtempSync(join(tmpdir(), 'dpd-'))
  const engines = new Map<Host, Engine>()
  const tasks: Inside[] = []
  const everyone = (update: Partial<MeshUpdate>) => Promise.all(lab.hosts.map(({ plane }) => plane.ask('mesh', meshUpdate(update))))

  before(async () => {
    await lab.up([1, 2, 3])
    for (const host of lab.hosts) engines.set(host, new Engine(directory, host.namespace))
    await Promise.all([...engines.values()].map((engine) => engine.start()))
    mkdirSync(join(directory, 'image/bin'), { recursive: true })
    execFileSync('cp', [BUSYBOX, join(directory, 'image/bin/busybox')])
    execFileSync('tar', ['-C', join(directory, 'image'), '-cf', join(directory, 'image.tar'), '.'])
    for (const engine of engines.values()) engine.docker('import', join(directory, 'image.tar'), 'box')
    await Promise.all(lab.hosts.map(({ plane, nodeId, address }) => plane.ask('start', { nodeId, address })))
    await everyone({
      snapshot: true,
      peers: peersOf(lab.hosts),
      networks: [INGRESS, APP],
      services: [service('web', PORT, [{ networkId: APP.id, address: VIP }])],
    })
    for (const { name, host, ingress, app } of TASKS) {
      tasks.push(
        await run(name, lab.hosts[host]!, [
          [APP.id, app],
          [INGRESS.id, ingress],
        ]),
      )
      await tasks.at(-1)!.ask('serve', { name, port: 80 })
    }
    await everyone({
      endpoints: TASKS.map(({ name, host, ingress, app }) =>
        endpoint(name, 'web', lab.hosts[host]!.nodeId, [
          [INGRESS.id, ingress],
          [APP.id, app],
        ]),
      ),
    })
  })

  after(async () => {
    for (const engine of engines.values()) await engine.end()
    await lab.down()
    rmSync(directory, { recursive: true, force: true })
  })

  /** A container on our networks as the engine adapter makes it; the program of the task runs in its network namespace. */
  async function run(name: string, host: Host, networks: readonly (readonly [string, string])[]): Promise<Inside> {
    const engine = engines.get(host)!
    const wanted = networks.map(([networkId, address]) => ({ networkId, address }))
    const attachments = await host.plane.ask<Attachment[]>('attach', { taskId: name, networks: wanted })
    const there = engine.docker('network', 'ls', '--format', '{{.Name}}').split('\n')
    for (const { engineNetwork: plan } of attachments) {
      if (there.includes(plan.name)) continue
      const options = ['-o', `com.docker.network.bridge.name=${plan.bridge}`, '-o', `com.docker.network.driver.mtu=${plan.mtu}`]
      engine.docker('network', 'create', '-d', 'bridge', '--subnet', plan.subnet, '--gateway', plan.gateway, ...options, plan.name)
    }
    const [first, ...others] = attachments
    engine.docker(
      'create',
      '--name',
      name,
      '--network',
      first!.engineNetwork.name,
      '--ip',
      first!.address,
      'box',
      '/bin/busybox',
      'sleep',
      '600',
    )
    for (const other of others) engine.docker('network', 'connect', '--ip', other.address, other.engineNetwork.name, name)
    engine.docker('start', name)
    await host.plane.ask('hairpin')
    const namespace = `dpd-${name}`
    execFileSync('ip', ['netns', 'attach', namespace, engine.docker('inspect', '-f', '{{.State.Pid}}', name)])
    return lab.program(namespace)
  }

  async function callers(client: Inside, op: 'tcp' | 'udp', host: string, port: number): Promise<{ names: string[]; peers: string[] }> {
    const names = new Set<string>()
    const peers = new Set<string>()
    for (let i = 0; i < 60 && names.size < 3; i++) {
      const { text, error } = await client.ask<Answer>(op, { host, port })
      assert.ok(text, `${client.namespace} -> ${op} ${host}:${port}: ${error}`)
      names.add(text.split(' ')[0]!)
      peers.add(text.split(' ')[1]!)
    }
    return { names: [...names].sort(), peers: [...peers].sort() }
  }

  const ALL = ['t1', 't2', 't3']

  async function matrix(): Promise<void> {
    for (const op of ['tcp', 'udp'] as const) {
      for (const host of lab.hosts) {
        assert.deepEqual(await callers(lab.lan, op, host.address, PORT), { names: ALL, peers: [LAN_CLIENT] })
        assert.deepEqual(await callers(lab.routed, op, host.address, PORT), { names: ALL, peers: [ROUTED_CLIENT] })
        for (const client of lab.hosts)
          assert.deepEqual(await callers(client.plane, op, host.address, PORT), { names: ALL, peers: [client.address] })
        for (const task of tasks) assert.deepEqual((await callers(task, op, host.address, PORT)).names, ALL)
      }
      assert.deepEqual((await callers(lab.hosts[2]!.plane, op, '127.0.0.1', PORT)).names, ALL)
      for (const task of tasks) assert.deepEqual((await callers(task, op, VIP, 80)).names, ALL)
    }
  }

  test('the whole matrix: from outside, from the hosts, from containers, by published port and by VIP', matrix)

  test('the engines took our bridges as they are: nothing of the plan has changed', async () => {
    for (const { plane } of lab.hosts) assert.equal(await plane.ask('check'), 0)
  })

  test('an engine that is killed and comes back disturbs no connection; our rule is put back to the front', async () => {
    const host = lab.hosts[1]!
    const engine = engines.get(host)!
    const targets = lab.hosts.map(({ address }) => ({ host: address, port: PORT }))
    const loading = lab.lan.ask<LoadResult>('load', { targets, count: 6_000, parallel: 2 })
    await engine.crash()
    await engine.start()
    await host.plane.ask('check')
    assert.deepEqual((await loading).failed, [])
    assert.match(lab.inNamespace(host.namespace, 'iptables', '-S', 'FORWARD').split('\n')[1]!, /SHOAL-FORWARD/)
    await matrix()
  })
})
