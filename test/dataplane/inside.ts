// Runs inside a network namespace of the lab and does what the test says on stdin, a JSON line each: a node's data plane, a task, or a client.
import { createSocket } from 'node:dgram'
import { connect, createServer, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { Frames, framed } from '../../src/dataplane/dns/frames.ts'
import { parseQuery, writeAnswer } from '../../src/dataplane/dns/message.ts'
import {
  applyMeshUpdate,
  createDataPlane,
  createLinuxKernel,
  createNameServer,
  type DataPlane,
  emptyMeshState,
  type LocalTask,
  type MeshUpdate,
} from '../../src/dataplane/index.ts'
import { createLogger, logfmt } from '../../src/lib/index.ts'
import { realClock } from '../../src/ports/index.ts'
import { question, resolveBy } from './dnsClient.ts'

export interface Answer {
  /** What the task said: `name peer-address`. */
  readonly text?: string
  /** ECONNREFUSED and the like. */
  readonly error?: string
  readonly ms: number
}

export interface LoadResult {
  readonly ok: number
  readonly failed: readonly string[]
  /** How often each answer came. */
  readonly answers: Readonly<Record<string, number>>
}

export interface Target {
  readonly host: string
  readonly port: number
  readonly localPort?: number
  readonly localAddress?: string
}

const TIMEOUT_MS = 3_000
let plane: DataPlane | undefined
let state = emptyMeshState

const operations: Record<string, (args: never) => unknown> = {
  start: async ({ nodeId, address, names }: { nodeId: string; address: string; names?: { resolvConf: string; upstreamPort: number } }) => {
    const log = createLogger('warn', (level, message, fields) => console.error(logfmt('-', level, message, fields)))
    const nameServer = names && createNameServer({ clock: realClock, log, ...names })
    plane = createDataPlane({
      kernel: createLinuxKernel(),
      clock: realClock,
      log,
      nodeId,
      address,
      mode: 'auto',
      ...(nameServer ? { nameServer } : {}),
    })
    await plane.start()
    return plane.status()
  },
  mesh: async (update: MeshUpdate) => {
    state = applyMeshUpdate(state, { ...update, base: state.version, version: state.version + 1n })
    const before = performance.now()
    await plane!.update(state)
    return performance.now() - before
  },
  tasks: (tasks: LocalTask[]) => plane!.setLocalTasks(tasks),
  attach: ({ taskId, networks }: { taskId: string; networks: { networkId: string; address: string }[] }) => plane!.attach(taskId, networks),
  detach: ({ taskId }: { taskId: string }) => plane!.detach(taskId),
  hairpin: () => plane!.hairpin(),
  check: () => plane!.check(),
  counters: () => plane!.counters(),
  conflicts: () => plane!.conflicts(),
  stop: () => plane!.stop(),
  resolve: ({ server, name, ...options }: { server: string; name: string; type?: number; tcp?: boolean; edns?: number }) =>
    resolveBy(server, 53, name, options),
  upstream,
  echo,
  cpuMs: () => {
    const { user, system } = process.cpuUsage()
    return (user + system) / 1000
  },
  flood,
  teardown: () => plane!.teardown(),
  serve,
  tcp,
  udp,
  load,
  hold,
  poke,
  roundTrips,
}

/** A name server of the world outside: every name is 203.0.113.7. */
async function upstream({ port }: { port: number }): Promise<void> {
  const answer = (question: Buffer) => {
    const parsed = parseQuery(question)
    if (parsed.kind !== 'query') throw new Error('no question')
    const answers = [{ kind: 'a' as const, name: parsed.query.name, address: '203.0.113.7' }]
    return writeAnswer(parsed.query, { rcode: 0, answers, ttlSeconds: 60 }, 65_535)
  }
  const socket = createSocket('udp4')
  socket.on('message', (data, from) => socket.send(answer(data), from.port, from.address))
  await new Promise<void>((resolve, reject) => socket.once('error', reject).bind(port, '127.0.0.1', resolve))
  const frames = new Frames()
  const server = createServer((connection) => {
    connection.on('error', () => {})
    connection.on('data', (data) => {
      for (const message of frames.take(data)) connection.write(framed(answer(message)))
    })
  })
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', resolve))
}

/** Sends each datagram back, as little work as a UDP server can do here. */
async function echo({ address, port }: { address: string; port: number }): Promise<void> {
  const socket = createSocket({ type: 'udp4', recvBufferSize: 1 << 20, lookup: (host, _, done) => done(null, host, 4) })
  socket.on('message', (data, from) => socket.send(data, from.port, from.address))
  await new Promise<void>((resolve, reject) => socket.once('error', reject).bind(port, address, resolve))
}

/** `perSecond` questions for a while, whether or not answers come; how long answers took. */
async function flood({
  server,
  port,
  name,
  perSecond,
  forMs,
}: Record<'server' | 'name', string> & Record<'port' | 'perSecond' | 'forMs', number>) {
  const socket = createSocket({ type: 'udp4', recvBufferSize: 1 << 20, lookup: (host, _, done) => done(null, host, 4) })
  await new Promise<void>((resolve) => socket.bind(0, resolve))
  const sentAt = new Map<number, number>()
  const tookMs: number[] = []
  socket.on('message', (data) => {
    const id = data.readUInt16BE(0)
    const at = sentAt.get(id)
    if (at === undefined) return
    sentAt.delete(id)
    tookMs.push(performance.now() - at)
  })
  const template = question(name, 1)
  const total = Math.round((perSecond * forMs) / 1000)
  const started = performance.now()
  for (let sent = 0; sent < total; ) {
    const due = Math.min(total, Math.floor(((performance.now() - started) * perSecond) / 1000))
    for (; sent < due; sent++) {
      const bytes = Buffer.from(template)
      bytes.writeUInt16BE(sent & 0xffff, 0)
      sentAt.set(sent & 0xffff, performance.now())
      socket.send(bytes, port, server)
    }
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
  await new Promise((resolve) => setTimeout(resolve, 500))
  socket.close()
  tookMs.sort((a, b) => a - b)
  return { total, answered: tookMs.length, p50: tookMs[Math.floor(tookMs.length / 2)], p99: tookMs[Math.floor(tookMs.length * 0.99)] }
}

/** A task: answers each TCP connection and each datagram with its name and the caller's address. */
async function serve({ name, port }: { name: string; port: number }): Promise<void> {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    const answer = () => `${name} ${socket.remoteAddress}\n`
    socket.on('data', (data) => socket.write(data.toString() === 'ping' ? answer() : data))
  })
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, '0.0.0.0', resolve))
  const socket = createSocket('udp4')
  socket.on('message', (_, from) => socket.send(`${name} ${from.address}\n`, from.port, from.address))
  await new Promise<void>((resolve, reject) => socket.once('error', reject).bind(port, '0.0.0.0', resolve))
}

