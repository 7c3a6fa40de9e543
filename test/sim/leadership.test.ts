// Leadership, journal and replica under partitions, restarts, lost and late answers; and broken ones, each of which must be caught.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isShoalError } from '../../src/lib/index.ts'
import type { Etcd, EtcdTxn } from '../../src/ports/index.ts'
import { type RunOptions, runManagers } from './leadership.ts'

const SEEDS = process.env.SHOAL_SOAK === '1' ? 2_000 : 12

test(`${SEEDS} stories of 3 and 5 managers: nothing acknowledged is lost, one writer at a time, replicas agree`, async (t) => {
  let acknowledged = 0
  let takeovers = 0
  for (let seed = 1; seed <= SEEDS; seed += 1) {
    const result = await runManagers({ seed, managers: seed % 2 === 0 ? 5 : 3, seconds: 60 })
    assert.deepEqual(result.problems, [], `seed ${seed}`)
    acknowledged += result.acknowledged
    takeovers += result.takeovers
  }
  t.diagnostic(`${acknowledged} writes acknowledged, ${takeovers} takeovers`)
  assert.ok(acknowledged > SEEDS * 100 && takeovers > SEEDS * 2)
})

const withTxn = (change: (txn: EtcdTxn) => EtcdTxn) => (etcd: Etcd) => ({
  ...etcd,
  txn: (txn: EtcdTxn, options?: object) => etcd.txn(change(txn), options),
})
const isCommit = ({ success }: EtcdTxn) => success.some((op) => op.kind === 'put' && op.key === 'shoal/head')

/** How each of the promises could be broken. */
const MUTANTS: Readonly<Record<string, Partial<RunOptions>>> = {
  'commits are not fenced': {
    mutant: withTxn((txn) => (isCommit(txn) ? { ...txn, compare: txn.compare.filter(({ key }) => key !== 'shoal/leader') } : txn)),
  },
  'commits are neither fenced nor in order': { mutant: withTxn((txn) => (isCommit(txn) ? { ...txn, compare: [] } : txn)) },
  'takeovers do not compare': {
    mutant: withTxn((txn) => (txn.success.some((op) => op.kind === 'put' && op.key === 'shoal/leader') ? { ...txn, compare: [] } : txn)),
  },
  'a time-out counts as done': {
    mutant: (etcd) => ({
      ...etcd,
      async txn(txn, options) {
        try {
          return await etcd.txn(txn, options)
        } catch (error) {
          if (isCommit(txn) && isShoalError(error, 'deadline-exceeded'))
            return { succeeded: true, revision: (await etcd.status()).revision, got: [] }
          throw error
        }
      },
    }),
  },
  'a watch leaves out a change now and then': {
    mutant: (etcd) => ({
      ...etcd,
      async *watch(prefix, from, signal) {
        let n = 0
        for await (const event of etcd.watch(prefix, from, signal)) {
          n += 1
          if (n % 7 === 0) yield { ...event, events: event.events.filter(({ key }) => !key.startsWith('shoal/o/')) }
          else yield event
        }
      },
    }),
  },
  'a watch begins one revision late': {
    mutant: (etcd) => ({ ...etcd, watch: (prefix, from, signal) => etcd.watch(prefix, from + 1, signal) }),
  },
  'deletions and changes come in halves': {
    mutant: (etcd) => ({
      ...etcd,
      async *watch(prefix, from, signal) {
        for await (const event of etcd.watch(prefix, from, signal)) yield { ...event, events: event.events.slice(0, 2) }
      },
    }),
  },
  'a full read misses half': {
    mutant: (etcd) => ({
      ...etcd,
      async range(prefix, options) {
        const { revision, items } = await etcd.range(prefix, options)
        return { revision, items: items.slice(0, items.length / 2) }
      },
    }),
  },
}

for (const [name, change] of Object.entries(MUTANTS)) {
  test(`caught: ${name}`, async () => {
    for (let seed = 1; seed <= 30; seed += 1) {
      // a mutant may stop the program by an assertion of its own: that is caught, too
      const problems = await runManagers({ seed, managers: 3, seconds: 60, ...change }).then(
        (result) => result.problems,
        (error) => [String(error)],
      )
      if (problems.length > 0) return
    }
    assert.fail('no seed shows it')
  })
}
