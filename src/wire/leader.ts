// How a manager that does not lead says so, and how callers find the one that does.
import { isShoalError, ShoalError } from '../lib/index.ts'

const WORDS = 'this manager does not lead'
const HINT = /^this manager does not lead(?:: the leader is at (\S+))?$/

/** What a follower answers; `leader` is `host:port`, undefined while there is none. */
export function notLeader(leader: string | undefined): ShoalError {
  return new ShoalError('unavailable', leader ? `${WORDS}: the leader is at ${leader}` : WORDS, {
    next: 'ask the leader, or again in a moment',
  })
}

/** Undefined: the error says something else. Otherwise where the leader is, if the follower knew. */
export function leaderHint(error: unknown): { readonly leader: string | undefined } | undefined {
  if (!isShoalError(error, 'unavailable')) return undefined
  const match = HINT.exec(error.message)
  return match ? { leader: match[1] } : undefined
}
