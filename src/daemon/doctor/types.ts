// What the doctor says: one finding for each thing that was looked at.

/** `fail`: something of the swarm does not work. `warn`: it may not work for others, or not for long. */
export type Level = 'ok' | 'warn' | 'fail'

export interface Finding {
  readonly check: string
  readonly level: Level
  /** A sentence for people. */
  readonly text: string
  /** What to do about it. */
  readonly next?: string
}

export interface DoctorReport {
  readonly healthy: boolean
  readonly findings: readonly Finding[]
}

export function ok(check: string, text: string): Finding {
  return { check, level: 'ok', text }
}

export function warn(check: string, text: string, next: string): Finding {
  return { check, level: 'warn', text, next }
}

export function fail(check: string, text: string, next: string): Finding {
  return { check, level: 'fail', text, next }
}
