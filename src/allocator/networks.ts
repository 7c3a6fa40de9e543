// What a network gets when it comes to life: its VXLAN id, its subnets and their gateways.
import { ShoalError } from '../lib/index.ts'
import type { Network, NetworkSpec } from '../model/index.ts'
import { type Block, formatAddress, formatBlock, overlaps, parseBlock, requireBlock } from './ipv4.ts'

/** VXLAN ids below are left to other users of the kernel's VXLAN, as Swarm does; the ingress network has the first. */
export const FIRST_VNI = 4096
const LAST_VNI = 2 ** 24 - 1
export const DEFAULT_ADDRESS_POOLS: readonly string[] = ['10.0.0.0/8']
export const DEFAULT_SUBNET_SIZE = 24
const VNI_OPTION = 'com.docker.network.driver.overlay.vxlanid_list'

export interface NetworkAllocation {
  readonly vni: number
  readonly subnets: Network['subnets']
}

/** Deterministic in the networks that exist. ShoalError 'resource-exhausted' or 'invalid-argument' with a sentence when it cannot be done. */
export function allocateNetwork(
  spec: NetworkSpec,
  others: Iterable<Network>,
  pools: readonly string[],
  subnetSize: number,
): NetworkAllocation {
  const vnis = new Set<number>()
  const taken: Block[] = []
  for (const other of others) {
    if (other.vni > 0) vnis.add(other.vni)
    for (const { subnet } of other.subnets) {
      const block = parseBlock(subnet)
      if (block) taken.push(block)
    }
  }
  const wanted = spec.ipam.length > 0 ? spec.ipam : [{ subnet: '', range: '', gateway: '' }]
  const subnets = wanted.map(({ subnet, gateway }) => {
    const block = subnet === '' ? freeSubnet(taken, pools, subnetSize) : requireBlock(subnet)
    if (subnet !== '' && taken.some((other) => overlaps(other, block)))
      throw new ShoalError('invalid-argument', `subnet ${subnet} overlaps with one of another network`, { next: 'choose another subnet' })
    taken.push(block)
    return { subnet: formatBlock(block), gateway: gateway === '' ? formatAddress(block.first + 1) : gateway }
  })
  return { vni: chooseVni(spec, vnis), subnets }
}

function chooseVni(spec: NetworkSpec, used: ReadonlySet<number>): number {
  const asked = Number((spec.driverOptions[VNI_OPTION] ?? '').split(',')[0])
  if (Number.isInteger(asked) && asked > 0 && asked <= LAST_VNI) {
    if (used.has(asked))
      throw new ShoalError('invalid-argument', `VXLAN id ${asked} is used by another network`, { next: 'choose another id' })
    return asked
  }
  for (let vni = spec.ingress ? FIRST_VNI : FIRST_VNI + 1; vni <= LAST_VNI; vni++) if (!used.has(vni)) return vni
  throw new ShoalError('resource-exhausted', 'no VXLAN id is left', { next: 'remove a network' })
}

function freeSubnet(taken: readonly Block[], pools: readonly string[], subnetSize: number): Block {
  for (const pool of pools.length > 0 ? pools : DEFAULT_ADDRESS_POOLS) {
    const whole = requireBlock(pool)
    const bits = Math.max(subnetSize > 0 ? subnetSize : DEFAULT_SUBNET_SIZE, whole.bits)
    const size = 2 ** (32 - bits)
    let first = whole.first
    while (first + size - 1 <= whole.last) {
      const block = { first, last: first + size - 1, bits }
      const blocking = taken.find((other) => overlaps(other, block))
      if (!blocking) return block
      first = Math.max(first + size, Math.ceil((blocking.last + 1 - whole.first) / size) * size + whole.first)
    }
  }
  throw new ShoalError('resource-exhausted', 'the default address pools have no free subnet left', {
    next: 'give the network a subnet, or remove a network',
  })
}
