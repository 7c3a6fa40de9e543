// Listens for the API: unix sockets for people of the machine, TCP with client certificates, plain TCP on loopback only.
import { chmod, chown, lstat, mkdir, unlink } from 'node:fs/promises'
import { createServer, type Server, type ServerOptions } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { connect, type Socket } from 'node:net'
import { dirname } from 'node:path'
import { SECOND_MS, ShoalError } from '../lib/index.ts'
import { isReadOnly } from './access.ts'
import type { Api, Permission } from './api.ts'

/** Requests that are being answered get this long when the server closes. */
const CLOSE_WAIT_MS = SECOND_MS
/** Longer than clients keep idle connections, so that they close them and no request meets a closing one. */
const KEEP_ALIVE_MS = 300 * SECOND_MS
const HEADERS_LIMIT_MS = 60 * SECOND_MS

export interface ApiServer {
  /** Ends streams, lets running requests finish for a moment, then closes every connection. */
  close(): Promise<void>
}

/** PEM. Clients must show a certificate of this authority. */
export interface TlsOptions {
  readonly ca: string
  readonly cert: string
  readonly key: string
}

export interface ServeOptions {
  /** For TCP; without it TCP is plain and on loopback only. */
  readonly tls?: TlsOptions
  /** Group that owns the unix sockets. */
  readonly groupId?: number
  /** Further addresses whose clients may only read. */
  readonly readOnlyHosts?: readonly string[]
}

/**
 * `hosts`: `unix:///PATH` or `tcp://127.0.0.1:PORT`. A stale socket file is replaced. Throws 'already-exists' when somebody answers there and
 * 'invalid-argument' for other addresses.
 */
export async function serveApi(api: Api, hosts: readonly string[], options: ServeOptions = {}): Promise<ApiServer> {
  const listeners: Listener[] = []
  try {
    for (const host of hosts) listeners.push(await listen(api, host, options, 'all'))
    for (const host of options.readOnlyHosts ?? []) listeners.push(await listen(api, host, options, 'read-only'))
  } catch (error) {
    await Promise.all(listeners.map((listener) => listener.close()))
    throw error
  }
  return {
    async close() {
      api.close()
      await Promise.all(listeners.map((listener) => listener.close()))
    },
  }
}

interface Listener {
  close(): Promise<void>
}

async function listen(api: Api, host: string, { tls, groupId }: ServeOptions, permission: Permission): Promise<Listener> {
  const sockets = new Set<Socket>()
  // Uploads of images take as long as they take: no limit on whole requests.
  const limits: ServerOptions = { requestTimeout: 0, headersTimeout: HEADERS_LIMIT_MS, keepAliveTimeout: KEEP_ALIVE_MS }
  const secure = tls !== undefined && host.startsWith('tcp://')
  const server = secure
    ? createTlsServer({
        ...limits,
        ca: tls.ca,
        cert: tls.cert,
        key: tls.key,
        requestCert: true,
        rejectUnauthorized: true,
        minVersion: 'TLSv1.2',
      })
    : createServer(limits)
  const permissionOf = (socket: Socket): Permission => (isReadOnly(socket, permission) ? 'read-only' : 'all')
  server.on('request', (req, res) => void api.handle(req, res, permissionOf(req.socket)))
  server.on('upgrade', (req, socket, head) => void api.upgrade(req, socket, head, permissionOf(req.socket)))
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  server.on('clientError', (_error, socket) => {
    if (!socket.writable) return void socket.destroy()
    const body = `${JSON.stringify({ message: 'this is no HTTP request' })}\n`
    socket.end(
      `HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
    )
  })
  await bind(server, host, secure, groupId)
  return {
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      server.closeIdleConnections()
      await Promise.race([closed, api.deps.clock.sleep(CLOSE_WAIT_MS)])
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

async function bind(server: Server, host: string, secure: boolean, groupId: number | undefined): Promise<void> {
  const path = /^unix:\/\/(\/.+)$/.exec(host)?.[1]
  if (path !== undefined) {
    await mkdir(dirname(path), { recursive: true, mode: 0o755 })
    await removeStale(path)
    await listening(server, { path })
    if (groupId !== undefined) await chown(path, process.getuid?.() ?? 0, groupId)
    await chmod(path, 0o660)
    return
  }
  const tcp = (
    secure ? /^tcp:\/\/([\w.-]+|\[[0-9a-f:]+\]):(\d{1,5})$/ : /^tcp:\/\/(127\.\d{1,3}\.\d{1,3}\.\d{1,3}|localhost|\[::1\]):(\d{1,5})$/
  ).exec(host)
  if (!tcp) {
    throw new ShoalError('invalid-argument', `cannot listen on ${host}`, {
      next: 'Use unix:///PATH or tcp://127.0.0.1:PORT: other addresses need --tlsverify with certificates',
    })
  }
  await listening(server, { host: tcp[1]!.replace(/[[\]]/g, ''), port: Number(tcp[2]) })
}

function listening(server: Server, where: { path: string } | { host: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const place = 'path' in where ? `unix://${where.path}` : `tcp://${where.host}:${where.port}`
      const code = error.code === 'EADDRINUSE' ? 'already-exists' : 'unavailable'
      reject(
        new ShoalError(code, `cannot listen on ${place}: ${error.message}`, { next: 'Choose another address with --host', cause: error }),
      )
    })
    server.listen(where, resolve)
  })
}

/** Removes a socket file on which nobody answers. Other files are left alone. */
async function removeStale(path: string): Promise<void> {
  const stat = await lstat(path).catch(() => undefined)
  if (!stat) return
  if (!stat.isSocket()) {
    throw new ShoalError('already-exists', `${path} exists and is no socket`, { next: 'Remove it or choose another path with --host' })
  }
  if (await answers(path)) {
    throw new ShoalError('already-exists', `another daemon listens on unix://${path}`, {
      next: 'Stop it or choose another path with --host',
    })
  }
  await unlink(path)
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path)
    socket.on('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })
}
