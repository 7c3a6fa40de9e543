// The constant nftables rules of the mesh. Services only add and remove elements of the sets and maps declared here.
import { createHash } from 'node:crypto'
import type { KernelFeatures, NftChain, NftSet, TableObject } from '../../ports/index.ts'
import { hexMark, INGRESS_BRIDGE, INGRESS_VXLAN, MESH_MARK, MESH_MASK, REFUSE_MARK, RESPONDER_PORT } from '../names.ts'

export const TABLE = 'shoal'

/** As nft lists them in the set `published`. */
export const PROTOCOL_NUMBERS = { tcp: 6, udp: 17, sctp: 132 } as const

/** Protocols of published ports: their maps `<name>port` (port -> chain) and `<name>ep` (port and index -> endpoint). */
export type PublishedProtocol = 'tcp' | 'udp' | 'sctp'

/** What only some clusters need is not in the table of the others. */
export interface MeshExtras {
  /** A service keeps each client with one endpoint. */
  readonly affinity: boolean
  /** A service publishes on an address or device. */
  readonly placed: boolean
}
export const NO_EXTRAS: MeshExtras = { affinity: false, placed: false }

/** How an endpoint is drawn, by the letters that the names of its chains end with. All nodes hash alike, so a client may come in by any of them. */
const DRAWS = [
  { suffix: '', draw: 'numgen random' },
  { suffix: 'h', draw: 'jhash ip saddr' },
] as const
const HASH_SEED = ' seed 0x5ca1ab1e'

export function publishedProtocols(features: KernelFeatures): readonly PublishedProtocol[] {
  return features.sctp ? ['tcp', 'udp', 'sctp'] : ['tcp', 'udp']
}

/** Maps whose elements are looked up after a chain was chosen by the number of endpoints: their deletes come late. */
export const INDEXED_MAPS: ReadonlySet<string> = new Set(['tcpep', 'udpep', 'sctpep', 'vipep'])

/** Chains are made for 1 .. the returned number of endpoints; a power of two, so that it rarely changes. */
export function chainCount(mostEndpoints: number): number {
  let count = 16
  while (count < mostEndpoints) count *= 2
  return count
}

/**
 * The table that translates. A chain per number of endpoints draws one at random; `none` marks connections that nobody answers.
 * A `typeof ... th dport` map shared by protocols loads, but refuses later rules (nft 1.0.6), so each protocol has its own maps.
 */
