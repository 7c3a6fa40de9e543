// Stories: what a person sees a swarm do, over the real store and all loops.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TaskState } from '../../src/model/index.ts'
import { createHarness, specOf } from './harness.ts'

test('five replicas spread over three nodes and run', async () => {
  const swarm = await createHarness()
  await swarm.nodes('m1', 'w1', 'w2')
  const web = await swarm.create(specOf({ name: 'web', replicas: 5 }))
  await swarm.pass(2_000)
  assert.deepEqual(swarm.errors, [])
  assert.deepEqual(Object.values(swarm.countByNode(web)).sort(), [1, 2, 2])
  assert.deepEqual(
    swarm.running(web).map((task) => task.slot),
    [1, 2, 3, 4, 5],
  )
})
