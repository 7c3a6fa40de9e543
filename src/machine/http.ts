// Questions to an HTTP API on a unix socket: is it there, one JSON answer, one request with a body.
import { type RequestOptions, request } from 'node:http'
import { ShoalError } from '../lib/index.ts'

/** True when `GET /_ping` answers 200 within a second. */
export async function ping(socketPath: string): Promise<boolean> {
  return (await get(socketPath, '/_ping', 1_000))?.status === 200
}

/** The parsed body of a 200 answer; undefined when there is none in time. */
export async function getJson(socketPath: string, path: string, timeoutMs = 2_000): Promise<unknown> {
  const answer = await get(socketPath, path, timeoutMs)
  if (answer?.status !== 200) return undefined
  try {
    return JSON.parse(answer.body)
  } catch {
    return undefined
  }
}

/** One request, with a JSON body if given. Rejects when there is no answer in time. */
export async function call(socketPath: string, method: string, path: string, body?: unknown, timeoutMs = 60_000): Promise<HttpAnswer> {
  const answer = await send({ socketPath, method, path }, timeoutMs, body)
  if (answer) return answer
  throw new ShoalError('unavailable', `no answer from ${socketPath} to ${method} ${path.split('?')[0]}`)
}

/** The answer of a web server at an address, undefined when there is none in time. */
export async function fetchPage(host: string, port: number, path: string, timeoutMs: number): Promise<HttpAnswer | undefined> {
  return await send({ host, port, method: 'GET', path }, timeoutMs)
}

export interface HttpAnswer {
  readonly status: number
  readonly body: string
}

function get(socketPath: string, path: string, timeoutMs: number): Promise<HttpAnswer | undefined> {
  return send({ socketPath, method: 'GET', path }, timeoutMs)
}

function send(to: RequestOptions, timeoutMs: number, body?: unknown): Promise<HttpAnswer | undefined> {
  return new Promise((resolve) => {
    const text = body === undefined ? undefined : JSON.stringify(body)
    const headers = text === undefined ? {} : { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) }
    const req = request({ ...to, headers, agent: false, timeout: timeoutMs }, (res) => {
      let received = ''
      res.setEncoding('utf8')
      res.on('data', (chunk: string) => {
        received += chunk
      })
      res.on('end', () => resolve({ status: res.statusCode ?? 0, body: received }))
      res.on('error', () => resolve(undefined))
    })
    req.on('timeout', () => req.destroy())
    req.on('error', () => resolve(undefined)) // no socket yet, refused, too slow: all mean "not there"
    req.end(text)
  })
}
