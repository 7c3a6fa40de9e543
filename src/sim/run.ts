// `node src/sim/run.ts --seed 7 --nodes 5 --services 10 --minutes 10`: replays a seed, or runs many (`--seeds 100`), and shortens what fails.
import { parseArgs } from 'node:util'
import type { LogLevel } from '../lib/index.ts'
import { DEFAULTS, describe, opsText, type RunOptions, replayCommand, runSeed, shrink } from './simulate.ts'

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    seeds: { type: 'string', default: '1' },
    nodes: { type: 'string', default: String(DEFAULTS.nodes) },
    services: { type: 'string', default: String(DEFAULTS.services) },
    minutes: { type: 'string', default: String(DEFAULTS.minutes) },
    faults: { type: 'string', default: String(DEFAULTS.faultsPerMinute) },
    ops: { type: 'string', default: String(DEFAULTS.opsPerMinute) },
    shrink: { type: 'string', default: '0' },
    trace: { type: 'boolean', default: false },
    log: { type: 'string', default: 'warn' },
  },
})

const first = Number(values.seed)
let failures = 0
let cpuMs = 0
for (let seed = first; seed < first + Number(values.seeds); seed += 1) {
  const options: RunOptions = {
    ...DEFAULTS,
    seed,
    nodes: Number(values.nodes),
    services: Number(values.services),
    minutes: Number(values.minutes),
    faultsPerMinute: Number(values.faults),
    opsPerMinute: Number(values.ops),
    printTrace: values.trace ? (line) => console.log(line) : undefined,
    logLevel: values.log as LogLevel,
  }
  const before = process.cpuUsage()
  const result = await runSeed(options)
  const { user, system } = process.cpuUsage(before)
  cpuMs += (user + system) / 1_000
  const { events, commits, messages, operations } = result.stats
  console.log(
    `${result.ok ? 'ok  ' : 'FAIL'} seed ${seed} hash ${result.traceHash} events ${events} commits ${commits} messages ${messages} operations ${operations} cpu ${((user + system) / 1e6).toFixed(2)} s`,
  )
  if (result.ok) continue
  failures += 1
  console.log(describe(result))
  console.log(`  replay: ${replayCommand(options)} --trace`)
  const bound = Number(values.shrink)
  if (bound > 0) {
    const shortest = await shrink(options, result, bound)
    console.log(`  the shortest list found that breaks the same rule has ${shortest.ops.length} of ${result.ops.length} operations:`)
    console.log(opsText(shortest.ops))
    console.log(describe(shortest))
  }
}
console.log(`${failures} of ${values.seeds} seeds failed, ${(cpuMs / 1000).toFixed(1)} s CPU`)
process.exitCode = failures > 0 ? 1 : 0
