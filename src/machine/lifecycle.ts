// The life of a machine: create, start, stop, kill, remove, and the end of the whole set.
import { spawn } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { ShoalError } from '../lib/index.ts'
import { cgroupDirs, cgroupLayout, cgroupPids, hierarchiesText, makeMachineCgroups, removeCgroups } from './cgroups.ts'
import { ping } from './http.ts'
import { ensureNetwork, networkLeftovers, plugIn, removeNetwork, switchLink } from './network.ts'
import { isAlive, must, type ProcessRef, processRef, run, signalProcess, until, waitForEnd, withLock } from './process.ts'
import { ensureRegistry, registryRuns, stopRegistry } from './registry.ts'
import { outsideResolvers, resolvConf } from './resolver.ts'
import { ensureSeed } from './seed.ts'
import { checkMachineName, type MachineSet, machineDir, machineRunDir, machineSet } from './set.ts'
import {
  getRecord,
  type Machine,
  type MachineConfig,
  type MachineRecord,
  readRecord,
  recordNames,
  toMachine,
  writeRecord,
} from './state.ts'

/** Names a set other than the default one (environment, else `shoal` on 10.77.0.0/24). */
export interface InSet {
  readonly set?: MachineSet
}

export interface CreateOptions extends InSet {
  /** Default false. */
  readonly engineOnly?: boolean
  /** Default true. */
  readonly liveRestore?: boolean
  /** Our offline images (nginx, busybox, whoami) in the machine and in the registry on the bridge, which is then its mirror. Default true. */
  readonly builtinImages?: boolean
  /** Paths of docker-save tars that the machine has from its first moment on. */
  readonly images?: readonly string[]
  /** Cap of the machine's memory cgroup. Default none. */
  readonly memoryBytes?: number
  /** Further arguments of shoald, single words. */
  readonly shoaldArgs?: readonly string[]
  /** The machine gets this address of the set's subnet if it is free. Default: the lowest free one from .11 on. */
  readonly address?: string
  /** How long to wait for the machine's API. Default 60 000. */
  readonly readyTimeoutMs?: number
  /** Told about steps that take a moment. */
  readonly onProgress?: (line: string) => void
}

const LOCK_TIMEOUT_MS = 120_000
const BOOT_TIMEOUT_MS = 15_000
const CONTAINER_GRACE_S = 10
const FIRST_HOST = 11 // .1 is the bridge; the rest below stays free for people
const LAST_HOST = 250

/**
 * Makes a machine and waits until its API answers. A machine of that name that is there already is only started if it stopped (its options stay);
 * what an interrupted creation left behind is cleared away first. Safe to call for several machines at once, also from several processes.
 */
export async function createMachine(name: string, options: CreateOptions = {}): Promise<Machine> {
  checkMachineName(name)
  requireRoot()
  const set = options.set ?? machineSet()
  const builtinImages = options.builtinImages ?? true
  const engineOnly = options.engineOnly ?? false
  if (readRecord(set, name)?.ready) return await startMachine(name, options)
  await withLock(`${set.name}:network`, LOCK_TIMEOUT_MS, () => ensureNetwork(set))
  if (!engineOnly) await ensureBundle(set, options.onProgress)
  const mirror = builtinImages && (await ensureRegistry(set, options.onProgress))
  const seed = await ensureSeed(set, {
    builtinImages,
    images: options.images ?? [],
    mirror,
    onProgress: options.onProgress,
    withEngine: (engine, fill, take) => withSeedEngine(set, engine, mirror, fill, take),
  })
  const { memoryBytes, shoaldArgs = [], liveRestore = true } = options
  return await provision(set, name, { engineOnly, liveRestore, mirror, memoryBytes, shoaldArgs }, { seed, ...options })
}

