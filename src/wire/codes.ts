// Our error codes as gRPC's status in trailers, and back.
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http2'
import { type ErrorCode, isShoalError, ShoalError } from '../lib/index.ts'

/** gRPC's numbers. */
const NUMBERS: Readonly<Record<ErrorCode, number>> = {
  canceled: 1,
  unknown: 2,
  'invalid-argument': 3,
  'deadline-exceeded': 4,
  'not-found': 5,
  'already-exists': 6,
  'permission-denied': 7,
  'resource-exhausted': 8,
  'failed-precondition': 9,
  aborted: 10,
  'out-of-range': 11,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  unauthenticated: 16,
}

const NAMES = new Map(Object.entries(NUMBERS).map(([name, number]) => [number, name as ErrorCode]))

/** The next step of a refusal travels apart from its sentence, so that clients which know nothing of it show the sentence alone. */
const NEXT_HEADER = 'shoal-next'

export const OK_TRAILERS: OutgoingHttpHeaders = { 'grpc-status': '0' }

/** What a handler threw, for the caller. Errors that are not ours say nothing of our inside. */
export function errorTrailers(error: unknown): OutgoingHttpHeaders {
  if (!isShoalError(error)) return { 'grpc-status': String(NUMBERS.internal), 'grpc-message': 'internal error' }
  return {
    'grpc-status': String(NUMBERS[error.code]),
    'grpc-message': encodeText(error.message),
    ...(error.next === undefined ? {} : { [NEXT_HEADER]: encodeText(error.next) }),
  }
}

/**
 * The error in the trailers (or in headers without a body); undefined when the call went well or they do not say. That the other side canceled is no wish of
 * ours, so it counts as 'unavailable'.
 */
export function errorOf(trailers: IncomingHttpHeaders): ShoalError | undefined {
  const status = trailers['grpc-status']
  if (status === undefined || status === '0') return undefined
  const code = NAMES.get(Number(status)) ?? 'unknown'
  const next = trailers[NEXT_HEADER]
  return new ShoalError(code === 'canceled' ? 'unavailable' : code, decodeText(textOf(trailers['grpc-message'])), {
    ...(next === undefined ? {} : { next: decodeText(textOf(next)) }),
  })
}

export function hasStatus(headers: IncomingHttpHeaders): boolean {
  return headers['grpc-status'] !== undefined
}

/** An answer of something that does not speak gRPC (the table of gRPC's own documentation). */
export function httpError(status: number | undefined): ShoalError {
  const codes: Readonly<Record<number, ErrorCode>> = {
    400: 'internal',
    401: 'unauthenticated',
    403: 'permission-denied',
    404: 'unimplemented',
    429: 'unavailable',
    502: 'unavailable',
    503: 'unavailable',
    504: 'unavailable',
  }
  return new ShoalError(codes[status ?? 0] ?? 'unknown', `the other side answered with HTTP status ${status ?? 'nothing'}`)
}

function textOf(value: string | readonly string[] | undefined): string {
  return typeof value === 'string' ? value : (value?.[0] ?? '')
}

/** Percent-encoding of everything that is not printable ASCII, as gRPC demands of its messages. */
function encodeText(text: string): string {
  return text.replace(/[^ -$&-~]+/g, (part) => {
    let encoded = ''
    for (const byte of Buffer.from(part)) encoded += `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
    return encoded
  })
}

function decodeText(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text // an unreadable sentence is still a sentence
  }
}
