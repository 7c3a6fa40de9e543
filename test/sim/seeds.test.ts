// A hundred swarms with people and faults: no rule is broken, all come to rest, and a seed always plays the same.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DEFAULTS, describe, type RunOptions, replayCommand, runSeed } from '../../src/sim/index.ts'

const SEEDS = 100
const SIZE: Omit<RunOptions, 'seed'> = { ...DEFAULTS, nodes: 4, services: 6, minutes: 4, faultsPerMinute: 4, opsPerMinute: 8 }

test('the same seed gives the same trace, another seed another one', async () => {
  const [first, again, other] = [
    await runSeed({ ...SIZE, seed: 7 }),
    await runSeed({ ...SIZE, seed: 7 }),
    await runSeed({ ...SIZE, seed: 8 }),
  ]
  assert.equal(first.traceHash, again.traceHash)
  assert.deepEqual(first.stats, again.stats)
  assert.notEqual(first.traceHash, other.traceHash)
})

for (let from = 1; from <= SEEDS; from += 10) {
  test(`seeds ${from} to ${from + 9} keep every rule and converge`, async () => {
    const failures: string[] = []
    for (let seed = from; seed < from + 10; seed += 1) {
      const options = { ...SIZE, seed }
      const result = await runSeed(options)
      if (!result.ok) failures.push(`seed ${seed}\n${describe(result)}\n  replay: ${replayCommand(options)} --trace`)
    }
    assert.equal(failures.join('\n'), '')
  })
}
