// Several producers into one consumer, with back-pressure: a producer waits until there is room.

export class Merge<T> {
  readonly #limit: number
  #items: T[] = []
  #room: (() => void)[] = []
  #arrived: (() => void) | undefined
  #ended = false

  constructor(limit: number) {
    this.#limit = limit
  }

  /** Resolves when the item has a place; false when nobody wants it any more. */
  async push(item: T): Promise<boolean> {
    while (!this.#ended && this.#items.length >= this.#limit) await new Promise<void>((resolve) => this.#room.push(resolve))
    if (this.#ended) return false
    this.#items.push(item)
    this.#arrived?.()
    return true
  }

  /** No more items; what is there is still delivered. */
  end(): void {
    this.#ended = true
    this.#arrived?.()
    this.#wakeProducers()
  }

  /** All that is there, at most `most`; empty when it has ended. */
  async take(most: number): Promise<readonly T[]> {
    while (this.#items.length === 0 && !this.#ended) {
      await new Promise<void>((resolve) => {
        this.#arrived = resolve
      })
      this.#arrived = undefined
    }
    const taken = this.#items.splice(0, most)
    this.#wakeProducers()
    return taken
  }

  #wakeProducers(): void {
    for (const wake of this.#room.splice(0)) wake()
  }
}
