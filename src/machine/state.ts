// What is written down about each machine (machine.json in its folder), and the view of it that callers get.
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ShoalError } from '../lib/index.ts'
import { isAlive, type ProcessRef } from './process.ts'
import { checkMachineName, type MachineSet, machineDir, machineRunDir } from './set.ts'

export type MachineState = 'Running' | 'Stopped'

/** How a machine was made; a start uses it again. */
export interface MachineConfig {
  /** No shoald: plain `docker` in the machine talks to the engine. */
  readonly engineOnly: boolean
  /** Containers survive a restart of dockerd. Off only for real swarm mode, which refuses it. */
  readonly liveRestore: boolean
  /** The registry on the bridge as mirror of the public one. */
  readonly mirror: boolean
  readonly memoryBytes?: number
  readonly shoaldArgs: readonly string[]
}

/** The file. `ready` is false until the first creation has finished: such a folder is a leftover. */
export interface MachineRecord extends MachineConfig {
  readonly name: string
  readonly address: string
  readonly createdAt: string
  readonly ready: boolean
  /** A machine for our own purposes, not shown in lists. */
  readonly hidden?: boolean
  /** The outer unshare process, and PID 1 of the machine. */
  readonly outer?: ProcessRef
  readonly pid1?: ProcessRef
}

/** A machine as it is now. */
export interface Machine extends MachineConfig {
  readonly name: string
  readonly address: string
  readonly createdAt: string
  readonly state: MachineState
  /** Pid of the machine's PID 1 as the computer sees it. */
  readonly pid?: number
  /** `unix://` address of what `docker` in the machine talks to: shoald, or the engine of an engine-only machine. */
  readonly url: string
  readonly socket: string
  /** The engine itself. */
  readonly engineSocket: string
  /** The machine's /var is `var` in here; logs of its daemons are in `var/log`. */
  readonly dataDir: string
}

export function readRecord(set: MachineSet, name: string): MachineRecord | undefined {
  checkMachineName(name)
  const path = join(machineDir(set, name), 'machine.json')
  if (!existsSync(path)) return undefined
  return JSON.parse(readFileSync(path, 'utf8')) as MachineRecord
}

/** Writes aside and renames, so a reader never sees half a file. */
export function writeRecord(set: MachineSet, record: MachineRecord): void {
  const dir = machineDir(set, record.name)
  mkdirSync(dir, { recursive: true, mode: 0o711 })
  const path = join(dir, 'machine.json')
  writeFileSync(`${path}.new`, `${JSON.stringify(record, null, 2)}\n`)
  renameSync(`${path}.new`, path)
}

/** All folders of the set, unfinished ones included. */
export function recordNames(set: MachineSet): string[] {
  if (!existsSync(set.dataDir)) return []
  return readdirSync(set.dataDir, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'))
    .map((entry) => entry.name)
    .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))
}

/** The machine of this name. Throws `not-found`. */
export function getRecord(set: MachineSet, name: string): MachineRecord {
  const record = readRecord(set, name)
  if (record?.ready) return record
  const known = recordNames(set)
  throw new ShoalError('not-found', `there is no machine "${name}"`, {
    next: known.length > 0 ? `There are: ${known.join(', ')}.` : `Make one: shoal machine create ${name}`,
  })
}

export function toMachine(set: MachineSet, record: MachineRecord): Machine {
  const { ready: _ready, hidden: _hidden, outer: _outer, pid1, ...rest } = record
  const alive = isAlive(pid1)
  const socket = join(machineRunDir(set, record.name), 'docker.sock')
  return {
    ...rest,
    state: alive ? 'Running' : 'Stopped',
    pid: alive ? pid1?.pid : undefined,
    url: `unix://${socket}`,
    socket,
    engineSocket: join(machineRunDir(set, record.name), 'engine/docker.sock'),
    dataDir: join(machineDir(set, record.name), 'data'),
  }
}
