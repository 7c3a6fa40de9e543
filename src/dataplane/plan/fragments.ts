// The pieces of the plan: what the node itself, one network, one peer and one service ask of the kernel.
import type { KernelFeatures, KernelObject } from '../../ports/index.ts'
import {
  bridgeName,
  hexMark,
  INGRESS_BRIDGE,
  INGRESS_VXLAN,
  macOfAddress,
  macOfNode,
  markOfNode,
  VIP_MAC,
  VXLAN_OVERHEAD_BYTES,
  VXLAN_PORT,
  vxlanName,
  withPrefix,
} from '../names.ts'
import type { MeshEndpoint, MeshNetwork, MeshPeer, MeshService, SelfNode } from '../types.ts'
import {
  forwardRules,
  guardTable,
  type MeshExtras,
  meshTable,
  PROTOCOL_NUMBERS,
  type PublishedProtocol,
  publishedProtocols,
  TABLE,
} from './rules.ts'

/** What the pieces share: this node, the networks that are needed on it, and where the peers are. */
export interface PlanContext {
  readonly self: SelfNode
  readonly features: KernelFeatures
  readonly networks: ReadonlyMap<string, MeshNetwork>
  readonly peers: ReadonlyMap<string, MeshPeer>
}

const IP_FORWARD = 'net/ipv4/ip_forward'
/** Callers on 127.0.0.1 leave by the ingress bridge with that source. */
const INGRESS_LOCALNET = `net/ipv4/conf/${INGRESS_BRIDGE}/route_localnet`
/** Every kernel setting that a plan may ask for. */
export const PLANNED_SYSCTLS: readonly string[] = [IP_FORWARD, INGRESS_LOCALNET]

/** The constant rules, for services of at most `chains` endpoints. */
export function baseFragment(context: PlanContext, chains: number, extras: MeshExtras): KernelObject[] {
  const objects: KernelObject[] = [
    { kind: 'sysctl', name: IP_FORWARD, value: '1' },
    meshTable(context.features, chains, extras),
    guardTable(),
  ]
  if (context.features.iptables) objects.push({ kind: 'firewall', rules: forwardRules([...context.networks.values()].map(bridgeName)) })
  return objects
}

export function networkMtu(network: MeshNetwork, self: Pick<SelfNode, 'underlayMtu'>): number {
  const room = self.underlayMtu - VXLAN_OVERHEAD_BYTES
  return network.mtu > 0 ? Math.min(network.mtu, room) : room
}

/** Bridge with gateway, and its VXLAN port. */
export function networkFragment({ self }: PlanContext, network: MeshNetwork): KernelObject[] {
  const bridge = bridgeName(network)
  const vxlan = vxlanName(network)
  const mtu = networkMtu(network, self)
  const mac = network.ingress ? macOfNode(self.nodeNumber) : macOfAddress(network.gateway)
  const objects: KernelObject[] = [
    { kind: 'bridge', name: bridge, mac, mtu },
    { kind: 'address', device: bridge, cidr: withPrefix(network.gateway, network.subnet) },
    { kind: 'vxlan', name: vxlan, bridge, vni: network.vni, local: self.address, underlay: self.underlayDevice, port: VXLAN_PORT, mtu },
  ]
  if (network.ingress) objects.push({ kind: 'sysctl', name: INGRESS_LOCALNET, value: '1' })
  else {
    objects.push({ kind: 'fdb', device: vxlan, mac: VIP_MAC, remote: '' })
    objects.push(element('nameserver', `${quote(bridge)} . ${network.gateway}`))
  }
  if (network.internal) objects.push(element('internal', quote(bridge)))
  return objects
}

/** The way back to a peer: its ingress MAC, connection mark and zone. */
export function peerFragment({ self, networks }: PlanContext, peer: MeshPeer): KernelObject[] {
  if (peer.nodeId === self.nodeId || ![...networks.values()].some((network) => network.ingress)) return []
  const mac = macOfNode(peer.number)
  const mark = hexMark(markOfNode(peer.number))
  return [
    { kind: 'fdb', device: INGRESS_VXLAN, mac, remote: peer.address },
    element('nodemark', mac, mark),
    element('nodezone', mac, String(peer.number)),
    element('markmac', mark, mac),
    { ...element('nodemac', mac), family: 'bridge' },
  ]
}

