// A kernel in memory: keeps the objects, refuses what a real kernel refuses, and lets tests break things.
import { ShoalError } from '../../lib/index.ts'
import {
  type Kernel,
  type KernelChange,
  type KernelFeatures,
  type KernelObject,
  type KernelProbe,
  type KernelState,
  keyOf,
  sameTunnel,
  type Underlay,
} from '../kernel.ts'

export interface FakeKernelOptions {
  readonly features?: KernelFeatures
  /** Devices of the host by their address. */
  readonly underlays?: Readonly<Record<string, Underlay>>
  /** Why no data plane can work here. */
  readonly broken?: string
}

/** Deterministic; every call takes effect at once. */
export class FakeKernel implements Kernel {
  readonly #options: FakeKernelOptions
  #objects = new Map<string, KernelObject>()
  #claimed = false
  #foreign: (() => void) | undefined
  #failures: ShoalError[] = []
  /** Change lists that were applied, in order. */
  readonly applied: (readonly KernelChange[])[] = []
  readonly heldPorts = new Set<string>()
  /** Ports that a process of the host has, as `tcp 80`. */
  readonly foreignPorts = new Set<string>()
  /** Somebody else in this network namespace holds the lock. */
  lockTaken = false
  portsWithoutHairpin = 0
  /** Addresses that have connections. */
  readonly connected = new Set<string>()

  constructor(options: FakeKernelOptions = {}) {
    this.#options = options
  }

  get objects(): ReadonlyMap<string, KernelObject> {
    return this.#objects
  }

  /** The next `apply` fails before it does anything. */
  failNext(error: ShoalError = new ShoalError('unavailable', 'the fake kernel was told to fail')): void {
    this.#failures.push(error)
  }

  /** Something on the host removes an object, with all that hangs on it. */
  vandalize(key: string): void {
    const object = this.#objects.get(key)
    if (object) this.#remove(this.#objects, object)
    this.#foreign?.()
  }

  watch(foreign: () => void): void {
    this.#foreign = foreign
  }

  unwatch(): void {
    this.#foreign = undefined
  }

  /** Something on the host writes an object. */
  smuggle(object: KernelObject): void {
    this.#objects.set(keyOf(object), object)
    this.#foreign?.()
  }

