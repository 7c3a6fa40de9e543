// Runs seeds in a thread of its own: the test runner's hooks on every promise would make them four times as slow.
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { describe, type RunOptions, type RunResult, replayCommand, runSeed } from '../../src/sim/index.ts'
import { MUTANTS } from './mutants.ts'

export interface Job {
  readonly size: Omit<RunOptions, 'seed'>
  readonly seeds: readonly number[]
  /** Seeded into the program; ends with the first seed that fails. */
  readonly mutant?: string
}

export type Outcome = Pick<RunResult, 'seed' | 'ok' | 'violations' | 'traceHash' | 'stats'> & { readonly text: string }

/** The outcomes of all seeds that were run, in order. */
export function runInThread(job: Job): Promise<readonly Outcome[]> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: job })
    worker.once('message', resolve)
    worker.once('error', reject)
    worker.once('exit', (code) => reject(new Error(`the thread ended with code ${code} and no result`)))
  })
}

async function work({ size, seeds, mutant }: Job): Promise<readonly Outcome[]> {
  const outcomes: Outcome[] = []
  const tamper = MUTANTS.find(({ name }) => name === mutant)?.tamper
  for (const seed of seeds) {
    const options: RunOptions = { ...size, seed }
    const { ok, violations, traceHash, stats } = await runSeed({ ...options, tamper: tamper?.() })
    const text = ok ? '' : `seed ${seed}\n${describe({ violations })}\n  replay: ${replayCommand(options)} --trace`
    outcomes.push({ seed, ok, violations, traceHash, stats, text })
    if (mutant !== undefined && !ok) break
  }
  return outcomes
}

if (!isMainThread && parentPort) parentPort.postMessage(await work(workerData as Job))
