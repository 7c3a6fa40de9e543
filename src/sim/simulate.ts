// One simulated run from a seed: workload, faults, calm, convergence; and the shortest list of operations that still breaks a rule.

import type { LogLevel } from '../lib/index.ts'
import { createRandom } from '../ports/fakes/index.ts'
import type { Tamper } from './host.ts'
import { drawWorkload, opText, type TimedOp } from './workload.ts'
import { type Violation, World } from './world.ts'

export interface RunOptions {
  readonly seed: number
  readonly nodes: number
  readonly services: number
  readonly minutes: number
  readonly faultsPerMinute: number
  readonly opsPerMinute: number
  /** Virtual minutes that convergence may take. */
  readonly settleMinutes: number
  readonly printTrace?: (line: string) => void
  readonly logLevel?: LogLevel
  readonly tamper?: Tamper
}

export const DEFAULTS: Omit<RunOptions, 'seed'> = {
  nodes: 5,
  services: 10,
  minutes: 10,
  faultsPerMinute: 3,
  opsPerMinute: 6,
  settleMinutes: 5,
}

/** Enough to find where a defect came from. */
const STACK_FRAMES = 4

export interface RunResult {
  readonly seed: number
  readonly ok: boolean
  readonly violations: readonly Violation[]
  readonly traceHash: string
  readonly tail: readonly string[]
  readonly ops: readonly TimedOp[]
  readonly stats: { readonly events: number; readonly commits: number; readonly messages: number; readonly operations: string }
}

export function workloadOf(options: RunOptions): readonly TimedOp[] {
  return drawWorkload({
    random: createRandom(`${options.seed}/workload`),
    hosts: options.nodes,
    services: options.services,
    durationMs: options.minutes * 60_000,
    faultsPerMinute: options.faultsPerMinute,
    opsPerMinute: options.opsPerMinute,
  })
}

/** `ops` replaces the seed's own list. */
export async function runSeed(options: RunOptions, ops: readonly TimedOp[] = workloadOf(options)): Promise<RunResult> {
  const draw = createRandom(`${options.seed}/network`)
  const world = new World({
    seed: String(options.seed),
    hosts: options.nodes,
    lossRate: draw.pick([0, 0, 0.001, 0.01]),
    resetRate: draw.pick([0, 0, 0, 0.0005]),
    printTrace: options.printTrace,
    logLevel: options.logLevel,
    tamper: options.tamper,
  })
  const unhandled = (error: unknown) =>
    world.complain('no-defects', `unhandled rejection: ${error instanceof Error ? error.stack : String(error)}`)
  process.on('unhandledRejection', unhandled)
  // Errors are daily bread here, and their stacks are a tenth of a run.
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = STACK_FRAMES
  try {
    if (!(await world.start())) world.complain('start', 'the swarm did not come up')
    world.schedule(ops)
    if (world.violations.length === 0) await world.run(options.minutes * 60_000)
    if (world.violations.length === 0) {
      world.calm()
      // The manager may need a moment to come back before people can ask it anything.
      await world.clock.runUntil(() => world.manager() !== undefined, 60_000)
      await world.run(30_000)
      world.calm()
      if (!world.repair()) world.complain('convergence', 'no manager after the faults')
      if (world.violations.length === 0) await world.settle(options.settleMinutes * 60_000)
    }
  } catch (error) {
    world.complain('no-defects', `a timer threw ${error instanceof Error ? error.stack : String(error)}`)
  } finally {
    world.close()
    process.off('unhandledRejection', unhandled)
    Error.stackTraceLimit = stackTraceLimit
  }
  const { asked, done, refused } = world.operations
  return {
    seed: options.seed,
    ok: world.violations.length === 0,
    violations: world.violations,
    traceHash: world.trace.digest(),
    tail: world.trace.tail(),
    ops,
    stats: {
      events: world.clock.fired,
      commits: world.commits,
      messages: world.net.network.messages,
      operations: `${done}/${asked} done, ${refused} refused`,
    },
  }
}

/** Drops halves, quarters, ... single operations as long as the same rule stays broken. At most `maxRuns` runs. */
export async function shrink(options: RunOptions, failed: RunResult, maxRuns: number): Promise<RunResult> {
  const rule = failed.violations[0]?.rule
  let best = failed
  let runs = 0
  for (let size = Math.ceil(best.ops.length / 2); size >= 1 && runs < maxRuns; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let from = 0; from < best.ops.length && runs < maxRuns; ) {
      const shorter = best.ops.filter((_, index) => index < from || index >= from + size)
      runs += 1
      const result = await runSeed({ ...options, printTrace: undefined }, shorter)
      if (!result.ok && result.violations[0]?.rule === rule) best = result
      else from += size
    }
  }
  return best
}

export function replayCommand(options: RunOptions): string {
  const { seed, nodes, services, minutes, faultsPerMinute, opsPerMinute } = options
  return `node src/sim/run.ts --seed ${seed} --nodes ${nodes} --services ${services} --minutes ${minutes} --faults ${faultsPerMinute} --ops ${opsPerMinute}`
}

export function describe(result: Pick<RunResult, 'violations'>): string {
  const lines = result.violations.map(({ rule, what, atMs }) => `  ${(atMs / 1000).toFixed(3)} s  ${rule}: ${what}`)
  return lines.join('\n')
}

export function opsText(ops: readonly TimedOp[]): string {
  return ops.map((op) => `  ${(op.atMs / 1000).toFixed(3)} s  ${opText(op)}`).join('\n')
}
