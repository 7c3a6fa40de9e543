// Devices, addresses, neighbours and forwarding entries: lines for `ip -batch` and `bridge -batch`, and objects from their JSON.
import {
  type AddressObject,
  type BridgeObject,
  type FdbObject,
  type KernelChange,
  type KernelObject,
  keyOf,
  type NeighbourObject,
  sameTunnel,
  type VxlanObject,
} from '../../ports/index.ts'

/** Set on each device that is ours; a device without it is never deleted. */
const ALIAS = 'shoal'
const OURS = /^(ov|vx)-/

export interface LinkBatches {
  /** Makes and changes devices, then addresses and neighbours. */
  readonly ip: string
  readonly fdb: string
  /** Deletes, for after the rules have changed. */
  readonly fdbDelete: string
  readonly ipDelete: string
}

export function linkBatches(changes: readonly KernelChange[]): LinkBatches {
  const ip: [rank: number, lines: string[]][] = []
  const ipDelete: [rank: number, lines: string[]][] = []
  const fdb: string[] = []
  const fdbDelete: string[] = []
  const goneDevices = new Set<string>()
  for (const { op, object } of changes.filter((change) => change.op === 'delete')) {
    if (op === 'delete' && (object.kind === 'bridge' || object.kind === 'vxlan')) goneDevices.add(object.name)
  }
  for (const change of changes) {
    if (change.op === 'put') {
      const { object, before } = change
      if (object.kind === 'bridge') ip.push([0, bridgeLines(object, before)])
      else if (object.kind === 'vxlan') ip.push([1, vxlanLines(object, before)])
      else if (object.kind === 'address') ip.push([2, [`address replace ${object.cidr} dev ${object.device}`]])
      else if (object.kind === 'neighbour') ip.push([3, [neighbourLine(object)]])
      else if (object.kind === 'fdb') fdb.push(...fdbLines(object, before))
    } else if (change.op === 'delete') {
      const { object } = change
      if (object.kind === 'bridge' || object.kind === 'vxlan')
        ipDelete.push([object.kind === 'vxlan' ? 2 : 3, [`link delete dev ${object.name}`]])
      else if (object.kind === 'address' && !goneDevices.has(object.device))
        ipDelete.push([1, [`address delete ${object.cidr} dev ${object.device}`]])
      else if (object.kind === 'neighbour' && !goneDevices.has(object.device))
        ipDelete.push([0, [`neigh delete ${object.address} dev ${object.device}`]])
      else if (object.kind === 'fdb' && !goneDevices.has(object.device)) fdbDelete.push(...fdbDeleteLines(object))
    }
  }
  return { ip: inOrder(ip), fdb: lines(fdb), fdbDelete: lines(fdbDelete), ipDelete: inOrder(ipDelete) }
}

function bridgeLines({ name, mac, mtu }: BridgeObject, before: KernelObject | undefined): string[] {
  return [
    ...(before ? [] : [`link add ${name} type bridge`]),
    // setting the address, even to what it is, flushes all neighbours
    ...(before?.kind === 'bridge' && before.mac === mac ? [] : [`link set dev ${name} address ${mac}`]),
    `link set dev ${name} alias ${ALIAS}`,
    // per bridge, so that the sysctl for all bridges of the host stays as it is
    `link set dev ${name} type bridge nf_call_iptables 1`,
    `link set dev ${name} mtu ${mtu} up`,
  ]
}

function vxlanLines(vxlan: VxlanObject, before: KernelObject | undefined): string[] {
  const { name, bridge, vni, local, underlay, port, mtu } = vxlan
  const same = before?.kind === 'vxlan' && sameTunnel(before, vxlan)
  return [
    ...(before && !same ? [`link delete dev ${name}`] : []),
    // proxy: the host's own ARP requests for remote addresses are answered here and never flooded
    ...(same ? [] : [`link add ${name} type vxlan id ${vni} local ${local} dev ${underlay} dstport ${port} ttl 64 nolearning proxy`]),
    `link set dev ${name} alias ${ALIAS} mtu ${mtu} master ${bridge} up`,
    `link set dev ${name} type bridge_slave learning off neigh_suppress on flood off mcast_flood off bcast_flood off`,
  ]
}

function neighbourLine({ address, mac, device }: NeighbourObject): string {
  return `neigh replace ${address} lladdr ${mac} dev ${device} nud permanent`
}

function fdbLines({ device, mac, remote }: FdbObject, before: KernelObject | undefined): string[] {
  const hadRemote = before?.kind === 'fdb' && before.remote !== ''
  return [
    ...(remote !== ''
      ? [`fdb replace ${mac} dev ${device} dst ${remote} self`]
      : hadRemote
        ? [`fdb delete ${mac} dev ${device} self`]
        : []),
    `fdb replace ${mac} dev ${device} master static`,
  ]
}

function fdbDeleteLines({ device, mac, remote }: FdbObject): string[] {
  return [...(remote !== '' ? [`fdb delete ${mac} dev ${device} self`] : []), `fdb delete ${mac} dev ${device} master`]
}

function inOrder(items: [rank: number, lines: string[]][]): string {
  return lines(items.toSorted((a, b) => a[0] - b[0]).flatMap((item) => item[1]))
}

