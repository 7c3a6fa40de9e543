// The real terminal, environment, files and clock behind the command line.
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import type { Io, Output } from './io.ts'

const DEFAULT_COLUMNS = 80
const INTERRUPTED_STATUS = 130

export function realIo(): Io {
  let interrupt: AbortController | undefined
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      // `shoal ... | head` closes our output: that is an end, not a failure to report.
      process.exit(error.code === 'EPIPE' ? 0 : 1)
    })
  }
  return {
    stdout: output(process.stdout),
    stderr: output(process.stderr),
    env: process.env,
    terminal: {
      input: process.stdin,
      isTTY: process.stdin.isTTY === true,
      setRawMode: (on) => {
        process.stdin.setRawMode?.(on)
      },
      size: () => ({ rows: process.stdout.rows || 24, columns: process.stdout.columns || DEFAULT_COLUMNS }),
      onResize: (listener) => {
        process.stdout.on('resize', listener)
        return () => process.stdout.off('resize', listener)
      },
    },
    readStdin: async () => {
      const chunks: Buffer[] = []
      for await (const chunk of process.stdin as AsyncIterable<Buffer>) chunks.push(chunk)
      return Buffer.concat(chunks)
    },
    readFile: (path) => readFile(path),
    exists: existsSync,
    now: Date.now,
    sleep: async (milliseconds, signal) => {
      await delay(milliseconds, undefined, { signal })
    },
    get interrupted() {
      // Only who asks changes what Ctrl-C does: a shell in a machine must get its own.
      interrupt ??= onInterrupt()
      return interrupt.signal
    },
  }
}

/** The first Ctrl-C is told to the command, which has half a second to say goodbye; the second ends it at once. */
function onInterrupt(): AbortController {
  const interrupt = new AbortController()
  process.on('SIGINT', () => {
    if (interrupt.signal.aborted) process.exit(INTERRUPTED_STATUS)
    interrupt.abort()
    setTimeout(() => process.exit(INTERRUPTED_STATUS), 500).unref()
  })
  return interrupt
}

function output(stream: NodeJS.WriteStream): Output {
  return {
    write: (text) => {
      stream.write(text)
    },
    isTTY: stream.isTTY === true,
    columns: stream.columns || DEFAULT_COLUMNS,
  }
}
