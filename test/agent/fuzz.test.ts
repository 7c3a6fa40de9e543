// Whatever the managers, the engine and people do: reported states only grow, nothing crashes, and in the end all is as wanted.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import type { TaskId } from '../../src/lib/index.ts'
import { isTerminal, TaskState as S } from '../../src/model/index.ts'
import { createWorld, task } from './support.ts'

const IDS = ['t1', 't2', 't3'] as const
const id = fc.constantFrom(...IDS)

const step = fc.oneof(
  fc.record({ kind: fc.constant('want' as const), id, state: fc.constantFrom(S.READY, S.RUNNING, S.COMPLETE, S.SHUTDOWN, S.REMOVE) }),
  fc.record({ kind: fc.constant('remove' as const), id }),
  fc.record({ kind: fc.constantFrom('cut' as const, 'down' as const, 'up' as const, 'restart' as const, 'chain' as const) }),
  fc.record({
    kind: fc.constantFrom('exit' as const, 'rm' as const, 'unhealthy' as const),
    which: fc.nat(3),
    code: fc.constantFrom(0, 1, 137),
  }),
  fc.record({ kind: fc.constant('wait' as const), ms: fc.constantFrom(0, 1, 5, 50, 300, 2_000, 15_000) }),
)

const behaviour = fc.record(
  {
    startMs: fc.constantFrom(0, 10, 500),
    stopMs: fc.constantFrom(0, 100, 20_000),
    exitAfterMs: fc.constantFrom(0, 1, 1_000),
    exitCode: fc.constantFrom(0, 3),
    health: fc.record({ afterMs: fc.constantFrom(1, 700), outcome: fc.constantFrom('healthy' as const, 'unhealthy' as const) }),
    startError: fc.constant('nope'),
    createError: fc.constant('no'),
  },
  { requiredKeys: [] },
)

describe('an agent under arbitrary orders and faults', () => {
  it('reports states that only grow, and ends as it was told', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 25 }),
        fc.array(behaviour, { minLength: 1, maxLength: 3 }),
        async (steps, behaviours) => {
          let made = 0
          const world = await createWorld({ behaviour: () => behaviours[made++ % behaviours.length] ?? {} })
          const { manager, engine, clock } = world
          for (const one of steps) {
            const container = 'which' in one ? engine.containers()[one.which] : undefined
            if (one.kind === 'want') manager.run(task(one.id, one.state))
            else if (one.kind === 'remove') manager.remove(one.id as TaskId)
            else if (one.kind === 'cut') world.rpc.cut()
            else if (one.kind === 'down') engine.down()
            else if (one.kind === 'up') engine.up()
            else if (one.kind === 'restart') await world.restart()
            else if (one.kind === 'chain') manager.breakChain()
            else if (one.kind === 'wait') await clock.advance(one.ms)
            else if (container && one.kind === 'exit') engine.exit(container.id, one.code)
            else if (container && one.kind === 'rm') engine.removeByHand(container.id)
            else if (container && one.kind === 'unhealthy') engine.setHealth(container.id, 'unhealthy')
          }
          engine.up()
          await clock.advance(200_000)

          const removed = new Set(steps.flatMap((one) => (one.kind === 'remove' ? [one.id] : [])))
          for (const taskId of IDS) {
            const states = manager.states(taskId)
            // a task that is removed and assigned again begins anew
            if (!removed.has(taskId))
              assert.deepEqual(
                states,
                [...states].sort((a, b) => a - b),
                `${taskId} went back`,
              )
          }
          const wanted = new Map(
            manager.changes.flatMap((change) =>
              change.kind === 'task' && change.action === 'update' ? [[change.task.id as string, change.task]] : [],
            ),
          )
          for (const container of engine.containers()) {
            const taskId = container.labels['com.docker.swarm.task.id'] ?? ''
            const want = wanted.get(taskId)
            assert(want, `${taskId} is not wanted, but its container is there`)
            if (want.desiredState >= S.SHUTDOWN) assert.notEqual(container.status, 'running', `${taskId} runs although it shall not`)
          }
          for (const [taskId, want] of wanted) {
            const state = manager.last(taskId)?.state ?? 0
            if (want.desiredState === S.READY) assert(state === S.READY || state >= S.STARTING, `${taskId} is ${state}`)
            else if (want.desiredState >= S.SHUTDOWN) assert(isTerminal(state), `${taskId} is ${state}`)
            else assert(state >= S.RUNNING, `${taskId} is ${state}`)
          }
          const stopped = world.agent.stop()
          await clock.advance(6_000)
          await stopped
        },
      ),
      { numRuns: Number(process.env.FUZZ_RUNS ?? 150) },
    )
  })
})
