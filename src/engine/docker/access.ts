// What managers may do with one container of this node: requests of the Docker API about it and nothing else, and its TCP ports.
import { spawn } from 'node:child_process'
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { Duplex, pipeline } from 'node:stream'
import { errorText, ShoalError } from '../../lib/index.ts'
import { object, text } from './json.ts'

const CONTAINER_PATHS: Readonly<Record<string, readonly string[]>> = {
  json: ['GET'],
  stats: ['GET'],
  top: ['GET'],
  archive: ['GET', 'HEAD', 'PUT'],
  exec: ['POST'],
}
const EXEC_PATHS: Readonly<Record<string, readonly string[]>> = { json: ['GET'], start: ['POST'], resize: ['POST'] }
const MOST_UPGRADE_BODY_BYTES = 1024 * 1024
const HOP_BY_HOP = new Set(['connection', 'keep-alive', 'transfer-encoding', 'upgrade', 'te', 'trailer', 'expect'])

export interface Access {
  serveContainer(containerId: string, stream: Duplex): Promise<void>
}

/** `containerOfExec` tells whose process an exec id is, so that a stream into one container cannot reach another's. */
export function createAccess(
  host: string,
  prefix: () => Promise<string>,
  containerOfExec: (execId: string) => Promise<string | undefined>,
): Access {
  const target = host.startsWith('unix://') ? { socketPath: host.slice('unix://'.length) } : tcp(host)

  /** The engine's path for a request, or undefined when it is not about this container. */
  const allowed = async (containerId: string, req: IncomingMessage): Promise<string | undefined> => {
    const [path = '', query = ''] = (req.url ?? '').split('?', 2)
    const [, kind, id, action, ...rest] = path.replace(/^\/v\d+\.\d+\//, '/').split('/')
    const method = req.method ?? ''
    if (rest.length > 0 || id === undefined || action === undefined) return undefined
    const tail = `${action}${query ? `?${query}` : ''}`
    if (kind === 'containers' && id === 'self' && own(CONTAINER_PATHS, action)?.includes(method))
      return `${await prefix()}/containers/${containerId}/${tail}`
    if (kind !== 'exec' || !own(EXEC_PATHS, action)?.includes(method) || !/^[0-9a-f]{64}$/.test(id)) return undefined
    return (await containerOfExec(id)) === containerId ? `${await prefix()}/exec/${id}/${tail}` : undefined
  }

  const open = (req: IncomingMessage, path: string, more: Record<string, string> = {}) => {
    const headers: Record<string, string | string[]> = { ...more }
    for (const [name, value] of Object.entries(req.headers)) if (value !== undefined && !HOP_BY_HOP.has(name)) headers[name] = value
    headers.host = 'docker'
    const request = httpRequest({
      method: req.method,
      path,
      headers,
      createConnection: () =>
        connect('socketPath' in target ? { path: target.socketPath, allowHalfOpen: true } : { ...target, allowHalfOpen: true }),
    })
    // Asked to close, the engine might do so before Node's empty last write after a body: EPIPE in the place of an answer. So we close.
    request.shouldKeepAlive = more.Upgrade === undefined
    request.on('response', ({ socket }: IncomingMessage) => request.on('close', () => socket.destroy()))
    return request
  }

  return {
    serveContainer: (containerId, stream) =>
      new Promise((resolve) => {
        const server = createServer({ requestTimeout: 0, headersTimeout: 60_000 })
        server.on('request', (req, res) => {
          forward(req, res, () => allowed(containerId, req), open)
        })
        server.on('upgrade', (req, socket, head) => {
          join(req, socket, head, () => allowed(containerId, req), open)
        })
        server.on('clientError', () => stream.destroy())
        stream.on('error', () => {}) // the close says it
        stream.once('close', resolve)
        server.emit('connection', stream)
      }),
  }
}

type Open = (req: IncomingMessage, path: string, more?: Record<string, string>) => ReturnType<typeof httpRequest>

function forward(req: IncomingMessage, res: ServerResponse, allowed: () => Promise<string | undefined>, open: Open): void {
  const fail = (status: number, message: string) => {
    if (res.headersSent) return void res.destroy()
    res.writeHead(status, { 'Content-Type': 'application/json', Connection: 'close' })
    res.end(`${JSON.stringify({ message })}\n`)
  }
  allowed().then(
    (path) => {
      if (path === undefined) return fail(403, 'this is not possible with a task')
      const upstream = open(req, path, req.headers['transfer-encoding'] ? { 'Transfer-Encoding': 'chunked' } : {})
      res.on('close', () => upstream.destroy())
      upstream.on('response', (answer) => {
        const headers = Object.entries(answer.headers).filter(([name]) => !HOP_BY_HOP.has(name))
        res.writeHead(answer.statusCode ?? 502, Object.fromEntries(headers) as Record<string, string>)
        res.flushHeaders()
        pipeline(answer, res, () => {})
      })
      upstream.on('error', (error) => fail(503, `cannot reach the container engine: ${error.message}`))
      req.pipe(upstream)
    },
    (error) => fail(503, errorText(error)),
  )
}

function join(req: IncomingMessage, socket: Duplex, head: Buffer, allowed: () => Promise<string | undefined>, open: Open): void {
  const refuse = (status: number, message: string) => {
    const body = `${JSON.stringify({ message })}\n`
    socket.end(
      `HTTP/1.1 ${status} Refused\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
    )
  }
  socket.on('error', () => socket.destroy())
  Promise.all([takeBody(req, socket, head), allowed()]).then(
    ([{ body, rest }, path]) => {
      if (path === undefined) {
        refuse(403, 'this is not possible with a task')
        return
      }
      const upstream = open(req, path, { Connection: 'Upgrade', Upgrade: req.headers.upgrade ?? 'tcp' })
      socket.on('close', () => upstream.destroy())
      upstream.on('upgrade', (answer, engine, early) => {
        const headers = Object.entries(answer.headers).map(([name, value]) => `${name}: ${value}\r\n`)
        socket.write(`HTTP/1.1 ${answer.statusCode} ${answer.statusMessage}\r\n${headers.join('')}\r\n`)
        if (early.length > 0) socket.write(early)
        if (rest.length > 0) engine.write(rest)
        engine.on('error', () => socket.destroy())
        engine.on('close', () => {
          if (!engine.readableEnded) socket.destroy()
        })
        socket.on('close', () => engine.destroy())
        engine.pipe(socket)
        socket.pipe(engine)
      })
      upstream.on('response', (answer) => {
        answer.setEncoding('utf8')
        let said = ''
        answer.on('data', (chunk: string) => {
          said += chunk
        })
        answer.on('end', () => refuse(answer.statusCode ?? 502, messageOf(said)))
      })
      upstream.on('error', (error) => refuse(503, `cannot reach the container engine: ${error.message}`))
      upstream.end(body)
    },
    (error) => refuse(503, errorText(error)),
  )
}

/** The request's body stands at the front of what follows the head. */
async function takeBody(req: IncomingMessage, socket: Duplex, head: Buffer): Promise<{ body: Buffer; rest: Buffer }> {
  const length = Number(req.headers['content-length'] ?? 0)
  if (!(length <= MOST_UPGRADE_BODY_BYTES)) throw new ShoalError('invalid-argument', 'the body of a request that upgrades is too long')
  let data = head
  while (data.length < length) {
    const chunk = await nextChunk(socket)
    if (!chunk) throw new ShoalError('canceled', 'the caller went away')
    data = Buffer.concat([data, chunk])
  }
  return { body: data.subarray(0, length), rest: data.subarray(length) }
}

function nextChunk(socket: Duplex): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const settle = (chunk: Buffer | undefined) => {
      socket.off('data', onData).off('end', onEnd).off('close', onEnd)
      socket.pause()
      resolve(chunk)
    }
    const onData = (chunk: Buffer) => settle(chunk)
    const onEnd = () => settle(undefined)
    socket.on('data', onData).on('end', onEnd).on('close', onEnd)
    socket.resume()
  })
}

function messageOf(body: string): string {
  try {
    return text(object(JSON.parse(body)).message) || body
  } catch {
    return body
  }
}

/** Joins standard input and output with a TCP port; runs in the network namespace of the container, whose loopback is reached that way. */
const DIAL = `const s=require('net').connect({host:process.argv[1],port:+process.argv[2],allowHalfOpen:true});
s.on('error',(e)=>{process.stderr.write(e.message);process.exit(1)});s.on('connect',()=>{process.stderr.write('+');process.stdin.pipe(s);s.pipe(process.stdout)});s.on('close',()=>process.exit(0))`

/** Throws 'unavailable' when nobody listens there. Needs root: it enters the network namespace of the process. */
export function dialInside(pid: number, port: number): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const child = spawn('nsenter', ['-t', String(pid), '-n', process.execPath, '-e', DIAL, '127.0.0.1', String(port)], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { PATH: process.env.PATH ?? '/usr/sbin:/usr/bin:/sbin:/bin' },
    })
    let said = ''
    child.stderr.on('data', (chunk: Buffer) => {
      said += chunk.toString()
      if (!said.startsWith('+')) return
      const duplex = Duplex.from({ readable: child.stdout, writable: child.stdin }) as Duplex
      duplex.on('close', () => child.kill('SIGKILL'))
      resolve(duplex)
    })
    child.on('error', (error) => reject(new ShoalError('unavailable', `cannot enter the task's network: ${error.message}`)))
    child.on('close', () =>
      reject(new ShoalError('unavailable', `port ${port} of the task: ${said.trim().slice(0, 200) || 'no connection'}`)),
    )
  })
}

function own(paths: Readonly<Record<string, readonly string[]>>, name: string): readonly string[] | undefined {
  return Object.hasOwn(paths, name) ? paths[name] : undefined
}

function tcp(host: string): { host: string; port: number } {
  const url = new URL(host)
  return { host: url.hostname, port: Number(url.port || 2375) }
}
