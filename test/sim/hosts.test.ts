// What the simulator says about its own hosts: the checkers believe it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ServiceShape, World } from '../../src/sim/index.ts'

const SHAPE: ServiceShape = {
  mode: 'global',
  replicas: 1,
  image: 'ok:1',
  order: 'stop-first',
  parallelism: 1,
  delaySeconds: 0,
  monitorSeconds: 5,
  failureAction: 'pause',
  restartDelaySeconds: 1,
  healthcheck: false,
  stopGraceSeconds: 30,
  zone: undefined,
  published: undefined,
  network: undefined,
}

test('a daemon that takes longer to stop than it is to be away starts when it is gone, and its host is not sound before', async () => {
  for (const killed of [false, true]) {
    const world = new World({ seed: 'slow-stop', hosts: 2 })
    try {
      assert.ok(await world.start())
      const host = world.hostList[1]!
      for (let i = 0; i < 20; i += 1) world.play({ kind: 'create', service: `web${i}`, shape: SHAPE })
      await world.run(20_000)
      // Containers that are being stopped keep it from ending at once.
      for (let i = 0; i < 20; i += 1) world.play({ kind: 'remove', service: `web${i}` })
      await world.run(200)
      const first = host.process
      world.play({ kind: 'stop', host: 1, forMs: 500 })
      await world.run(1_000)
      assert.equal(host.process?.name, first?.name, 'it is still stopping')
      assert.equal(world.soundSinceMs(1), undefined)
      if (killed) world.play({ kind: 'kill', host: 1, forMs: 2_000 })
      const isBack = () => host.running && host.process?.name !== first?.name
      assert.ok(await world.clock.runUntil(isBack, 10_000), 'it runs again')
      const backMs = world.nowMs
      await world.run(30_000)
      assert.ok(world.soundSinceMs(1)! >= backMs, `sound since ${world.soundSinceMs(1)} ms, back at ${backMs} ms`)
      assert.deepEqual(world.violations, [])
    } finally {
      world.close()
    }
  }
})
