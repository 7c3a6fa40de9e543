// Runs seeds in a thread of its own: the test runner's hooks on every promise would make them four times as slow.
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { describe, type RunOptions, type RunResult, replayCommand, runSeed } from '../../src/sim/index.ts'
import { MUTANTS } from './mutants.ts'

export interface Job {
  readonly size: Omit<RunOptions, 'seed'>
  readonly seeds: readonly number[]
  /** Instead of the program as it is, these faults are seeded into it one by one, each until a seed fails. */
  readonly mutants?: readonly string[]
}

export type Outcome = Pick<RunResult, 'seed' | 'ok' | 'violations' | 'traceHash' | 'stats'> & {
  readonly text: string
  readonly mutant: string | undefined
}

/** The outcomes of all seeds that were run, in order. */
export function runInThread(job: Job): Promise<readonly Outcome[]> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: job })
    worker.once('message', resolve)
    worker.once('error', reject)
    worker.once('exit', (code) => reject(new Error(`the thread ended with code ${code} and no result`)))
  })
}

async function work({ size, seeds, mutants }: Job): Promise<readonly Outcome[]> {
  const outcomes: Outcome[] = []
  for (const mutant of mutants ?? [undefined]) {
    for (const seed of seeds) {
      const outcome = await runOne({ ...size, seed }, mutant)
      outcomes.push(outcome)
      if (mutant !== undefined && !outcome.ok) break
    }
  }
  return outcomes
}

async function runOne(options: RunOptions, mutant: string | undefined): Promise<Outcome> {
  const tamper = MUTANTS.find(({ name }) => name === mutant)?.tamper()
  const { seed, ok, violations, traceHash, stats } = await runSeed({ ...options, tamper })
  const text = ok ? '' : `seed ${seed}\n${describe({ violations })}\n  replay: ${replayCommand(options)} --trace`
  return { seed, ok, violations, traceHash, stats, text, mutant }
}

if (!isMainThread && parentPort) parentPort.postMessage(await work(workerData as Job))
