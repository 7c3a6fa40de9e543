// A bounded channel from several nodes to one reader of logs: writers wait for room, nothing is lost and nothing piles up.
import { assert } from '../lib/index.ts'

export class LogChannel<T> implements AsyncIterable<T> {
  readonly #limit: number
  readonly #items: T[] = []
  readonly #writers: (() => void)[] = []
  #reader: (() => void) | undefined
  #closed = false

  constructor(limit: number) {
    this.#limit = limit
  }

  get closed(): boolean {
    return this.#closed
  }

  /** Resolves when the item is taken in, false when nobody reads any more. */
  async write(item: T): Promise<boolean> {
    while (!this.#closed && this.#items.length >= this.#limit) await new Promise<void>((resolve) => this.#writers.push(resolve))
    if (this.#closed) return false
    this.put(item)
    return true
  }

  /** Takes the item in even when it is full: for the few items of our own (gaps). */
  put(item: T): void {
    if (this.#closed) return
    this.#items.push(item)
    this.#wakeReader()
  }

  /** What is in it is still read; nothing more comes. */
  close(): void {
    this.#closed = true
    for (const wake of this.#writers.splice(0)) wake()
    this.#wakeReader()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T> {
    for (;;) {
      const item = this.#items.shift()
      if (item !== undefined) {
        this.#writers.shift()?.()
        yield item
        continue
      }
      if (this.#closed) return
      assert(!this.#reader, 'a log channel has one reader')
      await new Promise<void>((resolve) => {
        this.#reader = resolve
      })
    }
  }

  #wakeReader(): void {
    const wake = this.#reader
    this.#reader = undefined
    wake?.()
  }
}
