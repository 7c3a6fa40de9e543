// Bounded queues between a producer that must not wait and a consumer that reads at its own pace.
import { assert } from './errors.ts'

/**
 * An async queue with a bound. `push` never waits: it returns false when the queue is full or closed, and the producer decides
 * (coalesce, drop the consumer, mark a gap). Iteration ends after `close()` once the queue is empty, or throws the error of `fail()` at once.
 */
export class BoundedQueue<T> implements AsyncIterable<T> {
  readonly #limit: number
  #items: T[] = []
  #waiting: { resolve: (result: IteratorResult<T>) => void; reject: (error: unknown) => void } | undefined
  #closed = false
  #error: unknown

  constructor(limit: number) {
    assert(limit > 0, 'a queue needs room')
    this.#limit = limit
  }

  get size(): number {
    return this.#items.length
  }

  get closed(): boolean {
    return this.#closed
  }

  push(item: T): boolean {
    if (this.#closed) return false
    if (this.#waiting) {
      const { resolve } = this.#waiting
      this.#waiting = undefined
      resolve({ value: item, done: false })
      return true
    }
    if (this.#items.length >= this.#limit) return false
    this.#items.push(item)
    return true
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#waiting?.resolve({ value: undefined, done: true })
    this.#waiting = undefined
  }

  fail(error: unknown): void {
    if (this.#closed) return
    this.#closed = true
    this.#items = []
    this.#error = error
    this.#waiting?.reject(error)
    this.#waiting = undefined
  }

  [Symbol.asyncIterator](): AsyncIterator<T> {
    return {
      next: () => {
        if (this.#items.length > 0) return Promise.resolve({ value: this.#items.shift() as T, done: false })
        if (this.#error !== undefined) return Promise.reject(this.#error)
        if (this.#closed) return Promise.resolve({ value: undefined, done: true })
        assert(!this.#waiting, 'a queue has one consumer')
        return new Promise((resolve, reject) => {
          this.#waiting = { resolve, reject }
        })
      },
      return: () => {
        this.close()
        this.#items = []
        return Promise.resolve({ value: undefined, done: true })
      },
      // Transports end an outgoing stream this way when the other side failed; without it they complain about the missing method instead of the failure.
      throw: (error: unknown) => {
        this.close()
        this.#items = []
        return Promise.reject(error)
      },
    }
  }
}
