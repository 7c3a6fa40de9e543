// Hands a request through to the engine and its answer back: streamed both ways with back-pressure; who goes away is noticed by the other side.
import type { IncomingMessage, ServerResponse } from 'node:http'
import { pipeline } from 'node:stream'
import type { Logger } from '../lib/index.ts'
import type { EngineClient } from './engineClient.ts'
import { endToEnd } from './headers.ts'

export interface ForwardOptions {
  /** Instead of the request's own. */
  readonly path?: string
  /** Instead of the request's own, which has then been read already. */
  readonly body?: Buffer
}

/** Resolves when all is handed through or either side has gone. Throws 'unavailable' as long as nothing was answered; the caller says so. */
export function forward(
  engine: EngineClient,
  log: Logger,
  req: IncomingMessage,
  res: ServerResponse,
  options: ForwardOptions = {},
): Promise<void> {
  return new Promise((resolve, reject) => {
    const { path = req.url ?? '/', body } = options
    const headers = endToEnd(req.rawHeaders, ...(body ? ['content-length'] : []), 'expect')
    if (body) headers.push('Content-Length', String(body.length))
    else if (req.headers['transfer-encoding'] !== undefined) headers.push('Transfer-Encoding', 'chunked')
    // Said outright, or an empty body would go out chunked, which dockerd takes for a body (container start refuses it).
    else if (req.headers['content-length'] === undefined && mayHaveBody(req.method)) headers.push('Content-Length', '0')
    const upstream = engine.open({ method: req.method ?? 'GET', path, headers })
    res.on('close', () => {
      if (!res.writableFinished) upstream.destroy()
      resolve()
    })
    upstream.on('response', (incoming) => {
      if (res.destroyed) return
      res.writeHead(incoming.statusCode ?? 502, incoming.statusMessage ?? '', endToEnd(incoming.rawHeaders))
      res.flushHeaders()
      pipeline(incoming, res, (error) => {
        if (error) log.debug('an answer of the engine was cut short', { path, error: error.message })
        resolve()
      })
    })
    upstream.on('error', (error) => {
      if (res.headersSent || res.destroyed) {
        res.destroy()
        resolve()
      } else reject(engine.away(error))
    })
    if (body) upstream.end(body)
    else {
      // Not pipeline(): an engine that answers before it has read all must still be heard.
      req.pipe(upstream)
      req.on('error', () => upstream.destroy())
    }
  })
}

export function mayHaveBody(method: string | undefined): boolean {
  return method === 'POST' || method === 'PUT' || method === 'PATCH'
}
