// Reports of tasks on their way into the store: checked, coalesced, written in batches.
import { errorText, type Instant, type Logger, type NodeId, ShoalError, type TaskId } from '../lib/index.ts'
import { holdsOf, isTerminal, type Task, type TaskReport, TaskState, type TaskStatus } from '../model/index.ts'
import type { Clock, Timer } from '../ports/index.ts'
import { putHold, type Store } from '../store/index.ts'
import type { DispatcherLimits } from './limits.ts'

interface Pending {
  readonly nodeId: NodeId
  readonly report: TaskReport
}

/**
 * A report is answered before it is durable: nodes report all that they know again after every reconnect, so nothing is lost for good.
 * Per task only the furthest report waits, so the queue is bounded by the tasks of the cluster.
 */
export class StatusIntake {
  readonly #store: Store
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #limits: DispatcherLimits
  readonly #pending = new Map<TaskId, Pending>()
  #timer: Timer | undefined

  constructor(store: Store, clock: Clock, logger: Logger, limits: DispatcherLimits) {
    this.#store = store
    this.#clock = clock
    this.#logger = logger
    this.#limits = limits
  }

  /** Throws 'permission-denied' for a task of another node; a task that is gone is no error. */
  add(nodeId: NodeId, report: TaskReport): void {
    const task = this.#store.view().tasks.get(report.taskId)
    if (!task) return
    if (task.nodeId !== nodeId) throw new ShoalError('permission-denied', `task ${report.taskId} is not assigned to this node`)
    const waiting = this.#pending.get(report.taskId)
    if (waiting && waiting.report.state > report.state) return
    if (!waiting && !changes(task.status, report)) return
    this.#pending.set(report.taskId, { nodeId, report })
    this.#timer ??= this.#clock.setTimer(this.#limits.statusBatchMs, () => {
      this.flush().catch((error: unknown) => this.#logger.error('task reports were not written', { error: errorText(error) }))
    })
  }

  /** Writes what waits, in one transaction. */
  async flush(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
    if (this.#pending.size === 0) return
    const batch = [...this.#pending.values()]
    this.#pending.clear()
    await this.#store.transact((tx) => {
      for (const { nodeId, report } of batch) {
        const task = tx.tasks.get(report.taskId)
        if (task?.nodeId !== nodeId || !changes(task.status, report)) continue
        if (isTerminal(report.state)) for (const hold of holdsOf(task, tx.now)) putHold(tx, hold)
        tx.tasks.update({ ...task, status: nextStatus(task, report, tx.now) })
      }
    })
  }
}

/** States only grow. Nodes repeat themselves, and say RUNNING with exit code -1 while they stop: neither is news (wire-protocol 8). */
function changes(status: TaskStatus, report: TaskReport): boolean {
  if (report.state !== status.state) return report.state > status.state
  if (status.state === TaskState.ASSIGNED) return false
  return (
    report.message !== status.message ||
    report.error !== status.error ||
    (report.container !== undefined && report.container.containerId !== (status.container?.containerId ?? '')) ||
    (report.container !== undefined && report.state > TaskState.RUNNING && report.container.exitCode !== status.container?.exitCode) ||
    (report.ports !== undefined &&
      JSON.stringify(report.ports) !==
        JSON.stringify((status.ports ?? []).map(({ protocol, targetPort, publishedPort }) => ({ protocol, targetPort, publishedPort }))))
  )
}

function nextStatus(task: Task, report: TaskReport, now: Instant): TaskStatus {
  const { status } = task
  const container = report.container ?? status.container
  const ports = report.ports ?? status.ports
  return {
    state: report.state,
    // The node's clock, as far as ours can believe it: after the last change, not in the future.
    at: report.at > status.at && report.at <= now ? report.at : report.state === status.state ? status.at : now,
    message: report.message,
    error: report.error,
    ...(container ? { container } : {}),
    ...(ports ? { ports } : {}),
  }
}
