// The virtual clock: order of timers, settled promises, waits that end.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createVirtualClock } from '../../src/ports/fakes/clock.ts'

test('timers fire in order of time, then of insertion, also those set meanwhile', async () => {
  const clock = createVirtualClock({ start: 1000 })
  const seen: string[] = []
  clock.setTimer(20, () => seen.push(`b${clock.now()}`))
  clock.setTimer(10, () => {
    seen.push(`a${clock.now()}`)
    clock.setTimer(10, () => seen.push('d'))
    clock.setTimer(0, () => seen.push('a2'))
  })
  clock.setTimer(20, () => seen.push('c'))
  clock.setTimer(15, () => seen.push('never')).cancel()
  await clock.advance(20)
  assert.deepEqual(seen, ['a1010', 'a2', 'b1020', 'c', 'd'])
  assert.equal(clock.pending, 0)
  assert.equal(clock.monotonicMs(), 20)
})

test('long promise chains and ticks settle between two timers of one instant', async () => {
  const clock = createVirtualClock()
  const seen: string[] = []
  const chain = async (name: string) => {
    for (let i = 0; i < 50; i += 1) await (i % 2 ? null : new Promise<void>((resolve) => process.nextTick(resolve)))
    seen.push(name)
  }
  clock.setTimer(5, () => void chain('first'))
  clock.setTimer(5, () => seen.push('second'))
  await clock.advance(5)
  assert.deepEqual(seen, ['first', 'second'])
})

test('a sleep ends on time, or at once when its signal aborts, and leaves no timer', async () => {
  const clock = createVirtualClock()
  const abort = new AbortController()
  let slept = false
  const first = clock.sleep(100).then(() => {
    slept = true
  })
  const second = assert.rejects(clock.sleep(1_000, abort.signal), { code: 'canceled' })
  await clock.advance(99)
  assert.equal(slept, false)
  await clock.advance(1)
  assert.equal(slept, true)
  abort.abort()
  await Promise.all([first, second, assert.rejects(clock.sleep(1, abort.signal), { code: 'canceled' })])
  assert.equal(clock.pending, 0)
})

test('runUntil stops at the timer that makes the predicate true, and gives up at its limit', async () => {
  const clock = createVirtualClock()
  let count = 0
  const tick = () => {
    count += 1
    clock.setTimer(10, tick)
  }
  tick()
  assert.equal(await clock.runUntil(() => count === 5, 1_000), true)
  assert.equal(clock.monotonicMs(), 40)
  assert.equal(await clock.runUntil(() => count === 5_000, 100), false)
  assert.equal(clock.monotonicMs(), 140)
})

test('an error of a timer reaches the one who moved the clock', async () => {
  const clock = createVirtualClock()
  clock.setTimer(1, () => {
    throw new Error('boom')
  })
  await assert.rejects(clock.advance(5), /boom/)
  await clock.advance(5)
})

test('many canceled timers do not pile up', async () => {
  const clock = createVirtualClock()
  let fired = 0
  for (let i = 0; i < 10_000; i += 1) clock.setTimer(1_000 + i, () => {}).cancel()
  clock.setTimer(1, () => {
    fired += 1
  })
  await clock.advance(1)
  assert.equal(fired, 1)
  assert.equal(clock.pending, 0)
})
