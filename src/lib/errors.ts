// Errors that people and programs can act on: a stable code, a sentence, and the next step.

/** The gRPC codes, because they are what the wire and Docker's error texts are made of. */
export type ErrorCode =
  | 'canceled'
  | 'unknown'
  | 'invalid-argument'
  | 'deadline-exceeded'
  | 'not-found'
  | 'already-exists'
  | 'permission-denied'
  | 'resource-exhausted'
  | 'failed-precondition'
  | 'aborted'
  | 'out-of-range'
  | 'unimplemented'
  | 'internal'
  | 'unavailable'
  | 'unauthenticated'

/** Every expected failure. `message` is a sentence for people, `next` (if any) says what to do about it. */
export class ShoalError extends Error {
  readonly code: ErrorCode
  readonly next: string | undefined

  constructor(code: ErrorCode, message: string, options: { next?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'ShoalError'
    this.code = code
    this.next = options.next
  }
}

export function isShoalError(error: unknown, code?: ErrorCode): error is ShoalError {
  return error instanceof ShoalError && (code === undefined || error.code === code)
}

/** The sentence of any thrown value. */
export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** For what must hold in a correct program; a failure stops the process (programming error). */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${message}`)
}

/** For the default branch of a switch over a union: the type checker proves that it is never reached. */
export function unreachable(value: never, message = 'unreachable'): never {
  throw new Error(`assertion failed: ${message}: ${JSON.stringify(value)}`)
}
