// Each seeded fault is caught by the checker that is there for it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DEFAULTS, describe, type RunOptions, runSeed } from '../../src/sim/index.ts'
import { MUTANTS } from './mutants.ts'

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

for (const mutant of MUTANTS) {
  test(`caught: ${mutant.name}`, async () => {
    for (let seed = 1; seed <= MOST_SEEDS; seed += 1) {
      const result = await runSeed({ ...SIZE, seed, tamper: mutant.tamper() })
      if (result.ok) continue
      const rule = result.violations[0]?.rule ?? ''
      assert.ok(mutant.caughtBy.includes(rule), `caught by ${rule}, which is there for other things:\n${describe(result)}`)
      return
    }
    assert.fail(`${MOST_SEEDS} seeds and nobody noticed`)
  })
}
