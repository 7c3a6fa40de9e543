// Brings the tasks' reports to the manager: the newest of each task, several in one call, again after each new session.
import type { MessageInitShape } from '@bufbuild/protobuf'
import { isShoalError, type Logger } from '../lib/index.ts'
import { type TaskReport, TaskState } from '../model/index.ts'
import type { Channel, Clock, Timer } from '../ports/index.ts'
import { Dispatcher, type UpdateTaskStatusRequestSchema } from '../proto/index.ts'
import { buildTaskReport } from '../wire/index.ts'

const REPORTS_PER_CALL = 100
/** Reports wait this long for company: what runs or has ended is waited for; what is on its way is mostly further on by then. */
const WAIT_MS = 10
const WAIT_ON_THE_WAY_MS = 100

export class Reporter {
  readonly #log: Logger
  readonly #clock: Clock
  /** At most one report a task, so it is bounded by the tasks of this node. */
  readonly #pending = new Map<string, TaskReport>()
  #wake: (() => void) | undefined
  #timer: { readonly timer: Timer; readonly waitMs: number } | undefined
  /** The reports that wait have waited long enough. */
  #due = false

  constructor(log: Logger, clock: Clock) {
    this.#log = log
    this.#clock = clock
  }

  push(report: TaskReport): void {
    this.#pending.set(report.taskId, report)
    const waitMs = report.state < TaskState.RUNNING ? WAIT_ON_THE_WAY_MS : WAIT_MS
    if (this.#due || (this.#timer && this.#timer.waitMs <= waitMs)) return
    this.#timer?.timer.cancel()
    const timer = this.#clock.setTimer(waitMs, () => {
      this.#timer = undefined
      this.#due = true
      this.#wake?.()
    })
    this.#timer = { timer, waitMs }
  }

  /** Until the signal aborts, or a call fails: then the session is over. */
  async run(channel: Channel, sessionId: string, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (!this.#due) await this.#bell(signal)
      if (this.#pending.size <= REPORTS_PER_CALL) this.#due = false
      const batch = [...this.#pending.values()].slice(0, REPORTS_PER_CALL)
      if (batch.length > 0) await this.#send(channel, sessionId, batch, signal)
    }
  }

  async #send(channel: Channel, sessionId: string, batch: readonly TaskReport[], signal: AbortSignal): Promise<void> {
    const request: MessageInitShape<typeof UpdateTaskStatusRequestSchema> = { sessionId, updates: batch.map(buildTaskReport) }
    try {
      await channel.unary(Dispatcher.method.updateTaskStatus, request, { signal })
    } catch (error) {
      if (!isShoalError(error, 'not-found')) throw error
      this.#log.info('the manager does not know these tasks', { tasks: batch.length })
    }
    for (const report of batch) if (this.#pending.get(report.taskId) === report) this.#pending.delete(report.taskId)
  }

  #bell(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        this.#wake = undefined
        signal.removeEventListener('abort', wake)
        resolve()
      }
      this.#wake = wake
      if (signal.aborted) wake()
      else signal.addEventListener('abort', wake, { once: true })
    })
  }
}