/** The endpoints of a service: where they are, and which of them its published ports and VIPs lead to. */
export function serviceFragment(context: PlanContext, service: MeshService, endpoints: readonly MeshEndpoint[]): KernelObject[] {
  const serving = new Map<string, string[]>() // by network id
  for (const endpoint of endpoints) {
    if (!endpoint.serving || !isReachable(context, endpoint)) continue
    for (const { networkId, address } of endpoint.addresses) if (context.networks.has(networkId)) push(serving, networkId, address)
  }
  const objects = endpointFragment(context, endpoints)
  return objects.concat(portElements(context, service, serving), vipElements(context, service, serving))
}

/** Where endpoints are. */
export function endpointFragment(context: PlanContext, endpoints: readonly MeshEndpoint[]): KernelObject[] {
  const objects: KernelObject[] = []
  for (const endpoint of endpoints) {
    if (!isReachable(context, endpoint)) continue
    const local = endpoint.nodeId === context.self.nodeId
    for (const { networkId, address } of endpoint.addresses) {
      const network = context.networks.get(networkId)
      if (!network) continue
      if (local) {
        objects.push(element('hairpin', `${address} . ${address}`))
      } else {
        const mac = macOfAddress(address)
        objects.push({ kind: 'fdb', device: vxlanName(network), mac, remote: context.peers.get(endpoint.nodeId)!.address })
        objects.push({ kind: 'neighbour', device: bridgeName(network), address, mac })
      }
    }
  }
  return objects
}

function isReachable({ self, peers }: PlanContext, { nodeId }: MeshEndpoint): boolean {
  return nodeId === self.nodeId || peers.has(nodeId)
}

function portElements(context: PlanContext, service: MeshService, serving: ReadonlyMap<string, readonly string[]>): KernelObject[] {
  const ingress = [...context.networks.values()].find((network) => network.ingress)
  if (!ingress) return []
  const backends = serving.get(ingress.id) ?? []
  const protocols = publishedProtocols(context.features)
  return service.ports.flatMap(({ protocol, published, target, address: place = '' }) => {
    const name = protocols.find((known) => known === protocol)
    if (!name || published === 0) return []
    return [
      element('published', `${PROTOCOL_NUMBERS[name]} . ${published}`),
      publishedElement(name, published, place, verdict(`${name}${drawOf(service)}`, backends.length)),
      ...backends.map((address, i) => element(`${name}ep`, `${published} . ${i}`, `${address} . ${target}`)),
    ]
  })
}

function vipElements({ networks }: PlanContext, service: MeshService, serving: ReadonlyMap<string, readonly string[]>): KernelObject[] {
  if (service.dnsrr) return []
  return service.vips.flatMap(({ networkId, address }): KernelObject[] => {
    const network = networks.get(networkId)
    if (!network || network.ingress || address === '') return [] // nobody asks for a VIP on ingress
    const bridge = bridgeName(network)
    const backends = serving.get(networkId) ?? []
    return [
      { kind: 'neighbour', device: bridge, address, mac: VIP_MAC },
      element('vip', `${quote(bridge)} . ${address}`, verdict(`vip${drawOf(service)}`, backends.length)),
      ...backends.map((backend, i) => element('vipep', `${address} . ${i}`, backend)),
    ]
  })
}

/** Everywhere, on one address of a host, or by one of its devices. */
function publishedElement(name: PublishedProtocol, port: number, place: string, goTo: string) {
  if (place === '') return element(`${name}port`, String(port), goTo)
  if (/^[\d.]+$/.test(place)) return element(`${name}at`, `${place} . ${port}`, goTo)
  return element(`${name}on`, `${quote(place)} . ${port}`, goTo)
}

function drawOf(service: MeshService): string {
  return service.clientAffinity ? 'h' : ''
}

/** What the services of a mesh ask of the table. */
export function extrasOf(services: Iterable<MeshService>): MeshExtras {
  let [affinity, placed] = [false, false]
  for (const service of services) {
    affinity ||= service.clientAffinity === true
    placed ||= service.ports.some((port) => (port.address ?? '') !== '')
  }
  return { affinity, placed }
}

function verdict(chain: string, backends: number): string {
  return backends === 0 ? 'goto none' : `goto ${chain}${backends}`
}

function element(set: string, key: string, value = '') {
  return { kind: 'element', family: 'ip' as 'ip' | 'bridge', table: TABLE, set, key, value } as const
}

function quote(name: string): string {
  return `"${name}"`
}

function push(map: Map<string, string[]>, key: string, value: string): void {
  const list = map.get(key)
  if (list) list.push(value)
  else map.set(key, [value])
}
