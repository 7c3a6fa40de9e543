// A hundred swarms with people and faults: no rule is broken, all come to rest, and a seed always plays the same.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DEFAULTS, type RunOptions } from '../../src/sim/index.ts'
import { runInThread } from './worker.ts'

const SEEDS = 100
const SIZE: Omit<RunOptions, 'seed'> = { ...DEFAULTS, nodes: 4, services: 6, minutes: 3, faultsPerMinute: 5, opsPerMinute: 10 }

test('the same seed gives the same trace, another seed another one', async () => {
  const [first, again, other] = await runInThread({ size: SIZE, seeds: [7, 7, 8] })
  assert.equal(first?.traceHash, again?.traceHash)
  assert.deepEqual(first?.stats, again?.stats)
  assert.notEqual(first?.traceHash, other?.traceHash)
})

/** Two threads: as many as the smallest machine that this is meant for has cores. */
const HALF = SEEDS / 2
const halves = [0, HALF].map((from) => runInThread({ size: SIZE, seeds: Array.from({ length: HALF }, (_, i) => from + i + 1) }))

for (const [index, half] of halves.entries()) {
  test(`seeds ${index * HALF + 1} to ${(index + 1) * HALF} keep every rule and converge`, async () => {
    const outcomes = await half
    assert.equal(outcomes.length, HALF)
    assert.equal(outcomes.map(({ text }) => text).join(''), '')
  })
}
