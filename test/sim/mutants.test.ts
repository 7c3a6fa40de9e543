// Each seeded fault is caught by the checker that is there for it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DEFAULTS, type RunOptions } from '../../src/sim/index.ts'
import { MUTANTS } from './mutants.ts'
import { runInThread } from './worker.ts'

const SIZE: Omit<RunOptions, 'seed'> = {
  ...DEFAULTS,
  nodes: 4,
  services: 6,
  minutes: 4,
  faultsPerMinute: 1.5,
  opsPerMinute: 15,
  settleMinutes: 3,
}
const MOST_SEEDS = 12

const seeds = Array.from({ length: MOST_SEEDS }, (_, i) => i + 1)
const outcomes = runInThread({ size: SIZE, seeds, mutants: MUTANTS.map(({ name }) => name) })

for (const mutant of MUTANTS) {
  test(`caught: ${mutant.name}`, async () => {
    const caught = (await outcomes).find((outcome) => outcome.mutant === mutant.name && !outcome.ok)
    assert.ok(caught, `${MOST_SEEDS} seeds and nobody noticed`)
    const rule = caught.violations[0]?.rule ?? ''
    assert.ok(mutant.caughtBy.includes(rule), `caught by ${rule}, which is there for other things:\n${caught.text}`)
  })
}
