// The Clock port: wall time for what is shown and stored, monotonic time for waits.
import type { Instant } from '../lib/index.ts'

export interface Timer {
  cancel(): void
}

export interface Clock {
  /** Wall clock, milliseconds since the epoch. May jump. */
  now(): Instant
  /** Milliseconds from an arbitrary start; never runs backwards. Use it for every wait and age. */
  monotonicMs(): number
  /** Calls `fn` once after at least `delayMs` (0 = soon, never at once). */
  setTimer(delayMs: number, fn: () => void): Timer
  /** Resolves after `delayMs`; rejects with a ShoalError 'canceled' when `signal` aborts. */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>
}
