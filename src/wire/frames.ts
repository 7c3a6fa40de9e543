// gRPC's framing over a byte stream: one byte of flags, four of length, the message. Both sides read and write through it.
import type { Http2Stream } from 'node:http2'
import { create, type DescMessage, fromBinary, type MessageInitShape, type MessageShape, toBinary } from '@bufbuild/protobuf'
import { errorText, ShoalError } from '../lib/index.ts'

const HEAD_BYTES = 5
/** Messages that wait for a slow reader; then the other side is not read any more. */
const WAITING_MESSAGES = 16

/** The message with its head. Throws 'internal' when it cannot be encoded (a wrong init object: a mistake of ours). */
export function frame<M extends DescMessage>(schema: M, message: MessageInitShape<M>): Buffer {
  let bytes: Uint8Array
  try {
    bytes = toBinary(schema, create(schema, message))
  } catch (error) {
    throw new ShoalError('internal', `a ${schema.name} cannot be sent: ${errorText(error)}`, { cause: error })
  }
  const framed = Buffer.allocUnsafe(HEAD_BYTES + bytes.length)
  framed[0] = 0
  framed.writeUInt32BE(bytes.length, 1)
  framed.set(bytes, HEAD_BYTES)
  return framed
}

/** Cuts a stream of bytes into messages. */
export class FrameReader {
  readonly #mostBytes: number
  #chunks: Buffer[] = []
  #bytes = 0

  constructor(mostBytes: number) {
    this.#mostBytes = mostBytes
  }

  /** Bytes that are not a whole message yet. */
  get rest(): number {
    return this.#bytes
  }

  /** The messages that are whole now. Throws a ShoalError for one that is too large or compressed. */
  add(chunk: Buffer): Buffer[] {
    this.#chunks.push(chunk)
    this.#bytes += chunk.length
    const messages: Buffer[] = []
    while (this.#bytes >= HEAD_BYTES) {
      const head = this.#peek(HEAD_BYTES)
      const length = head.readUInt32BE(1)
      if (length > this.#mostBytes)
        throw new ShoalError('resource-exhausted', `a message of ${length} bytes is larger than ${this.#mostBytes}`)
      if (head[0] !== 0) throw new ShoalError('unimplemented', 'compressed messages are not understood')
      if (this.#bytes < HEAD_BYTES + length) break
      messages.push(this.#peek(HEAD_BYTES + length).subarray(HEAD_BYTES, HEAD_BYTES + length))
      this.#drop(HEAD_BYTES + length)
    }
    return messages
  }

  /** At least so many bytes in one piece. */
  #peek(length: number): Buffer {
    if (this.#chunks[0]!.length < length) this.#chunks = [Buffer.concat(this.#chunks)]
    return this.#chunks[0]!
  }

  #drop(length: number): void {
    this.#bytes -= length
    const rest = this.#chunks[0]!.subarray(length)
    if (rest.length > 0) this.#chunks[0] = rest
    else this.#chunks.shift()
  }
}

export function decode<M extends DescMessage>(schema: M, bytes: Uint8Array): MessageShape<M> {
  try {
    return fromBinary(schema, bytes)
  } catch (error) {
    throw new ShoalError('invalid-argument', `this is no ${schema.name}: ${errorText(error)}`, { cause: error })
  }
}

/** The messages that the other side of a call sends, at the pace at which they are taken. Ends with `finish`, or with its error once what came before is taken. */
export class Incoming<M extends DescMessage> implements AsyncIterableIterator<MessageShape<M>> {
  readonly #stream: Http2Stream
  readonly #schema: M
  readonly #reader: FrameReader
  #messages: Buffer[] = []
  #waiting: { resolve: (result: IteratorResult<MessageShape<M>>) => void; reject: (error: unknown) => void } | undefined
  #ended = false
  #error: ShoalError | undefined
  #paused = false
  /** Called when the consumer stops before the end. */
  onLeft: () => void = () => {}

  constructor(stream: Http2Stream, schema: M, mostBytes: number) {
    this.#stream = stream
    this.#schema = schema
    this.#reader = new FrameReader(mostBytes)
  }

  /** More bytes have come. Throws what `FrameReader.add` throws. */
  add(chunk: Buffer): void {
    for (const message of this.#reader.add(chunk)) this.#messages.push(message)
    this.#deliver()
    if (this.#messages.length < WAITING_MESSAGES || this.#paused) return
    this.#paused = true
    this.#stream.pause()
  }

  /** Nothing more comes. */
  finish(error?: ShoalError): void {
    if (this.#ended) return
    this.#ended = true
    this.#error = error ?? (this.#reader.rest > 0 ? new ShoalError('internal', 'the last message is not whole') : undefined)
    this.#deliver()
  }

  next(): Promise<IteratorResult<MessageShape<M>>> {
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject }
      this.#deliver()
    })
  }

  async return(): Promise<IteratorResult<MessageShape<M>>> {
    this.#messages = []
    if (!this.#ended) {
      this.#ended = true
      this.onLeft()
    }
    return { done: true, value: undefined }
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  #deliver(): void {
    const waiting = this.#waiting
    if (!waiting) return
    const bytes = this.#messages.shift()
    if (bytes) {
      this.#waiting = undefined
      try {
        waiting.resolve({ done: false, value: decode(this.#schema, bytes) })
      } catch (error) {
        waiting.reject(error)
      }
    } else if (this.#ended) {
      this.#waiting = undefined
      if (this.#error) waiting.reject(this.#error)
      else waiting.resolve({ done: true, value: undefined })
    }
    if (this.#paused && this.#messages.length === 0) {
      this.#paused = false
      this.#stream.resume()
    }
  }
}

/** Writes messages one after the other, no faster than they are taken; ends when the stream is gone. `goOn` is asked before each message. */
export async function sendAll<M extends DescMessage>(
  stream: Http2Stream,
  schema: M,
  messages: AsyncIterable<MessageInitShape<M>>,
  goOn: () => boolean,
): Promise<void> {
  for await (const message of messages) {
    if (!goOn() || stream.destroyed || stream.writableEnded) return
    if (!stream.write(frame(schema, message))) await drained(stream)
  }
}

function drained(stream: Http2Stream): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      stream.off('drain', done)
      stream.off('close', done)
      resolve()
    }
    stream.once('drain', done)
    stream.once('close', done)
  })
}
