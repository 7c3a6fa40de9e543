// Instants and durations: plain numbers with the unit in the name.

/** Milliseconds since the Unix epoch, wall clock. */
export type Instant = number

export const MS = 1_000_000 // nanoseconds
export const SECOND_NS = 1_000_000_000
export const SECOND_MS = 1_000
export const MINUTE_MS = 60_000
export const HOUR_MS = 3_600_000

/** Nanoseconds (the unit of the Docker API) as milliseconds. */
export function nsToMs(ns: number): number {
  return ns / MS
}

/** RFC 3339 in UTC as Go prints it: no trailing zeros in the fraction. */
export function rfc3339(instant: Instant): string {
  return new Date(instant)
    .toISOString()
    .replace(/(\.\d*?)0+Z$/, '$1Z')
    .replace('.Z', 'Z') // real-time: formats a given instant
}
