// What this agent said last about each task, kept over restarts: states must not shrink, and what has ended must not run again.
import { errorText, type Logger } from '../lib/index.ts'
import { type TaskReport, TaskState } from '../model/index.ts'
import type { Clock, Disk } from '../ports/index.ts'
import type { Supervisor } from './supervisor.ts'

const FILE = 'agent/tasks.json'
/** Changes within this time are written together. */
const DELAY_MS = 100
const STATES: ReadonlySet<unknown> = new Set(Object.values(TaskState))

/** Losing the last moments does no harm: managers ignore lower states, and ended containers are still there to be looked at. */
export class TaskRecords {
  readonly #disk: Disk
  readonly #clock: Clock
  readonly #log: Logger
  readonly #supervisor: Supervisor
  readonly #reports = new Map<string, TaskReport>()
  #dirty = false
  #writing = false
  #closed = false

  constructor(deps: { readonly disk: Disk; readonly clock: Clock; readonly log: Logger }, supervisor: Supervisor) {
    this.#disk = deps.disk
    this.#clock = deps.clock
    this.#log = deps.log
    this.#supervisor = supervisor
  }

  async load(): Promise<void> {
    try {
      const bytes = await this.#disk.read(FILE)
      const content: unknown = bytes && JSON.parse(new TextDecoder().decode(bytes))
      for (const report of parseReports(content)) this.#reports.set(report.taskId, report)
    } catch (error) {
      this.#log.warn('the records of tasks cannot be read; going on without', { error: errorText(error) })
    }
  }

  get(taskId: string): TaskReport | undefined {
    return this.#reports.get(taskId)
  }

  set(report: TaskReport): void {
    this.#reports.set(report.taskId, report)
    this.#schedule()
  }

  delete(taskId: string): void {
    if (this.#reports.delete(taskId)) this.#schedule()
  }

  /** After a COMPLETE assignment: only these tasks count. */
  keepOnly(taskIds: ReadonlySet<string>): void {
    for (const taskId of [...this.#reports.keys()]) if (!taskIds.has(taskId)) this.delete(taskId)
  }

  /** Writes what has not been written, and nothing after that; for an orderly stop. */
  async close(): Promise<void> {
    this.#closed = true
    if (!this.#dirty) return
    this.#dirty = false
    await this.#write()
  }

  async erase(): Promise<void> {
    this.#reports.clear()
    this.#dirty = false
    await this.#disk.remove('agent')
  }

  #schedule(): void {
    if (this.#closed) return
    this.#dirty = true
    if (this.#writing) return
    this.#writing = true
    this.#clock.setTimer(DELAY_MS, () => {
      this.#supervisor.run('writing the records of tasks', async () => {
        try {
          if (this.#dirty) {
            this.#dirty = false
            await this.#write()
          }
        } finally {
          this.#writing = false
        }
        if (this.#dirty) this.#schedule()
      })
    })
  }

  async #write(): Promise<void> {
    const text = JSON.stringify({ version: 1, tasks: [...this.#reports.values()] })
    try {
      await this.#disk.write(FILE, new TextEncoder().encode(text))
    } catch (error) {
      this.#log.warn('the records of tasks cannot be written', { error: errorText(error) })
    }
  }
}

function parseReports(content: unknown): readonly TaskReport[] {
  const tasks = (content as { tasks?: unknown } | undefined)?.tasks
  if (!Array.isArray(tasks)) return []
  return tasks.filter(
    (item): item is TaskReport => typeof item?.taskId === 'string' && STATES.has(item?.state) && typeof item?.at === 'number',
  )
}
