// The etcd child process: found, checked, started, watched over, started again with a back-off, and never left behind.
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { errorText, type Logger, SECOND_MS, ShoalError } from '../lib/index.ts'
import type { Clock } from '../ports/index.ts'

const RESTART_FIRST_MS = 250
const RESTART_MOST_MS = 10 * SECOND_MS
/** One that ran this long has started well: the next restart is quick again. */
const STEADY_MS = 30 * SECOND_MS
const STOP_MS = 5 * SECOND_MS
const INSTALL = 'install etcd 3.4.23 or a later 3.4, 3.5.31+ or 3.6.12+ (Debian and Ubuntu: apt-get install etcd-server) and try again'

/**
 * Throws 'failed-precondition' with the next step when there is no etcd, or one that cannot be relied on: some 3.5 and 3.6 lose the promotion of a learner
 * or the consistency of members (store.md 5).
 */
export async function requireEtcd(program = 'etcd'): Promise<string> {
  let output: string
  try {
    output = (await promisify(execFile)(program, ['--version'], { timeout: 10 * SECOND_MS })).stdout
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT'
    throw new ShoalError(
      'failed-precondition',
      missing ? 'several managers need etcd, and this computer has none' : `etcd does not start: ${errorText(error)}`,
      { next: INSTALL, cause: error },
    )
  }
  const version = /etcd Version: (\S+)/.exec(output)?.[1] ?? ''
  const reason = whyUnfit(version)
  if (reason)
    throw new ShoalError('failed-precondition', `etcd ${version || 'of unknown version'} cannot be used: ${reason}`, { next: INSTALL })
  return version
}

/** Why this version is refused; undefined = it is good. */
export function whyUnfit(version: string): string | undefined {
  const [major, minor, patch] = /^(\d+)\.(\d+)\.(\d+)/.exec(version)?.slice(1).map(Number) ?? []
  if (major === undefined || minor === undefined || patch === undefined) return 'its version cannot be read'
  if (major < 3 || (major === 3 && minor < 4)) return 'it is too old (3.4.23 is the oldest)'
  if (major === 3 && minor === 4 && patch < 23) return 'it is too old (3.4.23 is the oldest)'
  if (major === 3 && minor === 5 && patch < 31) return 'promoting a learner is not reliable before 3.5.31'
  if (major === 3 && minor === 6 && patch < 12) return 'promoting a learner is not reliable before 3.6.12'
  return undefined
}

export interface EtcdProcessOptions {
  readonly clock: Clock
  readonly log: Logger
  /** Read at each start, for what only the first start may have. */
  readonly args: () => readonly string[]
  readonly program?: string
  /** etcd has ended by itself and without an error: its member was removed from the group. */
  readonly onRemoved: () => void
}

export interface EtcdProcess {
  readonly pid: number | undefined
  /** Why it does not run now; '' while it does. */
  readonly problem: string
  /** How often it has ended by itself. */
  readonly ended: number
  stop(): Promise<void>
}

/** Starts etcd and keeps it running until `stop`. It dies with this process, however that ends. */
export function superviseEtcd(options: EtcdProcessOptions): EtcdProcess {
  const { clock, log } = options
  const stopping = new AbortController()
  let child: ChildProcess | undefined
  let problem = ''
  let ended = 0

  const once = (): Promise<{ code: number | null; last: string }> =>
    new Promise((resolve) => {
      // node's own children would outlive a kill -9 of the parent
      const started = spawn('setpriv', ['--pdeathsig', 'KILL', '--', options.program ?? 'etcd', ...options.args()], {
        stdio: ['ignore', 'ignore', 'pipe'],
        env: { PATH: process.env.PATH ?? '/usr/bin:/bin' }, // ETCD_* of the environment would override flags
      })
      child = started
      problem = ''
      let last = ''
      createInterface({ input: started.stderr as NodeJS.ReadableStream }).on('line', (line) => {
        last = tell(line, log) ?? last
      })
      started.on('error', (error) => resolve({ code: -1, last: error.message }))
      started.on('close', (code) => resolve({ code, last }))
    })

  const run = async (): Promise<void> => {
    let delayMs = RESTART_FIRST_MS
    while (!stopping.signal.aborted) {
      const startedAt = clock.monotonicMs()
      const { code, last } = await once()
      child = undefined
      if (stopping.signal.aborted) return
      ended += 1
      if (code === 0) {
        ended += 1
        problem = 'this member was removed from the group'
        options.onRemoved()
        return
      }
      problem = `etcd ended with code ${code}${last ? `: ${last}` : ''}`
      log.warn('etcd ended, it is started again', { code: code ?? -1, last, delayMs })
      if (clock.monotonicMs() - startedAt > STEADY_MS) delayMs = RESTART_FIRST_MS
      await clock.sleep(delayMs, stopping.signal).catch(() => {}) // stopped meanwhile
      delayMs = Math.min(delayMs * 2, RESTART_MOST_MS)
    }
  }
  const running = run().catch((error) => log.error('etcd is not watched over any more', { error: errorText(error) }))

  return {
    get pid() {
      return child?.pid
    },
    get problem() {
      return problem
    },
    get ended() {
      return ended
    },
    async stop() {
      stopping.abort()
      const running_ = child
      running_?.kill('SIGTERM')
      const hard = clock.setTimer(STOP_MS, () => running_?.kill('SIGKILL'))
      await running
      hard.cancel()
    },
  }
}

/** Its warnings become ours; gives the text of an error, to explain an end. */
function tell(line: string, log: Logger): string | undefined {
  let entry: { level?: string; msg?: string; error?: string }
  try {
    entry = JSON.parse(line)
  } catch {
    log.debug('etcd', { line: line.slice(0, 300) })
    return undefined
  }
  const text = `${entry.msg ?? ''}${entry.error ? `: ${entry.error}` : ''}`.slice(0, 300)
  if (entry.level === 'fatal' || entry.level === 'panic' || entry.level === 'error') {
    log.warn('etcd', { text })
    return text
  }
  log.debug('etcd', { text })
  return undefined
}
