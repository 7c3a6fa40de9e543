// Streams that the API sends: multiplexed logs, raw logs of terminals, and one JSON value per line.
import type { Readable } from 'node:stream'
import { ShoalError } from '../lib/index.ts'

export interface LogFrame {
  readonly stream: 'stdout' | 'stderr'
  readonly data: Buffer
}

const HEADER_BYTES = 8
/** A frame is at most one log line; the engine cuts lines at 16 KiB, so this is a sign of garbage, not of a long line. */
const MAX_FRAME_BYTES = 16 * 1024 * 1024

/**
 * Takes a multiplexed stream apart: frames of 8 bytes (stream 1 or 2, three zeros, big-endian length) and a payload.
 * Throws invalid-argument when the stream is not of this kind.
 */
export async function* demultiplex(source: Readable): AsyncGenerator<LogFrame> {
  let pending: Buffer = Buffer.alloc(0)
  for await (const chunk of source as AsyncIterable<Buffer>) {
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk])
    let offset = 0
    while (pending.length - offset >= HEADER_BYTES) {
      const kind = pending[offset]
      const length = pending.readUInt32BE(offset + 4)
      if (kind === undefined || kind > 3 || length > MAX_FRAME_BYTES) {
        throw new ShoalError('invalid-argument', `the log stream is not multiplexed (a frame begins with ${kind})`)
      }
      if (pending.length - offset < HEADER_BYTES + length) break
      const data = pending.subarray(offset + HEADER_BYTES, offset + HEADER_BYTES + length)
      // 3 is the engine's own error about the stream; it belongs on stderr.
      yield { stream: kind === 1 || kind === 0 ? 'stdout' : 'stderr', data }
      offset += HEADER_BYTES + length
    }
    pending = pending.subarray(offset)
  }
}

/** The log of a service with a terminal: no frames, all of it is standard output; one frame a line. */
export async function* rawFrames(source: Readable): AsyncGenerator<LogFrame> {
  let pending: Buffer = Buffer.alloc(0)
  for await (const chunk of source as AsyncIterable<Buffer>) {
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk])
    let newline = pending.indexOf(0x0a)
    while (newline >= 0) {
      yield { stream: 'stdout', data: pending.subarray(0, newline + 1) }
      pending = pending.subarray(newline + 1)
      newline = pending.indexOf(0x0a)
    }
  }
  if (pending.length > 0) yield { stream: 'stdout', data: pending }
}

/** One JSON value per line, as /events sends them. */
export async function* jsonLines<T>(source: Readable): AsyncGenerator<T> {
  for await (const { data } of rawFrames(source)) {
    const text = data.toString('utf8').trim()
    if (text) yield JSON.parse(text) as T
  }
}