  async probe(): Promise<KernelProbe> {
    if (this.#options.broken !== undefined) return { ok: false, reason: this.#options.broken }
    return { ok: true, features: this.#options.features ?? { sctp: false, iptables: true } }
  }

  async claim(): Promise<boolean> {
    if (this.lockTaken) return false
    this.#claimed = true
    return true
  }

  async unclaim(): Promise<void> {
    this.#claimed = false
  }

  get claimed(): boolean {
    return this.#claimed
  }

  async underlay(address: string): Promise<Underlay | undefined> {
    return this.#options.underlays ? this.#options.underlays[address] : { device: 'eth0', mtu: 1500 }
  }

  async read(sysctls: readonly string[]): Promise<KernelState> {
    const wanted = new Set(sysctls)
    const objects = [...this.#objects].filter(([, object]) => object.kind !== 'sysctl' || wanted.has(object.name))
    return { objects: new Map(objects), unowned: new Set() }
  }

  async apply(changes: readonly KernelChange[]): Promise<void> {
    const failure = this.#failures.shift()
    if (failure) throw failure
    const next = new Map(this.#objects)
    for (const change of inOrder(changes)) {
      if (change.op === 'put') this.#put(next, change.object, change.before)
      else if (change.op === 'delete') this.#delete(next, change.object, changes)
    }
    this.#objects = next
    this.applied.push(changes)
  }

  async hairpin(): Promise<number> {
    const count = this.portsWithoutHairpin
    this.portsWithoutHairpin = 0
    return count
  }

  async busy(addresses: readonly string[]): Promise<ReadonlySet<string>> {
    return new Set(addresses.filter((address) => this.connected.has(address)))
  }

  async holdPort(protocol: 'tcp' | 'udp', port: number): Promise<boolean> {
    if (this.foreignPorts.has(`${protocol} ${port}`)) return false
    this.heldPorts.add(`${protocol} ${port}`)
    return true
  }

  async releasePort(protocol: 'tcp' | 'udp', port: number): Promise<void> {
    this.heldPorts.delete(`${protocol} ${port}`)
  }

  #put(next: Map<string, KernelObject>, object: KernelObject, before: KernelObject | undefined): void {
    const there = next.get(keyOf(object))
    const need = (key: string) => {
      if (!next.has(key)) throw new ShoalError('aborted', `${keyOf(object)}: there is no ${key}`)
    }
    switch (object.kind) {
      case 'bridge':
        if (!before && there) throw new ShoalError('aborted', `${keyOf(object)} exists`)
        // as the real kernel does: a new MAC flushes the neighbours
        if (there?.kind === 'bridge' && there.mac !== object.mac) {
          for (const [key, other] of next) if (other.kind === 'neighbour' && other.device === object.name) next.delete(key)
        }
        break
      case 'vxlan':
        need(`bridge ${object.bridge}`)
        if (!before && there) throw new ShoalError('aborted', `${keyOf(object)} exists`)
        if (there?.kind === 'vxlan' && !sameTunnel(there, object)) this.#remove(next, there)
        break
      case 'address':
      case 'neighbour':
        need(`bridge ${object.device}`)
        break
      case 'fdb':
        need(`vxlan ${object.device}`)
        break
      case 'element':
        need(`table ${object.family} ${object.table}`)
        if (before && !there) throw new ShoalError('aborted', `${keyOf(object)} is not there`)
        if (!before && there?.kind === 'element' && there.value !== object.value) throw new ShoalError('aborted', `${keyOf(object)} exists`)
        break
      case 'sysctl': {
        const device = /^net\/ipv4\/conf\/(ov-[^/]+)\//.exec(object.name)?.[1]
        if (device) need(`bridge ${device}`)
        break
      }
    }
    next.set(keyOf(object), object)
  }

  #delete(next: Map<string, KernelObject>, object: KernelObject, changes: readonly KernelChange[]): void {
    if (object.kind === 'sysctl') return
    if (object.kind === 'element' && !next.has(keyOf(object))) {
      const tableToo = changes.some(({ op, ...rest }) => op === 'delete' && 'object' in rest && isTableOf(rest.object, object))
      if (!tableToo) throw new ShoalError('aborted', `${keyOf(object)} is not there`)
    }
    this.#remove(next, object)
  }

  /** Removes an object and what cannot be without it. */
  #remove(objects: Map<string, KernelObject>, gone: KernelObject): void {
    objects.delete(keyOf(gone))
    for (const [key, object] of objects) {
      if (gone.kind === 'bridge') {
        if ((object.kind === 'address' || object.kind === 'neighbour') && object.device === gone.name) objects.delete(key)
        if (object.kind === 'sysctl' && object.name.includes(`/${gone.name}/`)) objects.delete(key)
        if (object.kind === 'vxlan' && object.bridge === gone.name) objects.set(key, { ...object, bridge: '' })
      } else if (gone.kind === 'vxlan') {
        if (object.kind === 'fdb' && object.device === gone.name) objects.delete(key)
      } else if (gone.kind === 'table' && isTableOf(gone, object)) objects.delete(key)
    }
  }
}

function isTableOf(table: KernelObject, element: KernelObject): boolean {
  return table.kind === 'table' && element.kind === 'element' && element.family === table.family && element.table === table.name
}

const PUT_ORDER: Readonly<Record<KernelObject['kind'], number>> = {
  bridge: 0,
  vxlan: 1,
  address: 2,
  neighbour: 3,
  fdb: 4,
  sysctl: 5,
  table: 6,
  element: 7,
  firewall: 8,
}

/** As the port promises: devices first, then rules, deletes last and devices last of these. */
function inOrder(changes: readonly KernelChange[]): readonly KernelChange[] {
  const rank = (change: KernelChange) => {
    if (change.op === 'put') return PUT_ORDER[change.object.kind]
    return change.op === 'delete' ? 20 - PUT_ORDER[change.object.kind] : 30
  }
  return changes.toSorted((a, b) => rank(a) - rank(b))
}
