// The demo: three machines, a swarm, five replicas of nginx, and a report that says what stands and how to go on. Run again it converges.
import { isShoalError, ShoalError } from '../lib/index.ts'
import { machineRun } from './exec.ts'
import { call, fetchPage, getJson } from './http.ts'
import { createMachine, downAll } from './lifecycle.ts'
import { until } from './process.ts'
import { machineSet } from './set.ts'
import type { Machine } from './state.ts'

const MANAGER = 'mgr1'
const WORKERS = ['worker1', 'worker2']
const REPLICAS = 5
const SWARM_TIMEOUT_MS = 30_000
const SERVICE_TIMEOUT_MS = 60_000

const USAGE = `usage: npm run demo [-- --down]
  Brings up the machines ${[MANAGER, ...WORKERS].join(', ')}, joins them to a swarm and runs ${REPLICAS} replicas of nginx on it.
  --down   Remove the machines and everything that was made for them on this computer`

/** Runs the demo, or takes it down. Answers the exit status; the last line of a success contains `web 5/5`. */
export async function runDemo(argv: readonly string[]): Promise<number> {
  const known = ['--down', '--engine-swarm', '--help']
  const unknown = argv.find((arg) => !known.includes(arg))
  if (unknown || argv.includes('--help')) {
    console.log(unknown ? `unknown option ${unknown}\n${USAGE}` : USAGE)
    return unknown ? 2 : 0
  }
  try {
    return argv.includes('--down') ? await takeDown() : await bringUp(argv.includes('--engine-swarm'))
  } catch (error) {
    if (!isShoalError(error)) throw error
    console.error(`\nError: ${error.message}\n${error.next ? `${error.next}\n` : ''}`)
    return 1
  }
}

