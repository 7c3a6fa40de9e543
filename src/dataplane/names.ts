// Everything that is derived from ids, addresses and node numbers alone: device names, MACs, marks.
import type { MeshNetwork } from './types.ts'

/** UDP port of VXLAN (IANA). */
export const VXLAN_PORT = 4789
/** Outer IPv4, UDP, VXLAN and inner Ethernet headers. */
export const VXLAN_OVERHEAD_BYTES = 50
/** The upper byte of a connection mark says that the mesh has translated it; the lower 16 bits are the ingress node's number. */
export const MESH_MARK = 0x4d000000
export const MESH_MASK = 0xff000000
/** Mark of a connection to a published port or VIP that has no endpoint; it is refused. */
export const REFUSE_MARK = 0x4e000000
/** Where our rules lead the questions that tasks send to port 53 of their gateway; 53 itself the host's own name server may have on all addresses. */
export const RESPONDER_PORT = 5300
/** All VIPs answer ARP with this MAC; their frames are translated before they would be sent there. */
export const VIP_MAC = '02:42:ff:00:00:01'

export const INGRESS_BRIDGE = 'ov-ingress'
export const INGRESS_VXLAN = 'vx-ingress'

// Interface names have at most 15 characters; 11 of 25 base-36 characters are 56 bits.
const SHORT_ID_LENGTH = 11

export function bridgeName(network: Pick<MeshNetwork, 'id' | 'ingress'>): string {
  return network.ingress ? INGRESS_BRIDGE : `ov-${network.id.slice(0, SHORT_ID_LENGTH)}`
}

export function vxlanName(network: Pick<MeshNetwork, 'id' | 'ingress'>): string {
  return network.ingress ? INGRESS_VXLAN : `vx-${network.id.slice(0, SHORT_ID_LENGTH)}`
}

/** The MAC of a container or gateway: 02:42 and its address, as Docker 20.10 derives it, so that peers need not exchange MACs. */
export function macOfAddress(address: string): string {
  const bytes = address.split('.').map((byte) => Number(byte).toString(16).padStart(2, '0'))
  return `02:42:${bytes.join(':')}`
}

/** The MAC of a node's ingress bridge. It identifies the node by which a connection came in. */
export function macOfNode(nodeNumber: number): string {
  return macOfAddress(`100.64.${nodeNumber >> 8}.${nodeNumber & 0xff}`)
}

export function markOfNode(nodeNumber: number): number {
  return MESH_MARK + nodeNumber
}

/** A mark as nft prints it. */
export function hexMark(mark: number): string {
  return `0x${mark.toString(16).padStart(8, '0')}`
}

/** `10.0.4.1` in `10.0.4.0/24` as `10.0.4.1/24`. */
export function withPrefix(address: string, subnet: string): string {
  return `${address}/${subnet.slice(subnet.indexOf('/') + 1)}`
}
