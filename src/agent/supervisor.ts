// Promises that nobody awaits: they are known here, their errors are logged, and stop waits for them.
import { errorText, isShoalError, type Logger } from '../lib/index.ts'

export class Supervisor {
  readonly #log: Logger
  readonly #running = new Set<Promise<void>>()

  constructor(log: Logger) {
    this.#log = log
  }

  run(what: string, work: () => Promise<void>): void {
    const promise = work()
      .catch((error) => {
        if (!isShoalError(error, 'canceled')) this.#log.error(`${what} failed`, { error: errorText(error) })
      })
      .finally(() => this.#running.delete(promise))
    this.#running.add(promise)
  }

  /** Resolves when nothing runs any more. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running)
  }
}
