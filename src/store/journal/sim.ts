// The simulator's disk under a store: survives its process, takes virtual time to become durable, and can be cut off in the middle of a commit.
import { assert } from '../../lib/index.ts'
import type { Clock, Random } from '../../ports/index.ts'
import type { CommitResult, Journal, JournalWrite } from './types.ts'

export interface SimJournalDisk {
  /** A journal on this disk, for one life of a process. */
  open(): Journal
  /** The process was killed: a commit under way is wholly there or not at all, and nobody hears of it. */
  crash(): void
  /** The next commit answers 'in-doubt'; whether it was written is chance. */
  doubtNext(): void
  /** What is durable now. */
  readonly seq: number
  readonly entries: ReadonlyMap<string, Uint8Array>
}

export interface SimJournalOptions {
  readonly clock: Clock
  readonly random: Random
  /** A commit takes between half of this and this long. 0 = no time at all. */
  readonly commitMs?: number
}

export function createSimJournalDisk({ clock, random, commitMs = 4 }: SimJournalOptions): SimJournalDisk {
  const entries = new Map<string, Uint8Array>()
  let seq = 0
  let life = 0
  let doubt = false
  let underWay: (() => void) | undefined

  const apply = (at: number, writes: readonly JournalWrite[]): void => {
    for (const { key, value } of writes) {
      if (value) entries.set(key, value.slice())
      else entries.delete(key)
    }
    seq = at
  }

  const open = (): Journal => {
    life += 1
    const mine = life
    return {
      load: async () => ({ seq, entries: [...entries].map(([key, value]) => ({ key, value: value.slice() })) }),
      commit(at, writes) {
        assert(underWay === undefined, 'a journal takes one commit at a time')
        assert(at > seq, `commit ${at} comes after ${seq}`)
        if (mine !== life) return Promise.resolve('deposed')
        return new Promise<CommitResult>((resolve) => {
          const finish = () => {
            if (mine !== life) return
            underWay = undefined
            const inDoubt = doubt
            doubt = false
            if (!inDoubt || random.float() < 0.5) apply(at, writes)
            resolve(inDoubt ? 'in-doubt' : 'durable')
          }
          underWay = () => apply(at, writes)
          clock.setTimer(commitMs * (0.5 + random.float() / 2), finish)
        })
      },
      close: async () => {},
    }
  }

  return {
    open,
    crash() {
      if (underWay && random.float() < 0.5) underWay()
      underWay = undefined
      life += 1
    },
    doubtNext() {
      doubt = true
    },
    get seq() {
      return seq
    },
    entries,
  }
}
