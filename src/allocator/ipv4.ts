// IPv4 arithmetic on plain numbers.
import { ShoalError } from '../lib/index.ts'

/** First and last address of a block, both inclusive, as numbers. */
export interface Block {
  readonly first: number
  readonly last: number
  readonly bits: number
}

/** `10.0.0.7` as a number; undefined when it is none. */
export function parseAddress(text: string): number | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text)
  if (!match) return undefined
  let value = 0
  for (const part of match.slice(1)) {
    const octet = Number(part)
    if (octet > 255) return undefined
    value = value * 256 + octet
  }
  return value
}

export function formatAddress(value: number): string {
  return `${Math.floor(value / 2 ** 24)}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}`
}

/** The address part of `10.0.0.5/24` or of a plain address. */
export function addressOf(cidr: string): number | undefined {
  const slash = cidr.indexOf('/')
  return parseAddress(slash < 0 ? cidr : cidr.slice(0, slash))
}

/** `10.0.0.0/24`; undefined when it is no IPv4 CIDR. Host bits are ignored. */
export function parseBlock(cidr: string): Block | undefined {
  const [text = '', bitsText = ''] = cidr.split('/')
  const address = parseAddress(text)
  const bits = /^\d{1,2}$/.test(bitsText) ? Number(bitsText) : 33
  if (address === undefined || bits > 32) return undefined
  const size = 2 ** (32 - bits)
  const first = Math.floor(address / size) * size
  return { first, last: first + size - 1, bits }
}

export function formatBlock(block: Block): string {
  return `${formatAddress(block.first)}/${block.bits}`
}

export function overlaps(a: Block, b: Block): boolean {
  return a.first <= b.last && b.first <= a.last
}

export function requireBlock(cidr: string): Block {
  const block = parseBlock(cidr)
  if (!block)
    throw new ShoalError('invalid-argument', `invalid subnet ${cidr}: not an IPv4 CIDR`, { next: 'give a subnet such as 10.1.0.0/24' })
  return block
}
