// The log broker: asks the nodes of the tasks that a reader wants for their lines and brings them together.
import { BoundedQueue, type Logger, type NodeId, newId, type ServiceId, ShoalError, type TaskId } from '../lib/index.ts'
import { type Task, TaskState } from '../model/index.ts'
import { type CallContext, type Clock, handle, type Random, type Route, type Timer } from '../ports/index.ts'
import { LogBroker, type PublishLogsMessage, type SubscriptionMessage } from '../proto/index.ts'
import type { Change, Store } from '../store/index.ts'
import { buildSubscription, type LogLine, type LogOptions, type LogSelector, parseLogLine } from '../wire/index.ts'
import type { DispatcherLimits } from './limits.ts'
import { LogChannel } from './logChannel.ts'
import type { Sessions } from './sessions.ts'

/** A node whose lines are missing from here on, and why. */
export interface LogGap {
  readonly gap: NodeId
  readonly reason: string
}

export interface LogSource {
  /** Lines of all nodes as they come. Ends when every node has said all (never with `follow`, unless the signal aborts). */
  subscribe(selector: LogSelector, options: LogOptions, signal: AbortSignal): AsyncIterable<LogLine | LogGap>
}

interface Asked {
  /** Waits for the node to open its stream of lines. */
  deadline: Timer | undefined
  done: boolean
  publishing: boolean
  lastAt: number | undefined
}

interface Subscription {
  readonly id: string
  readonly selector: { readonly services: ReadonlySet<ServiceId>; readonly nodes: ReadonlySet<NodeId>; readonly tasks: ReadonlySet<TaskId> }
  readonly original: LogSelector
  readonly options: LogOptions
  readonly channel: LogChannel<LogLine | LogGap>
  readonly nodes: Map<NodeId, Asked>
}

export interface LogsDeps {
  readonly store: Store
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly limits: DispatcherLimits
  readonly sessions: Sessions
}

export class Logs implements LogSource {
  readonly #deps: LogsDeps
  readonly #subscriptions = new Map<string, Subscription>()
  readonly #listeners = new Map<NodeId, BoundedQueue<SubscriptionMessage>>()

  constructor(deps: LogsDeps) {
    this.#deps = deps
  }

