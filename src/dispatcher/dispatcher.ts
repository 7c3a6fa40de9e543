// The dispatcher: what nodes call, brought together over one watch of the store.

import { equals } from '@bufbuild/protobuf'
import { errorText, type Logger, MS, type NodeId, ShoalError, type TaskId } from '../lib/index.ts'
import { isTerminal, TaskState } from '../model/index.ts'
import { type CallContext, type Clock, handle, type Random, type Route } from '../ports/index.ts'
import {
  type AssignmentsMessage,
  type AssignmentsRequest,
  Dispatcher as DispatcherService,
  Health,
  HealthCheckResponse_ServingStatus,
  type SessionMessage,
  SessionMessageSchema,
  type SessionRequest,
  type UpdateTaskStatusRequest,
} from '../proto/index.ts'
import type { Commit, Store } from '../store/index.ts'
import { buildSessionMessage, duration, parseNodeDescription, parseTaskReport } from '../wire/index.ts'
import { AssignmentTracker } from './assignments.ts'
import { StatusIntake } from './intake.ts'
import { type DispatcherLimits, LIMITS } from './limits.ts'
import { type LogSource, Logs } from './logs.ts'
import { type MeshAcks, MeshHub } from './mesh.ts'
import { Orphans } from './orphans.ts'
import { resourceRoutes } from './resources.ts'
import { ManagerList, sessionsConcerned, sessionUpdate } from './sessionMessages.ts'
import { type Session, Sessions } from './sessions.ts'
import { type TunnelSource, Tunnels } from './tunnels.ts'

export interface DispatcherDeps {
  readonly store: Store
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly limits?: Partial<DispatcherLimits>
  /** This manager, `host:port` as nodes reach it; told to nodes as long as the store names no manager address. */
  readonly self: () => { readonly nodeId: string; readonly address: string } | undefined
}

export interface Dispatcher {
  routes(): Route[]
  /** Looks at the store and begins to serve; calls before that are refused with 'unavailable'. */
  start(): void
  /** Ends all streams and writes the reports that wait. */
  stop(): Promise<void>
  readonly logs: LogSource
  /** Byte streams into tasks. */
  readonly tunnels: TunnelSource
  /** How far the kernels of all live nodes are. */
  readonly mesh: MeshAcks
  /** Whether the node has a session now. */
  isConnected(nodeId: NodeId): boolean
  /** Ends everything that this node has open; it may come back if it is still in the cluster. */
  disconnect(nodeId: NodeId): void
}

export function createDispatcher(deps: DispatcherDeps): Dispatcher {
  return new DispatcherRoom(deps)
}

class DispatcherRoom implements Dispatcher {
  readonly logs: Logs
  readonly tunnels: Tunnels
  readonly mesh: MeshHub
  readonly #deps: DispatcherDeps
  readonly #limits: DispatcherLimits
  readonly #sessions: Sessions
  readonly #intake: StatusIntake
  readonly #orphans: Orphans
  readonly #managers: ManagerList
  readonly #trackers = new Map<NodeId, AssignmentTracker>()
  #unwatch: (() => void) | undefined

