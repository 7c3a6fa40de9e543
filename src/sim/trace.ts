// What happened in a simulated run, as a hash that proves two runs equal, and as the last lines for whoever looks at a failure.
import { createHash } from 'node:crypto'
import type { Clock } from '../ports/index.ts'

export interface Trace {
  note(line: string): void
  /** Hash of everything noted so far; same program and seed, same hash. */
  digest(): string
  /** The last lines, oldest first, with the virtual second of each. */
  tail(): readonly string[]
  readonly lines: number
}

const FLUSH_CHARS = 1 << 16

/** `keep` = how many lines `tail` shows; `print` is told each line at once. */
export function createTrace(clock: Clock, keep = 200, print?: (line: string) => void): Trace {
  const hash = createHash('sha256')
  const recent: string[] = []
  let pending = ''
  let lines = 0
  return {
    note(line) {
      lines += 1
      const text = `${(clock.monotonicMs() / 1000).toFixed(3)} ${line}`
      pending += text
      pending += '\n'
      if (pending.length > FLUSH_CHARS) {
        hash.update(pending)
        pending = ''
      }
      recent.push(text)
      if (recent.length > 2 * keep) recent.splice(0, keep)
      print?.(text)
    },
    digest: () => hash.copy().update(pending).digest('hex').slice(0, 16),
    tail: () => recent.slice(-keep),
    get lines() {
      return lines
    },
  }
}