function tcp({ host, port, localPort, localAddress }: Target): Promise<Answer> {
  const started = performance.now()
  return new Promise((resolve) => {
    const socket = connect({ host, port, localPort, localAddress })
    const end = (answer: Omit<Answer, 'ms'>) => {
      clearTimeout(timer)
      if (localPort === undefined) socket.destroy()
      else socket.resetAndDestroy() // so that the port can be used again
      resolve({ ...answer, ms: performance.now() - started })
    }
    const timer = setTimeout(() => end({ error: 'TIMEOUT' }), TIMEOUT_MS)
    socket.on('error', (error) => end({ error: (error as NodeJS.ErrnoException).code ?? error.message }))
    socket.on('connect', () => socket.write('ping'))
    socket.on('data', (data) => end({ text: data.toString().trim() }))
  })
}

function udp({ host, port, localPort }: Target): Promise<Answer> {
  const started = performance.now()
  return new Promise((resolve) => {
    const socket = createSocket('udp4')
    const end = (answer: Omit<Answer, 'ms'>) => {
      clearTimeout(timer)
      socket.close()
      resolve({ ...answer, ms: performance.now() - started })
    }
    const timer = setTimeout(() => end({ error: 'TIMEOUT' }), TIMEOUT_MS)
    socket.on('error', (error) => end({ error: (error as NodeJS.ErrnoException).code ?? error.message }))
    socket.on('message', (data) => end({ text: data.toString().trim() }))
    // connected, so that an ICMP error is told
    socket.bind(localPort ?? 0, () => socket.connect(port, host, () => socket.send('ping')))
  })
}