  routes(): Route[] {
    return [
      handle(LogBroker.method.listenSubscriptions, (_request, ctx) => this.#listen(ctx)),
      handle(LogBroker.method.publishLogs, (requests, ctx) => this.#publish(requests, ctx)),
    ]
  }

  stop(): void {
    for (const subscription of [...this.#subscriptions.values()]) this.#close(subscription)
    for (const queue of this.#listeners.values()) queue.fail(new ShoalError('unavailable', 'the manager is stopping'))
    this.#listeners.clear()
  }

  async *subscribe(selector: LogSelector, options: LogOptions, signal: AbortSignal): AsyncGenerator<LogLine | LogGap> {
    const { random, limits, store } = this.#deps
    if (this.#subscriptions.size >= limits.logSubscriptions) throw new ShoalError('resource-exhausted', 'too many readers of logs at once')
    const subscription: Subscription = {
      id: newId(random),
      selector: { services: new Set(selector.serviceIds), nodes: new Set(selector.nodeIds), tasks: new Set(selector.taskIds) },
      original: selector,
      options,
      channel: new LogChannel(limits.logQueueLines),
      nodes: new Map(),
    }
    const close = () => this.#close(subscription)
    this.#subscriptions.set(subscription.id, subscription)
    signal.addEventListener('abort', close, { once: true })
    try {
      if (signal.aborted) return
      for (const task of candidates(store, selector)) if (matches(subscription, task)) this.#ask(subscription, task.nodeId as NodeId)
      this.#closeIfDone(subscription)
      yield* subscription.channel
    } finally {
      signal.removeEventListener('abort', close)
      close()
    }
  }

  /** New tasks of a followed service bring new nodes; a removed node brings nothing any more. */
  changed(change: Change): void {
    if (change.table === 'task' && change.after) {
      const { before, after } = change
      if (before && before.nodeId === after.nodeId && before.status.state >= TaskState.ASSIGNED) return
      for (const subscription of this.#subscriptions.values()) {
        if (subscription.options.follow && matches(subscription, after)) this.#ask(subscription, after.nodeId as NodeId)
      }
    }
    if (change.table === 'node' && (!change.after || (change.after.status.state === 'down' && change.before?.status.state !== 'down'))) {
      this.#lost(change.id, change.after ? 'the node is down' : 'the node was removed')
    }
  }

  /** One stream a node; it stays open as long as the session. */
  async *#listen(ctx: CallContext): AsyncGenerator<SubscriptionMessage> {
    const { sessions, limits } = this.#deps
    const nodeId = sessions.requireNode(ctx.peer).id
    const session = sessions.get(nodeId)
    if (!session) throw new ShoalError('not-found', 'the node is not registered')
    this.#listeners.get(nodeId)?.fail(new ShoalError('aborted', 'the node has opened a newer stream'))
    const queue = new BoundedQueue<SubscriptionMessage>(2 * limits.logSubscriptions)
    const gone = () => queue.close()
    const ended = () => queue.fail(session.signal.reason)
    ctx.signal.addEventListener('abort', gone, { once: true })
    session.signal.addEventListener('abort', ended, { once: true })
    this.#listeners.set(nodeId, queue)
    try {
      if (ctx.signal.aborted) return
      for (const subscription of this.#subscriptions.values()) this.#resume(subscription, nodeId)
      yield* queue
    } finally {
      ctx.signal.removeEventListener('abort', gone)
      session.signal.removeEventListener('abort', ended)
      queue.close()
      if (this.#listeners.get(nodeId) === queue) {
        this.#listeners.delete(nodeId)
        this.#lost(nodeId, 'the connection to the node broke')
      }
    }
  }

  async #publish(requests: AsyncIterable<PublishLogsMessage>, ctx: CallContext): Promise<Record<string, never>> {
    const nodeId = this.#deps.sessions.requireNode(ctx.peer).id
    let subscription: Subscription | undefined
    let asked: Asked | undefined
    let complete = false
    try {
      for await (const message of requests) {
        if (!subscription) {
          subscription = this.#subscriptions.get(message.subscriptionId)
          asked = subscription?.nodes.get(nodeId)
          if (!subscription || !asked) throw new ShoalError('not-found', 'nobody reads these logs any more')
          asked.publishing = true
          asked.deadline?.cancel()
        } else if (message.subscriptionId !== subscription.id) {
          throw new ShoalError('invalid-argument', 'one stream carries the logs of one subscription')
        }
        for (const wire of message.messages) {
          const line = parseLogLine(wire)
          if (line.nodeId !== nodeId) throw new ShoalError('permission-denied', 'a node can publish its own logs only')
          if (asked) asked.lastAt = line.at
          if (!(await subscription.channel.write(line))) return {}
        }
        if (message.close) {
          complete = true
          return {}
        }
      }
      complete = true // a stream that ends in order is as good as its last word
      return {}
    } finally {
      if (subscription && asked) {
        asked.publishing = false
        if (complete) this.#done(subscription, asked)
        else if (!subscription.channel.closed) this.#gap(subscription, nodeId, asked, 'the connection to the node broke')
      }
    }
  }

  #ask(subscription: Subscription, nodeId: NodeId): void {
    const { clock, limits } = this.#deps
    if (subscription.nodes.has(nodeId)) return
    const asked: Asked = { deadline: undefined, done: false, publishing: false, lastAt: undefined }
    subscription.nodes.set(nodeId, asked)
    const queue = this.#listeners.get(nodeId)
    const { original: selector, options } = subscription
    if (!queue?.push(buildSubscription({ id: subscription.id, close: false, selector, options }))) {
      this.#gap(subscription, nodeId, asked, 'the node is not connected')
      return
    }
    asked.deadline = clock.setTimer(limits.logAnswerMs, () => {
      if (!asked.publishing) this.#gap(subscription, nodeId, asked, 'the node does not answer')
    })
  }

  /** A node is back: a follower goes on where its lines broke off. */
  #resume(subscription: Subscription, nodeId: NodeId): void {
    const asked = subscription.nodes.get(nodeId)
    if (!asked?.done || !subscription.options.follow) return
    const since = asked.lastAt === undefined ? subscription.options.since : asked.lastAt + 1
    const { tail: _, ...options } = subscription.options
    const resumed: LogOptions =
      asked.lastAt === undefined ? subscription.options : { ...options, ...(since === undefined ? {} : { since }) }
    asked.done = !this.#listeners
      .get(nodeId)
      ?.push(buildSubscription({ id: subscription.id, close: false, selector: subscription.original, options: resumed }))
  }

  #lost(nodeId: NodeId, reason: string): void {
    for (const subscription of [...this.#subscriptions.values()]) {
      const asked = subscription.nodes.get(nodeId)
      if (asked && !asked.done) this.#gap(subscription, nodeId, asked, reason)
    }
  }

  #gap(subscription: Subscription, nodeId: NodeId, asked: Asked, reason: string): void {
    if (asked.done) return
    subscription.channel.put({ gap: nodeId, reason })
    this.#done(subscription, asked)
  }

  #done(subscription: Subscription, asked: Asked): void {
    asked.done = true
    asked.deadline?.cancel()
    this.#closeIfDone(subscription)
  }

  #closeIfDone(subscription: Subscription): void {
    if (subscription.options.follow) return
    for (const asked of subscription.nodes.values()) if (!asked.done) return
    this.#close(subscription)
  }

  #close(subscription: Subscription): void {
    if (!this.#subscriptions.delete(subscription.id)) return
    subscription.channel.close()
    for (const [nodeId, asked] of subscription.nodes) {
      asked.deadline?.cancel()
      if (!asked.done || subscription.options.follow)
        this.#listeners.get(nodeId)?.push(buildSubscription({ id: subscription.id, close: true }))
    }
  }
}

/** Only what the selector names is looked at. */
function* candidates(store: Store, selector: LogSelector): Iterable<Task> {
  const { tasks } = store.view()
  for (const id of selector.serviceIds) yield* tasks.byService(id)
  for (const id of selector.nodeIds) yield* tasks.byNode(id)
  for (const id of selector.taskIds) {
    const task = tasks.get(id)
    if (task) yield task
  }
}

function matches({ selector }: Subscription, task: Task): boolean {
  if (task.nodeId === undefined || task.status.state < TaskState.ASSIGNED || task.status.state === TaskState.ORPHANED) return false
  return (
    selector.tasks.has(task.id) ||
    selector.nodes.has(task.nodeId) ||
    (task.serviceId !== undefined && selector.services.has(task.serviceId))
  )
}
