// From errors to Docker's error answers: status, sentence, and exactly `application/json` (docker-api.md 1.2).
import type { ServerResponse } from 'node:http'
import { type ErrorCode, errorText, isShoalError } from '../../lib/index.ts'

/** A refusal whose status is not what its gRPC code would give. */
export class HttpError extends Error {
  readonly status: number

  constructor(status: number, message: string) {
    super(message)
    this.name = 'HttpError'
    this.status = status
  }
}

/** A refusal by the manager itself: clients know it by its prefix. */
export class ManagerError extends HttpError {}

const STATUS: Partial<Record<ErrorCode, number>> = {
  'invalid-argument': 400,
  'failed-precondition': 400,
  'out-of-range': 400,
  'not-found': 404,
  'already-exists': 409,
  'permission-denied': 403,
  unauthenticated: 401,
  unimplemented: 501,
  unavailable: 503,
  'deadline-exceeded': 503,
  'resource-exhausted': 503,
}

export function statusOf(code: ErrorCode): number {
  return STATUS[code] ?? 500
}

/** Runs an operation of the manager; its refusals get the prefix that Swarm's have, except those about look-ups. */
export async function asManager<T>(operation: () => Promise<T> | T): Promise<T> {
  try {
    return await operation()
  } catch (error) {
    if (!isShoalError(error) || error.code === 'not-found' || / is ambiguous \(/.test(error.message)) throw error
    throw new ManagerError(statusOf(error.code), `rpc error: code = ${goName(error.code)} desc = ${sentence(error)}`)
  }
}

/** `already-exists` -> `AlreadyExists` */
function goName(code: ErrorCode): string {
  return code.replace(/(^|-)([a-z])/g, (_all, _dash, letter: string) => letter.toUpperCase())
}

function sentence(error: { message: string; next?: string | undefined }): string {
  return error.next === undefined ? error.message : `${error.message}. ${error.next}`
}

export function describeError(error: unknown): { status: number; message: string } {
  if (error instanceof HttpError) return { status: error.status, message: error.message }
  if (isShoalError(error)) return { status: statusOf(error.code), message: sentence(error) }
  return { status: 500, message: `internal error: ${errorText(error)}` }
}

/** Answers with the error; a stream that has begun can only be cut. */
export function sendError(res: ServerResponse, error: unknown): void {
  if (res.headersSent || res.destroyed) {
    res.destroy()
    return
  }
  const { status, message } = describeError(error)
  const body = Buffer.from(`${JSON.stringify({ message })}\n`)
  res.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': body.length })
  res.end(body)
}
