// Questions to an HTTP API on a unix socket: is it there, and one JSON answer.
import { request } from 'node:http'

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

function get(socketPath: string, path: string, timeoutMs: number): Promise<{ status: number; body: string } | undefined> {
  return new Promise((resolve) => {
    const req = request({ socketPath, path, agent: false, timeout: timeoutMs }, (res) => {
      let body = ''
      res.setEncoding('utf8')
      res.on('data', (chunk: string) => {
        body += chunk
      })
      res.on('end', () => resolve({ status: res.statusCode ?? 0, body }))
      res.on('error', () => resolve(undefined))
    })
    req.on('timeout', () => req.destroy())
    req.on('error', () => resolve(undefined)) // no socket yet, refused, too slow: all mean "not there"
    req.end()
  })
}