function lines(list: readonly string[]): string {
  return list.length === 0 ? '' : `${list.join('\n')}\n`
}

interface LinkJson {
  readonly ifname: string
  readonly address?: string
  readonly mtu: number
  readonly flags: readonly string[]
  readonly master?: string
  readonly ifalias?: string
  readonly linkinfo?: {
    readonly info_kind?: string
    readonly info_data?: Readonly<Record<string, unknown>>
    readonly info_slave_data?: Readonly<Record<string, unknown>>
  }
}

export interface LinkReading {
  readonly objects: readonly (BridgeObject | VxlanObject)[]
  readonly unowned: ReadonlySet<string>
  /** Container ports of our bridges without the hairpin flag. */
  readonly portsWithoutHairpin: readonly string[]
}

/** From `ip -d -j link show`. A device with a wrong setting that no object has a field for is told with an mtu of 0, so that it differs. */
export function parseLinks(json: string): LinkReading {
  const objects: (BridgeObject | VxlanObject)[] = []
  const unowned = new Set<string>()
  const portsWithoutHairpin: string[] = []
  for (const link of JSON.parse(json || '[]') as LinkJson[]) {
    const data = link.linkinfo?.info_data ?? {}
    const slave = link.linkinfo?.info_slave_data ?? {}
    const up = link.flags.includes('UP')
    const owned = link.ifalias === ALIAS
    if (OURS.test(link.ifname) && link.linkinfo?.info_kind === 'bridge') {
      const asSet = up && owned && data.nf_call_iptables === 1
      const bridge: BridgeObject = { kind: 'bridge', name: link.ifname, mac: link.address ?? '', mtu: asSet ? link.mtu : 0 }
      objects.push(bridge)
      if (!owned) unowned.add(keyOf(bridge))
    } else if (OURS.test(link.ifname) && link.linkinfo?.info_kind === 'vxlan') {
      const vxlan = vxlanOf(link, data, up && owned && portAsSet(slave))
      objects.push(vxlan)
      if (!owned) unowned.add(keyOf(vxlan))
    } else if (link.master && OURS.test(link.master) && slave.hairpin === false) {
      portsWithoutHairpin.push(link.ifname)
    }
  }
  return { objects, unowned, portsWithoutHairpin }
}

function vxlanOf(link: LinkJson, data: Readonly<Record<string, unknown>>, asSet: boolean): VxlanObject {
  // learning and proxy are for life, like the tunnel: a device without them is told as another tunnel
  const tunnel = data.learning === false && data.proxy === true && data.ttl === 64
  return {
    kind: 'vxlan',
    name: link.ifname,
    bridge: link.master ?? '',
    vni: tunnel ? Number(data.id) : -1,
    local: String(data.local ?? ''),
    underlay: String(data.link ?? ''),
    port: Number(data.port),
    mtu: asSet ? link.mtu : 0,
  }
}

function portAsSet(slave: Readonly<Record<string, unknown>>): boolean {
  const off = slave.learning === false && slave.flood === false && slave.mcast_flood === false && slave.bcast_flood === false
  return off && slave.neigh_suppress === true
}

/** From `ip -j -4 address show`: addresses of our bridges. */
export function parseAddresses(json: string): AddressObject[] {
  const links = JSON.parse(json || '[]') as { ifname?: string; addr_info?: { local: string; prefixlen: number }[] }[]
  return links.flatMap(({ ifname, addr_info }) =>
    ifname && OURS.test(ifname)
      ? (addr_info ?? []).map(({ local, prefixlen }): AddressObject => ({ kind: 'address', device: ifname, cidr: `${local}/${prefixlen}` }))
      : [],
  )
}

/** From `ip -j -4 neigh show nud permanent`. */
export function parseNeighbours(json: string): NeighbourObject[] {
  const rows = JSON.parse(json || '[]') as { dst: string; dev: string; lladdr?: string }[]
  return rows
    .filter(({ dev, lladdr }) => OURS.test(dev) && lladdr)
    .map(({ dst, dev, lladdr }) => ({ kind: 'neighbour', device: dev, address: dst, mac: lladdr! }))
}

/** From `bridge -j fdb show`: the static entries of our VXLAN ports. One half of a pair alone is told with a remote that nobody wants. */
export function parseFdb(json: string): FdbObject[] {
  const rows = JSON.parse(json || '[]') as { mac: string; ifname: string; dst?: string; master?: string; state?: string }[]
  const found = new Map<string, { device: string; mac: string; remote: string; atBridge: boolean }>()
  for (const { mac, ifname, dst, master, state } of rows) {
    if (!ifname.startsWith('vx-') || !(dst || (master && state === 'static'))) continue
    const key = `${ifname} ${mac}`
    const entry = found.get(key) ?? { device: ifname, mac, remote: '', atBridge: false }
    if (dst) entry.remote = dst
    else entry.atBridge = true
    found.set(key, entry)
  }
  return [...found.values()].map(({ device, mac, remote, atBridge }) => ({
    kind: 'fdb',
    device,
    mac,
    remote: atBridge ? remote : `half ${remote}`,
  }))
}