async function provision(
  set: MachineSet,
  name: string,
  config: MachineConfig & { hidden?: boolean },
  how: { seed?: string; address?: string; readyTimeoutMs?: number },
): Promise<Machine> {
  return await withLock(`${set.name}/${name}`, LOCK_TIMEOUT_MS, async () => {
    if (!readRecord(set, name)?.ready) {
      await clearAway(set, name)
      const record = await withLock(`${set.name}:addresses`, LOCK_TIMEOUT_MS, async () => {
        const made: MachineRecord = {
          ...config,
          name,
          address: freeAddress(set, how.address),
          createdAt: new Date().toISOString(),
          ready: false,
        }
        writeRecord(set, made)
        return made
      })
      await furnish(set, record, how.seed)
      writeRecord(set, { ...record, ready: true })
    }
    return await boot(set, name, how.readyTimeoutMs)
  })
}

/** An engine for the time of `fill`; when it has stopped, `take` may copy its data; then it is gone. */
async function withSeedEngine(
  set: MachineSet,
  name: string,
  mirror: boolean,
  fill: (engine: Machine) => Promise<void>,
  take: (engine: Machine) => Promise<void>,
): Promise<void> {
  try {
    const engine = await provision(
      set,
      name,
      { engineOnly: true, liveRestore: true, mirror, shoaldArgs: [], hidden: true },
      { address: `${set.prefix}.${LAST_HOST}` },
    )
    await fill(engine)
    await stopMachine(name, { set })
    await take(engine)
  } finally {
    await removeMachine(name, { set, force: true })
  }
}

/** Starts a stopped machine and waits until its API answers; a running one is only waited for. */
export async function startMachine(
  name: string,
  options: InSet & Pick<CreateOptions, 'readyTimeoutMs' | 'onProgress'> = {},
): Promise<Machine> {
  requireRoot()
  const set = options.set ?? machineSet()
  const record = getRecord(set, name)
  await withLock(`${set.name}:network`, LOCK_TIMEOUT_MS, () => ensureNetwork(set))
  if (record.mirror) await ensureRegistry(set, options.onProgress)
  if (!record.engineOnly) await ensureBundle(set, options.onProgress)
  return await withLock(`${set.name}/${name}`, LOCK_TIMEOUT_MS, () => boot(set, name, options.readyTimeoutMs))
}

/** Stops daemons and containers in order (containers get 10 s), then the machine. Its data stays. */
export async function stopMachine(name: string, options: InSet = {}): Promise<void> {
  const set = options.set ?? machineSet()
  await withLock(`${set.name}/${name}`, LOCK_TIMEOUT_MS, async () => {
    const record = getRecord(set, name)
    signalProcess(record.pid1, 'SIGTERM')
    if (!(await waitForEnd(record.pid1, 75_000))) signalProcess(record.pid1, 'SIGKILL')
    await endProcesses(set, name, record)
  })
}

/** Pulls the plug: kill -9 of the machine's PID 1. Its data stays. */
export async function killMachine(name: string, options: InSet = {}): Promise<void> {
  const set = options.set ?? machineSet()
  await withLock(`${set.name}/${name}`, LOCK_TIMEOUT_MS, () => endProcesses(set, name, getRecord(set, name)))
}

/** Removes a machine with its data. A running one is refused unless `force`, which pulls its plug. */
export async function removeMachine(name: string, options: InSet & { readonly force?: boolean } = {}): Promise<void> {
  const set = options.set ?? machineSet()
  checkMachineName(name)
  if (!existsSync(machineDir(set, name))) getRecord(set, name) // throws the helpful sentence
  await withLock(`${set.name}/${name}`, LOCK_TIMEOUT_MS, async () => {
    if (isAlive(readRecord(set, name)?.pid1) && !options.force) {
      throw new ShoalError('failed-precondition', `machine "${name}" is running`, {
        next: `Stop it first (shoal machine stop ${name}) or remove it with --force.`,
      })
    }
    await clearAway(set, name)
  })
}

/** The partition handle: unplugs the machine's network cable or plugs it in again. Processes in the machine go on. */
export async function setLink(name: string, state: 'up' | 'down', options: InSet = {}): Promise<void> {
  const set = options.set ?? machineSet()
  await switchLink(set, getRecord(set, name).address, state)
}

