// A hollow cluster: one real manager, many real agents with fake engines, gRPC over TLS on loopback. How fast does a large service run, and is it replaced?
//   npm run bench:hollow [-- --nodes 1000 --replicas 30000 --processes 4 --port 23770 --keep]
// One service from the API call until the manager's store says that all tasks run; then a tenth of the nodes is killed (their process ends) until all run again.
// Measured: CPU seconds of manager and nodes, wall time, latency of small API calls meanwhile. Against: 3,000 tasks/s on two cores, nodes included; the rate
// from CPU time is what two free cores would give: tasks / max(manager, all / 2). Other load on the machine moves the wall figures only.
import { type ChildProcess, fork } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { line, percentile } from '../measure.ts'
import type { News, Order, Usage } from './messages.ts'

const TARGET_TASKS_PER_SECOND = 3_000
const TARGET_API_P99_MS = 200
const CORES = 2
const PROBE_EVERY_MS = 20
const GIVE_UP_MS = 300_000

const { values: options } = parseArgs({
  options: {
    nodes: { type: 'string', default: '1000' },
    replicas: { type: 'string', default: '30000' },
    processes: { type: 'string', default: '10' },
    port: { type: 'string', default: '23770' },
    prof: { type: 'string' },
    'no-kill': { type: 'boolean', default: false },
  },
})
const nodes = Number(options.nodes)
const replicas = Number(options.replicas)
const processes = Number(options.processes)
const folder = mkdtempSync(join(tmpdir(), 'shoal-hollow-'))
const socket = join(folder, 'api.sock')
const children: ChildProcess[] = []

try {
  await run()
  if (options.prof) await Promise.all(children.map(stopped)) // profiles are written at the end of a process
} finally {
  for (const child of children) child.kill('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
}
process.exit(0)

async function run(): Promise<void> {
  const manager = start('manager.ts', [folder, `127.0.0.1:${options.port}`], 'manager')
  const { address, token } = await next(manager, 'manager-ready')
  const joinAt = performance.now()
  const groups: ChildProcess[] = []
  for (let n = 0; n < processes; n++) {
    const first = Math.floor((n * nodes) / processes)
    const count = Math.floor(((n + 1) * nodes) / processes) - first
    groups.push(start('nodes.ts', [address, token, String(first), String(count)], n === 0 ? 'nodes' : undefined))
  }
  await Promise.all(groups.map((group) => next(group, 'nodes-ready')))
  const joined = await usageOf([manager, ...groups])
  console.log(
    `${nodes} nodes joined in ${seconds(performance.now() - joinAt)} s wall; CPU-s: manager ${joined[0]!.cpuSeconds.toFixed(1)}, nodes ${sum(joined.slice(1)).toFixed(1)}; RSS manager ${joined[0]!.rssMib.toFixed(0)} MiB`,
  )

  manager.on('message', (news: News) => {
    if (news.kind === 'progress') console.log(`  ... ${news.running} running after ${news.commits} commits ${JSON.stringify(news.states)}`)
  })
  await phase(`${replicas} replicas on ${nodes} nodes: running`, replicas, manager, groups, async () => {
    await call('POST', '/services/create', {
      Name: 'big',
      TaskTemplate: { ContainerSpec: { Image: 'busybox' } },
      Mode: { Replicated: { Replicas: replicas } },
    })
  })
  if (options['no-kill']) return
  const last = groups.slice(-Math.max(1, Math.round(processes / 10)))
  const lost = Math.round((replicas * last.length) / processes)
  await phase(`a tenth of the nodes killed: ${lost} replaced`, lost, manager, groups.slice(0, -last.length), async () => {
    for (const group of last) group.kill('SIGKILL')
    // The store knows of the loss first, then all run again.
    await settled((states) => (states.running ?? 0) >= 0, 7_000)
  })
}

async function phase(
  title: string,
  tasks: number,
  manager: ChildProcess,
  groups: readonly ChildProcess[],
  begin: () => Promise<void>,
): Promise<void> {
  const before = await usageOf([manager, ...groups])
  const startedAt = performance.now()
  const probe = probeApi()
  await begin()
  manager.send({ kind: 'watch', running: replicas } satisfies Order)
  const { commits } = await next(manager, 'reached')
  const wallMs = performance.now() - startedAt
  const latencies = await probe.stop()
  const after = await usageOf([manager, ...groups])
  const managerCpu = after[0]!.cpuSeconds - before[0]!.cpuSeconds
  const nodesCpu = sum(after.slice(1)) - sum(before.slice(1))
  const rate = tasks / Math.max(managerCpu, (managerCpu + nodesCpu) / CORES)
  console.log(
    `${title}: wall ${seconds(wallMs)} s, ${commits} commits; CPU-s: manager ${managerCpu.toFixed(2)}, nodes ${nodesCpu.toFixed(2)}`,
  )
  console.log(`  per task: manager ${((managerCpu / tasks) * 1e6).toFixed(0)} us, node ${((nodesCpu / tasks) * 1e6).toFixed(0)} us`)
  line(`  rate by CPU time`, rate, 'tasks/s', 'target', TARGET_TASKS_PER_SECOND)
  line(`  rate by wall time`, (tasks / wallMs) * 1_000, 'tasks/s', 'target', TARGET_TASKS_PER_SECOND)
  console.log(
    `  API calls meanwhile: ${latencies.length}, p50 ${percentile(latencies, 0.5).toFixed(1)} ms, max ${Math.max(...latencies).toFixed(1)} ms`,
  )
  line(`  API p99`, percentile(latencies, 0.99), 'ms', 'target', TARGET_API_P99_MS)
  console.log(
    `  RSS: manager ${after[0]!.rssMib.toFixed(0)} MiB, nodes ${after
      .slice(1)
      .reduce((total, { rssMib }) => total + rssMib, 0)
      .toFixed(0)} MiB`,
  )
}

function stopped(child: ChildProcess): Promise<unknown> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve()
  child.send({ kind: 'stop' } satisfies Order)
  return new Promise((resolve) => child.once('exit', resolve))
}

