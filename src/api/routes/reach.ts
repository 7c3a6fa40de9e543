// /shoal/tasks/{id}/container/… and …/forward: exec, files, statistics and ports of a task, on whichever node it runs.
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { ShoalError, type TaskId } from '../../lib/index.ts'
import { createStreamClient, forward, join, upgrade } from '../../proxy/index.ts'
import { type App, managerOf } from '../app.ts'
import type { RequestContext } from '../http/context.ts'
import type { Route } from '../http/router.ts'

const BASE = '/shoal/tasks/{id}/container'
const UPGRADES = /^\/shoal\/tasks\/([^/]+)\/(container\/exec\/[0-9a-f]{64}\/start|forward)$/

/** The rest of a path is Docker's own: `…/container/stats` is what `/containers/X/stats` is there. */
export function reachRoutes(app: App): Route[] {
  const about = (action: string) => (context: RequestContext) => pass(app, context, `/containers/self/${action}`)
  const exec = (action: string) => (context: RequestContext) => pass(app, context, `/exec/${context.params.exec}/${action}`)
  return [
    { method: 'GET', pattern: `${BASE}/json`, handler: about('json') },
    { method: 'GET', pattern: `${BASE}/stats`, handler: about('stats') },
    { method: 'GET', pattern: `${BASE}/top`, handler: about('top') },
    { method: 'GET', pattern: `${BASE}/archive`, handler: about('archive') },
    { method: 'HEAD', pattern: `${BASE}/archive`, handler: about('archive') },
    { method: 'PUT', pattern: `${BASE}/archive`, handler: about('archive') },
    { method: 'POST', pattern: `${BASE}/exec`, handler: about('exec') },
    { method: 'GET', pattern: `${BASE}/exec/{exec}/json`, handler: exec('json') },
    { method: 'POST', pattern: `${BASE}/exec/{exec}/start`, handler: exec('start') },
    { method: 'POST', pattern: `${BASE}/exec/{exec}/resize`, handler: exec('resize') },
  ]
}

async function pass(app: App, { req, res, params, query, signal }: RequestContext, path: string): Promise<void> {
  const stream = await open(app, params.id!, 0, signal)
  const text = query.toString()
  await forward(createStreamClient(stream, 'the node of the task'), app.deps.log, req, res, { path: text ? `${path}?${text}` : path })
  stream.destroy()
}

/** Answers the upgrades that are ours; false for others. Throws as long as nothing was answered. */
export async function reachUpgrade(
  app: App,
  path: string,
  query: URLSearchParams,
  req: IncomingMessage,
  socket: Duplex,
  head: Buffer,
): Promise<boolean> {
  const match = UPGRADES.exec(path)
  if (!match) return false
  const gone = new AbortController()
  socket.once('close', () => gone.abort())
  const task = decodeURIComponent(match[1]!)
  if (match[2] !== 'forward') {
    const stream = await open(app, task, 0, gone.signal)
    await upgrade(createStreamClient(stream, 'the node of the task'), app.deps.log, req, socket, head, path.replace(/^.*\/container/, ''))
    stream.destroy()
    return true
  }
  const port = Number(query.get('port'))
  if (!Number.isInteger(port) || port < 1 || port > 65535) throw new ShoalError('invalid-argument', `"${query.get('port')}" is no port`)
  const stream = await open(app, task, port, gone.signal)
  socket.write('HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n')
  if (head.length > 0) stream.write(head)
  join(socket, stream, app.deps.log)
  return true
}

async function open(app: App, text: string, port: number, signal: AbortSignal): Promise<Duplex> {
  const { control, tunnels } = managerOf(app.deps)
  const task = control.task(text)
  if (!tunnels) throw new ShoalError('unimplemented', 'this manager cannot reach into tasks')
  return await tunnels.open({ taskId: task.id as TaskId, port }, signal)
}
