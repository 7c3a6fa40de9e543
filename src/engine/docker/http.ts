// HTTP/1.1 to the Docker Engine over its unix socket (or loopback TCP): one client, errors as ShoalErrors, every call bounded.
import { Agent, request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http'
import { type ErrorCode, errorText, isShoalError, ShoalError } from '../../lib/index.ts'
import type { Clock } from '../../ports/index.ts'

export interface HttpCall {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE' | 'HEAD'
  readonly path: string
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
  /** Until the answer is complete (for streams: until its head is there). */
  readonly timeoutMs?: number
}

export interface DockerHttp {
  /** The parsed JSON body, undefined when it is empty. Throws for statuses from 400 on. */
  json(call: HttpCall): Promise<unknown>
  /** The head of the answer; the body is read by the caller, who has to end it (`destroy`). Throws for statuses from 400 on. */
  stream(call: HttpCall): Promise<IncomingMessage>
  close(): void
}

export interface DockerHttpOptions {
  /** `unix:///run/docker.sock` or `tcp://127.0.0.1:2375`. */
  readonly host: string
  readonly clock: Clock
}

const CALL_TIMEOUT_MS = 30_000
/** Quick calls share few connections: the engine works on two cores, not on two hundred. */
const MAX_SOCKETS = 8
const MAX_JSON_BYTES = 64 << 20

export function createDockerHttp({ host, clock }: DockerHttpOptions): DockerHttp {
  const target = parseHost(host)
  const quick = new Agent({ keepAlive: true, maxSockets: MAX_SOCKETS, maxFreeSockets: 2 })
  /** What may take long (stop, start, pull, events, logs) must not hold up the quick calls. */
  const long = new Agent({ keepAlive: false })

  const open = (call: HttpCall, agent: Agent): Promise<IncomingMessage> =>
    new Promise((resolve, reject) => {
      const body = call.body === undefined ? undefined : Buffer.isBuffer(call.body) ? call.body : Buffer.from(JSON.stringify(call.body))
      const headers: Record<string, string | number> = { host: 'docker', ...call.headers }
      if (body) {
        headers['content-length'] = body.length
        headers['content-type'] ??= 'application/json'
      }
      const request = httpRequest({
        ...target,
        agent,
        method: call.method,
        path: call.path + queryText(call.query),
        headers,
        signal: call.signal,
      })
      request.on('response', resolve)
      request.on('error', (error) => reject(unreachableEngine(error, call.signal)))
      request.end(body)
    })

  const checked = async (call: HttpCall, agent: Agent): Promise<IncomingMessage> => {
    const response = await open(call, agent)
    const status = response.statusCode ?? 0
    if (status < 400) return response
    throw new ShoalError(codeOf(status), messageOf(await readAll(response)) || `the engine answered ${status}`)
  }

  const bounded = <T>(call: HttpCall, work: (call: HttpCall) => Promise<T>): Promise<T> => withDeadline(clock, call, work)

  return {
    json: (call) =>
      bounded(call, async (inner) => {
        const text = (await readAll(await checked(inner, (call.timeoutMs ?? 0) > CALL_TIMEOUT_MS ? long : quick))).toString('utf8')
        return text.trim() === '' ? undefined : parse(text)
      }),
    stream: (call) => bounded(call, (inner) => checked(inner, long)),
    close: () => {
      quick.destroy()
      long.destroy()
    },
  }
}

async function withDeadline<T>(clock: Clock, call: HttpCall, work: (call: HttpCall) => Promise<T>): Promise<T> {
  const timeoutMs = call.timeoutMs ?? CALL_TIMEOUT_MS
  const late = new AbortController()
  const timer = clock.setTimer(timeoutMs, () => late.abort())
  const signal = call.signal ? AbortSignal.any([call.signal, late.signal]) : late.signal
  try {
    return await work({ ...call, signal })
  } catch (error) {
    if (call.signal?.aborted) throw new ShoalError('canceled', 'the call to the engine was canceled')
    if (late.signal.aborted) {
      throw new ShoalError('unavailable', `the engine did not answer ${call.method} ${call.path} within ${timeoutMs / 1000} s`)
    }
    throw error
  } finally {
    timer.cancel()
  }
}

function parseHost(host: string): RequestOptions {
  if (host.startsWith('unix://')) return { socketPath: host.slice('unix://'.length) }
  const url = URL.canParse(host) ? new URL(host) : undefined
  if (url && (url.protocol === 'tcp:' || url.protocol === 'http:') && url.hostname) {
    return { host: url.hostname, port: Number(url.port || 2375) }
  }
  throw new ShoalError('invalid-argument', `not an address of an engine: ${host}`, { next: 'say unix:///run/docker.sock' })
}

function queryText(query: HttpCall['query'] = {}): string {
  const parts = new URLSearchParams()
  for (const [key, value] of Object.entries(query)) if (value !== undefined) parts.set(key, String(value))
  const text = parts.toString()
  return text ? `?${text}` : ''
}

export async function readAll(response: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      size += chunk.length
      if (size > MAX_JSON_BYTES) throw new ShoalError('resource-exhausted', 'the answer of the engine is too large')
      chunks.push(chunk)
    }
  } catch (error) {
    throw unreachableEngine(error, undefined)
  }
  return Buffer.concat(chunks)
}

/** Broken connections are 'unavailable': the engine is away, restarting, or was killed while it answered. */
export function unreachableEngine(error: unknown, signal: AbortSignal | undefined): ShoalError {
  if (isShoalError(error)) return error
  if (signal?.aborted) return new ShoalError('canceled', 'the call to the engine was canceled', { cause: error })
  return new ShoalError('unavailable', `cannot reach the engine: ${errorText(error)}`, {
    next: 'check that the engine of this node runs',
    cause: error,
  })
}

function codeOf(status: number): ErrorCode {
  if (status === 404) return 'not-found'
  if (status === 409) return 'already-exists'
  if (status === 400 || status === 422) return 'invalid-argument'
  if (status === 401) return 'unauthenticated'
  if (status === 403) return 'permission-denied'
  if (status === 501) return 'unimplemented'
  return status === 503 ? 'unavailable' : 'internal'
}

function messageOf(body: Buffer): string {
  const text = body.toString('utf8').trim()
  try {
    const { message } = JSON.parse(text) as { message?: unknown }
    return typeof message === 'string' ? message : text
  } catch {
    return text
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new ShoalError('internal', 'the engine answered something that is not JSON')
  }
}
