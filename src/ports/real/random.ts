// Randomness of the operating system.
import { randomBytes, randomInt } from 'node:crypto'
import type { Random } from '../random.ts'

export const realRandom: Random = {
  bytes: (length) => new Uint8Array(randomBytes(length)),
  float: () => randomInt(2 ** 48 - 1) / (2 ** 48 - 1),
  int: (bound) => randomInt(bound),
}
