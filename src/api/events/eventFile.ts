// Recent events on disk, so that `docker events --since` reaches back beyond a restart: one JSON line each, appended, cut down when there are too many.
import { appendFile, readFile, rename, writeFile } from 'node:fs/promises'
import { errorText, type Logger } from '../../lib/index.ts'
import type { SwarmEvent } from './swarmEvents.ts'

export interface EventFile {
  /** The newest `most` events; none when the file is not there or unreadable. */
  load(most: number): Promise<readonly SwarmEvent[]>
  /** Not waited for; a write that fails is logged and costs history only. */
  append(events: readonly SwarmEvent[]): void
  /** Resolves when everything is written. */
  close(): Promise<void>
}

export function createEventFile(path: string, log: Logger): EventFile {
  let lines = 0
  let kept = Number.POSITIVE_INFINITY
  let waiting: SwarmEvent[] = []
  let writing: Promise<void> | undefined

  const write = async () => {
    while (waiting.length > 0) {
      const batch = waiting
      waiting = []
      try {
        await appendFile(path, batch.map((event) => `${JSON.stringify(event)}\n`).join(''), { mode: 0o600 })
        lines += batch.length
        if (lines > 2 * kept) await cut()
      } catch (error) {
        log.warn('events could not be kept', { path, error: errorText(error) })
      }
    }
    writing = undefined
  }

  const cut = async () => {
    const newest = (await readFile(path, 'utf8')).split('\n').filter(Boolean).slice(-kept)
    await writeFile(`${path}.new`, `${newest.join('\n')}\n`, { mode: 0o600 })
    await rename(`${path}.new`, path)
    lines = newest.length
  }

  return {
    async load(most) {
      kept = most
      const text = await readFile(path, 'utf8').catch(() => '')
      const all = text.split('\n').filter(Boolean)
      lines = all.length
      return all.slice(-most).flatMap((line) => parse(line) ?? [])
    },
    append(events) {
      waiting.push(...events)
      writing ??= write()
    },
    close: () => writing ?? Promise.resolve(),
  }
}

/** A line that was cut short by a crash is left out. */
function parse(line: string): SwarmEvent | undefined {
  try {
    return JSON.parse(line) as SwarmEvent
  } catch {
    return undefined
  }
}
