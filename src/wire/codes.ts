// Our error codes as gRPC codes on the wire, and back.
import { Code, ConnectError } from '@connectrpc/connect'
import { type ErrorCode, errorText, isShoalError, ShoalError } from '../lib/index.ts'

const CODES: Readonly<Record<ErrorCode, Code>> = {
  canceled: Code.Canceled,
  unknown: Code.Unknown,
  'invalid-argument': Code.InvalidArgument,
  'deadline-exceeded': Code.DeadlineExceeded,
  'not-found': Code.NotFound,
  'already-exists': Code.AlreadyExists,
  'permission-denied': Code.PermissionDenied,
  'resource-exhausted': Code.ResourceExhausted,
  'failed-precondition': Code.FailedPrecondition,
  aborted: Code.Aborted,
  'out-of-range': Code.OutOfRange,
  unimplemented: Code.Unimplemented,
  internal: Code.Internal,
  unavailable: Code.Unavailable,
  unauthenticated: Code.Unauthenticated,
}

const NAMES = new Map(Object.entries(CODES).map(([name, code]) => [code, name as ErrorCode]))

/** The next step of a refusal travels apart from its sentence, so that clients which know nothing of it show the sentence alone. */
const NEXT_HEADER = 'shoal-next'

/** What a handler threw, for the caller. Errors that are not ours say nothing of our inside. */
export function toConnectError(error: unknown): ConnectError {
  if (error instanceof ConnectError) return error
  if (!isShoalError(error)) return new ConnectError('internal error', Code.Internal)
  const metadata = error.next === undefined ? undefined : { [NEXT_HEADER]: encodeURIComponent(error.next) }
  return new ConnectError(error.message, CODES[error.code], metadata)
}

/**
 * What a call threw, as ours. A connection that could not be made, or broke, is 'unavailable'; 'canceled' is only what the caller
 * canceled himself (`canceledByCaller`).
 */
export function fromConnectError(error: unknown, canceledByCaller: boolean): ShoalError {
  if (isShoalError(error)) return error
  if (canceledByCaller) return new ShoalError('canceled', 'the call was canceled', { cause: error })
  const connectError = ConnectError.from(error, Code.Unavailable)
  const broken = connectError.cause instanceof Error && !(connectError.cause instanceof ConnectError)
  const code = broken || connectError.code === Code.Canceled ? 'unavailable' : (NAMES.get(connectError.code) ?? 'unknown')
  const text = broken ? errorText(connectError.cause) : connectError.rawMessage
  const next = connectError.metadata.get(NEXT_HEADER)
  return new ShoalError(code, text, { cause: error, ...(next === null ? {} : { next: decodeNext(next) }) })
}

function decodeNext(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text // an unreadable hint is still a hint
  }
}
