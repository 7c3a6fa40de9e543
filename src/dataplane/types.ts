// What the data plane is told: the mesh as the managers see it (mirrors shoal.v1 mesh.proto), this node, and its tasks.

/** The whole mesh at one version. Objects that did not change keep their identity from version to version; that makes updates cheap. */
export interface MeshState {
  readonly version: bigint
  readonly peers: ReadonlyMap<string, MeshPeer> // by node id
  readonly networks: ReadonlyMap<string, MeshNetwork>
  readonly services: ReadonlyMap<string, MeshService>
  readonly endpoints: ReadonlyMap<string, MeshEndpoint> // by task id
}

/** A snapshot replaces all that was known; otherwise it is applied on top of version `base`. */
export interface MeshUpdate {
  readonly snapshot: boolean
  readonly base: bigint
  readonly version: bigint
  readonly peers: readonly MeshPeer[]
  readonly gonePeers: readonly string[]
  readonly networks: readonly MeshNetwork[]
  readonly goneNetworks: readonly string[]
  readonly services: readonly MeshService[]
  readonly goneServices: readonly string[]
  readonly endpoints: readonly MeshEndpoint[]
  readonly goneEndpoints: readonly string[]
}

export interface MeshPeer {
  readonly nodeId: string
  /** 1..65535, unique in the cluster; ingress MAC, connection mark and zone are derived from it. */
  readonly number: number
  /** Data-path IPv4 address. */
  readonly address: string
  readonly hostname: string
}

export interface MeshNetwork {
  readonly id: string
  readonly name: string
  readonly vni: number
  readonly subnet: string // CIDR
  readonly gateway: string
  /** 0 = what the underlay leaves after VXLAN's 50 bytes. */
  readonly mtu: number
  readonly internal: boolean
  readonly ingress: boolean
}

export interface MeshService {
  readonly id: string
  readonly name: string
  readonly dnsrr: boolean
  readonly vips: readonly MeshVip[]
  /** Ingress mode only. */
  readonly ports: readonly MeshPort[]
  /** Connections of one client address go to one endpoint, as long as the endpoints stay the same. */
  readonly clientAffinity?: boolean
}

export interface MeshVip {
  readonly networkId: string
  readonly address: string
}

export interface MeshPort {
  readonly protocol: string // tcp, udp, sctp
  readonly published: number
  readonly target: number
  readonly name: string
  /** Published only there: an IPv4 address or a device of the host; '' = everywhere. */
  readonly address?: string
}

/** A task that answers for a service. Only a serving one gets new connections; established ones stay until it is gone. */
export interface MeshEndpoint {
  readonly taskId: string
  readonly serviceId: string
  readonly nodeId: string
  readonly serving: boolean
  readonly addresses: readonly MeshAddress[]
  readonly slot: number
}

export interface MeshAddress {
  readonly networkId: string
  readonly address: string
  readonly aliases: readonly string[]
}

/** This node as the plan needs it. */
export interface SelfNode {
  readonly nodeId: string
  readonly nodeNumber: number
  readonly address: string
  readonly underlayDevice: string
  readonly underlayMtu: number
}

/** A task on this node and the networks that it is on. */
export interface LocalTask extends TaskNames {
  readonly taskId: string
  readonly networkIds: readonly string[]
  /** Its addresses, plain, by which it is known when it asks for names. */
  readonly addresses?: readonly { readonly networkId: string; readonly address: string }[]
  /** Places of one container that are tasks each (attachable networks) carry the same text: names of all its networks are told to it. */
  readonly group?: string
}

/** How a task wants names to be looked up that the swarm does not know. */
export interface TaskNames {
  /** In the place of the host's. */
  readonly nameservers?: readonly string[]
  /** Search domains. */
  readonly search?: readonly string[]
}
