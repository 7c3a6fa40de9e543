// Connections that change their protocol (attach, exec start, session, grpc): both ends are joined after the engine's 101.
import type { IncomingMessage } from 'node:http'
import { STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { type Logger, ShoalError } from '../lib/index.ts'
import type { EngineClient } from './engineClient.ts'
import { mayHaveBody } from './forward.ts'
import { endToEnd } from './headers.ts'

/** Bodies of requests that upgrade are small JSON objects. */
const MAX_BODY_BYTES = 1024 * 1024

/**
 * Resolves when both directions are closed. Half-closing is kept: a client may close its standard input and go on reading. Throws (before anything was
 * answered) 'unavailable' when the engine is away and 'invalid-argument' for a body without length.
 */
export async function upgrade(
  engine: EngineClient,
  log: Logger,
  req: IncomingMessage,
  client: Duplex,
  head: Buffer,
  path: string = req.url ?? '/',
): Promise<void> {
  const { body, rest } = await takeBody(req, client, head)
  const headers = endToEnd(req.rawHeaders)
  headers.push('Connection', 'Upgrade', 'Upgrade', req.headers.upgrade ?? 'tcp')
  if (req.headers['content-length'] === undefined && mayHaveBody(req.method)) headers.push('Content-Length', '0')
  const upstream = engine.open({ method: req.method ?? 'POST', path, headers })
  await new Promise<void>((resolve, reject) => {
    client.on('error', () => upstream.destroy())
    client.on('close', () => {
      upstream.destroy()
      resolve()
    })
    upstream.on('upgrade', (answer, engineSocket, early) => {
      client.write(headOf(answer, answer.rawHeaders))
      if (early.length > 0) client.write(early)
      if (rest.length > 0) engineSocket.write(rest)
      join(client, engineSocket, log)
    })
    // Refused: an ordinary answer. The connection ends with it, so that nothing more is taken for a request past our routes.
    upstream.on('response', (answer) => {
      client.write(headOf(answer, [...endToEnd(answer.rawHeaders, 'content-length'), 'Connection', 'close']))
      answer.pipe(client)
      answer.on('error', () => client.destroy())
    })
    upstream.on('error', (error) => {
      if (client.destroyed || client.writableLength > 0) {
        client.destroy()
        resolve()
      } else reject(engine.away(error))
    })
    upstream.end(body)
  })
}

/** Both directions, each until its end; who vanishes takes the other along. */
export function join(client: Duplex, engine: Duplex, log: Logger): void {
  for (const [from, to] of [
    [client, engine],
    [engine, client],
  ] as const) {
    from.on('error', (error) => {
      log.debug('a joined connection broke', { error: error.message })
      to.destroy()
    })
    // A side that vanished without an end; after a proper end the other direction goes on.
    from.on('close', () => {
      if (!from.readableEnded) to.destroy()
    })
    from.pipe(to) // ends `to` when `from` ends: half-close
  }
}

/** The request's body stands at the front of what follows the head. */
async function takeBody(req: IncomingMessage, client: Duplex, head: Buffer): Promise<{ body: Buffer; rest: Buffer }> {
  if (req.headers['transfer-encoding'] !== undefined) {
    throw new ShoalError('invalid-argument', 'a request that upgrades its connection needs a Content-Length')
  }
  const length = Number(req.headers['content-length'] ?? 0)
  if (!Number.isInteger(length) || length < 0 || length > MAX_BODY_BYTES) {
    throw new ShoalError('invalid-argument', `a request that upgrades its connection may have ${MAX_BODY_BYTES} bytes of body`)
  }
  let data = head
  while (data.length < length) {
    const chunk = await nextChunk(client)
    if (!chunk) throw new ShoalError('canceled', 'the client went away')
    data = Buffer.concat([data, chunk])
  }
  return { body: data.subarray(0, length), rest: data.subarray(length) }
}

function nextChunk(client: Duplex): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const settle = (chunk: Buffer | undefined) => {
      client.off('data', onData).off('end', onEnd).off('close', onEnd).off('error', onEnd)
      client.pause()
      resolve(chunk)
    }
    const onData = (chunk: Buffer) => settle(chunk)
    const onEnd = () => settle(undefined)
    client.on('data', onData).on('end', onEnd).on('close', onEnd).on('error', onEnd)
    client.resume()
  })
}

function headOf(answer: IncomingMessage, headers: readonly string[]): string {
  const status = answer.statusCode ?? 502
  let text = `HTTP/1.1 ${status} ${answer.statusMessage || STATUS_CODES[status] || ''}\r\n`
  for (let i = 0; i < headers.length; i += 2) text += `${headers[i]}: ${headers[i + 1]}\r\n`
  return `${text}\r\n`
}