/** Removes all machines of the set and everything that was made for them on the computer. Images in the cache stay. Answers what could not be removed. */
export async function downAll(options: InSet & { readonly onProgress?: (line: string) => void } = {}): Promise<string[]> {
  requireRoot()
  const set = options.set ?? machineSet()
  await Promise.all(recordNames(set).map((name) => withLock(`${set.name}/${name}`, LOCK_TIMEOUT_MS, () => clearAway(set, name))))
  await stopRegistry(set)
  await removeCgroups(set)
  await withLock(`${set.name}:network`, LOCK_TIMEOUT_MS, async () => {
    rmSync(set.runDir, { recursive: true, force: true })
    await removeNetwork(set)
    if (existsSync(dirname(set.runDir)) && readdirSync(dirname(set.runDir)).length === 0) rmSync(dirname(set.runDir), { recursive: true })
  })
  rmSync(set.dataDir, { recursive: true, force: true })
  return await leftovers({ set })
}

/** What exists of a set on the computer: processes, mounts, network, cgroups, folders. Empty after `downAll`. */
export async function leftovers(options: InSet = {}): Promise<string[]> {
  const set = options.set ?? machineSet()
  const left = cgroupPids(set).map((pid) => `process ${pid}`)
  for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n')) {
    const at = line.split(' ')[4] ?? ''
    if (at.startsWith(`${set.dataDir}/`) || at.startsWith(`${set.runDir}/`)) left.push(`mount ${at}`)
  }
  left.push(...(await networkLeftovers(set)))
  left.push(...cgroupDirs(set).map((dir) => `cgroup ${dir}`))
  for (const dir of [set.dataDir, set.runDir]) if (existsSync(dir)) left.push(`folder ${dir}`)
  if (registryRuns(set)) left.push('registry process')
  return left
}

/** Ends everything that runs of this machine and removes its cgroups; its folders stay. */
async function endProcesses(set: MachineSet, name: string, record: MachineRecord | undefined): Promise<void> {
  signalProcess(record?.pid1, 'SIGKILL')
  await waitForEnd(record?.pid1, 5_000)
  await waitForEnd(record?.outer, 1_000) // ends by itself when its child is gone
  signalProcess(record?.outer, 'SIGKILL')
  // an interrupted creation may not have written its pids: the cgroup knows them
  await until(() => killAll(cgroupPids(set, name)) === 0, 10_000, 20)
  await removeCgroups(set, name)
}

function killAll(pids: readonly number[]): number {
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // gone meanwhile
    }
  }
  return pids.length
}

async function clearAway(set: MachineSet, name: string): Promise<void> {
  await endProcesses(set, name, readRecord(set, name))
  rmSync(machineRunDir(set, name), { recursive: true, force: true })
  rmSync(machineDir(set, name), { recursive: true, force: true, maxRetries: 3 })
}

function freeAddress(set: MachineSet, wanted?: string): string {
  const taken = new Set(recordNames(set).map((name) => readRecord(set, name)?.address))
  const all = Array.from({ length: LAST_HOST - FIRST_HOST + 1 }, (_, i) => `${set.prefix}.${FIRST_HOST + i}`)
  if (wanted !== undefined && all.includes(wanted) && !taken.has(wanted)) return wanted
  const free = all.find((address) => !taken.has(address))
  if (free !== undefined) return free
  throw new ShoalError('resource-exhausted', `all addresses of ${set.subnet} are taken`, { next: 'Remove machines: shoal machine rm NAME' })
}

