// Log subscriptions (manager to node) and log lines (node to manager), both ways.
import { create } from '@bufbuild/protobuf'
import type { Instant, NodeId, ServiceId, TaskId } from '../lib/index.ts'
import { ShoalError } from '../lib/index.ts'
import {
  LogMessageSchema,
  LogStream,
  type SubscriptionMessage,
  SubscriptionMessageSchema,
  type LogMessage as WireLogMessage,
} from '../proto/index.ts'
import { compact, instantOf, int64, mustSend, timestamp } from './values.ts'

export interface LogSelector {
  readonly serviceIds: readonly ServiceId[]
  readonly nodeIds: readonly NodeId[]
  readonly taskIds: readonly TaskId[]
}

export interface LogOptions {
  readonly stdout: boolean
  readonly stderr: boolean
  readonly follow: boolean
  /** The last n lines (0 = none of the past); undefined = all. */
  readonly tail?: number
  readonly since?: Instant
}

export type Subscription =
  | { readonly id: string; readonly close: false; readonly selector: LogSelector; readonly options: LogOptions }
  | { readonly id: string; readonly close: true }

export interface LogLine {
  readonly serviceId: ServiceId | undefined
  readonly nodeId: NodeId
  readonly taskId: TaskId
  readonly at: Instant
  /** Nanoseconds below the millisecond of `at`. */
  readonly atNs: number
  readonly stream: 'stdout' | 'stderr'
  /** With its newline. */
  readonly data: Uint8Array
  readonly attrs: Readonly<Record<string, string>>
}

/** Options are always there, also when it is closed: a stock engine panics without. */
export function buildSubscription(subscription: Subscription): SubscriptionMessage {
  mustSend(subscription.id, 'a log subscription without id')
  if (subscription.close) return create(SubscriptionMessageSchema, { id: subscription.id, close: true, selector: {}, options: {} })
  const { selector, options } = subscription
  mustSend(options.tail === undefined || options.tail >= 0, 'a negative number of log lines')
  const streams = [...(options.stdout ? [LogStream.STDOUT] : []), ...(options.stderr ? [LogStream.STDERR] : [])]
  return create(SubscriptionMessageSchema, {
    id: subscription.id,
    selector: { serviceIds: selector.serviceIds.slice(), nodeIds: selector.nodeIds.slice(), taskIds: selector.taskIds.slice() },
    options: {
      streams, // none = both
      follow: options.follow,
      tail: options.tail === undefined ? 0n : int64(-(options.tail + 1), 'the number of log lines'),
      since: options.since === undefined ? undefined : timestamp(options.since),
    },
  })
}

export function parseSubscription(message: SubscriptionMessage): Subscription {
  if (!message.id) throw new ShoalError('invalid-argument', 'a log subscription has no id')
  if (message.close) return { id: message.id, close: true }
  const { selector, options } = message
  if (!options) throw new ShoalError('invalid-argument', `log subscription ${message.id} has no options`)
  const has = (stream: LogStream) => options.streams.length === 0 || options.streams.includes(stream)
  return {
    id: message.id,
    close: false,
    selector: {
      serviceIds: (selector?.serviceIds ?? []) as ServiceId[],
      nodeIds: (selector?.nodeIds ?? []) as NodeId[],
      taskIds: (selector?.taskIds ?? []) as TaskId[],
    },
    options: compact<LogOptions>({
      stdout: has(LogStream.STDOUT),
      stderr: has(LogStream.STDERR),
      follow: options.follow,
      tail: options.tail < 0n ? Number(-options.tail - 1n) : undefined,
      since: instantOf(options.since),
    }),
  }
}

export function buildLogLine(line: LogLine): WireLogMessage {
  return create(LogMessageSchema, {
    context: { serviceId: line.serviceId ?? '', nodeId: line.nodeId, taskId: line.taskId },
    timestamp: timestamp(line.at, line.atNs),
    stream: line.stream === 'stdout' ? LogStream.STDOUT : LogStream.STDERR,
    data: line.data,
    attrs: Object.entries(line.attrs).map(([key, value]) => ({ key, value })),
  })
}

/** Throws 'invalid-argument' for a line that does not say whose it is. */
export function parseLogLine(message: WireLogMessage): LogLine {
  const { context } = message
  if (!context?.taskId || !context.nodeId) throw new ShoalError('invalid-argument', 'a log line does not say whose it is')
  return {
    serviceId: (context.serviceId || undefined) as ServiceId | undefined,
    nodeId: context.nodeId as NodeId,
    taskId: context.taskId as TaskId,
    at: instantOf(message.timestamp) ?? 0,
    atNs: (message.timestamp?.nanos ?? 0) % 1_000_000,
    stream: message.stream === LogStream.STDERR ? 'stderr' : 'stdout',
    data: message.data,
    attrs: Object.fromEntries(message.attrs.map(({ key, value }) => [key, value])),
  }
}
