// A simulated operating-system process: its time, its messages and the answers of its ports stop while it is paused, and never come when it is dead.
import { ShoalError } from '../lib/index.ts'
import type { Clock, Timer } from '../ports/index.ts'

export type ProcessState = 'running' | 'paused' | 'dead'

export interface SimProcess {
  readonly name: string
  readonly state: ProcessState
  /** The clock as this process sees it. Production code of the process gets this one, never the world's. */
  readonly clock: Clock
  /** Everything that reaches the process from outside comes through here: at once, at `resume`, or never. */
  run(fn: () => void): void
  /** The port as this process sees it: answers and stream items come in through `run`. */
  gated<T extends object>(port: T): T
  /** SIGSTOP. */
  pause(): void
  /** SIGCONT: what piled up comes in order, without time passing. */
  resume(): void
  /** SIGKILL: not one more instruction of it runs. */
  kill(): void
}

export interface ProcessOptions {
  readonly name: string
  readonly clock: Clock
  /** How far this host's wall clock is off. */
  readonly wallSkewMs?: number
}

export function createProcess({ name, clock: world, wallSkewMs = 0 }: ProcessOptions): SimProcess {
  let state: ProcessState = 'running'
  let inbox: (() => void)[] = []

  const run = (fn: () => void): void => {
    if (state === 'running' && inbox.length === 0) fn()
    else if (state !== 'dead') inbox.push(fn)
  }

  /** One piece at a time on the world's clock, so that promises settle in between as they would have. */
  const drain = (): void => {
    if (state !== 'running') return
    const fn = inbox.shift()
    if (fn === undefined) return
    if (inbox.length > 0) world.setTimer(0, drain)
    fn()
  }

  const setTimer = (delayMs: number, fn: () => void): Timer => {
    let canceled = false
    const fire = () => {
      if (!canceled) fn()
    }
    const timer = world.setTimer(delayMs, () => run(fire))
    return {
      cancel: () => {
        canceled = true
        timer.cancel()
      },
    }
  }

  const clock: Clock = {
    now: () => world.now() + wallSkewMs,
    monotonicMs: () => world.monotonicMs(),
    setTimer,
    sleep: (delayMs, signal) =>
      new Promise((resolve, reject) => {
        const cancel = () => {
          timer.cancel()
          reject(new ShoalError('canceled', 'the wait was canceled'))
        }
        const timer = setTimer(delayMs, () => {
          signal?.removeEventListener('abort', cancel)
          resolve()
        })
        if (signal?.aborted) cancel()
        else signal?.addEventListener('abort', cancel, { once: true })
      }),
  }

  const passage = <T>(promise: PromiseLike<T>): Promise<T> =>
    new Promise((resolve, reject) => {
      promise.then(
        (value) => run(() => resolve(value)),
        (error: unknown) => run(() => reject(error)),
      )
    })

  const gated = <T extends object>(port: T): T => {
    const wrapped = new Map<PropertyKey, unknown>()
    return new Proxy(port, {
      get(target, key) {
        const value = Reflect.get(target, key, target) as unknown
        if (typeof value !== 'function') return value
        let gate = wrapped.get(key)
        if (gate === undefined) {
          gate = (...args: unknown[]) => gatedResult(Reflect.apply(value, target, args), passage)
          wrapped.set(key, gate)
        }
        return gate
      },
    })
  }

  return {
    name,
    get state() {
      return state
    },
    clock,
    run,
    gated,
    pause() {
      if (state === 'running') state = 'paused'
    },
    resume() {
      if (state !== 'paused') return
      state = 'running'
      if (inbox.length > 0) world.setTimer(0, drain)
    },
    kill() {
      state = 'dead'
      inbox = []
    },
  }
}

function gatedResult(result: unknown, passage: <T>(promise: PromiseLike<T>) => Promise<T>): unknown {
  if (typeof result !== 'object' || result === null) return result
  if (typeof (result as PromiseLike<unknown>).then === 'function') return passage(result as PromiseLike<unknown>)
  if (!(Symbol.asyncIterator in result)) return result
  const iterable = result as AsyncIterable<unknown>
  return {
    [Symbol.asyncIterator]() {
      const iterator = iterable[Symbol.asyncIterator]()
      return {
        next: () => passage(iterator.next()),
        return: (value?: unknown) => passage(iterator.return?.(value) ?? Promise.resolve({ done: true as const, value })),
      }
    },
  }
}
