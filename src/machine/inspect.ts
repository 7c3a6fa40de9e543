// What can be asked about machines: list, address, environment for clients, and engine and swarm as they are now.
import { getJson } from './http.ts'
import type { InSet } from './lifecycle.ts'
import { machineSet } from './set.ts'
import { getRecord, type Machine, readRecord, recordNames, toMachine } from './state.ts'

/** A machine and what its API says at the moment. */
export interface MachineInfo extends Machine {
  /** Version of the engine, undefined when it does not answer. */
  readonly engineVersion?: string
  readonly swarm: 'manager' | 'worker' | 'inactive' | 'unknown'
}

/** All machines of the set, by name. Asks nobody, so it is quick. */
export function listMachines(options: InSet = {}): Machine[] {
  const set = options.set ?? machineSet()
  return recordNames(set).flatMap((name) => {
    const record = readRecord(set, name)
    return record?.ready && !record.hidden ? [toMachine(set, record)] : []
  })
}

/** The machine's address, also while it is stopped. Throws `not-found`. */
export function machineIp(name: string, options: InSet = {}): string {
  return getRecord(options.set ?? machineSet(), name).address
}

/** What to set for clients on the computer that shall talk to this machine. */
export function machineEnv(name: string, options: InSet = {}): Record<string, string> {
  const set = options.set ?? machineSet()
  return { DOCKER_HOST: toMachine(set, getRecord(set, name)).url, DOCKER_MACHINE_NAME: name }
}

/** The machine with engine version and role in the swarm, as far as it answers within two seconds. */
export async function inspectMachine(name: string, options: InSet = {}): Promise<MachineInfo> {
  const set = options.set ?? machineSet()
  return await ask(toMachine(set, getRecord(set, name)))
}

export async function ask(machine: Machine): Promise<MachineInfo> {
  if (machine.state === 'Stopped') return { ...machine, swarm: 'unknown' }
  const [version, info] = await Promise.all([getJson(machine.engineSocket, '/version'), getJson(machine.socket, '/info')])
  const swarm = field(info, 'Swarm')
  const active = field(swarm, 'LocalNodeState')
  return {
    ...machine,
    engineVersion: text(field(version, 'Version')),
    swarm:
      active === undefined
        ? 'unknown'
        : active !== 'active'
          ? 'inactive'
          : field(swarm, 'ControlAvailable') === true
            ? 'manager'
            : 'worker',
  }
}

function field(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[key] : undefined
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}
