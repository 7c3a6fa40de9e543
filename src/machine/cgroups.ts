// The control groups of machines on the computer: one folder SET/NAME in every hierarchy, made before a machine starts and removed after it ended.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { MachineSet } from './set.ts'

const ROOT = '/sys/fs/cgroup'

/** One mounted hierarchy below /sys/fs/cgroup. `options` are those that mount it again (v1), empty for a v2 tree. */
interface Hierarchy {
  readonly dir: string
  readonly options: string
}

export interface CgroupLayout {
  readonly version: 'v1' | 'v2'
  readonly hierarchies: readonly Hierarchy[]
}

/** Only mounts directly below /sys/fs/cgroup count: other programs mount hierarchies elsewhere, under the same names (machines.md, pitfall 4). */
export function cgroupLayout(): CgroupLayout {
  if (existsSync(join(ROOT, 'cgroup.controllers'))) return { version: 'v2', hierarchies: [{ dir: '', options: '' }] }
  const controllers = new Set(
    readFileSync('/proc/cgroups', 'utf8')
      .split('\n')
      .map((line) => line.split('\t')[0] ?? ''),
  )
  const hierarchies: Hierarchy[] = []
  for (const line of readFileSync('/proc/self/mounts', 'utf8').split('\n')) {
    const [, at = '', type, mountOptions = ''] = line.split(' ')
    if (type !== 'cgroup' && type !== 'cgroup2') continue
    const dir = at.startsWith(`${ROOT}/`) ? at.slice(ROOT.length + 1) : ''
    if (dir === '' || dir.includes('/') || hierarchies.some((one) => one.dir === dir)) continue // a mount over a mount is listed twice
    const known = mountOptions.split(',').filter((option) => controllers.has(option) || option.startsWith('name='))
    if (type === 'cgroup' && known.length === 0) continue
    const named = known.some((option) => option.startsWith('name='))
    hierarchies.push({ dir, options: type === 'cgroup2' ? '' : [...(named ? ['none'] : []), ...known].join(',') })
  }
  return { version: 'v1', hierarchies }
}

/** The layout in the words of guest/machine-init. */
export function hierarchiesText(layout: CgroupLayout): string {
  return layout.hierarchies.map(({ dir, options }) => `${dir}=${options}`).join(' ')
}

/** Makes the folders of one machine and answers the `cgroup.procs` files that a process must write its pid to. */
export function makeMachineCgroups(set: MachineSet, name: string, memoryBytes?: number): string[] {
  const layout = cgroupLayout()
  const procs: string[] = []
  for (const { dir } of layout.hierarchies) {
    const parent = join(ROOT, dir, set.cgroupParent)
    const path = join(parent, name)
    for (const step of [parent, path]) {
      mkdirSync(step, { recursive: true })
      copyFromParent(step, 'cpuset.cpus')
      copyFromParent(step, 'cpuset.mems')
    }
    if (layout.version === 'v2') {
      delegate(ROOT)
      delegate(parent)
    }
    if (memoryBytes !== undefined) {
      const limit = join(path, layout.version === 'v2' ? 'memory.max' : 'memory.limit_in_bytes')
      if (existsSync(limit)) writeFileSync(limit, String(memoryBytes))
    }
    procs.push(join(path, 'cgroup.procs'))
  }
  return procs
}

/** The `cgroup.procs` files that a process joins to enter a running machine. */
export function machineCgroupProcs(set: MachineSet, name: string): string[] {
  const layout = cgroupLayout()
  const inner = layout.version === 'v2' ? 'init' : '' // v2: machine-boot has moved the daemons there
  return layout.hierarchies.map(({ dir }) => join(ROOT, dir, set.cgroupParent, name, inner, 'cgroup.procs'))
}

/** Removes the folders of a machine that has ended, or of the whole set. Answers what could not be removed. */
export async function removeCgroups(set: MachineSet, name?: string): Promise<string[]> {
  let left: string[] = []
  for (let attempt = 0; attempt < 40; attempt++) {
    left = cgroupDirs(set, name).filter((dir) => !removeTree(dir))
    if (left.length === 0) return []
    await sleep(25) // a killed process leaves its group a moment after it is gone
  }
  return left
}

/** The folders of a machine or a set that exist now. */
export function cgroupDirs(set: MachineSet, name?: string): string[] {
  return cgroupLayout()
    .hierarchies.map(({ dir }) => join(ROOT, dir, set.cgroupParent, name ?? ''))
    .filter((dir) => existsSync(dir))
}

/** Every process in the machine's groups; what is not in a process tree of ours any more is still found here. */
export function cgroupPids(set: MachineSet, name?: string): number[] {
  const pids = new Set<number>()
  const walk = (dir: string) => {
    try {
      for (const pid of readFileSync(join(dir, 'cgroup.procs'), 'utf8').split('\n')) if (Number(pid) > 0) pids.add(Number(pid))
      for (const entry of readdirSync(dir, { withFileTypes: true })) if (entry.isDirectory()) walk(join(dir, entry.name))
    } catch {
      // the folder went away while we looked: then nobody is in it
    }
  }
  for (const dir of cgroupDirs(set, name)) walk(dir)
  return [...pids]
}

function removeTree(dir: string): boolean {
  try {
    for (const entry of readdirSync(dir, { withFileTypes: true })) if (entry.isDirectory()) removeTree(join(dir, entry.name))
    rmdirSync(dir)
    return true
  } catch {
    return !existsSync(dir)
  }
}

/** A v1 cpuset starts empty and refuses processes until it is filled. */
function copyFromParent(dir: string, file: string): void {
  const path = join(dir, file)
  if (!existsSync(path) || readFileSync(path, 'utf8').trim() !== '') return
  const value = readFileSync(join(dir, '..', file), 'utf8').trim()
  if (value !== '') writeFileSync(path, value)
}

/** v2 only, not tested: hands all controllers down. */
function delegate(dir: string): void {
  const controllers = readFileSync(join(dir, 'cgroup.controllers'), 'utf8').trim().split(' ').filter(Boolean)
  for (const controller of controllers) {
    try {
      writeFileSync(join(dir, 'cgroup.subtree_control'), `+${controller}`)
    } catch {
      // a controller that cannot be handed down (threaded domains) stays out
    }
  }
}