/** The machine's folders and its own files in /etc, before its first start. */
async function furnish(set: MachineSet, record: MachineRecord, seed: string | undefined): Promise<void> {
  const dir = machineDir(set, record.name)
  const data = join(dir, 'data')
  for (const path of ['etc/docker', 'etc-work', 'bin', 'bin-work', 'root', 'var/lib/docker', 'var/log'])
    mkdirSync(join(data, path), { recursive: true })
  mkdirSync(join(dir, 'root'), { recursive: true })
  writeFileSync(join(data, 'bin/shoal'), '#!/bin/sh\nexec /opt/shoal/bin/shoal "$@"\n', { mode: 0o755 })
  // the computer's docker key would give all machines the same engine id: a whiteout hides it
  if (existsSync('/etc/docker/key.json')) await must('mknod', [join(data, 'etc/docker/key.json'), 'c', '0', '0'])
  writeFileSync(join(data, 'root/.bashrc'), `PS1='\\u@\\h:\\w\\$ '\n`)
  writeFileSync(join(data, 'root/.profile'), '. ~/.bashrc\n')
  if (seed) {
    await must('cp', ['-a', join(seed, 'image'), join(data, 'var/lib/docker/')])
    await must('cp', ['-al', join(seed, 'overlay2'), join(data, 'var/lib/docker/')])
  }
}

/** Files that depend on how and where the machine runs now; written at each start. */
function writeEtc(set: MachineSet, record: MachineRecord, outside: readonly string[]): void {
  const etc = join(machineDir(set, record.name), 'data/etc')
  writeFileSync(join(etc, 'hostname'), `${record.name}\n`)
  writeFileSync(join(etc, 'hosts'), `127.0.0.1 localhost\n${record.address} ${record.name}\n`)
  writeFileSync(join(etc, 'resolv.conf'), resolvConf(outside, record.address))
  const daemon = {
    'data-root': '/var/lib/docker',
    'live-restore': record.liveRestore,
    'insecure-registries': [set.subnet],
    'registry-mirrors': record.mirror ? [`http://${set.gateway}:${set.registryPort}`] : [],
    iptables: true,
    group: 'root',
  }
  writeFileSync(join(etc, 'docker/daemon.json'), `${JSON.stringify(daemon, null, 2)}\n`)
}

async function boot(set: MachineSet, name: string, readyTimeoutMs = 60_000): Promise<Machine> {
  const record = getRecord(set, name)
  if (!isAlive(record.pid1)) {
    await endProcesses(set, name, record) // what a crash of the machine or of a start left
    const runDir = machineRunDir(set, name)
    rmSync(runDir, { recursive: true, force: true })
    mkdirSync(runDir, { recursive: true, mode: 0o755 })
    writeEtc(set, record, await outsideResolvers())
    await bootProcesses(set, record)
  }
  const machine = toMachine(set, getRecord(set, name))
  const ready = await until(async () => isDead(machine) || (await ping(machine.socket)), readyTimeoutMs, 15)
  if (ready && !isDead(machine)) return machine
  throw new ShoalError(
    'deadline-exceeded',
    `machine "${name}" did not become ready${ready ? ': it ended' : ` within ${readyTimeoutMs / 1000} s`}`,
    {
      next: `Its logs are in ${join(machine.dataDir, 'var/log')}. Last lines:\n${lastLines(set, machine)}`,
    },
  )
}

function isDead(machine: Machine): boolean {
  return machine.pid === undefined || processRef(machine.pid) === undefined
}

function lastLines(set: MachineSet, machine: Machine): string {
  const logs = [
    join(machineDir(set, machine.name), 'console.log'),
    ...['dockerd', 'shoald'].map((name) => join(machine.dataDir, `var/log/${name}.log`)),
  ]
  return logs
    .filter((path) => existsSync(path))
    .map((path) => readFileSync(path, 'utf8').trimEnd().split('\n').slice(-5).join('\n'))
    .join('\n')
}

