// One direction of a simulated stream: what arrived and was not read yet.

export class Pipe<T> implements AsyncIterable<T> {
  #items: T[] = []
  #waiting: { resolve: (result: IteratorResult<T>) => void; reject: (error: unknown) => void } | undefined
  #ended = false
  #failed = false
  #error: unknown
  /** Told after each item that the reader took: flow control. */
  onRead: (() => void) | undefined

  push(item: T): void {
    if (this.#ended || this.#failed) return
    const waiting = this.#waiting
    if (waiting === undefined) {
      this.#items.push(item)
      return
    }
    this.#waiting = undefined
    this.onRead?.()
    waiting.resolve({ value: item, done: false })
  }

  /** The reader gets what is there, then the end. */
  end(): void {
    if (this.#ended || this.#failed) return
    this.#ended = true
    this.#waiting?.resolve({ value: undefined, done: true })
    this.#waiting = undefined
  }

  /** The reader gets what is there, then the error. */
  fail(error: unknown): void {
    if (this.#ended || this.#failed) return
    this.#failed = true
    this.#error = error
    this.#waiting?.reject(error)
    this.#waiting = undefined
  }

  next(): Promise<IteratorResult<T>> {
    if (this.#items.length > 0) {
      const value = this.#items.shift()!
      this.onRead?.()
      return Promise.resolve({ value, done: false })
    }
    if (this.#failed) return Promise.reject(this.#error)
    if (this.#ended) return Promise.resolve({ value: undefined, done: true })
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject }
    })
  }

  [Symbol.asyncIterator](): AsyncIterator<T> {
    return {
      next: () => this.next(),
      return: () => {
        this.end()
        this.#items = []
        return Promise.resolve({ value: undefined, done: true })
      },
    }
  }
}
