// Log lines of a container: the engine's frames (or the raw stream of a TTY) taken apart, with time and attributes.
import type { EngineLogLine } from '../../ports/index.ts'

const HEADER_BYTES = 8
/** The engine cuts messages at 16 KiB; what is longer is not ours. */
const MAX_FRAME_BYTES = 4 << 20
const NEWLINE = 10

/** Frames of 8 bytes (stream 1 or 2, three zeros, big-endian length) and payload; each payload is one message. */
export async function* multiplexedLines(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<EngineLogLine> {
  let rest: Buffer = Buffer.alloc(0)
  for await (const chunk of chunks) {
    rest = rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([rest, chunk])
    while (rest.length >= HEADER_BYTES) {
      const size = rest.readUInt32BE(4)
      if (size > MAX_FRAME_BYTES) return // out of step: nothing after this can be read
      if (rest.length < HEADER_BYTES + size) break
      const stream = rest[0] === 2 ? 'stderr' : 'stdout'
      const line = parseMessage(rest.subarray(HEADER_BYTES, HEADER_BYTES + size), stream)
      rest = rest.subarray(HEADER_BYTES + size)
      if (line) yield line
    }
  }
}

/** The stream of a container with a TTY has no frames: lines end with a newline. */
export async function* rawLines(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<EngineLogLine> {
  let rest: Buffer = Buffer.alloc(0)
  for await (const chunk of chunks) {
    rest = rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([rest, chunk])
    for (let end = rest.indexOf(NEWLINE); end >= 0; end = rest.indexOf(NEWLINE)) {
      const line = parseMessage(rest.subarray(0, end + 1), 'stdout')
      rest = rest.subarray(end + 1)
      if (line) yield line
    }
    if (rest.length > MAX_FRAME_BYTES) rest = Buffer.alloc(0)
  }
  if (rest.length > 0) {
    const line = parseMessage(rest, 'stdout')
    if (line) yield line
  }
}

/** `2026-01-02T03:04:05.123456789Z key=value,key=value text\n` (timestamps=1, details=1; attributes are URL-escaped and may be empty). */
function parseMessage(message: Buffer, stream: 'stdout' | 'stderr'): EngineLogLine | undefined {
  const space = message.indexOf(32)
  if (space < 0) return undefined
  const time = /^(.*?)(?:\.(\d{1,9}))?Z$/.exec(message.toString('latin1', 0, space))
  const seconds = time ? Date.parse(`${time[1]}Z`) : Number.NaN
  if (Number.isNaN(seconds)) return undefined
  const nanos = Number((time?.[2] ?? '').padEnd(9, '0'))
  const second = message.indexOf(32, space + 1)
  const attrs = second < 0 ? '' : message.toString('utf8', space + 1, second)
  return {
    stream,
    at: seconds + Math.floor(nanos / 1e6),
    atNs: nanos % 1_000_000,
    data: new Uint8Array(message.subarray(second < 0 ? space + 1 : second + 1)),
    attrs: parseAttrs(attrs),
  }
}

function parseAttrs(text: string): Readonly<Record<string, string>> {
  if (text === '') return {}
  return Object.fromEntries(
    text.split(',').flatMap((pair) => {
      const equals = pair.indexOf('=')
      return equals < 0 ? [] : [[unescaped(pair.slice(0, equals)), unescaped(pair.slice(equals + 1))]]
    }),
  )
}

function unescaped(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch {
    return text
  }
}
