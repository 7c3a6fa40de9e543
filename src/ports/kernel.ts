// The Kernel port: the network state of this host as a set of keyed objects that can be read, put and deleted.

/** A bridge of ours. The engine adopts it by its name. */
export interface BridgeObject {
  readonly kind: 'bridge'
  readonly name: string
  readonly mac: string
  readonly mtu: number
}

/** A VXLAN port of one of our bridges: static (no learning, nothing flooded), ARP answered locally. */
export interface VxlanObject {
  readonly kind: 'vxlan'
  readonly name: string
  readonly bridge: string
  readonly vni: number
  readonly local: string
  readonly underlay: string
  readonly port: number
  readonly mtu: number
}

/** An IPv4 address on a bridge of ours, with its prefix length. */
export interface AddressObject {
  readonly kind: 'address'
  readonly device: string
  readonly cidr: string
}

/** Where frames for a MAC go: through the VXLAN port `device` to the host `remote`; '' = to the port only, for addresses that are translated on the way. */
export interface FdbObject {
  readonly kind: 'fdb'
  readonly device: string
  readonly mac: string
  readonly remote: string
}

/** A permanent neighbour entry on a bridge; the VXLAN port answers ARP requests from it. */
export interface NeighbourObject {
  readonly kind: 'neighbour'
  readonly device: string
  readonly address: string
  readonly mac: string
}

/** The constant part of an nft table: declarations and rules, without elements. Two tables are the same when their digests are. */
export interface TableObject {
  readonly kind: 'table'
  readonly family: 'ip' | 'bridge'
  readonly name: string
  readonly digest: string
  readonly sets: readonly NftSet[]
  readonly chains: readonly NftChain[]
}

export interface NftSet {
  readonly name: string
  readonly kind: 'set' | 'map'
  /** As nft spells it, e.g. `type inet_service : verdict`. */
  readonly type: string
}

export interface NftChain {
  readonly name: string
  /** `type nat hook prerouting priority -110; policy accept;` for a base chain. */
  readonly hook?: string
  readonly rules: readonly string[]
}

/** One element of a set or map, key and value spelled as nft lists them. */
export interface ElementObject {
  readonly kind: 'element'
  readonly family: 'ip' | 'bridge'
  readonly table: string
  readonly set: string
  readonly key: string
  readonly value: string
}

/** A kernel setting below /proc/sys, spelled with slashes: device names may contain dots. Deleting one changes nothing. */
export interface SysctlObject {
  readonly kind: 'sysctl'
  readonly name: string
  readonly value: string
}

/** Our chain in iptables' filter table, reached from position 1 of FORWARD. Rules are spelled as `iptables -S` prints them, without `-A CHAIN`. */
export interface FirewallObject {
  readonly kind: 'firewall'
  readonly rules: readonly string[]
}

export type KernelObject =
  | BridgeObject
  | VxlanObject
  | AddressObject
  | FdbObject
  | NeighbourObject
  | TableObject
  | ElementObject
  | SysctlObject
  | FirewallObject

/** `before` is what the caller believes to be there; an apply that finds something else fails, and the caller reads again. */
export type KernelChange =
  | { readonly op: 'put'; readonly object: KernelObject; readonly before?: KernelObject }
  /** `late` deletes of elements come in a transaction after all others: packets that are just being looked at may still need them. */
  | { readonly op: 'delete'; readonly object: KernelObject; readonly late?: boolean }
  /** Deletes the connection-tracking entries whose backend or origin is this address. */
  | { readonly op: 'forgetAddress'; readonly address: string }
  /** Deletes the connection-tracking entries with this mark. */
  | { readonly op: 'forgetMark'; readonly mark: number }

export interface KernelState {
  /** Everything of ours, by key. */
  readonly objects: ReadonlyMap<string, KernelObject>
  /** Keys of devices that carry a name of ours, but not our mark (an engine may have made the bridge at boot). They may be put, never deleted. */
  readonly unowned: ReadonlySet<string>
}