/** `count` connections, `parallel` at a time, to the targets in turn. */
async function load({ targets, count, parallel }: { targets: Target[]; count: number; parallel: number }): Promise<LoadResult> {
  const failed: string[] = []
  const answers: Record<string, number> = {}
  let next = 0
  const worker = async () => {
    while (next < count) {
      const target = targets[next++ % targets.length]!
      const { text, error, ms } = await tcp(target)
      if (text === undefined) failed.push(`${target.host}:${target.port} ${error} after ${Math.round(ms)} ms`)
      else answers[text] = (answers[text] ?? 0) + 1
    }
  }
  await Promise.all(Array.from({ length: parallel }, worker))
  return { ok: count - failed.length, failed, answers }
}

const held = new Map<string, Socket>()

/** Opens a connection and keeps it under a name. */
function hold({ name = '', host, port, localPort, localAddress }: Target & { name?: string }): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, localPort, localAddress })
    held.set(name, socket)
    const end = (text: string) => {
      clearTimeout(timer)
      socket.removeAllListeners()
      socket.on('error', () => {})
      resolve(text)
    }
    const timer = setTimeout(() => end('TIMEOUT'), TIMEOUT_MS)
    socket.once('error', (error) => end((error as NodeJS.ErrnoException).code ?? error.message))
    socket.once('connect', () => end('connected'))
  })
}

/** Asks on the kept connection. */
function poke({ name = '' }: { name?: string }): Promise<string> {
  const socket = held.get(name)!
  return new Promise((resolve) => {
    const end = (text: string) => {
      clearTimeout(timer)
      socket.removeAllListeners()
      socket.on('error', () => {})
      resolve(text)
    }
    const timer = setTimeout(() => end('TIMEOUT'), TIMEOUT_MS)
    socket.once('error', (error) => end((error as NodeJS.ErrnoException).code ?? error.message))
    socket.once('close', () => end('CLOSED'))
    socket.once('data', (data) => end(data.toString().trim()))
    socket.write('ping')
  })
}

for await (const line of createInterface({ input: process.stdin })) {
  const { id, op, args } = JSON.parse(line) as { id: number; op: string; args: never }
  // answered when done, so that operations may run side by side
  Promise.resolve()
    .then(() => operations[op]!(args))
    .then(
      (result) => console.log(JSON.stringify({ id, result: result ?? null })),
      (error) => console.log(JSON.stringify({ id, error: String(error) })),
    )
}
process.exit(0)

/** Round trips on one open connection: the median and the tenth percentile, in microseconds. */
function roundTrips({ host, port, count }: Target & { readonly count: number }): Promise<{ readonly p50: number; readonly p10: number }> {
  return new Promise((resolve, reject) => {
    const times: number[] = []
    const socket = connect({ host, port, noDelay: true })
    let began = 0n
    const ask = () => {
      began = process.hrtime.bigint()
      socket.write('ping')
    }
    socket.setTimeout(TIMEOUT_MS, () => socket.destroy(new Error(`no answer from ${host}:${port}`)))
    socket.on('error', reject)
    socket.on('connect', ask)
    socket.on('data', () => {
      times.push(Number(process.hrtime.bigint() - began) / 1_000)
      if (times.length < count) return ask()
      socket.destroy()
      times.sort((a, b) => a - b)
      resolve({ p50: times[count >> 1]!, p10: times[Math.floor(count / 10)]! })
    })
  })
}