/** `engineSwarm`: the engines' own swarm mode instead of Shoal, to compare with. Its mesh needs IPVS, so no port is published then. */
async function bringUp(engineSwarm: boolean): Promise<number> {
  const report = reporter()
  console.log(`${bold('Shoal')}  a swarm of three machines on this computer${engineSwarm ? " (the engines' own swarm mode)" : ''}\n`)
  const onProgress = once((line) => report('images', line))
  const set = machineSet()
  const [manager, ...workers] = await Promise.all(
    [MANAGER, ...WORKERS].map((name, i) =>
      createMachine(name, { set, address: `${set.prefix}.${11 + i}`, engineOnly: engineSwarm, liveRestore: !engineSwarm, onProgress }),
    ),
  )
  if (!manager) throw new ShoalError('internal', 'no manager')
  const machines = [manager, ...workers]
  const other = machines.find((machine) => machine.engineOnly !== engineSwarm)
  if (other) {
    throw new ShoalError('failed-precondition', `${other.name} is there already, made ${other.engineOnly ? 'without' : 'with'} shoald`, {
      next: 'Remove the machines first: npm run demo -- --down',
    })
  }
  report('machines', machines.map((machine) => `${machine.name} ${machine.address}`).join('   '))

  await ensureManager(manager)
  report('swarm', `${manager.name} leads  ${dim(`docker swarm init --advertise-addr ${manager.address}`)}`)
  await Promise.all(workers.map((worker) => ensureWorker(manager, worker)))
  await waitForNodes(manager, machines)
  report('', `${WORKERS.join(' and ')} have joined  ${dim('docker swarm join --token ...')}`)

  await ensureService(manager, !engineSwarm)
  report('service', `web is created  ${dim(`docker service create --replicas ${REPLICAS} -p 80:80 --name web nginx`)}`)
  await waitForReplicas(manager)
  report('', `web runs ${REPLICAS}/${REPLICAS}`)
  if (!engineSwarm) {
    await Promise.all(machines.map(waitForPage))
    report('curl', `nginx answers on ${machines.map((machine) => machine.name).join(', ')}`)
  }

  for (const command of ['docker node ls', 'docker service ps web']) {
    const { stdout } = await machineRun(MANAGER, command.split(' '))
    console.log(`\n${bold(`$ ${command}`)}\n${stdout.trimEnd()}`)
  }
  if (!engineSwarm)
    console.log(`\n${bold('Open')}\n${machines.map((machine) => `  http://${machine.address}/   ${machine.name}`).join('\n')}`)
  console.log(goOn(manager))
  console.log(green(`web ${REPLICAS}/${REPLICAS}`))
  return 0
}

function goOn(manager: Machine): string {
  const lines = [
    ['bin/shoal machine ssh mgr1', 'a shell on the manager; docker works there'],
    ['bin/shoal machine ls', 'the machines'],
    [`eval "$(bin/shoal machine env mgr1)"`, 'or let docker here talk to it:'],
    ['docker service scale web=8', 'more replicas'],
    ['docker node update --availability drain worker1', 'empty a node, then look: docker service ps web'],
    ['docker service update --image nginx:alpine web', `a rolling update, then look: curl -s http://${manager.address}/`],
    ['docker service rollback web', 'and back'],
  ]
  const width = Math.max(...lines.map(([command = '']) => command.length))
  const table = lines.map(([command = '', why = '']) => `  ${command.padEnd(width)}   ${dim(why)}`)
  return `\n${bold('Go on')}\n${table.join('\n')}\n\n${bold('Clean up')}\n  npm run demo -- --down\n`
}

async function takeDown(): Promise<number> {
  const left = await downAll()
  if (left.length === 0) {
    console.log('Everything is gone: no process, mount, network namespace, bridge, firewall rule or cgroup is left.')
    return 0
  }
  console.error(`Could not be removed:\n${left.map((line) => `  ${line}`).join('\n')}`)
  return 1
}

async function ensureManager(manager: Machine): Promise<void> {
  const swarm = await swarmInfo(manager)
  if (swarm.LocalNodeState === 'active' && swarm.ControlAvailable) return
  if (swarm.LocalNodeState !== 'inactive') await leave(manager)
  const body = { ListenAddr: '0.0.0.0:2377', AdvertiseAddr: manager.address, Spec: {} }
  await expectOk(manager, 'POST', '/swarm/init', body, 'swarm init')
}

async function ensureWorker(manager: Machine, worker: Machine): Promise<void> {
  const swarm = await swarmInfo(worker)
  const nodes = await listNodes(manager)
  if (swarm.LocalNodeState === 'active' && nodes.some((node) => node.ID === swarm.NodeID)) return
  if (swarm.LocalNodeState !== 'inactive') await leave(worker) // a member of a swarm that is gone
  // the token travels in a request body, not in the arguments of a process
  const tokens = parse<{ JoinTokens: { Worker: string } }>(await expectOk(manager, 'GET', '/swarm', undefined, 'swarm inspect'))
  const body = {
    ListenAddr: '0.0.0.0:2377',
    AdvertiseAddr: worker.address,
    RemoteAddrs: [`${manager.address}:2377`],
    JoinToken: tokens.JoinTokens.Worker,
  }
  await expectOk(worker, 'POST', '/swarm/join', body, 'swarm join')
}

/** Waits until the machines are Ready; nodes of machines that were removed and made again go from the list. */
async function waitForNodes(manager: Machine, machines: readonly Machine[]): Promise<void> {
  const mine = new Set(await Promise.all(machines.map(async (machine) => (await swarmInfo(machine)).NodeID)))
  const allReady = async () => {
    const nodes = await listNodes(manager)
    for (const node of nodes) {
      const old =
        !mine.has(node.ID) && node.Status?.State === 'down' && machines.some((machine) => machine.name === node.Description?.Hostname)
      if (old) await call(manager.socket, 'DELETE', `/nodes/${node.ID}?force=true`)
    }
    return nodes.filter((node) => mine.has(node.ID) && node.Status?.State === 'ready').length === machines.length
  }
  if (await until(allReady, SWARM_TIMEOUT_MS, 100)) return
  const { stdout, stderr } = await machineRun(MANAGER, ['docker', 'node', 'ls'])
  throw new ShoalError('deadline-exceeded', `not all nodes were ready within ${SWARM_TIMEOUT_MS / 1000} s:\n${stdout}${stderr}`, {
    next: 'Start afresh: npm run demo -- --down, then npm run demo',
  })
}

async function ensureService(manager: Machine, publish: boolean): Promise<void> {
  const there = await call(manager.socket, 'GET', '/services/web')
  if (there.status === 200) {
    const replicas = parse<{ Spec: { Mode: { Replicated?: { Replicas: number } } } }>(there.body).Spec.Mode.Replicated?.Replicas
    if (replicas !== REPLICAS) await docker('service', 'scale', '--detach', `web=${REPLICAS}`)
    return
  }
  await docker(
    'service',
    'create',
    '--detach',
    '--replicas',
    String(REPLICAS),
    ...(publish ? ['-p', '80:80'] : []),
    '--name',
    'web',
    'nginx',
  )
}

async function waitForReplicas(manager: Machine): Promise<void> {
  const filters = encodeURIComponent(JSON.stringify({ service: { web: true }, 'desired-state': { running: true } }))
  const allRun = async () => {
    const tasks = (await getJson(manager.socket, `/tasks?filters=${filters}`)) as { Status?: { State?: string } }[] | undefined
    return tasks?.filter((task) => task.Status?.State === 'running').length === REPLICAS
  }
  if (await until(allRun, SERVICE_TIMEOUT_MS, 50)) return
  const { stdout, stderr } = await machineRun(MANAGER, ['docker', 'service', 'ps', '--no-trunc', 'web'])
  throw new ShoalError(
    'deadline-exceeded',
    `web did not reach ${REPLICAS}/${REPLICAS} within ${SERVICE_TIMEOUT_MS / 1000} s:\n${stdout}${stderr}`,
    {
      next: 'Look at the ERROR column, and at /var/log/shoald.log in the machines (bin/shoal machine ssh mgr1).',
    },
  )
}

async function waitForPage(machine: Machine): Promise<void> {
  const answers = async () => {
    const page = await fetchPage(machine.address, 80, '/', 1_000)
    return page?.status === 200 && page.body.includes('Welcome to nginx!')
  }
  if (await until(answers, SWARM_TIMEOUT_MS, 50)) return
  throw new ShoalError('deadline-exceeded', `http://${machine.address}/ on ${machine.name} does not answer with nginx's page`, {
    next: `Look at /var/log/shoald.log there: bin/shoal machine ssh ${machine.name} tail /var/log/shoald.log`,
  })
}

interface SwarmInfo {
  readonly LocalNodeState: string
  readonly ControlAvailable?: boolean
  readonly NodeID?: string
}

interface NodeJson {
  readonly ID: string
  readonly Status?: { readonly State?: string }
  readonly Description?: { readonly Hostname?: string }
}

async function swarmInfo(machine: Machine): Promise<SwarmInfo> {
  return parse<{ Swarm: SwarmInfo }>(await expectOk(machine, 'GET', '/info', undefined, 'info')).Swarm
}

async function listNodes(manager: Machine): Promise<NodeJson[]> {
  return parse<NodeJson[]>(await expectOk(manager, 'GET', '/nodes', undefined, 'node ls'))
}

async function leave(machine: Machine): Promise<void> {
  await expectOk(machine, 'POST', '/swarm/leave?force=true', undefined, 'swarm leave')
}

async function expectOk(machine: Machine, method: string, path: string, body: unknown, what: string): Promise<string> {
  const answer = await call(machine.socket, method, path, body)
  if (answer.status < 300) return answer.body
  throw new ShoalError('failed-precondition', `${what} on ${machine.name} failed: ${answer.body.trim()}`, {
    next: 'Start afresh: npm run demo -- --down, then npm run demo',
  })
}

async function docker(...args: string[]): Promise<void> {
  const { status, stderr } = await machineRun(MANAGER, ['docker', ...args])
  if (status !== 0) throw new ShoalError('failed-precondition', `docker ${args.slice(0, 2).join(' ')} failed: ${stderr.trim()}`)
}

function parse<T>(body: string): T {
  return JSON.parse(body) as T
}

/** Lines with the time since the start, a subject, and what happened. */
function reporter(): (subject: string, text: string) => void {
  const started = performance.now()
  return (subject, text) => {
    const seconds = ((performance.now() - started) / 1000).toFixed(1)
    console.log(`${dim(`${seconds.padStart(6)} s`)}  ${subject.padEnd(9)} ${text}`)
  }
}

/** Three machines at once say the same things. */
function once(say: (line: string) => void): (line: string) => void {
  const said = new Set<string>()
  return (line) => {
    if (said.has(line)) return
    said.add(line)
    say(line)
  }
}

const colours = process.stdout.isTTY === true && process.env.NO_COLOR === undefined

function paint(code: number, text: string): string {
  return colours ? `\x1b[${code}m${text}\x1b[0m` : text
}

function bold(text: string): string {
  return paint(1, text)
}

function dim(text: string): string {
  return paint(2, text)
}

function green(text: string): string {
  return paint(32, text)
}