function settled(_done: (states: Record<string, number>) => boolean, ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

function start(file: string, args: readonly string[], profile: string | undefined): ChildProcess {
  const flags = options.prof && profile ? ['--cpu-prof', '--cpu-prof-interval', '2000', '--cpu-prof-dir', join(options.prof, profile)] : []
  const child = fork(join(import.meta.dirname, file), args, { execArgv: [...process.execArgv, ...flags] })
  children.push(child)
  return child
}

function next<K extends News['kind']>(child: ChildProcess, kind: K): Promise<Extract<News, { kind: K }>> {
  return new Promise((resolve, reject) => {
    const done = () => {
      clearTimeout(late)
      child.off('message', heard)
      child.off('exit', ended)
    }
    const late = setTimeout(() => ended('nothing to say'), GIVE_UP_MS)
    const ended = (code: unknown) => {
      done()
      reject(new Error(`a process of the bench ended with ${code} before "${kind}"`))
    }
    const heard = (news: News) => {
      if (news.kind !== kind) return
      done()
      resolve(news as Extract<News, { kind: K }>)
    }
    child.on('message', heard)
    child.on('exit', ended)
  })
}

async function usageOf(of: readonly ChildProcess[]): Promise<readonly Usage[]> {
  return Promise.all(
    of.map((child) => {
      const answer = next(child, 'usage')
      child.send({ kind: 'usage' } satisfies Order)
      return answer
    }),
  )
}

function probeApi(): { stop(): Promise<readonly number[]> } {
  const latencies: number[] = []
  const paths = ['/_ping', '/services/big', '/nodes?filters=%7B%22role%22%3A%7B%22manager%22%3Atrue%7D%7D']
  let stopped = false
  const probing = (async () => {
    for (let n = 0; !stopped; n++) {
      const at = performance.now()
      await call('GET', paths[n % paths.length]!).catch(() => {}) // the service is not there yet, or the manager is busy: the time counts all the same
      latencies.push(performance.now() - at)
      await new Promise((resolve) => setTimeout(resolve, PROBE_EVERY_MS))
    }
  })()
  return {
    async stop() {
      stopped = true
      await probing
      return latencies
    },
  }
}

function call(method: string, path: string, body?: unknown): Promise<string> {
  return new Promise((resolve, reject) => {
    const text = body === undefined ? undefined : JSON.stringify(body)
    const out = request(
      {
        socketPath: socket,
        path: `/v1.41${path}`,
        method,
        headers: text ? { 'content-type': 'application/json', 'content-length': text.length } : {},
      },
      (response) => {
        let answer = ''
        response.on('data', (chunk) => {
          answer += String(chunk)
        })
        response.on('end', () =>
          (response.statusCode ?? 500) < 300 ? resolve(answer) : reject(new Error(`${response.statusCode}: ${answer}`)),
        )
      },
    )
    out.on('error', reject)
    out.end(text)
  })
}

function sum(usages: readonly Usage[]): number {
  return usages.reduce((total, { cpuSeconds }) => total + cpuSeconds, 0)
}

function seconds(ms: number): string {
  return (ms / 1_000).toFixed(1)
}
