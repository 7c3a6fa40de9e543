// Small helpers around processes: run a command and keep its output, recognise a process by pid and start time, hold a lock by name.
import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { ShoalError } from '../lib/index.ts'

export interface CommandResult {
  /** Exit status; 128 + signal number when a signal ended it. */
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

export interface CommandOptions {
  readonly input?: string
  readonly env?: Record<string, string | undefined>
  readonly cwd?: string
  /** Default 60 000. The command is killed then, and the status is 137. */
  readonly timeoutMs?: number
}

const OUTPUT_LIMIT_BYTES = 64 * 1024 * 1024

/** Runs a command to its end; a failing status is a result, not an error. Rejects when it cannot be started. */
export function run(command: string, args: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, ...options.env },
      cwd: options.cwd,
      timeout: options.timeoutMs ?? 60_000,
      killSignal: 'SIGKILL',
    })
    const out: Buffer[] = []
    const err: Buffer[] = []
    let bytes = 0
    const keep = (into: Buffer[]) => (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes <= OUTPUT_LIMIT_BYTES) into.push(chunk)
    }
    child.stdout.on('data', keep(out))
    child.stderr.on('data', keep(err))
    child.on('error', (cause) =>
      reject(new ShoalError('failed-precondition', `cannot run ${command}`, { cause, next: 'Run: npm run setup' })),
    )
    child.on('close', (code, signal) =>
      resolve({ status: code ?? 128 + signalNumber(signal), stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() }),
    )
    child.stdin.on('error', () => {}) // a command that does not read its input closes the pipe; its status says the rest
    child.stdin.end(options.input ?? '')
  })
}

/** Runs a command that has to succeed and answers its output. */
export async function must(command: string, args: readonly string[], options: CommandOptions = {}): Promise<string> {
  const result = await run(command, args, options)
  if (result.status === 0) return result.stdout
  const said = (result.stderr || result.stdout).trim().slice(-2000)
  throw new ShoalError('internal', `${command} ${args.slice(0, 6).join(' ')} ended with status ${result.status}: ${said}`)
}

const SIGNALS: Record<string, number> = { SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGABRT: 6, SIGKILL: 9, SIGSEGV: 11, SIGPIPE: 13, SIGTERM: 15 }

export function signalNumber(signal: NodeJS.Signals | null): number {
  return signal === null ? 0 : (SIGNALS[signal] ?? 1)
}

/** A process that cannot be mistaken for a later one with the same pid. */
export interface ProcessRef {
  readonly pid: number
  /** Clock ticks after boot at which it started. */
  readonly startTicks: string
  readonly bootId: string
}

/** Undefined when there is no such process (zombies do not count). */
export function processRef(pid: number): ProcessRef | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ') // the name in brackets may contain anything
    if (fields[0] === 'Z' || fields[0] === 'X') return undefined
    return { pid, startTicks: fields[19] ?? '', bootId: readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim() }
  } catch {
    return undefined
  }
}

export function isAlive(ref: ProcessRef | undefined): ref is ProcessRef {
  if (!ref) return false
  const now = processRef(ref.pid)
  return now !== undefined && now.startTicks === ref.startTicks && now.bootId === ref.bootId
}

/** Sends a signal to exactly this process; false when it is gone. */
export function signalProcess(ref: ProcessRef | undefined, signal: NodeJS.Signals): boolean {
  if (!isAlive(ref)) return false
  try {
    process.kill(ref.pid, signal)
    return true
  } catch {
    return false
  }
}

/** True when it ended in time. */
export async function waitForEnd(ref: ProcessRef | undefined, timeoutMs: number): Promise<boolean> {
  return await until(() => !isAlive(ref), timeoutMs, 10)
}

/** Polls until the condition holds; false when the time is over. */
export async function until(condition: () => boolean | Promise<boolean>, timeoutMs: number, everyMs = 20): Promise<boolean> {
  const deadline = performance.now() + timeoutMs
  while (!(await condition())) {
    if (performance.now() > deadline) return false
    await sleep(everyMs)
  }
  return true
}

/**
 * Runs `action` while holding the lock of this name against every other process on the computer. The lock is an abstract unix
 * socket: the kernel gives it back when the holder dies, so there are no stale lock files.
 */
export async function withLock<T>(name: string, timeoutMs: number, action: () => Promise<T>): Promise<T> {
  let server = createServer()
  const take = () =>
    new Promise<boolean>((resolve, reject) => {
      server = createServer() // one that failed to listen keeps its listeners
      server.once('error', (error: NodeJS.ErrnoException) => (error.code === 'EADDRINUSE' ? resolve(false) : reject(error)))
      server.listen(`\0shoal-machine-lock:${name}`, () => resolve(true))
    })
  if (!(await until(take, timeoutMs, 25))) {
    throw new ShoalError('deadline-exceeded', `another process has held the lock "${name}" for ${timeoutMs / 1000} s`, {
      next: 'Wait for it, or look for a shoal machine command that hangs.',
    })
  }
  try {
    return await action()
  } finally {
    await new Promise((done) => server.close(done))
  }
}

/** The path of a program, looked up without starting one. */
export function onPath(program: string): string | undefined {
  const dirs = [...(process.env.PATH ?? '').split(':'), '/usr/local/sbin', '/usr/sbin', '/sbin']
  return dirs.map((dir) => join(dir, program)).find((path) => existsSync(path))
}
