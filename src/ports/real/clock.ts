// The computer's clock.
import { ShoalError } from '../../lib/index.ts'
import type { Clock } from '../clock.ts'

export const realClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  setTimer(delayMs, fn) {
    const handle = setTimeout(fn, Math.min(delayMs, 2 ** 31 - 1))
    return { cancel: () => clearTimeout(handle) }
  },
  sleep(delayMs, signal) {
    return new Promise((resolve, reject) => {
      const canceled = () => new ShoalError('canceled', 'the wait was canceled')
      if (signal?.aborted) return reject(canceled())
      const onAbort = () => {
        clearTimeout(handle)
        reject(canceled())
      }
      const handle = setTimeout(
        () => {
          signal?.removeEventListener('abort', onAbort)
          resolve()
        },
        Math.min(delayMs, 2 ** 31 - 1),
      )
      signal?.addEventListener('abort', onAbort, { once: true })
    })
  },
}
