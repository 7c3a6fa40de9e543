// A tunnel's end: a byte stream (Duplex) on one side, chunks of a call on the other, with back-pressure and half-close both ways.
import { Duplex } from 'node:stream'
import type { MessageInitShape } from '@bufbuild/protobuf'
import { ShoalError } from '../lib/index.ts'
import type { TunnelChunk, TunnelChunkSchema } from '../proto/index.ts'

export type TunnelChunkInit = MessageInitShape<typeof TunnelChunkSchema>

const MOST_CHUNK_BYTES = 64 * 1024

/**
 * `outgoing` is what goes to the other end, `first` before all else; `receive` reads what comes from there and resolves when that has ended. The call that carries both
 * is over when both directions have ended or the stream is destroyed.
 */
export class TunnelEnd extends Duplex {
  readonly #chunks: TunnelChunkInit[]
  #wakeOutgoing: (() => void) | undefined
  #written: (() => void) | undefined
  #wakeReader: (() => void) | undefined
  #ended = false
  readonly #opened = Promise.withResolvers<void>()

  constructor(first?: TunnelChunkInit) {
    super({ allowHalfOpen: true })
    this.#chunks = first ? [first] : []
    this.on('end', () => this.#wake())
    this.#opened.promise.catch(() => {}) // not everybody waits for it
  }

  /** Ends after `end` was sent and the other side has ended too, or when the stream is destroyed. One reader. */
  async *outgoing(): AsyncGenerator<TunnelChunkInit> {
    try {
      for (;;) {
        const chunk = this.#chunks.shift()
        if (chunk) {
          yield chunk
          const written = this.#chunks.length === 0 ? this.#written : undefined
          if (written) this.#written = undefined
          written?.()
          continue
        }
        if (this.destroyed || (this.#ended && this.readableEnded)) return
        await new Promise<void>((resolve) => {
          this.#wakeOutgoing = resolve
        })
      }
    } finally {
      if (!this.destroyed && !(this.#ended && this.readableEnded)) this.destroy()
    }
  }

  /** Reads the other side's chunks. A refusal destroys the stream with its sentence; so does a call that breaks. Never throws. */
  async receive(incoming: AsyncIterable<TunnelChunk>): Promise<void> {
    let ended = false
    try {
      for await (const { data, end, refused } of incoming) {
        if (!refused) this.#opened.resolve()
        if (refused) throw new ShoalError('unavailable', refused)
        if (data.length > 0 && !this.push(data)) await this.#drained()
        if (this.destroyed) return
        if (end && !ended) {
          ended = true
          this.push(null)
        }
      }
      if (!ended && !this.destroyed) throw new ShoalError('unavailable', 'the other end of the stream is gone')
    } catch (error) {
      this.destroy(error as Error)
    }
  }

  /** Resolves when the other end has sent something, rejects when the stream ends before. */
  opened(): Promise<void> {
    return this.#opened.promise
  }

  override _read(): void {
    const wake = this.#wakeReader
    this.#wakeReader = undefined
    wake?.()
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    for (let at = 0; at < chunk.length; at += MOST_CHUNK_BYTES) this.#chunks.push({ data: chunk.subarray(at, at + MOST_CHUNK_BYTES) })
    this.#written = done
    if (this.#chunks.length === 0) {
      this.#written = undefined
      done()
    }
    this.#wake()
  }

  override _final(done: () => void): void {
    this.#ended = true
    this.#put({ end: true })
    done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#opened.reject(error ?? new ShoalError('unavailable', 'the stream has ended'))
    this._read()
    this.#wake()
    done(error)
  }

  #put(chunk: TunnelChunkInit): void {
    this.#chunks.push(chunk)
    this.#wake()
  }

  #wake(): void {
    const wake = this.#wakeOutgoing
    this.#wakeOutgoing = undefined
    wake?.()
  }

  #drained(): Promise<void> {
    return new Promise((resolve) => {
      this.#wakeReader = resolve
    })
  }
}
