// The pure planners of the loops, by rules that hold for all inputs.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { NodeId, ServiceId, TaskId } from '../../src/lib/index.ts'
import { planJobSlots } from '../../src/loops/jobs.ts'
import { planReaping } from '../../src/loops/reaper.ts'
import { groupBySlot, isFilled, planSlots } from '../../src/loops/replicated.ts'
import { planRestart } from '../../src/loops/restartPlan.ts'
import { planRollout } from '../../src/loops/rolloutPlan.ts'
import { isTerminal, type Service, type Task, TaskState } from '../../src/model/index.ts'
import { specOf } from './harness.ts'

let made = 0
function taskOf(overrides: Partial<Task> & { state?: TaskState; error?: string } = {}): Task {
  const { state = TaskState.RUNNING, ...rest } = overrides
  made++
  return {
    id: `t${made}` as TaskId,
    version: 1,
    createdAt: made,
    updatedAt: made,
    serviceId: 's' as ServiceId,
    slot: 1,
    nodeId: 'n1' as NodeId,
    specVersion: 1,
    desiredState: TaskState.RUNNING,
    status: { state, at: made, message: '', error: '' },
    attachments: [],
    ...rest,
  }
}

function serviceOf(overrides: Partial<Service> = {}): Service {
  const meta = { version: 1, createdAt: 0, updatedAt: 0 }
  return { ...meta, id: 's' as ServiceId, spec: specOf({ name: 's' }), specVersion: 1, ...overrides }
}

const states = fc.constantFrom(...Object.values(TaskState))
const desired = fc.constantFrom(TaskState.READY, TaskState.RUNNING, TaskState.SHUTDOWN, TaskState.REMOVE)
const anyTasks = fc
  .array(fc.record({ slot: fc.integer({ min: 1, max: 6 }), state: states, desiredState: desired, node: fc.integer({ min: 1, max: 3 }) }), {
    maxLength: 16,
  })
  .map((inputs) => inputs.map(({ node, ...rest }) => taskOf({ ...rest, nodeId: `n${node}` as NodeId })))

test('slots: exactly as many stay filled as the spec asks for, each number once', () => {
  fc.assert(
    fc.property(anyTasks, fc.integer({ min: 0, max: 8 }), (tasks, replicas) => {
      const service = serviceOf()
      const slots = groupBySlot(tasks)
      const plan = planSlots(service, replicas, slots)
      const filled = [...slots].filter(([, slot]) => isFilled(service, slot)).map(([slot]) => slot)
      const after = new Set([...filled.filter((slot) => !plan.remove.includes(slot)), ...plan.add])
      assert.equal(after.size, replicas)
      assert.equal(new Set(plan.add).size, plan.add.length)
      assert.ok(plan.add.every((slot) => slot >= 1 && !filled.includes(slot) && !plan.remove.includes(slot)))
      const running = (slot: number) =>
        (slots.get(slot) ?? []).some((task) => task.desiredState <= TaskState.COMPLETE && task.status.state === TaskState.RUNNING)
      const kept = filled.filter((slot) => !plan.remove.includes(slot))
      const cut = filled.filter((slot) => plan.remove.includes(slot))
      assert.ok(!cut.some(running) || kept.every(running), 'a slot that runs is never removed before one that does not')
    }),
    { numRuns: 500 },
  )
})

test('scaling down takes from the nodes that have most, and keeps low slots where that is equal', () => {
  const tasks = [1, 2, 3, 4, 5, 6, 7, 8].map((slot) => taskOf({ slot, nodeId: `n${slot % 3}` as NodeId }))
  assert.deepEqual([...planSlots(serviceOf(), 2, groupBySlot(tasks)).remove].sort(), [3, 4, 5, 6, 7, 8])
  const lopsided = [taskOf({ slot: 1 }), taskOf({ slot: 2 }), taskOf({ slot: 3, nodeId: 'n2' as NodeId })]
  assert.deepEqual(planSlots(serviceOf(), 2, groupBySlot(lopsided)).remove, [2])
})

test('restart accounting: attempts grow by one, only so many within the window, and the window forgets', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 1, max: 60 }),
      fc.array(fc.integer({ min: 0, max: 30 }), { maxLength: 40 }),
      (most, windowS, gaps) => {
        let now = 1_000_000
        let task = taskOf({ state: TaskState.FAILED })
        const allowed: number[] = []
        for (const gap of gaps) {
          now += gap * 1_000
          const plan = planRestart({ condition: 'any', maxAttempts: most, windowNs: windowS * 1e9, delayNs: 2e9 }, task, now)
          const recent = allowed.filter((at) => at > now - windowS * 1_000).length
          assert.equal(plan !== undefined, recent < most)
          if (!plan) continue
          allowed.push(now)
          assert.equal(plan.notBefore, now + 2_000)
          assert.equal(plan.restart.attempts, (task.restart?.attempts ?? 0) + 1)
          assert.ok(plan.restart.recent.length <= most, 'what is carried forward is bounded')
          task = taskOf({ state: TaskState.FAILED, restart: plan.restart })
        }
      },
    ),
    { numRuns: 300 },
  )
})

test('restart conditions', () => {
  const complete = taskOf({ state: TaskState.COMPLETE })
  const rejected = taskOf({ state: TaskState.REJECTED })
  assert.equal(planRestart({ condition: 'none' }, rejected, 0), undefined)
  assert.equal(planRestart({ condition: 'on-failure' }, complete, 0), undefined)
  assert.ok(planRestart({ condition: 'on-failure' }, rejected, 0))
  assert.equal(planRestart(undefined, complete, 10_000)?.notBefore, 15_000)
})

