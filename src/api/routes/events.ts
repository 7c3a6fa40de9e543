// /events: the swarm's events and the engine's in one stream, with replay and filters (docker-api.md 1.8).

import type { IncomingMessage } from 'node:http'
import { createInterface } from 'node:readline'
import { errorText, type Instant, ShoalError } from '../../lib/index.ts'
import type { App } from '../app.ts'
import { printEvent, type SwarmEvent } from '../events/swarmEvents.ts'
import type { RequestContext } from '../http/context.ts'
import { type Filters, parseFilters } from '../http/filters.ts'
import type { Route } from '../http/router.ts'

/** A client that reads slower than events come is let go when this much waits for it. */
const MAX_UNREAD_BYTES = 4 * 1024 * 1024
const SWARM_TYPES = ['service', 'node', 'secret', 'config', 'network']
/** Filters that name objects by kind; one of a kind lets only events of that kind through. */
const KIND_FILTERS = ['container', 'image', 'volume', 'network', 'daemon', 'plugin', 'service', 'node', 'secret', 'config']

export function eventRoutes(app: App): Route[] {
  return [{ method: 'GET', pattern: '/events', handler: (context) => events(app, context) }]
}

async function events(app: App, context: RequestContext): Promise<void> {
  const { query, res, signal } = context
  const { clock } = app.deps
  const filters = parseFilters(query, undefined)
  const since = parseInstant(query.get('since'), 'since')
  const until = parseInstant(query.get('until'), 'until')
  if (since !== undefined && until !== undefined && until < since) {
    throw new ShoalError('invalid-argument', '`since` time cannot be after `until` time')
  }
  await app.events.ready()
  app.events.follow()
  const now = clock.now()
  const isWanted = (event: SwarmEvent) => matches(event, filters) && (until === undefined || event.at <= until)
  const replayed = since === undefined ? [] : app.events.recent().filter((event) => event.at >= since && isWanted(event))
  const asksEngine = wantsEngine(filters)

  if (until !== undefined && until <= now) {
    const lines = asksEngine ? await linesOf(await engineEvents(app, context, signal)) : []
    start(res)
    for (const line of merged(replayed, lines)) res.write(`${line}\n`)
    res.end()
    return
  }

  const ending = new AbortController()
  const both = AbortSignal.any([signal, ending.signal])
  const timer = until === undefined ? undefined : clock.setTimer(until - now, () => ending.abort())
  const write = (line: string) => {
    if (both.aborted) return
    res.write(`${line}\n`)
    if (res.writableLength > MAX_UNREAD_BYTES) ending.abort()
  }
  // Listen before the engine has answered, so that nothing between is missed.
  let waiting: string[] | undefined = replayed.map(printEvent)
  const unlisten = app.events.listen((event) => {
    if (!isWanted(event)) return
    if (waiting) waiting.push(printEvent(event))
    else write(printEvent(event))
  })
  try {
    const engine = asksEngine ? await engineEvents(app, context, both) : undefined
    start(res)
    for (const line of waiting) write(line)
    waiting = undefined
    if (engine) await pump(engine, write, app, both)
    await aborted(both, engine === undefined)
  } finally {
    unlisten()
    timer?.cancel()
  }
  res.end()
}

function start(res: RequestContext['res']): void {
  res.writeHead(200, { 'Content-Type': 'application/json' })
  res.flushHeaders()
}

/** The engine's stream with the same query. */
async function engineEvents(app: App, { req }: RequestContext, signal: AbortSignal): Promise<IncomingMessage> {
  const incoming = await app.engine.stream({ method: 'GET', path: req.url ?? '/events', signal })
  if (incoming.statusCode === 200) return incoming
  const [line = ''] = await linesOf(incoming)
  const message = /"message":"((?:[^"\\]|\\.)*)"/.exec(line)?.[1]
  throw new ShoalError('invalid-argument', message ?? `the engine refused to show its events (status ${incoming.statusCode})`)
}

async function pump(engine: IncomingMessage, write: (line: string) => void, app: App, signal: AbortSignal): Promise<void> {
  try {
    for await (const line of createInterface({ input: engine, crlfDelay: Number.POSITIVE_INFINITY })) if (line !== '') write(line)
  } catch (error) {
    if (!signal.aborted) app.deps.log.debug('the event stream of the engine broke', { error: errorText(error) })
  } finally {
    engine.destroy()
  }
}

/** Without an engine's stream to end it, only the client or `until` ends ours. */
function aborted(signal: AbortSignal, wait: boolean): Promise<void> {
  if (!wait || signal.aborted) return Promise.resolve()
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}

async function linesOf(incoming: IncomingMessage): Promise<string[]> {
  const lines: string[] = []
  for await (const line of createInterface({ input: incoming, crlfDelay: Number.POSITIVE_INFINITY })) if (line !== '') lines.push(line)
  return lines
}

/** By time; nanoseconds are compared as text of equal length. */
function merged(ours: readonly SwarmEvent[], engine: readonly string[]): string[] {
  const timeOf = (line: string) => /"timeNano":(\d+)/.exec(line)?.[1]?.padStart(20, '0') ?? ''
  return [...ours.map(printEvent), ...engine]
    .map((line) => ({ line, time: timeOf(line) }))
    .sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0))
    .map(({ line }) => line)
}

function wantsEngine(filters: Filters): boolean {
  if (filters.has('scope') && !filters.get('scope').includes('local')) return false
  if (filters.has('type') && filters.get('type').every((type) => type !== 'network' && SWARM_TYPES.includes(type))) return false
  return !['service', 'node', 'secret', 'config'].some((kind) => filters.has(kind))
}

function matches({ type, action, id, attributes }: SwarmEvent, filters: Filters): boolean {
  if (!filters.exact('type', type) || !filters.exact('event', action) || !filters.exact('scope', 'swarm')) return false
  if (filters.has('label') || filters.has('image')) return false
  return KIND_FILTERS.every((kind) => !filters.has(kind) || (kind === type && filters.prefix(kind, id, attributes.name)))
}

/** Unix seconds with or without a fraction, or RFC 3339. */
function parseInstant(text: string | null, name: string): Instant | undefined {
  if (text === null || text === '') return undefined
  if (/^-?\d+(\.\d{1,9})?$/.test(text)) return Math.floor(Number(text) * 1000)
  const parsed = Date.parse(text)
  if (Number.isNaN(parsed))
    throw new ShoalError('invalid-argument', `invalid value for ${name}: ${text}`, { next: 'Use unix seconds or RFC 3339' })
  return parsed
}