export function meshTable(features: KernelFeatures, chains: number, extras: MeshExtras = NO_EXTRAS): TableObject {
  const protocols = publishedProtocols(features)
  const mesh = hexMark(MESH_MARK)
  // the refusal itself belongs to the connection and passes here too, when the caller is on this host
  const refused = `ct direction original ct mark ${hexMark(REFUSE_MARK)}`
  const refuse = [`${refused} meta l4proto tcp reject with tcp reset`, `${refused} reject`]
  const published = protocols.map((name) => `fib daddr type local meta l4proto ${name} ${name} dport vmap @${name}port`)
  const local = (name: PublishedProtocol) => `fib daddr type local meta l4proto ${name}`
  const byAddress = extras.placed ? protocols.map((name) => `${local(name)} ip daddr . ${name} dport vmap @${name}at`) : []
  const byDevice = extras.placed ? protocols.map((name) => `${local(name)} iifname . ${name} dport vmap @${name}on`) : []
  const draws = extras.affinity ? DRAWS : DRAWS.slice(0, 1)
  const mod = (n: number, suffix: string) => `mod ${n}${suffix === 'h' ? HASH_SEED : ''}`
  const placements = (name: PublishedProtocol): NftSet[] => [
    { kind: 'map', name: `${name}at`, type: 'type ipv4_addr . inet_service : verdict' },
    { kind: 'map', name: `${name}on`, type: 'type ifname . inet_service : verdict' },
  ]
  const sets: NftSet[] = [
    ...(extras.placed ? protocols.flatMap(placements) : []),
    ...protocols.flatMap((name): NftSet[] => [
      { kind: 'map', name: `${name}port`, type: 'type inet_service : verdict' },
      { kind: 'map', name: `${name}ep`, type: `typeof ${name} dport . numgen inc mod 2 : ip daddr . ${name} dport` },
    ]),
    { kind: 'map', name: 'vip', type: 'type ifname . ipv4_addr : verdict' },
    { kind: 'map', name: 'vipep', type: 'typeof ip daddr . numgen inc mod 2 : ip daddr' },
    { kind: 'set', name: 'hairpin', type: 'type ipv4_addr . ipv4_addr' },
    { kind: 'set', name: 'internal', type: 'type ifname' },
    { kind: 'set', name: 'published', type: 'type inet_proto . inet_service' },
    { kind: 'set', name: 'nameserver', type: 'type ifname . ipv4_addr' },
    { kind: 'map', name: 'nodemark', type: 'type ether_addr : mark' },
    { kind: 'map', name: 'nodezone', type: 'typeof ether saddr : ct zone' },
    { kind: 'map', name: 'markmac', type: 'type mark : ether_addr' },
  ]
  const counts = Array.from({ length: chains }, (_, i) => i + 1)
  return table('ip', sets, [
    {
      name: 'early', // before connection tracking
      hook: 'type filter hook prerouting priority -290; policy accept;',
      rules: [
        // route_localnet is on for 127.0.0.1 callers; containers must not reach the host's loopback by it
        'iifname "ov-*" ip daddr 127.0.0.0/8 drop',
        // one client port towards several nodes gives the same 4-tuple here: a zone for each ingress node keeps them apart
        `iifname "${INGRESS_BRIDGE}" ct original zone set ether saddr map @nodezone`,
      ],
    },
    {
      name: 'back', // replies return at layer 2 to the node by which the connection came in
      hook: 'type filter hook prerouting priority -149; policy accept;',
      rules: [
        `iifname "${INGRESS_BRIDGE}" ct direction original ct state new ct mark set ether saddr map @nodemark`,
        `iifname "${INGRESS_BRIDGE}" ct direction reply ct mark & ${hexMark(MESH_MASK)} == ${mesh} ether daddr set ct mark map @markmac`,
      ],
    },
    { name: 'none', rules: [`ct mark set ${hexMark(REFUSE_MARK)}`] },
    ...protocols.flatMap((name) =>
      draws.flatMap(({ suffix, draw }) =>
        counts.map((n) => ({
          name: `${name}${suffix}${n}`,
          rules: [`ct mark set ${mesh} meta l4proto ${name} dnat ip to ${name} dport . ${draw} ${mod(n, suffix)} map @${name}ep`],
        })),
      ),
    ),
    ...draws.flatMap(({ suffix, draw }) =>
      counts.map((n) => ({ name: `vip${suffix}${n}`, rules: [`dnat to ip daddr . ${draw} ${mod(n, suffix)} map @vipep`] })),
    ),
    {
      name: 'pre',
      hook: 'type nat hook prerouting priority -110; policy accept;', // before Docker's own at -100
      rules: [
        'iifname . ip daddr vmap @vip',
        // tasks ask their gateway for names: before any published port 53, and on internal networks, too
        `iifname . ip daddr @nameserver udp dport 53 redirect to :${RESPONDER_PORT}`,
        `iifname . ip daddr @nameserver tcp dport 53 redirect to :${RESPONDER_PORT}`,
        // internal networks have no way out, not even to published ports
        'iifname @internal fib daddr type local meta l4proto . th dport @published goto none',
        'iifname @internal return',
        ...byAddress,
        ...byDevice,
        ...published,
      ],
    },
    { name: 'out', hook: 'type nat hook output priority -110; policy accept;', rules: [...byAddress, ...published] },
    {
      name: 'post',
      hook: 'type nat hook postrouting priority 90; policy accept;',
      rules: ['ct status dnat ip saddr . ip daddr @hairpin masquerade', `oifname "${INGRESS_BRIDGE}" ip saddr 127.0.0.0/8 masquerade`],
    },
    { name: 'refusein', hook: 'type filter hook input priority -10; policy accept;', rules: refuse },
    { name: 'refusefwd', hook: 'type filter hook forward priority -10; policy accept;', rules: refuse },
    {
      name: 'redirects', // translated packets leave by the bridge they came from, which is no reason to redirect
      hook: 'type filter hook output priority 0; policy accept;',
      rules: ['oifname "ov-*" icmp type redirect drop'],
    },
  ])
}

/** Guards the nodes' MACs: no container may send as a node or use another node as its gateway (seen to work without the guard). */
export function guardTable(): TableObject {
  return table(
    'bridge',
    [{ kind: 'set', name: 'nodemac', type: 'type ether_addr' }],
    [
      {
        name: 'guard',
        hook: 'type filter hook prerouting priority -300; policy accept;',
        rules: [`iifname != "${INGRESS_VXLAN}" ether saddr @nodemac drop`, `iifname != "${INGRESS_VXLAN}" ether daddr @nodemac drop`],
      },
    ],
  )
}

/** FORWARD rules for hosts whose policy is DROP (Docker's default): what the mesh translated, and traffic inside our bridges. */
export function forwardRules(bridges: readonly string[]): readonly string[] {
  return [
    `-m connmark --mark ${hexMark(MESH_MARK)}/${hexMark(MESH_MASK)} -j ACCEPT`,
    ...[...bridges].sort().map((bridge) => `-i ${bridge} -o ${bridge} -j ACCEPT`),
  ]
}

function table(family: TableObject['family'], sets: readonly NftSet[], chains: readonly NftChain[]): TableObject {
  const digest = createHash('sha256')
    .update(JSON.stringify([sets, chains]))
    .digest('hex')
    .slice(0, 16)
  return { kind: 'table', family, name: TABLE, digest, sets, chains }
}
