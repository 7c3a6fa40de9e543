// Clients that keep opening new connections: each sends one request, reads the whole answer, and begins again.
import { connect } from 'node:net'

export interface Failure {
  readonly atMs: number
  readonly target: string
  readonly error: string
  readonly tookMs: number
}

export interface Load {
  readonly done: number
  readonly failures: readonly Failure[]
  stop(): Promise<void>
}

export interface LoadOptions {
  readonly targets: readonly string[]
  readonly port: number
  readonly clients: number
  /** Rest between two connections of a client. */
  readonly pauseMs: number
  readonly timeoutMs?: number
}

export function startLoad({ targets, port, clients, pauseMs, timeoutMs = 5_000 }: LoadOptions): Load {
  const began = performance.now()
  const failures: Failure[] = []
  let done = 0
  let stopped = false
  const client = async (at: number): Promise<void> => {
    for (let turn = at; !stopped; turn += 1) {
      const target = targets[turn % targets.length] as string
      const started = performance.now()
      const error = await ask(target, port, timeoutMs)
      const now = performance.now()
      if (error === undefined) done += 1
      else failures.push({ atMs: Math.round(now - began), target, error, tookMs: Math.round(now - started) })
      await new Promise((resolve) => setTimeout(resolve, pauseMs * (0.5 + Math.random())))
    }
  }
  const all = Promise.all(Array.from({ length: clients }, (_, at) => client(at)))
  return {
    get done() {
      return done
    },
    failures,
    async stop() {
      stopped = true
      await all
    },
  }
}

/** Undefined when a whole answer came, otherwise what went wrong. */
function ask(host: string, port: number, timeoutMs: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    let text = ''
    let connected = false
    let error: string | undefined
    const socket = connect({ host, port })
    socket.setTimeout(timeoutMs, () => {
      error = connected ? 'no answer' : 'no connection'
      socket.destroy()
    })
    socket.on('connect', () => {
      connected = true
      socket.write('GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n')
    })
    socket.on('data', (data) => {
      text += data.toString()
    })
    socket.on('error', (cause: NodeJS.ErrnoException) => {
      error = `${cause.code} ${connected ? 'after' : 'before'} connecting`
    })
    socket.on('close', () => {
      const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? -1)
      const body = text.slice(text.indexOf('\r\n\r\n') + 4)
      resolve(error ?? (length >= 0 && body.length >= length ? undefined : `${text.length} bytes of an answer`))
    })
  })
}
