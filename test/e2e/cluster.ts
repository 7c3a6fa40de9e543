// Three machines with a swarm on them, for end-to-end tests: each test file has a set of machines of its own.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { createMachine, downAll, type MachineSet, machineIp, machineSet } from '../../src/machine/index.ts'

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..')

export interface Answer {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs a program on this computer; never longer than `timeoutMs`. */
export function run(
  command: string,
  args: readonly string[],
  options: { timeoutMs?: number; env?: Record<string, string> } = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: options.timeoutMs ?? 60_000,
      killSignal: 'SIGKILL',
      env: { ...process.env, ...options.env },
    })
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (data) => (stdout += data))
    child.stderr.on('data', (data) => (stderr += data))
    child.on('error', reject)
    child.on('close', (code) => resolve({ code: code ?? 137, stdout, stderr }))
  })
}

export interface TestCluster {
  readonly set: MachineSet
  readonly ip: Readonly<Record<string, string>>
  /** `shoal machine ssh NAME ...`, as a user would type it. */
  ssh(machine: string, ...command: string[]): Promise<Answer>
  /** The same, must succeed; gives stdout. */
  ok(machine: string, ...command: string[]): Promise<string>
  /** `docker ...` in mgr1; must succeed. */
  docker(...args: string[]): Promise<string>
  down(): Promise<void>
}

/** Makes the machines; with `swarm` the first is the manager and the rest have joined. */
export async function testCluster(
  name: string,
  subnet: string,
  machines: readonly string[],
  options: { swarm: boolean; images?: readonly string[] },
): Promise<TestCluster> {
  const set = machineSet({ name, subnet })
  await downAll({ set }) // what an aborted run left
  await createMachine(machines[0] as string, { set, images: options.images }) // the first one also makes the seed
  await Promise.all(machines.slice(1).map((machine) => createMachine(machine, { set, images: options.images })))
  const ip = Object.fromEntries(machines.map((machine) => [machine, machineIp(machine, { set })]))
  const env = { SHOAL_MACHINE_SET: name, SHOAL_MACHINE_SUBNET: subnet }
  const ssh = (machine: string, ...command: string[]) =>
    run(path.join(root, 'bin/shoal'), ['machine', 'ssh', machine, ...command], { timeoutMs: 180_000, env })
  const ok = async (machine: string, ...command: string[]) => {
    const { code, stdout, stderr } = await ssh(machine, ...command)
    assert.equal(code, 0, `${machine}$ ${command.join(' ')}\n${stdout}${stderr}`)
    return stdout
  }
  const cluster: TestCluster = {
    set,
    ip,
    ssh,
    ok,
    docker: (...args) => ok(machines[0] as string, 'docker', ...args),
    down: async () => assert.deepEqual(await downAll({ set }), []),
  }
  if (options.swarm) {
    const [manager, ...workers] = machines as [string, ...string[]]
    await ok(manager, 'docker', 'swarm', 'init', '--advertise-addr', ip[manager] as string)
    const token = (await ok(manager, 'docker', 'swarm', 'join-token', '-q', 'worker')).trim()
    await Promise.all(workers.map((worker) => ok(worker, 'docker', 'swarm', 'join', '--token', token, `${ip[manager]}:2377`)))
  }
  return cluster
}

/** Asks again until the answer pleases or time is up; gives the last answer. */
export async function until<T>(ask: () => Promise<T>, pleases: (answer: T) => boolean, timeoutMs = 60_000): Promise<T> {
  const end = Date.now() + timeoutMs
  for (;;) {
    const answer = await ask()
    if (pleases(answer)) return answer
    if (Date.now() > end) assert.fail(`still not so after ${timeoutMs} ms: ${typeof answer === 'string' ? answer : JSON.stringify(answer)}`)
    await new Promise((resolve) => setTimeout(resolve, 250))
  }
}

export async function curl(address: string, port = 80, path = '/'): Promise<string> {
  return (await run('curl', ['-s', '-m', '5', `http://${address}:${port}${path}`])).stdout
}
