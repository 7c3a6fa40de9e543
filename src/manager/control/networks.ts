// Networks of the swarm as objects: create, look up, remove; and those that every swarm has from its first moment.
import { type NetworkId, newId, type RandomBytes, ShoalError } from '../../lib/index.ts'
import { networkHasTasks } from '../../loops/index.ts'
import { type Network, type NetworkSpec, TaskState, validateNetworkSpec } from '../../model/index.ts'
import type { Fresh, View, WriteTx } from '../../store/index.ts'
import { type ControlDeps, find, invalid, precondition } from './context.ts'
import { servicesOnNetwork } from './references.ts'
import type { Control } from './types.ts'

type NetworkControl = Pick<Control, 'network' | 'createNetwork' | 'removeNetwork'>

/** The first VXLAN id of a swarm; ingress has it. */
export const INGRESS_VNI = 4096
const DEFAULT_POOL = '10.0.0.0/8'
const DEFAULT_SUBNET_SIZE = 24

export function networkControl({ store, random }: ControlDeps): NetworkControl {
  return {
    network: (text) => findNetwork(store.view(), text),
    createNetwork: async (spec) => {
      validateNetworkSpec(spec)
      return await store.transact((tx) => {
        requireFree(tx, spec)
        return tx.networks.create({ id: newId<NetworkId>(random), spec, plane: 'shoal', vni: 0, subnets: [] })
      })
    },
    removeNetwork: (text) =>
      store.transact((tx) => {
        const network = findNetwork(tx, text)
        requireUnused(tx, network)
        // tasks that are being stopped end with their connections; the network goes with the last of them (loops/networkRemoval.ts)
        if (networkHasTasks(tx, network.id))
          tx.networks.update({ ...network, removing: true, spec: { ...network.spec, name: network.id, attachable: false } })
        else tx.networks.delete(network.id)
        return network.id
      }),
  }
}

function findNetwork(view: View, text: string): Network {
  const network = find('network', view.networks, text)
  if (network.removing) throw new ShoalError('not-found', `network ${text} not found`)
  return network
}

/** `host` and `bridge` of each node, and ingress on the first subnet of the address pools. The cluster object has to be there. */
export function createInitialNetworks(tx: WriteTx, random: RandomBytes): void {
  const plain = { labels: {}, driverOptions: {}, ipv6: false, internal: false, attachable: false, ipamDriver: 'default', ipamOptions: {} }
  for (const name of ['bridge', 'host'] as const) {
    const network: Fresh<Network> = {
      id: newId<NetworkId>(random),
      spec: { ...plain, name, driver: name, ingress: false, ipam: [] },
      plane: 'shoal',
      predefined: name,
      vni: 0,
      subnets: [],
    }
    tx.networks.create(network)
  }
  const pool = tx.cluster?.defaultAddressPools[0] ?? DEFAULT_POOL
  const subnet = `${pool.split('/')[0]}/${tx.cluster?.subnetSize ?? DEFAULT_SUBNET_SIZE}`
  const gateway = subnet.replace(/\d+\/\d+$/, (end) => String(Number.parseInt(end, 10) + 1))
  tx.networks.create({
    id: newId<NetworkId>(random),
    spec: { ...plain, name: 'ingress', driver: 'overlay', ingress: true, ipam: [{ subnet, range: '', gateway }] },
    plane: 'shoal',
    vni: INGRESS_VNI,
    subnets: [{ subnet, gateway }],
  })
}

function requireFree(view: View, spec: NetworkSpec): void {
  const other = view.networks.byName(spec.name)
  if (other) throw new ShoalError('already-exists', `network with name ${spec.name} already exists`)
  for (const network of view.networks.values()) {
    if (spec.ingress && network.spec.ingress) throw new ShoalError('already-exists', `ingress network (${network.id}) is already present`)
    for (const { subnet } of [...network.subnets, ...network.spec.ipam]) {
      for (const wanted of spec.ipam) {
        if (subnet !== '' && wanted.subnet !== '' && overlap(subnet, wanted.subnet)) {
          throw invalid(
            `invalid pool request: Pool overlaps with other one on this address space: ${wanted.subnet} and ${subnet} of network ${network.spec.name}`,
          )
        }
      }
    }
  }
}

function requireUnused(view: View, network: Network): void {
  const { id, spec, predefined } = network
  if (predefined) throw new ShoalError('permission-denied', `${spec.name} is a pre-defined network and cannot be removed`)
  const user = spec.ingress ? serviceOnIngress(view) : servicesOnNetwork(view, id)[0]
  if (user && spec.ingress) throw precondition(`ingress network cannot be removed because service ${user.id} depends on it`)
  if (user) throw precondition(`network ${id} is in use by service ${user.id}`)
  for (const task of view.tasks.values()) {
    const isWanted = task.desiredState <= TaskState.RUNNING && task.status.state <= TaskState.RUNNING
    if (!isWanted || (task.serviceId && !view.services.get(task.serviceId))) continue // it is being stopped
    if (task.attachments.some(({ networkId }) => networkId === id)) throw precondition(`network ${id} is in use by task ${task.id}`)
  }
}

function serviceOnIngress(view: View) {
  for (const service of view.services.values()) {
    if (service.spec.endpoint?.ports?.some((port) => port.publishMode === 'ingress')) return service
  }
  return undefined
}

function overlap(a: string, b: string): boolean {
  const [first, second] = [range(a), range(b)]
  return first.from <= second.to && second.from <= first.to
}

/** First and last address of an IPv4 CIDR as numbers. */
function range(cidr: string): { from: number; to: number } {
  const [address = '', bits = '32'] = cidr.split('/')
  const size = 2 ** (32 - Number(bits))
  const value = address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0)
  const from = Math.floor(value / size) * size
  return { from, to: from + size - 1 }
}
