// HTTP to the container engine's socket: whole answers for what we merge, open streams for what we hand through.
import { type ClientRequest, type IncomingMessage, type RequestOptions, request } from 'node:http'
import { connect, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { errorText, ShoalError } from '../lib/index.ts'

/** Larger answers are not taken into memory. */
const MAX_ANSWER_BYTES = 64 * 1024 * 1024

export interface EngineRequest {
  readonly method: string
  readonly path: string
  /** Flat list of names and values, or an object. */
  readonly headers?: readonly string[] | Readonly<Record<string, string>>
  readonly signal?: AbortSignal
}

export interface EngineAnswer {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly body: Buffer
}

export interface EngineClient {
  /** The request, not yet sent; the caller writes the body and listens. Each has a connection of its own, so a restarted engine leaves no stale ones. */
  open(request: EngineRequest): ClientRequest
  /** The answer as soon as its head is there. Throws 'unavailable' when the engine cannot be reached. */
  stream(request: EngineRequest, body?: Buffer | string): Promise<IncomingMessage>
  /** The whole answer. */
  ask(request: EngineRequest, body?: Buffer | string): Promise<EngineAnswer>
  /** The parsed answer; a status of 300 or more is a ShoalError with the engine's own sentence. */
  json(request: EngineRequest, body?: Buffer | string): Promise<unknown>
  /** The sentence for an engine that cannot be reached. */
  away(error: unknown): ShoalError
}

/** A client on one connection that is open already, for one request. `name` is for error texts. */
export function createStreamClient(stream: Duplex, name: string): EngineClient {
  return clientOver(() => stream as Socket, name, `cannot reach ${name}`)
}

export function createEngineClient(socketPath: string): EngineClient {
  // A connection of its own that may be closed one way first: `docker attach` closes its standard input and goes on reading.
  const connection = () => connect({ path: socketPath, allowHalfOpen: true })
  return clientOver(connection, 'dockerd', `cannot reach the container engine at unix://${socketPath}`)
}

function clientOver(connection: () => Socket, name: string, problem: string): EngineClient {
  const open = ({ method, path, headers = {}, signal }: EngineRequest): ClientRequest => {
    const outgoing = request({
      method,
      path,
      headers: (Array.isArray(headers) ? headers : { ...headers }) as RequestOptions['headers'],
      signal,
      setDefaultHeaders: true,
      host: 'docker',
      createConnection: connection,
    })
    // Asked to close, an engine might do so before Node's empty last write after a body: EPIPE in the place of an answer. So we close.
    outgoing.shouldKeepAlive = true
    outgoing.on('response', ({ socket }: IncomingMessage) => outgoing.on('close', () => socket.destroy()))
    return outgoing
  }

  const away = (error: unknown) =>
    new ShoalError('unavailable', `${problem} (${errorText(error)})`, {
      next: `Check that ${name} runs there, then try again`,
      cause: error,
    })

  const stream = (request: EngineRequest, body?: Buffer | string) =>
    new Promise<IncomingMessage>((resolve, reject) => {
      const outgoing = open(request)
      outgoing.on('response', resolve)
      outgoing.on('error', (error) => reject(request.signal?.aborted ? new ShoalError('canceled', 'the call was given up') : away(error)))
      outgoing.end(body)
    })

  const ask = async (request: EngineRequest, body?: Buffer | string): Promise<EngineAnswer> => {
    const incoming = await stream(request, body)
    return { status: incoming.statusCode ?? 500, headers: incoming.headers, body: await readAll(incoming, away) }
  }

  return {
    open,
    stream,
    ask,
    away,
    async json(request, body) {
      const answer = await ask(request, body)
      const parsed = parseJson(answer.body)
      if (answer.status >= 300) throw new ShoalError(codeOf(answer.status), messageOf(parsed) ?? `the engine answered ${answer.status}`)
      return parsed
    },
  }
}

async function readAll(incoming: IncomingMessage, away: (error: unknown) => ShoalError): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  try {
    for await (const chunk of incoming as AsyncIterable<Buffer>) {
      size += chunk.length
      if (size > MAX_ANSWER_BYTES)
        throw new ShoalError('resource-exhausted', `the engine's answer is larger than ${MAX_ANSWER_BYTES} bytes`)
      chunks.push(chunk)
    }
  } catch (error) {
    throw error instanceof ShoalError ? error : away(error)
  }
  return Buffer.concat(chunks)
}

export function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'))
  } catch {
    return undefined
  }
}

function messageOf(parsed: unknown): string | undefined {
  if (typeof parsed !== 'object' || parsed === null) return undefined
  const { message } = parsed as { message?: unknown }
  return typeof message === 'string' ? message : undefined
}

function codeOf(status: number) {
  switch (status) {
    case 400:
      return 'invalid-argument'
    case 403:
      return 'permission-denied'
    case 404:
      return 'not-found'
    case 409:
      return 'already-exists'
    case 501:
      return 'unimplemented'
    case 503:
      return 'unavailable'
    default:
      return 'unknown'
  }
}
