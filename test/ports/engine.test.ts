// The fake engine passes the conformance test of the Engine port, and plays its faults as it says.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isShoalError } from '../../src/lib/index.ts'
import { createFakeEngine, createVirtualClock, type FakeBehaviour, type VirtualClock } from '../../src/ports/fakes/index.ts'
import type { ContainerPlan } from '../../src/ports/index.ts'
import { type EngineBench, engineConformance, planOf } from './engine-conformance.ts'

function behaviour(plan: ContainerPlan): FakeBehaviour {
  const exit = /^exit (\d+)$/.exec(plan.command?.[2] ?? '')
  return exit ? { exitAfterMs: 10, exitCode: Number(exit[1]) } : {}
}

async function settle<T>(clock: VirtualClock, promise: Promise<T>): Promise<T> {
  let settled = false
  const end = () => {
    settled = true
  }
  promise.then(end, end)
  await clock.runUntil(() => settled, 60_000)
  return promise
}

engineConformance('fake engine', (): Promise<EngineBench> => {
  const clock = createVirtualClock()
  return Promise.resolve({
    engine: createFakeEngine({ clock, images: ['busybox'], behaviour }),
    image: 'busybox',
    settle: (promise) => settle(clock, promise),
    sleep: (ms) => clock.advance(ms),
    close: () => Promise.resolve(),
  })
})

describe('a fake engine that is killed', () => {
  it('answers nothing, keeps its containers running, and says when it is back', async () => {
    const clock = createVirtualClock()
    const engine = createFakeEngine({ clock })
    const id = await settle(clock, engine.create(planOf('busybox', 'sleep')))
    await settle(clock, engine.start(id))
    const waiting = engine.info()
    engine.down()
    await assert.rejects(settle(clock, waiting), (error) => isShoalError(error, 'unavailable'))
    await assert.rejects(settle(clock, engine.inspect(id)), (error) => isShoalError(error, 'unavailable'))
    const abort = new AbortController()
    const events = engine.events(abort.signal)[Symbol.asyncIterator]()
    engine.up()
    assert.deepEqual((await settle(clock, events.next())).value, { kind: 'reconnected' })
    assert.equal((await settle(clock, engine.inspect(id)))?.status, 'running')
    abort.abort()
  })
})
