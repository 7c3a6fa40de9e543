// A set of machines: its name, address range and every path and kernel name derived from them, so that several sets live side by side.
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { ShoalError } from '../lib/index.ts'

/** Where one set of machines lives. All names of kernel objects are derived from `name`, so sets never touch each other. */
export interface MachineSet {
  readonly name: string
  /** First three octets of the /24, e.g. `10.77.0`. */
  readonly prefix: string
  readonly subnet: string
  /** Address of the bridge: the machines' gateway and registry. */
  readonly gateway: string
  readonly bridge: string
  readonly cgroupParent: string
  readonly nftTable: string
  /** Folders of the machines of this set. */
  readonly dataDir: string
  /** Run folders (sockets), short because a unix socket path has 108 bytes at most. */
  readonly runDir: string
  /** Images and golden seeds, shared by all sets of the same home. */
  readonly imagesDir: string
  readonly seedDir: string
  readonly registryPort: number
  /** The checkout that machines see read-only as /opt/shoal. */
  readonly checkout: string
}

export interface MachineSetOptions {
  /** Lower-case letters and digits, at most 8. Default: SHOAL_MACHINE_SET or `shoal`. */
  readonly name?: string
  /** Default: SHOAL_MACHINE_HOME or /var/lib/shoal/machines. */
  readonly home?: string
  /** A /24. Default: SHOAL_MACHINE_SUBNET or 10.77.0.0/24. */
  readonly subnet?: string
}

const RUN_ROOT = '/run/shoal-machines'

/** Describes a set; creates nothing. Throws `invalid-argument` when a name or range cannot be used. */
export function machineSet(options: MachineSetOptions = {}): MachineSet {
  const name = options.name ?? process.env.SHOAL_MACHINE_SET ?? 'shoal'
  if (!/^[a-z][a-z0-9]{0,7}$/.test(name)) {
    throw new ShoalError('invalid-argument', `"${name}" is not a name for a set of machines`, {
      next: 'Use up to 8 lower-case letters and digits, beginning with a letter (SHOAL_MACHINE_SET).',
    })
  }
  const subnet = options.subnet ?? process.env.SHOAL_MACHINE_SUBNET ?? '10.77.0.0/24'
  const match = /^(\d{1,3}\.\d{1,3}\.\d{1,3})\.0\/24$/.exec(subnet)
  if (!match?.[1] || match[1].split('.').some((octet) => Number(octet) > 255)) {
    throw new ShoalError('invalid-argument', `"${subnet}" is not a /24 network`, {
      next: 'Give one like 10.77.0.0/24 (SHOAL_MACHINE_SUBNET).',
    })
  }
  const home = options.home ?? process.env.SHOAL_MACHINE_HOME ?? '/var/lib/shoal/machines'
  return {
    name,
    prefix: match[1],
    subnet,
    gateway: `${match[1]}.1`,
    bridge: `${name}-br`,
    cgroupParent: `shoal-machines-${name}`,
    nftTable: `shoal_machines_${name}`,
    dataDir: join(home, name),
    runDir: join(RUN_ROOT, name),
    imagesDir: join(home, 'images'),
    seedDir: join(home, 'seeds'),
    registryPort: 5000,
    checkout: findCheckout(),
  }
}

/** The computer's end of the cable of the machine with this address. At most 15 characters. */
export function vethName(set: MachineSet, address: string): string {
  return `${set.name}-v${address.split('.')[3]}`
}

export function machineDir(set: MachineSet, name: string): string {
  return join(set.dataDir, name)
}

export function machineRunDir(set: MachineSet, name: string): string {
  return join(set.runDir, name)
}

/** Names are host names, because the machine's host name is what the swarm shows. */
export function checkMachineName(name: string): void {
  if (/^[a-zA-Z0-9]([a-zA-Z0-9-]{0,38}[a-zA-Z0-9])?$/.test(name)) return
  throw new ShoalError('invalid-argument', `"${name}" is not a name for a machine`, {
    next: 'Use letters, digits and inner dashes, at most 40 of them.',
  })
}

/** Works from the sources (src/machine) and from the bundle (dist). */
function findCheckout(): string {
  for (let at = import.meta.dirname; at !== '/'; at = dirname(at)) {
    if (existsSync(join(at, 'src/machine/guest/machine-init'))) return at
  }
  throw new ShoalError('failed-precondition', `no checkout of Shoal above ${import.meta.dirname}`, {
    next: 'Run shoal from a checkout: machines need its sources.',
  })
}
