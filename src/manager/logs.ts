// Where the API reads logs of services and tasks from; the dispatcher's log broker is adapted to it.
import type { Instant, NodeId, ServiceId, TaskId } from '../lib/index.ts'

/** A task is meant when its own id, its service's or its node's is named. */
export interface LogSelector {
  readonly serviceIds: readonly ServiceId[]
  readonly nodeIds: readonly NodeId[]
  readonly taskIds: readonly TaskId[]
}

export interface LogOptions {
  readonly stdout: boolean
  readonly stderr: boolean
  readonly follow: boolean
  /** Last lines per task; undefined = all. */
  readonly tail: number | undefined
  readonly since: Instant | undefined
}

export interface LogLine {
  readonly nodeId: NodeId
  readonly taskId: TaskId
  readonly serviceId: ServiceId | undefined
  readonly stream: 'stdout' | 'stderr'
  readonly at: Instant
  /** Nanoseconds below the millisecond of `at`, 0..999999. */
  readonly atNs: number
  /** With the newline, as the engine gives it. */
  readonly data: Uint8Array
  readonly attrs: Readonly<Record<string, string>>
}

/** A node whose lines are missing from here on, and why. */
export interface LogGap {
  readonly gap: NodeId
  readonly reason: string
}

export interface LogSource {
  /** Lines of all nodes as they come. Ends when every node has said all (never with `follow`, unless the signal aborts). */
  subscribe(selector: LogSelector, options: LogOptions, signal: AbortSignal): AsyncIterable<LogLine | LogGap>
}