test('the reaper deletes nothing that may run, keeps the newest, and keeps no more than it must', () => {
  fc.assert(
    fc.property(anyTasks, fc.integer({ min: -1, max: 6 }), (tasks, limit) => {
      const doomed = planReaping(tasks, limit, () => true, false)
      const kept = tasks.filter((task) => !doomed.includes(task))
      for (const task of doomed) {
        assert.ok(task.desiredState > TaskState.COMPLETE)
        assert.ok(isTerminal(task.status.state) || task.status.state < TaskState.ASSIGNED)
      }
      assert.ok(
        doomed
          .filter((task) => task.desiredState < TaskState.REMOVE)
          .every((task) => kept.some((other) => other.createdAt > task.createdAt)),
      )
      if (limit < 0) return
      const keepable = kept.filter(
        (task, at) =>
          at === kept.length - 1 ||
          !(task.desiredState > TaskState.COMPLETE && (isTerminal(task.status.state) || task.status.state < TaskState.ASSIGNED)),
      )
      assert.ok(kept.length <= Math.max(limit, 1, keepable.length))
    }),
    { numRuns: 500 },
  )
})

test('jobs: never more at a time than allowed, each slot completes once, failed ones are not started over', () => {
  const slotTasks = fc.array(
    fc.record({
      slot: fc.integer({ min: 0, max: 7 }),
      state: states,
      desiredState: fc.constantFrom(TaskState.COMPLETE, TaskState.SHUTDOWN),
    }),
    { maxLength: 12 },
  )
  fc.assert(
    fc.property(slotTasks, fc.integer({ min: 0, max: 8 }), fc.integer({ min: 0, max: 4 }), (inputs, totalCompletions, maxConcurrent) => {
      const slots = groupBySlot(inputs.map((input) => taskOf(input)))
      const add = planJobSlots(serviceOf(), { totalCompletions, maxConcurrent }, slots)
      const completed = [...slots]
        .filter(([, tasks]) => tasks.some((task) => task.status.state === TaskState.COMPLETE))
        .map(([slot]) => slot)
      const active = [...slots].filter(
        ([slot, tasks]) => !completed.includes(slot) && tasks.some((task) => task.desiredState === TaskState.COMPLETE),
      ).length
      assert.ok(add.length === 0 || active + add.length <= (maxConcurrent || totalCompletions))
      assert.ok(add.every((slot) => slot < totalCompletions && !completed.includes(slot)))
    }),
    { numRuns: 500 },
  )
})

test('updater: never more slots in motion than parallelism, and it comes to an end', () => {
  fc.assert(
    fc.property(
      fc.record({
        slots: fc.integer({ min: 1, max: 8 }),
        parallelism: fc.integer({ min: 0, max: 4 }),
        delayS: fc.integer({ min: 0, max: 3 }),
        failing: fc.array(fc.integer({ min: 1, max: 8 }), { maxLength: 3 }),
        upMs: fc.array(fc.integer({ min: 1, max: 4_000 }), { minLength: 8, maxLength: 8 }),
      }),
      ({ slots, parallelism, delayS, failing, upMs }) => {
        const service = serviceOf({
          specVersion: 2,
          spec: { ...specOf({ name: 's' }), update: { parallelism, delayNs: delayS * 1e9, monitorNs: 1e9, maxFailureRatio: 1 } },
        })
        const model = Array.from({ length: slots }, (_, at) => [taskOf({ slot: at + 1, createdAt: 1, servedAt: 1 })])
        const startedAt = 1_000_000
        const begun = { kind: 'update' as const, startedAt, failedTaskIds: [] }
        let now = startedAt
        for (let step = 0; step < 200; step++) {
          for (const tasks of model) {
            const newest = tasks.at(-1)!
            if (newest.specVersion !== 2 || newest.status.state !== TaskState.STARTING || newest.createdAt + upMs[newest.slot - 1]! > now)
              continue
            const failed = failing.includes(newest.slot)
            const at = newest.createdAt + upMs[newest.slot - 1]!
            tasks[tasks.length - 1] = {
              ...newest,
              updatedAt: at,
              status: { ...newest.status, state: failed ? TaskState.FAILED : TaskState.RUNNING },
              ...(failed ? {} : { servedAt: at }),
            }
          }
          const plan = planRollout(service, model, begun, now)
          if (plan.complete) {
            assert.ok(model.every((tasks) => tasks.at(-1)!.specVersion === 2))
            return
          }
          for (const chosen of plan.start) {
            const tasks = model.find((candidate) => candidate === chosen)!
            tasks[0] = { ...tasks[0]!, desiredState: TaskState.SHUTDOWN, status: { ...tasks[0]!.status, state: TaskState.SHUTDOWN } }
            tasks.push(taskOf({ slot: tasks[0].slot, specVersion: 2, createdAt: now, state: TaskState.STARTING }))
          }
          const moving = model.filter(
            (tasks) => tasks.at(-1)!.specVersion === 2 && tasks.at(-1)!.status.state === TaskState.STARTING,
          ).length
          assert.ok(parallelism === 0 || moving <= parallelism)
          const upcoming = model
            .map((tasks) => tasks.at(-1)!)
            .filter((task) => task.status.state === TaskState.STARTING)
            .map((task) => task.createdAt + upMs[task.slot - 1]!)
          const next = Math.min(plan.wakeAt ?? Number.POSITIVE_INFINITY, ...upcoming)
          assert.ok(next > now && next < Number.POSITIVE_INFINITY, 'there is always something to wait for')
          now = next
        }
        assert.fail('the update did not end')
      },
    ),
    { numRuns: 200 },
  )
})
