// A hundred swarms with people and faults: no rule is broken, all come to rest, and a seed always plays the same.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DEFAULTS, type RunOptions } from '../../src/sim/index.ts'
import { runInThread } from './worker.ts'

const SEEDS = 100
const SIZE: Omit<RunOptions, 'seed'> = { ...DEFAULTS, nodes: 4, services: 6, minutes: 4, faultsPerMinute: 4, opsPerMinute: 8 }

test('the same seed gives the same trace, another seed another one', async () => {
  const [first, again, other] = await runInThread({ size: SIZE, seeds: [7, 7, 8] })
  assert.equal(first?.traceHash, again?.traceHash)
  assert.deepEqual(first?.stats, again?.stats)
  assert.notEqual(first?.traceHash, other?.traceHash)
})

for (let from = 1; from <= SEEDS; from += 20) {
  test(`seeds ${from} to ${from + 19} keep every rule and converge`, async () => {
    const outcomes = await runInThread({ size: SIZE, seeds: Array.from({ length: 20 }, (_, i) => from + i) })
    assert.equal(outcomes.length, 20)
    assert.equal(outcomes.map(({ text }) => text).join(''), '')
  })
}
