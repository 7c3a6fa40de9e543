// What can go wrong in a call: the daemon said no (with a status and its message), or nobody answered.
import { type ErrorCode, ShoalError } from '../lib/index.ts'

const CODES: Readonly<Record<number, ErrorCode>> = {
  400: 'invalid-argument',
  401: 'unauthenticated',
  403: 'permission-denied',
  404: 'not-found',
  409: 'already-exists',
  500: 'unknown',
  501: 'unimplemented',
  503: 'unavailable',
}

/** The daemon's refusal: `message` is the text of its body, `status` the HTTP status. */
export class ApiError extends ShoalError {
  readonly status: number

  constructor(status: number, message: string) {
    super(CODES[status] ?? 'unknown', message)
    this.name = 'ApiError'
    this.status = status
  }

  static fromBody(status: number, body: string): ApiError {
    return new ApiError(status, messageOf(body) ?? (body.trim() || `the daemon answered with status ${status} and no text`))
  }
}

/** Nobody answered at the host. */
export class ConnectError extends ShoalError {
  readonly host: string

  constructor(host: string, cause: unknown) {
    const why = cause instanceof Error && 'code' in cause ? ` (${String(cause.code)})` : ''
    super('unavailable', `Cannot connect to the daemon at ${host}${why}. Is shoald running?`, {
      next: 'Start shoald, or name its socket with SHOAL_HOST or DOCKER_HOST (or -H).',
      cause,
    })
    this.name = 'ConnectError'
    this.host = host
  }
}

function messageOf(body: string): string | undefined {
  try {
    const parsed: unknown = JSON.parse(body)
    if (typeof parsed === 'object' && parsed !== null && 'message' in parsed && typeof parsed.message === 'string') return parsed.message
  } catch {
    // Not JSON: a proxy or another kind of server; the caller shows the body as it is.
  }
  return undefined
}
