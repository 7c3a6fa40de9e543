// The engine's event stream: container events in the port's words, reopened for ever, each opening announced.
import { createInterface } from 'node:readline'
import { errorText, type Logger } from '../../lib/index.ts'
import type { Clock, EngineEvent } from '../../ports/index.ts'
import type { DockerHttp } from './http.ts'
import { labels, object, text } from './json.ts'

const RETRY_MIN_MS = 100
const RETRY_MAX_MS = 2_000
const ACTIONS: Readonly<Record<string, Extract<EngineEvent, { kind: 'container' }>['action']>> = {
  create: 'create',
  start: 'start',
  die: 'die',
  destroy: 'destroy',
  oom: 'oom',
  kill: 'kill',
  stop: 'stop',
}

export interface EventDeps {
  readonly http: DockerHttp
  readonly clock: Clock
  readonly log: Logger
  /** A container of this name is gone, whoever removed it. */
  readonly onDestroyed: (containerName: string) => Promise<void>
}

export async function* containerEvents({ http, clock, log, onDestroyed }: EventDeps, signal: AbortSignal): AsyncGenerator<EngineEvent> {
  let retryMs = RETRY_MIN_MS
  while (!signal.aborted) {
    try {
      const filters = JSON.stringify({ type: ['container'], event: [...Object.keys(ACTIONS), 'health_status'] })
      const response = await http.stream({ method: 'GET', path: '/events', query: { filters }, signal })
      retryMs = RETRY_MIN_MS
      yield { kind: 'reconnected' }
      for await (const line of createInterface({ input: response, crlfDelay: Number.POSITIVE_INFINITY })) {
        const event = parseEvent(line)
        if (event?.kind === 'container' && event.action === 'destroy' && event.labels.name) await onDestroyed(event.labels.name)
        if (event) yield event
      }
      log.debug('the event stream of the engine ended')
    } catch (error) {
      if (signal.aborted) return
      log.debug('no event stream from the engine', { error: errorText(error) })
    }
    try {
      await clock.sleep(retryMs, signal)
    } catch {
      return // aborted
    }
    retryMs = Math.min(retryMs * 2, RETRY_MAX_MS)
  }
}

/** `health_status: healthy` carries its result after a colon. */
function parseEvent(line: string): EngineEvent | undefined {
  let event: Readonly<Record<string, unknown>>
  try {
    event = object(JSON.parse(line))
  } catch {
    return undefined
  }
  const name = text(event.Action)
  const action = name.startsWith('health_status') ? 'health' : ACTIONS[name]
  const actor = object(event.Actor)
  if (!action || !text(actor.ID)) return undefined
  return { kind: 'container', action, containerId: text(actor.ID), labels: labels(actor.Attributes) }
}
