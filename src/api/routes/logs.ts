// /services/{id}/logs and /tasks/{id}/logs: lines of all nodes as Docker frames them (docker-api.md 1.7).
import type { Instant, NodeId, ServiceId, TaskId } from '../../lib/index.ts'
import { ShoalError } from '../../lib/index.ts'
import type { LogGap, LogLine, LogSelector } from '../../manager/index.ts'
import type { ContainerSpec } from '../../model/index.ts'
import type { View } from '../../store/index.ts'
import { type App, managerOf } from '../app.ts'
import { flag, type RequestContext } from '../http/context.ts'
import type { Route } from '../http/router.ts'
import { isBefore } from '../json/gates.ts'

export function logRoutes(app: App): Route[] {
  return [
    {
      method: 'GET',
      pattern: '/services/{id}/logs',
      handler: (context) => {
        const service = managerOf(app.deps).control.service(context.params.id!)
        return stream(app, context, { serviceIds: [service.id], nodeIds: [], taskIds: [] }, service.spec.task.container)
      },
    },
    {
      method: 'GET',
      pattern: '/tasks/{id}/logs',
      handler: (context) => {
        const { control, store } = managerOf(app.deps)
        const task = control.task(context.params.id!)
        const revision = task.serviceId && store.view().specRevisions.of(task.serviceId, task.specVersion)
        return stream(app, context, { serviceIds: [], nodeIds: [], taskIds: [task.id] }, revision?.task.container)
      },
    },
  ]
}

interface Format {
  readonly framed: boolean
  readonly timestamps: boolean
  readonly details: boolean
}

async function stream(app: App, context: RequestContext, selector: LogSelector, container: ContainerSpec | undefined): Promise<void> {
  const { res, query, version, signal } = context
  const { logs, store } = managerOf(app.deps)
  const options = {
    stdout: flag(query, 'stdout'),
    stderr: flag(query, 'stderr'),
    follow: flag(query, 'follow'),
    tail: parseTail(query.get('tail')),
    since: parseSince(query.get('since')),
  }
  if (!options.stdout && !options.stderr) throw new ShoalError('invalid-argument', 'Bad parameters: you must choose at least one stream')
  const framed = container?.tty !== true
  const format = { framed, timestamps: flag(query, 'timestamps'), details: flag(query, 'details') }
  const type = `application/vnd.docker.${framed ? 'multiplexed' : 'raw'}-stream`
  res.writeHead(200, isBefore(version, 42) ? {} : { 'Content-Type': type })
  res.flushHeaders()
  for await (const item of logs.subscribe(selector, options, signal)) {
    if (signal.aborted) break
    const bytes = 'gap' in item ? gapBytes(store.view(), selector, item, app.deps.clock.now(), format) : lineBytes(item, format)
    if (bytes && !res.write(bytes)) await drained(res, signal)
  }
  res.end()
}

function lineBytes(line: LogLine, { framed, timestamps, details }: Format): Buffer {
  const head = `${timestamps ? `${timestamp(line.at, line.atNs)} ` : ''}${details ? `${attributes(line)} ` : ''}`
  const payload = Buffer.concat([Buffer.from(head), line.data])
  return framed ? frame(line.stream, payload) : payload
}

/** A sentence in the place of the missing lines. With details a client looks up the task, so the gap is put down to one of that node. */
function gapBytes(view: View, selector: LogSelector, { gap, reason }: LogGap, now: Instant, format: Format): Buffer | undefined {
  const data = Buffer.from(`shoal: lines of node ${gap} are missing from here on: ${reason}\n`)
  const taskId = taskOn(view, selector, gap)
  if (taskId === undefined) return undefined
  const serviceId = view.tasks.get(taskId)?.serviceId
  return lineBytes({ nodeId: gap, taskId, serviceId, stream: 'stderr', at: now, atNs: 0, data, attrs: {} }, format)
}

function taskOn(view: View, { serviceIds, taskIds }: LogSelector, node: NodeId): TaskId | undefined {
  for (const id of taskIds) if (view.tasks.get(id)?.nodeId === node) return id
  for (const id of serviceIds) for (const task of view.tasks.byService(id)) if (task.nodeId === node) return task.id
  return undefined
}

/** 8 bytes (stream, 0 0 0, big-endian length) and the payload. */
function frame(stream: LogLine['stream'], payload: Buffer): Buffer {
  const head = Buffer.alloc(8)
  head[0] = stream === 'stdout' ? 1 : 2
  head.writeUInt32BE(payload.length, 4)
  return Buffer.concat([head, payload])
}

function attributes({ nodeId, serviceId, taskId, attrs }: LogLine): string {
  const all: Record<string, string> = {
    ...attrs,
    'com.docker.swarm.node.id': nodeId,
    'com.docker.swarm.service.id': serviceId ?? ('' as ServiceId),
    'com.docker.swarm.task.id': taskId,
  }
  return Object.entries(all)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${encodeURIComponent(key)}=${encodeURIComponent(value)}`)
    .join(',')
}

/** RFC 3339 with all nine digits, as Docker prints log times. */
function timestamp(at: Instant, atNs: number): string {
  return `${new Date(at).toISOString().slice(0, -1)}${String(atNs).padStart(6, '0')}Z`
}

/** `all`, nothing or what is no number: all lines. */
function parseTail(text: string | null): number | undefined {
  return text !== null && /^\d{1,9}$/.test(text) ? Number(text) : undefined
}

/** Unix time in seconds, with or without a fraction; RFC 3339 too. */
function parseSince(text: string | null): Instant | undefined {
  if (text === null || text === '' || text === '0') return undefined
  if (/^-?\d+(\.\d{0,9})?$/.test(text)) return Math.floor(Number(text) * 1000)
  const parsed = Date.parse(text)
  if (Number.isNaN(parsed))
    throw new ShoalError('invalid-argument', `invalid value for since: ${text}`, { next: 'Use unix seconds or RFC 3339' })
  return parsed
}

export function drained(res: RequestContext['res'], signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const settle = () => {
      res.off('drain', settle).off('close', settle)
      signal.removeEventListener('abort', settle)
      resolve()
    }
    res.on('drain', settle).on('close', settle)
    signal.addEventListener('abort', settle)
    if (signal.aborted || res.destroyed) settle()
  })
}
