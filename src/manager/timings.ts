// How long control loops take: what an operator looks at when the swarm reacts slowly.
import type { AnyLoop } from '../loops/index.ts'
import type { Clock } from '../ports/index.ts'

export interface LoopFigures {
  readonly name: string
  readonly turns: number
  readonly totalMs: number
  readonly longestMs: number
}

/** The same loops, their work timed. */
export function timedLoops(
  loops: readonly AnyLoop[],
  clock: Clock,
): { readonly loops: readonly AnyLoop[]; figures(): readonly LoopFigures[] } {
  const all = new Map<string, { turns: number; totalMs: number; longestMs: number }>()
  const timed = <T>(name: string, work: () => T): T => {
    const startedMs = clock.monotonicMs()
    try {
      return work()
    } finally {
      const tookMs = clock.monotonicMs() - startedMs
      const figures = all.get(name) ?? { turns: 0, totalMs: 0, longestMs: 0 }
      all.set(name, { turns: figures.turns + 1, totalMs: figures.totalMs + tookMs, longestMs: Math.max(figures.longestMs, tookMs) })
    }
  }
  const wrap = (loop: AnyLoop): AnyLoop => {
    // the prototype, so that whatever else a loop has stays within reach
    const wrapped = Object.create(loop) as AnyLoop
    if (loop.kind === 'loop')
      return Object.assign(wrapped, {
        reconcile: (...args: Parameters<typeof loop.reconcile>) => timed(loop.name, () => loop.reconcile(...args)),
      })
    return Object.assign(wrapped, { run: (...args: Parameters<typeof loop.run>) => timed(loop.name, () => loop.run(...args)) })
  }
  return { loops: loops.map(wrap), figures: () => [...all].map(([name, figures]) => ({ name, ...figures })) }
}
