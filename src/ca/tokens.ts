// Join tokens: `SWMTKN-1-<digest of the root certificate>-<secret>`.
import { createHash, timingSafeEqual } from 'node:crypto'
import { base36, type RandomBytes, ShoalError } from '../lib/index.ts'

const DIGEST_LENGTH = 50
const SECRET_LENGTH = 25
const TOKEN = /^SWMTKN-1-([0-9a-z]{50})-([0-9a-z]{25})$/

export interface JoinToken {
  readonly rootDigest: string
  readonly secret: string
}

/** SHA-256 of exactly these bytes, in base 36: what a joiner checks the manager's root certificate against. */
export function rootDigest(rootCaPem: string | Uint8Array): string {
  return base36(createHash('sha256').update(rootCaPem).digest(), DIGEST_LENGTH)
}

export function makeJoinToken(rootCaPem: string, random: RandomBytes): string {
  return `SWMTKN-1-${rootDigest(rootCaPem)}-${base36(random.bytes(16), SECRET_LENGTH)}`
}

/** New tokens for both roles. */
export function makeJoinTokens(rootCaPem: string, random: RandomBytes): { readonly worker: string; readonly manager: string } {
  return { worker: makeJoinToken(rootCaPem, random), manager: makeJoinToken(rootCaPem, random) }
}

/** Throws 'invalid-argument'. Tokens of version 2 belong to FIPS clusters. */
export function parseJoinToken(token: string): JoinToken {
  const match = TOKEN.exec(token)
  if (!match)
    throw new ShoalError('invalid-argument', 'invalid join token', {
      next: 'Run "docker swarm join-token worker" on a manager and copy the whole token.',
    })
  return { rootDigest: match[1]!, secret: match[2]! }
}

/** In constant time, so that answers do not tell how much of a guess was right. */
export function sameToken(given: string, expected: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(given), digest(expected))
}