export type KernelProbe =
  | { readonly ok: true; readonly features: KernelFeatures }
  /** `reason` is a sentence for people. */
  | { readonly ok: false; readonly reason: string }

export interface KernelFeatures {
  readonly sctp: boolean
  /** There is an iptables whose FORWARD chain may have a policy. */
  readonly iptables: boolean
}

export interface Underlay {
  readonly device: string
  readonly mtu: number
}

/** All errors are ShoalErrors: 'aborted' when the kernel's state is not what `before` says, 'unavailable' when a tool failed or took too long. */
export interface Kernel {
  /** Finds out, without touching anything that lasts, whether a data plane can work here. */
  probe(): Promise<KernelProbe>
  /** Takes the lock of this network namespace: true = it is ours until `unclaim` or the end of the process. */
  claim(): Promise<boolean>
  unclaim(): Promise<void>
  /** The device that carries this address, undefined when there is none. */
  underlay(address: string): Promise<Underlay | undefined>
  /** Everything of ours that is there, and the named sysctls as far as they exist. */
  read(sysctls: readonly string[]): Promise<KernelState>
  /** Applies the changes: devices first, then rules in one transaction, deletes last. All or an error; after an error read again. */
  apply(changes: readonly KernelChange[]): Promise<void>
  /** Calls back (perhaps too often) when somebody else may have changed what is ours. Said again, it goes on with what has broken. */
  watch(foreign: () => void): void
  unwatch(): void
  /** Sets the hairpin flag on each container port of our bridges that lacks it (a task may be its own backend); how many lacked it. */
  hairpin(): Promise<number>
  /** Those of the addresses that connections (TCP, SCTP) lead to which have not ended. */
  busy(addresses: readonly string[]): Promise<ReadonlySet<string>>
  /** Occupies a port so that no process of this host takes it by accident; false when one already has. Nothing is served on it. */
  holdPort(protocol: 'tcp' | 'udp', port: number): Promise<boolean>
  releasePort(protocol: 'tcp' | 'udp', port: number): Promise<void>
}

/** The identity of an object in the kernel: two objects with one key cannot be there at once. */
export function keyOf(object: KernelObject): string {
  switch (object.kind) {
    case 'bridge':
    case 'vxlan':
      return `${object.kind} ${object.name}`
    case 'address':
      return `address ${object.device} ${object.cidr}`
    case 'fdb':
      return `fdb ${object.device} ${object.mac}`
    case 'neighbour':
      return `neighbour ${object.device} ${object.address}`
    case 'table':
      return `table ${object.family} ${object.name}`
    case 'element':
      return `element ${object.family} ${object.table} ${object.set} ${object.key}`
    case 'sysctl':
      return `sysctl ${object.name}`
    case 'firewall':
      return 'firewall'
  }
}

/** Whether two objects with the same key are the same in every respect. */
export function sameObject(a: KernelObject, b: KernelObject): boolean {
  if (a === b) return true
  switch (a.kind) {
    case 'bridge':
      return b.kind === 'bridge' && a.mac === b.mac && a.mtu === b.mtu
    case 'vxlan':
      return b.kind === 'vxlan' && a.bridge === b.bridge && a.mtu === b.mtu && sameTunnel(a, b)
    case 'fdb':
      return b.kind === 'fdb' && a.remote === b.remote
    case 'neighbour':
      return b.kind === 'neighbour' && a.mac === b.mac
    case 'table':
      return b.kind === 'table' && a.digest === b.digest
    case 'element':
      return b.kind === 'element' && a.value === b.value
    case 'sysctl':
      return b.kind === 'sysctl' && a.value === b.value
    case 'firewall':
      return b.kind === 'firewall' && a.rules.length === b.rules.length && a.rules.every((rule, i) => rule === b.rules[i])
    case 'address':
      return b.kind === 'address'
  }
}

/** Whether the properties that a VXLAN device keeps for life agree; if not it has to be made anew. */
export function sameTunnel(a: VxlanObject, b: VxlanObject): boolean {
  return a.vni === b.vni && a.local === b.local && a.underlay === b.underlay && a.port === b.port
}
