// One daemon for one state folder: a lock file that names the process, so that a stale one is no obstacle.
import { mkdir, open, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ShoalError } from '../lib/index.ts'

export interface StateLock {
  release(): Promise<void>
}

/** ShoalError 'failed-precondition' while another live process holds it. */
export async function lockState(stateDir: string): Promise<StateLock> {
  await mkdir(stateDir, { recursive: true, mode: 0o700 })
  const path = join(stateDir, 'shoald.lock')
  const own = `${process.pid} ${await startTime(process.pid)}\n`
  for (let attempt = 0; attempt < 3; attempt++) {
    try {
      const file = await open(path, 'wx', 0o600)
      await file.writeFile(own)
      await file.close()
      return { release: () => rm(path, { force: true }) }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
    const holder = await readFile(path, 'utf8').catch(() => '')
    const [pid, started] = holder.trim().split(' ')
    if (pid && started && (await startTime(Number(pid))) === started) {
      throw new ShoalError('failed-precondition', `another shoald (process ${pid}) uses the state in ${stateDir}`, {
        next: 'stop it first, or give this one a --state-dir of its own',
      })
    }
    // Stale. Renaming decides who of several starters removes it; the losers try again.
    const aside = `${path}.stale.${process.pid}`
    await rename(path, aside).catch(() => {})
    await rm(aside, { force: true })
  }
  throw new ShoalError('unavailable', `could not lock ${stateDir}`, { next: 'another shoald is starting on it; try again' })
}

/** Clock ticks after boot at which a process started: with the pid it names a process for good. Undefined when there is none. */
async function startTime(pid: number): Promise<string | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined)
  return stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
}

export async function writePidFile(path: string): Promise<StateLock> {
  await writeFile(path, `${process.pid}\n`, { mode: 0o644 })
  return { release: () => rm(path, { force: true }) }
}
