// "Something changed": rung by many, waited for by one, any number of rings in between count once.
import { assert } from '../lib/index.ts'

export class Bell {
  #rung = false
  #wake: (() => void) | undefined

  ring(): void {
    this.#rung = true
    this.#wake?.()
  }

  /** Resolves at the next ring, at once if it rang since the last wait; also when the signal aborts (the caller looks at it). */
  async wait(signal: AbortSignal): Promise<void> {
    assert(!this.#wake, 'a bell has one listener')
    if (!this.#rung && !signal.aborted) {
      await new Promise<void>((resolve) => {
        const wake = () => {
          signal.removeEventListener('abort', wake)
          resolve()
        }
        this.#wake = wake
        signal.addEventListener('abort', wake)
      })
      this.#wake = undefined
    }
    this.#rung = false
  }
}
