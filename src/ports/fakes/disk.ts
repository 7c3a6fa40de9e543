// A disk in memory that can crash: what was not yet durable may be gone afterwards, but nothing is ever torn.
import { ShoalError } from '../../lib/index.ts'
import type { Clock } from '../clock.ts'
import type { Disk } from '../disk.ts'
import type { Random } from '../random.ts'

export interface FakeDisk extends Disk {
  /**
   * The process that used this disk is gone (kill -9, power): its unfinished writes each either happened as a whole or not at all, and their callers
   * never hear of it. The disk goes on with what is there.
   */
  crash(): void
  /** Names of all files there, sorted. */
  names(): readonly string[]
  /** The next `count` writes fail (full or broken disk). */
  failWrites(count: number): void
}

interface Pending {
  readonly apply: () => void
  canceled: boolean
}

/** Without a clock writes are durable at once; with one they take 1 to `writeMs` ms of virtual time, one after another. */
export function createFakeDisk(options: { readonly clock?: Clock; readonly random?: Random; readonly writeMs?: number } = {}): FakeDisk {
  const { clock, random, writeMs = 5 } = options
  const files = new Map<string, Uint8Array>()
  let pending: Pending[] = []
  let failing = 0
  let last: Promise<void> = Promise.resolve()

  const durable = (apply: () => void): Promise<void> => {
    if (failing > 0) {
      failing -= 1
      return Promise.reject(new ShoalError('unavailable', 'the disk does not take the write'))
    }
    if (!clock) {
      apply()
      return Promise.resolve()
    }
    const write: Pending = { apply, canceled: false }
    pending.push(write)
    const done = last.then(
      () =>
        new Promise<void>((resolve) => {
          clock.setTimer(1 + (random ? random.float() * (writeMs - 1) : 0), () => {
            if (write.canceled) return // the caller is dead: it never hears of it
            pending = pending.filter((other) => other !== write)
            apply()
            resolve()
          })
        }),
    )
    last = done
    return done
  }

  return {
    read: (name) => Promise.resolve(files.get(name)?.slice()),
    write: (name, data) => {
      const copy = data.slice()
      return durable(() => void files.set(name, copy))
    },
    remove: (name) =>
      durable(() => {
        for (const key of [...files.keys()]) if (key === name || key.startsWith(`${name}/`)) files.delete(key)
      }),
    crash: () => {
      for (const write of pending) {
        write.canceled = true
        if (random && random.float() < 0.5) write.apply()
      }
      pending = []
      last = Promise.resolve()
    },
    names: () => [...files.keys()].sort(),
    failWrites: (count) => {
      failing = count
    },
  }
}
