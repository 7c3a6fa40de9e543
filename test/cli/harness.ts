// A daemon that gives prepared answers, and a terminal that remembers: for tests of the command line.
import { mkdtemp, rm } from 'node:fs/promises'
import http from 'node:http'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { Io } from '../../src/cli/io.ts'
import { run } from '../../src/cli/run.ts'

export interface RecordedRequest {
  readonly method: string
  /** Without the version, percent-decoded. */
  readonly path: string
  readonly body: unknown
}

export type Answer = (request: RecordedRequest) => { status: number; body: unknown; headers?: Record<string, string> } | undefined

export interface FakeDaemon {
  readonly host: string
  readonly requests: RecordedRequest[]
  close(): Promise<void>
}

/** Serves on a unix socket in a folder of its own. What `answer` does not know is a 404. */
export async function fakeDaemon(answer: Answer): Promise<FakeDaemon> {
  const folder = await mkdtemp(path.join(tmpdir(), 'shoal-cli-'))
  const socket = path.join(folder, 'sock')
  const requests: RecordedRequest[] = []
  const server = http.createServer((incoming, response) => {
    const chunks: Buffer[] = []
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
    incoming.on('end', () => {
      const text = Buffer.concat(chunks).toString('utf8')
      const request = { method: incoming.method ?? '', path: decodeURIComponent(incoming.url ?? ''), body: text ? JSON.parse(text) : null }
      requests.push(request)
      const { status, body, headers } = answer(request) ?? { status: 404, body: { message: `not found ${request.path.split('?')[0]}` } }
      response.writeHead(status, { 'Content-Type': 'application/json', ...headers })
      response.end(typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body))
    })
  })
  await new Promise<void>((resolve) => server.listen(socket, resolve))
  return {
    host: `unix://${socket}`,
    requests,
    close: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
      await rm(folder, { recursive: true })
    },
  }
}

export interface Result {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs `shoal args...` against a host, at the given time; sleeping moves the time and takes none. */
export async function runShoal(
  host: string,
  args: readonly string[],
  options: { nowMs?: number; stdin?: string; files?: Record<string, string>; tty?: boolean } = {},
): Promise<Result> {
  let stdout = ''
  let stderr = ''
  let now = options.nowMs ?? 0
  const io: Io = {
    stdout: {
      isTTY: options.tty === true,
      columns: 80,
      write: (text) => {
        stdout += typeof text === 'string' ? text : Buffer.from(text).toString('utf8')
      },
    },
    stderr: {
      isTTY: false,
      columns: 80,
      write: (text) => {
        stderr += typeof text === 'string' ? text : Buffer.from(text).toString('utf8')
      },
    },
    env: { SHOAL_HOST: host, HOME: '/nonexistent' },
    readStdin: async () => Buffer.from(options.stdin ?? ''),
    readFile: async (file) => {
      const text = options.files?.[file]
      if (text === undefined) throw new Error(`open ${file}: no such file or directory`)
      return Buffer.from(text)
    },
    exists: (file) => options.files?.[file] !== undefined,
    now: () => now,
    sleep: async (milliseconds) => {
      now += milliseconds
    },
    interrupted: new AbortController().signal,
  }
  const status = await run(args, io)
  return { status, stdout, stderr }
}