async function bootProcesses(set: MachineSet, record: MachineRecord): Promise<void> {
  const dir = machineDir(set, record.name)
  const procs = makeMachineCgroups(set, record.name, record.memoryBytes)
  const consoleLog = openSync(join(dir, 'console.log'), 'w')
  // The shell joins the cgroups BEFORE unshare: the cgroup namespace's root is where its maker stands.
  const script = 'for file in $M_PROCS; do echo $$ >"$file" || exit 70; done; exec "$@"'
  const namespaces = ['--mount', '--uts', '--ipc', '--net', '--pid', '--cgroup', '--propagation', 'private', '--kill-child', '--fork']
  const init = join(set.checkout, 'src/machine/guest/machine-init')
  const child = spawn('sh', ['-c', script, 'sh', 'unshare', ...namespaces, '--', init, `${set.name}:${record.name}`], {
    cwd: '/',
    detached: true,
    stdio: ['ignore', consoleLog, consoleLog],
    env: {
      PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      M_PROCS: procs.join(' '),
      M_NAME: record.name,
      M_DIR: dir,
      M_RUN: machineRunDir(set, record.name),
      M_CHECKOUT: set.checkout,
      M_ADDRESS: record.address,
      M_GATEWAY: set.gateway,
      M_CGROUP: cgroupLayout().version,
      M_HIERARCHIES: hierarchiesText(cgroupLayout()),
      M_MODE: record.engineOnly ? 'engine' : 'shoal',
      M_GRACE: String(CONTAINER_GRACE_S),
      M_SHOALD_ARGS: record.shoaldArgs.join(' '),
    },
  })
  closeSync(consoleLog)
  child.on('error', () => {}) // a missing shell shows as a missing process below
  child.unref()
  const pid = child.pid ?? 0
  const outer = processRef(pid)
  writeRecord(set, { ...record, outer, pid1: undefined })
  let pid1: ProcessRef | undefined
  const found = () => {
    pid1 = childOfUnshare(pid)
    return pid1 !== undefined || processRef(pid) === undefined
  }
  await until(found, BOOT_TIMEOUT_MS, 3)
  if (!pid1) {
    await endProcesses(set, record.name, { ...record, outer })
    throw new ShoalError(
      'internal',
      `machine "${record.name}" could not be started: ${readFileSync(join(dir, 'console.log'), 'utf8').trim()}`,
      {
        next: 'Machines need root, a kernel with namespaces and cgroups, and a data folder on a real file system.',
      },
    )
  }
  writeRecord(set, { ...record, outer, pid1 })
  await plugIn(set, record.address, pid1.pid)
}

/** The shell in front has children of its own for a moment; only a child of `unshare` is the machine's PID 1. */
function childOfUnshare(pid: number): ProcessRef | undefined {
  try {
    if (readFileSync(`/proc/${pid}/comm`, 'utf8').trim() !== 'unshare') return undefined
    const child = Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')[0])
    return child > 0 ? processRef(child) : undefined
  } catch {
    return undefined
  }
}

/** Machines run the bundle and see the checkout read-only, so it has to be built out here. */
async function ensureBundle(set: MachineSet, onProgress?: (line: string) => void): Promise<void> {
  const bundle = join(set.checkout, 'dist/shoald.mjs')
  const stamp = join(set.checkout, 'dist/stamp')
  const isFresh = async () => {
    if (!existsSync(bundle) || !existsSync(stamp)) return false
    return (await run('find', [join(set.checkout, 'src'), '-newer', stamp, '-print', '-quit'])).stdout === ''
  }
  if (await isFresh()) return
  await withLock('build', LOCK_TIMEOUT_MS, async () => {
    if (await isFresh()) return
    onProgress?.('building shoald')
    const result = await run(process.execPath, [join(set.checkout, 'scripts/build.mjs'), '--quiet'])
    if (result.status === 0) return
    if (existsSync(bundle)) return onProgress?.('the build failed; machines run the previous one')
    throw new ShoalError('failed-precondition', `shoald could not be built: ${result.stderr.trim().slice(-1000)}`, {
      next: 'Run: npm run build',
    })
  })
}

function requireRoot(): void {
  if (process.getuid?.() === 0) return
  throw new ShoalError('permission-denied', 'machines need root (namespaces, mounts, a bridge)', { next: 'Run it with sudo.' })
}