  constructor(deps: DispatcherDeps) {
    const { store, clock, random, logger } = deps
    const limits = { ...LIMITS, ...deps.limits }
    this.#deps = deps
    this.#limits = limits
    this.#sessions = new Sessions({ store, clock, random, logger, limits })
    this.#intake = new StatusIntake(store, clock, logger, limits)
    this.#orphans = new Orphans(store, clock, logger, limits)
    this.#managers = new ManagerList(deps.self)
    this.mesh = new MeshHub({ store, clock, logger, limits, sessions: this.#sessions })
    this.tunnels = new Tunnels({ store, clock, random, logger, limits, sessions: this.#sessions })
    this.logs = new Logs({ store, clock, random, logger, limits, sessions: this.#sessions })
  }

  start(): void {
    if (this.#unwatch) return
    const { store } = this.#deps
    this.#managers.load(store.view())
    this.mesh.start()
    this.#sessions.start()
    this.#orphans.start()
    this.#unwatch = store.watch((commit) => this.#committed(commit))
  }

  async stop(): Promise<void> {
    if (!this.#unwatch) return
    this.#unwatch()
    this.#unwatch = undefined
    this.#orphans.stop()
    this.mesh.stop()
    this.logs.stop()
    this.tunnels.stop()
    this.#sessions.stop(new ShoalError('unavailable', 'the manager is stopping'))
    await this.#intake.flush()
  }

  isConnected(nodeId: NodeId): boolean {
    return this.#sessions.isStreaming(nodeId)
  }

  disconnect(nodeId: NodeId): void {
    this.#sessions.end(nodeId, new ShoalError('unavailable', 'the manager has ended the session'))
  }

  routes(): Route[] {
    const method = DispatcherService.method
    return [
      handle(method.session, (request, ctx) => this.#session(request, ctx)),
      handle(method.heartbeat, async ({ sessionId }, { peer }) => {
        this.#assertServing()
        this.#sessions.require(peer, sessionId)
        return { period: duration(Math.round(this.#sessions.nextPeriodMs() * MS), 'the heartbeat period') }
      }),
      handle(method.assignments, (request, ctx) => this.#assignments(request, ctx)),
      handle(method.updateTaskStatus, async (request, ctx) => this.#updateTaskStatus(request, ctx)),
      // Volumes of the container storage interface are not served; the report does no harm.
      handle(method.updateVolumeStatus, async ({ sessionId }, { peer }) => {
        this.#sessions.require(peer, sessionId)
        return {}
      }),
      handle(Health.method.check, async () => ({
        status: this.#unwatch ? HealthCheckResponse_ServingStatus.SERVING : HealthCheckResponse_ServingStatus.NOT_SERVING,
      })),
      this.mesh.route(),
      ...this.logs.routes(),
      ...this.tunnels.routes(),
      ...resourceRoutes({ ...this.#deps, sessions: this.#sessions }),
    ]
  }

  #committed(commit: Commit): void {
    for (const change of commit.changes) {
      this.#sessions.changed(change)
      this.#orphans.changed(change)
      this.logs.changed(change)
      const concerned = this.#managers.changed(change) ? 'all' : sessionsConcerned(change)
      if (concerned === 'all') for (const session of this.#sessions.all()) session.bell.ring()
      else if (concerned) this.#sessions.get(concerned)?.bell.ring()
      if ((change.table === 'secret' || change.table === 'config') && change.before && change.after) {
        // New content; labels of ours say what a node does about it, so they count too.
        if (change.before.spec.data !== change.after.spec.data || change.before.spec.labels !== change.after.spec.labels)
          for (const tracker of this.#trackers.values()) tracker.contentChanged(change.table, change.id)
      }
      if (change.table === 'task') {
        const { before, after } = change
        if (before?.nodeId !== undefined) this.#trackers.get(before.nodeId)?.changed(before, after)
        if (after?.nodeId !== undefined && after.nodeId !== before?.nodeId) this.#trackers.get(after.nodeId)?.changed(before, after)
      }
    }
    this.mesh.committed(commit)
  }

  async *#session(request: SessionRequest, ctx: CallContext): AsyncGenerator<SessionMessage> {
    this.#assertServing()
    const { store } = this.#deps
    const description = request.description && parseNodeDescription(request.description)
    const session = await this.#sessions.register(ctx.peer, request.sessionId, description)
    const stream = this.#sessions.openStream(session)
    const signal = AbortSignal.any([ctx.signal, stream.signal])
    let last: SessionMessage | undefined
    try {
      while (!signal.aborted) {
        const view = store.view()
        const message = buildSessionMessage(sessionUpdate(view, session.nodeId, session.id, this.#managers.list(view)))
        if (!last || !equals(SessionMessageSchema, last, message)) yield message
        last = message
        await session.bell.wait(signal)
      }
      this.#rethrow(ctx, signal)
    } finally {
      stream.close()
    }
  }

  async *#assignments(request: AssignmentsRequest, ctx: CallContext): AsyncGenerator<AssignmentsMessage> {
    this.#assertServing()
    const { store, clock } = this.#deps
    const session = this.#sessions.require(ctx.peer, request.sessionId)
    const { nodeId } = session
    const tracker = new AssignmentTracker(nodeId, session.ownAgent, (taskId, sentence) => this.#rejectTask(taskId, sentence))
    this.#trackers.get(nodeId)?.bell.ring() // an older stream of this session finds that it was replaced
    this.#trackers.set(nodeId, tracker)
    const signal = AbortSignal.any([ctx.signal, session.signal])
    try {
      yield tracker.complete(store.view())
      while (!signal.aborted) {
        await tracker.bell.wait(signal)
        if (signal.aborted) break
        // A stream that was replaced must not take the newer one's changes; its own set only ends here.
        if (this.#trackers.get(nodeId) !== tracker) throw new ShoalError('aborted', 'the node has opened a newer stream')
        if (tracker.dirtyCount < this.#limits.assignmentBatchChanges && !(await this.#slept(clock, signal))) break
        const message = tracker.incremental(store.view(), this.#limits.assignmentBatchChanges)
        if (message) yield message
      }
      this.#rethrow(ctx, signal)
    } finally {
      if (this.#trackers.get(nodeId) === tracker) this.#trackers.delete(nodeId)
    }
  }

  async #updateTaskStatus(request: UpdateTaskStatusRequest, { peer }: CallContext): Promise<Record<string, never>> {
    this.#assertServing()
    const session: Session = this.#sessions.require(peer, request.sessionId)
    const now = this.#deps.clock.now()
    for (const update of request.updates) this.#intake.add(session.nodeId, parseTaskReport(update, now))
    return {}
  }

  /** A task that no node could be given: its user gets to know why. */
  #rejectTask(taskId: TaskId, sentence: string): void {
    const { store, logger } = this.#deps
    logger.error('a task cannot be sent to its node', { task: taskId, error: sentence })
    store
      .transact((tx) => {
        const task = tx.tasks.get(taskId)
        if (!task || isTerminal(task.status.state)) return
        tx.tasks.update({
          ...task,
          status: { ...task.status, state: TaskState.REJECTED, at: tx.now, message: 'preparing', error: sentence },
        })
      })
      .catch((error: unknown) => logger.error('a task could not be rejected', { task: taskId, error: errorText(error) }))
  }

  /** A stream that we end says so; one that its caller left just ends. */
  #rethrow(ctx: CallContext, signal: AbortSignal): void {
    if (!ctx.signal.aborted && signal.aborted) throw signal.reason
  }

  #slept(clock: Clock, signal: AbortSignal): Promise<boolean> {
    return clock.sleep(this.#limits.assignmentBatchMs, signal).then(
      () => true,
      () => false,
    )
  }

  #assertServing(): void {
    if (!this.#unwatch) throw new ShoalError('unavailable', 'the manager does not serve nodes now: try again')
  }
}
