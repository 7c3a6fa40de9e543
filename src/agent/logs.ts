// Log subscriptions: a manager asks for lines of some tasks; each subscription gets one call that carries them up.
import type { MessageInitShape } from '@bufbuild/protobuf'
import { errorText, isShoalError, type Logger, type NodeId, ShoalError } from '../lib/index.ts'
import type { Channel, Engine } from '../ports/index.ts'
import { LogBroker, type PublishLogsMessageSchema } from '../proto/index.ts'
import { buildLogLine, type LogLine, parseSubscription, type Subscription } from '../wire/index.ts'
import { Merge } from './merge.ts'
import type { Supervisor } from './supervisor.ts'
import type { NodeTask } from './task.ts'
import type { Tasks } from './tasks.ts'

type Message = MessageInitShape<typeof PublishLogsMessageSchema>
type OpenSubscription = Extract<Subscription, { close: false }>

/** Lines that wait for the connection; containers are read no faster than the manager takes them. */
const BUFFERED_LINES = 1_000
const LINES_PER_MESSAGE = 100
const MOST_SUBSCRIPTIONS = 200

export interface LogDeps {
  readonly engine: Engine
  readonly log: Logger
  readonly nodeId: NodeId
  readonly supervisor: Supervisor
}

/** Serves subscriptions until the signal aborts or the stream breaks. A manager without a log broker is no failure. */
export async function serveLogs(deps: LogDeps, tasks: Tasks, channel: Channel, session: AbortSignal): Promise<void> {
  const open = new Map<string, AbortController>()
  try {
    for await (const message of channel.serverStream(LogBroker.method.listenSubscriptions, {}, { signal: session })) {
      const subscription = parseSubscription(message)
      if (subscription.close) {
        open.get(subscription.id)?.abort()
        continue
      }
      if (open.has(subscription.id) || open.size >= MOST_SUBSCRIPTIONS) {
        deps.log.warn('a log subscription was left out', { subscription: subscription.id, open: open.size })
        continue
      }
      const closed = new AbortController()
      open.set(subscription.id, closed)
      deps.supervisor.run('publishing logs', async () => {
        try {
          await publish(deps, tasks, channel, subscription, closed.signal, session)
        } finally {
          open.delete(subscription.id)
        }
      })
    }
    if (!session.aborted) throw new ShoalError('unavailable', 'the manager ended the log subscriptions')
  } catch (error) {
    if (!isShoalError(error, 'unimplemented')) throw error
    await new Promise<void>((resolve) => session.addEventListener('abort', () => resolve(), { once: true }))
  } finally {
    for (const closed of open.values()) closed.abort()
  }
}

async function publish(
  deps: LogDeps,
  tasks: Tasks,
  channel: Channel,
  subscription: OpenSubscription,
  closed: AbortSignal,
  session: AbortSignal,
): Promise<void> {
  const stop = new AbortController()
  const signal = AbortSignal.any([closed, session, stop.signal])
  const lines = new Merge<LogLine>(BUFFERED_LINES)
  const end = () => lines.end()
  signal.addEventListener('abort', end, { once: true })
  deps.supervisor.run('reading logs', async () => {
    try {
      await readTasks(deps, tasks, subscription, lines, signal)
    } finally {
      lines.end()
    }
  })
  try {
    await channel.clientStream(LogBroker.method.publishLogs, messages(subscription.id, lines), { signal: session })
  } catch (error) {
    if (!session.aborted) deps.log.info('the manager does not take these logs', { subscription: subscription.id, error: errorText(error) })
  } finally {
    stop.abort()
  }
}

async function* messages(subscriptionId: string, lines: Merge<LogLine>): AsyncGenerator<Message> {
  for (;;) {
    const batch = await lines.take(LINES_PER_MESSAGE)
    if (batch.length === 0) break
    yield { subscriptionId, messages: batch.map(buildLogLine), close: false }
  }
  yield { subscriptionId, messages: [], close: true }
}

/** Without follow: what is there now. With follow: until the subscription is closed, tasks that come later included. */
async function readTasks(
  deps: LogDeps,
  tasks: Tasks,
  subscription: OpenSubscription,
  lines: Merge<LogLine>,
  signal: AbortSignal,
): Promise<void> {
  const readers = new Set<Promise<void>>()
  const read = (task: NodeTask) => {
    if (!matches(subscription, task, deps.nodeId)) return
    const reader = readTask(deps, task, subscription, lines, signal).catch((error) => {
      if (!signal.aborted) deps.log.info('the log of a task cannot be read', { task: task.id, error: errorText(error) })
    })
    readers.add(reader)
    reader.finally(() => readers.delete(reader)).catch(() => {}) // never rejects
  }
  const unlisten = subscription.options.follow ? tasks.onTask(read) : () => {}
  for (const task of tasks.all()) read(task)
  try {
    if (subscription.options.follow && !signal.aborted) {
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
    }
    await Promise.all(readers)
  } finally {
    unlisten()
  }
}

async function readTask(
  deps: LogDeps,
  task: NodeTask,
  { options }: OpenSubscription,
  lines: Merge<LogLine>,
  signal: AbortSignal,
): Promise<void> {
  const containerId = options.follow ? await task.startedContainer(signal) : task.containerId
  if (containerId === undefined || signal.aborted) return
  const wanted = { ...options, tail: options.tail, since: options.since }
  for await (const line of deps.engine.logs(containerId, wanted, signal)) {
    const { stream, at, atNs, data, attrs } = line
    if (!(await lines.push({ serviceId: task.serviceId, nodeId: deps.nodeId, taskId: task.id, stream, at, atNs, data, attrs }))) return
  }
}

/** A task that any part of the selector names. */
function matches({ selector }: OpenSubscription, task: NodeTask, nodeId: NodeId): boolean {
  return (
    selector.taskIds.includes(task.id) ||
    selector.nodeIds.includes(nodeId) ||
    (task.serviceId !== undefined && selector.serviceIds.includes(task.serviceId))
  )
}
