// How the engine sees a network of ours: a plain bridge network that adopts the bridge which the data plane made.
import type { EngineNetworkPlan } from '../ports/index.ts'
import { bridgeName, macOfAddress, VXLAN_OVERHEAD_BYTES } from './names.ts'
import type { MeshNetwork } from './types.ts'

export const NETWORK_ID_LABEL = 'shoal.network.id'

/** What a container of ours needs to know about one of its networks. */
export interface Attachment {
  readonly networkId: string
  /** The engine-side network to be on; make sure of it before the container is created. */
  readonly engineNetwork: EngineNetworkPlan
  readonly bridge: string
  readonly address: string
  readonly mac: string
  readonly gateway: string
  /** Name server of this network; undefined as long as the data plane serves no names. */
  readonly dns: string | undefined
}

/**
 * The plan of the engine-side network. Docker gives a container its default route by the first network that is not internal, by name (20.10),
 * and replies of the mesh have to leave through ingress: so ingress sorts before all others.
 */
export function engineNetwork(network: MeshNetwork, underlayMtu: number): EngineNetworkPlan {
  const room = underlayMtu - VXLAN_OVERHEAD_BYTES
  return {
    name: network.ingress ? 'shoal-a-ingress' : `shoal-n-${network.id}`,
    subnet: network.subnet,
    gateway: network.gateway,
    bridge: bridgeName(network),
    mtu: network.mtu > 0 ? Math.min(network.mtu, room) : room,
    internal: network.internal,
    labels: { [NETWORK_ID_LABEL]: network.id },
  }
}

/** A task's place on a network. `address` is plain or with a prefix length. `names`: whether names are served at the gateway. */
export function attachment(network: MeshNetwork, address: string, underlayMtu: number, names: boolean): Attachment {
  const plain = address.split('/')[0]!
  const plan = engineNetwork(network, underlayMtu)
  return {
    networkId: network.id,
    engineNetwork: plan,
    bridge: plan.bridge,
    address: plain,
    mac: macOfAddress(plain),
    gateway: network.gateway,
    dns: names && !network.ingress ? network.gateway : undefined,
  }
}
