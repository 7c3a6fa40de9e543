// One request as a route sees it: parsed path and query, the body when asked for, and the few ways to answer.
import type { IncomingMessage, ServerResponse } from 'node:http'
import { ShoalError } from '../../lib/index.ts'
import type { ApiVersion } from '../json/gates.ts'
import { HttpError } from './errors.ts'

/** Specs are small; what is larger is a mistake or an attack. */
export const MAX_BODY_BYTES = 4 * 1024 * 1024

/** Of a request without a version in its path: no field is too new. */
export const NO_VERSION: ApiVersion = { major: Number.POSITIVE_INFINITY, minor: 0 }

export interface RequestContext {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  /** Without the version. */
  readonly path: string
  readonly params: Readonly<Record<string, string>>
  readonly query: URLSearchParams
  readonly version: ApiVersion
  /** Aborts when the client goes away. */
  readonly signal: AbortSignal
}

/** The body, at most `limit` bytes. */
export async function readBody(req: IncomingMessage, limit = MAX_BODY_BYTES): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of req as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > limit) throw new HttpError(413, `the request body is larger than ${limit} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

export async function readJson(req: IncomingMessage): Promise<unknown> {
  const body = await readBody(req)
  if (body.length === 0) throw new ShoalError('invalid-argument', 'the request body is empty: a JSON object is expected')
  try {
    return JSON.parse(body.toString('utf8'))
  } catch (error) {
    throw new ShoalError('invalid-argument', `invalid JSON: ${(error as Error).message}`)
  }
}

export function sendJson(res: ServerResponse, status: number, value: unknown): void {
  sendJsonText(res, status, JSON.stringify(value))
}

/** `text` is JSON already. */
export function sendJsonText(res: ServerResponse, status: number, text: string): void {
  const body = Buffer.from(`${text}\n`)
  res.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': body.length })
  res.end(body)
}

export function sendEmpty(res: ServerResponse, status: number): void {
  res.writeHead(status, status === 204 ? {} : { 'Content-Length': 0 })
  res.end()
}

/** As Docker reads flags in queries: everything but '', 0, no, false, none. */
export function flag(query: URLSearchParams, name: string): boolean {
  return !['', '0', 'no', 'false', 'none'].includes((query.get(name) ?? '').trim().toLowerCase())
}

/** The `version` query of an update. `kind` is for the text: service, node, swarm, secret, config. */
export function versionOf(query: URLSearchParams, kind: string): number {
  const text = query.get('version') ?? ''
  const version = Number(text)
  if (/^\d+$/.test(text) && Number.isSafeInteger(version)) return version
  const problem = /^\d+$/.test(text) ? 'value out of range' : 'invalid syntax'
  throw new ShoalError(
    'invalid-argument',
    `invalid ${kind} version '${text}': strconv.ParseUint: parsing ${JSON.stringify(text)}: ${problem}`,
  )
}
