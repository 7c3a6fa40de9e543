// Which addresses of which network are in use, derived from live objects, and which one comes next.
import type { Network } from '../model/index.ts'
import { addressOf, type Block, formatAddress, parseAddress, parseBlock } from './ipv4.ts'

export interface AddressUse {
  readonly networkId: string
  /** CIDR or plain address. */
  readonly address: string
}

interface Pool {
  /** Where addresses come from: the subnet, or the range in it that the user gave. */
  readonly ranges: readonly { readonly from: Block; readonly subnet: Block }[]
  /** Network, broadcast, gateway. */
  readonly reserved: ReadonlySet<number>
  readonly label: string
  /** The address given last: the next one follows it, so that one given back rests as long as possible. */
  last: number
}

/**
 * An index over tasks, services and holds: tell it what each owner uses now (saying the same again changes nothing), and build it anew from them at any time.
 * It holds no state that is not in those objects, apart from where the next search starts.
 */
export class AddressIndex {
  readonly #pools = new Map<string, Pool>()
  /** One use stands for itself: nearly every owner has one. */
  readonly #uses = new Map<string, AddressUse | readonly AddressUse[]>()
  readonly #used = new Map<string, Map<number, number>>()

  setNetwork(network: Network): void {
    const ranges: { from: Block; subnet: Block }[] = []
    const reserved = new Set<number>()
    for (const [at, { subnet: cidr, gateway }] of network.subnets.entries()) {
      const subnet = parseBlock(cidr)
      if (!subnet) continue // IPv6: engines number those themselves
      if (subnet.bits < 31) reserved.add(subnet.first).add(subnet.last)
      const gatewayAddress = parseAddress(gateway)
      if (gatewayAddress !== undefined) reserved.add(gatewayAddress)
      const range = parseBlock(network.spec.ipam[at]?.range ?? '')
      ranges.push({ from: range && range.first >= subnet.first && range.last <= subnet.last ? range : subnet, subnet })
    }
    const label = `network ${network.spec.name} (${network.subnets.map(({ subnet }) => subnet).join(', ')})`
    this.#pools.set(network.id, { ranges, reserved, label, last: this.#pools.get(network.id)?.last ?? -1 })
  }

  removeNetwork(networkId: string): void {
    this.#pools.delete(networkId)
  }

  /** What an owner (a task's id, `service/<id>`, `hold/<id>`) uses now; none when the list is empty. */
  setUses(owner: string, uses: readonly AddressUse[]): void {
    const before = this.#uses.get(owner)
    if (before === uses) return
    if (before && 'address' in before) this.#add(before, -1)
    else for (const use of before ?? []) this.#add(use, -1)
    for (const use of uses) this.#add(use, 1)
    if (uses.length > 0) this.#uses.set(owner, uses.length === 1 ? uses[0]! : uses)
    else this.#uses.delete(owner)
  }

  isUsed(networkId: string, address: string): boolean {
    const value = addressOf(address)
    return value !== undefined && (this.#used.get(networkId)?.has(value) ?? false)
  }

  /** A free address as a CIDR of its subnet (not yet used: say so with `setUses`), or a sentence why there is none. */
  pick(networkId: string): { readonly address: string } | { readonly reason: string } {
    const pool = this.#pools.get(networkId)
    if (!pool || pool.ranges.length === 0) return { reason: `network ${networkId} has no subnet yet` }
    const used = this.#used.get(networkId)
    const free = (value: number) => !pool.reserved.has(value) && !used?.has(value)
    const start = pool.ranges.findIndex(({ from }) => pool.last >= from.first && pool.last <= from.last)
    // From behind the last one to the end, then from the beginning: each address is looked at once.
    for (let turn = 0; turn <= pool.ranges.length; turn++) {
      const at = (Math.max(start, 0) + turn) % pool.ranges.length
      const { from, subnet } = pool.ranges[at]!
      const begin = turn === 0 && start >= 0 ? pool.last + 1 : from.first
      for (let value = begin; value <= from.last; value++) {
        if (!free(value)) continue
        pool.last = value
        return { address: `${formatAddress(value)}/${subnet.bits}` }
      }
    }
    return { reason: `no free address left in ${pool.label}` }
  }

  /** Exactly this address (plain), as a CIDR of its subnet, or a sentence why it cannot be had. */
  ask(networkId: string, address: string): { readonly address: string } | { readonly reason: string } {
    const pool = this.#pools.get(networkId)
    const value = parseAddress(address)
    const home = pool?.ranges.find(({ subnet }) => value !== undefined && value >= subnet.first && value <= subnet.last)
    if (!pool || value === undefined || !home) return { reason: `address ${address} is not in ${pool?.label ?? `network ${networkId}`}` }
    if (pool.reserved.has(value) || this.#used.get(networkId)?.has(value)) return { reason: `address ${address} is already in use` }
    return { address: `${formatAddress(value)}/${home.subnet.bits}` }
  }

  #add(use: AddressUse, sign: 1 | -1): void {
    const value = addressOf(use.address)
    if (value === undefined) return
    const used = this.#used.get(use.networkId) ?? new Map<number, number>()
    const count = (used.get(value) ?? 0) + sign
    if (count > 0) used.set(value, count)
    else used.delete(value)
    if (used.size > 0) this.#used.set(use.networkId, used)
    else this.#used.delete(use.networkId)
  }
}
