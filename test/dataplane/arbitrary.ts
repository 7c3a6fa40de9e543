// Random meshes for property tests: few ids and addresses, so that things collide, move and come back.
import fc from 'fast-check'
import type { LocalTask, MeshEndpoint, MeshNetwork, MeshPeer, MeshService, MeshState, SelfNode } from '../../src/dataplane/index.ts'
import { INGRESS, overlay } from './lab.ts'

export const SELF: SelfNode = { nodeId: 'node1', nodeNumber: 1, address: '10.81.0.1', underlayDevice: 'eth0', underlayMtu: 1500 }
export const FEATURES = { sctp: true, iptables: true }
export const NETWORKS: readonly MeshNetwork[] = [
  INGRESS,
  overlay('aaaaaaaaaaaaaaaaaaaaaaaa1', 4097, 4),
  overlay('bbbbbbbbbbbbbbbbbbbbbbbb2', 4098, 5, true),
]
const NODES = ['node1', 'node2', 'node3', 'node4']
const SERVICES = ['web', 'db', 'log']

const some = <T>(items: readonly T[]) => fc.subarray([...items])

const peers: fc.Arbitrary<MeshPeer[]> = some(NODES.slice(1)).map((ids) =>
  ['node1', ...ids].map((nodeId) => {
    const number = Number(nodeId.slice(4))
    return { nodeId, number, address: `10.81.0.${number}`, hostname: nodeId }
  }),
)

const networks = fc
  .tuple(some(NETWORKS), fc.boolean())
  .map(([list, other]) => list.map((network) => (other ? { ...network, vni: network.vni + 100 } : network)))

const service = (id: string): fc.Arbitrary<MeshService> =>
  fc.record({
    id: fc.constant(id),
    name: fc.constant(id),
    dnsrr: fc.boolean(),
    clientAffinity: fc.boolean(),
    vips: some(NETWORKS).map((list) =>
      list.map((network, i) => ({ networkId: network.id, address: vipOf(network, SERVICES.indexOf(id) + i) })),
    ),
    ports: fc.uniqueArray(
      fc.record({
        protocol: fc.constantFrom('tcp', 'udp', 'sctp'),
        published: fc.integer({ min: 8080, max: 8083 }),
        target: fc.constantFrom(80, 443),
        name: fc.constant(''),
        address: fc.constantFrom('', '', '10.81.0.1', 'eth0'),
      }),
      { maxLength: 2, selector: ({ protocol, published }) => `${protocol} ${published}` },
    ),
  })

const endpoint = (i: number): fc.Arbitrary<MeshEndpoint> =>
  fc.record({
    taskId: fc.constant(`task${i}`),
    serviceId: fc.constantFrom(...SERVICES),
    nodeId: fc.constantFrom(...NODES),
    serving: fc.boolean(),
    slot: fc.constant(i),
    addresses: fc
      .tuple(some(NETWORKS), fc.integer({ min: 10, max: 14 }))
      .map(([list, host]) =>
        list.map((network) => ({ networkId: network.id, address: network.gateway.replace(/1$/, String(host)), aliases: [] })),
      ),
  })

function vipOf(network: MeshNetwork, host: number): string {
  return network.gateway.replace(/1$/, String(100 + host))
}

export const meshStates: fc.Arbitrary<MeshState> = fc
  .record({
    version: fc.bigInt({ min: 1n, max: 100n }),
    peers,
    networks,
    services: fc.tuple(...SERVICES.map((id) => fc.option(service(id), { nil: undefined }))),
    endpoints: fc.tuple(...Array.from({ length: 5 }, (_, i) => fc.option(endpoint(i), { nil: undefined }))),
  })
  .map(({ version, peers, networks, services, endpoints }) => ({
    version,
    peers: new Map(peers.map((peer) => [peer.nodeId, peer])),
    networks: new Map(networks.map((network) => [network.id, network])),
    services: new Map(services.filter((service) => service !== undefined).map((service) => [service.id, service])),
    endpoints: new Map(endpoints.filter((endpoint) => endpoint !== undefined).map((endpoint) => [endpoint.taskId, endpoint])),
  }))

export const localTasks: fc.Arbitrary<LocalTask[]> = some(NETWORKS).map((list) => [
  { taskId: 'task0', networkIds: list.map((network) => network.id) },
])
