// Random numbers from a seed (xoshiro128**), for tests and the simulator: same seed, same numbers, on every machine.
import { assert } from '../../lib/index.ts'
import type { Random } from '../random.ts'

export interface SeededRandom extends Random {
  /** A generator of its own that depends on this seed and the name only, not on how much was drawn: parts of a program do not disturb each other. */
  fork(name: string): SeededRandom
  /** One of the items; throws on an empty list. */
  pick<T>(items: readonly T[]): T
  /** True with this probability. */
  chance(probability: number): boolean
  /** Whole number, min <= x <= max. */
  between(min: number, max: number): number
}

export function createRandom(seed: number | string): SeededRandom {
  let [a, b, c, d] = seedWords(String(seed))

  /** xoshiro128** by Blackman and Vigna (public domain algorithm): 32 bits a step, period 2^128 - 1. */
  const next = (): number => {
    const scrambled = Math.imul(rotate(Math.imul(b, 5), 7), 9) >>> 0
    const shifted = b << 9
    c ^= a
    d ^= b
    b ^= c
    a ^= d
    c ^= shifted
    d = rotate(d, 11)
    return scrambled
  }

  const int = (bound: number): number => {
    assert(bound > 0 && bound <= 2 ** 32, 'a bound is between 1 and 2^32')
    return Math.floor((next() / 2 ** 32) * bound)
  }

  return {
    bytes(length) {
      const bytes = new Uint8Array(length)
      for (let i = 0; i < length; i += 4) {
        const word = next()
        for (let k = 0; k < 4 && i + k < length; k += 1) bytes[i + k] = (word >>> (8 * k)) & 0xff
      }
      return bytes
    },
    float: () => next() / 2 ** 32,
    int,
    fork: (name) => createRandom(`${seed}/${name}`),
    pick(items) {
      assert(items.length > 0, 'cannot pick from nothing')
      return items[int(items.length)]!
    },
    chance: (probability) => next() / 2 ** 32 < probability,
    between: (min, max) => min + int(max - min + 1),
  }
}

/** Four words from a text: FNV-1a with four offsets, then a finaliser (murmur3's), so that near seeds give far states. Never all zero. */
function seedWords(text: string): [number, number, number, number] {
  const word = (offset: number) => {
    let hash = (2166136261 ^ offset) >>> 0
    for (let i = 0; i < text.length; i += 1) hash = Math.imul(hash ^ text.charCodeAt(i), 16777619)
    hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
    return (hash ^ (hash >>> 16)) >>> 0
  }
  return [word(0x1f) | 1, word(0x2e5), word(0x3a7f), word(0x51c3)]
}

function rotate(x: number, k: number): number {
  return ((x << k) | (x >>> (32 - k))) >>> 0
}
