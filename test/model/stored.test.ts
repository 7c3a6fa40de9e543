// Tasks as they lie in the heap: nothing is lost, and what repeats is there once.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { NetworkId, NodeId, ServiceId, TaskId } from '../../src/lib/index.ts'
import { compactTask, decodeStored, encodeStored, SharedTexts, type Task, TaskState } from '../../src/model/index.ts'

const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined })
const instant = fc.integer({ min: 0, max: 4e12 })
const tasks: fc.Arbitrary<Task> = fc
  .record({
    id: fc.string({ minLength: 1 }) as fc.Arbitrary<TaskId>,
    version: fc.nat(),
    createdAt: instant,
    updatedAt: instant,
    serviceId: optional(fc.string({ minLength: 1 }) as fc.Arbitrary<ServiceId>),
    slot: fc.nat(),
    nodeId: optional(fc.string({ minLength: 1 }) as fc.Arbitrary<NodeId>),
    specVersion: fc.nat(),
    desiredState: fc.constantFrom(...Object.values(TaskState)),
    status: fc.record({
      state: fc.constantFrom(...Object.values(TaskState)),
      at: instant,
      message: fc.string(),
      error: fc.string(),
      reason: optional(fc.string({ minLength: 1 })),
      container: optional(fc.record({ containerId: fc.string(), pid: fc.nat(), exitCode: fc.integer() })),
      ports: optional(
        fc.array(fc.record({ protocol: fc.constant('tcp' as const), targetPort: fc.nat(), publishedPort: fc.nat() }), { minLength: 1 }),
      ),
    }),
    attachments: fc.array(
      fc.record({
        networkId: fc.string() as fc.Arbitrary<NetworkId>,
        addresses: fc.array(fc.string()),
        aliases: optional(fc.array(fc.string())),
      }),
    ),
    genericResources: optional(fc.array(fc.record({ kind: fc.string(), discrete: fc.nat() }))),
    jobIteration: optional(fc.nat()),
    servedAt: optional(instant),
    releasedAt: optional(instant),
    notBefore: optional(instant),
    restart: optional(fc.record({ attempts: fc.nat(), recent: fc.array(instant) })),
  })
  .map((task) => withoutUndefined(task) as Task)

/** Absent and undefined are the same to every reader. */
function withoutUndefined(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutUndefined)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, inner]) => inner !== undefined)
      .map(([key, inner]) => [key, withoutUndefined(inner)]),
  )
}

test('a task that was made compact, spread into a new one, or read back from its stored form is what it was', () => {
  const texts = new SharedTexts()
  fc.assert(
    fc.property(tasks, tasks, (task, before) => {
      const compact = compactTask(task, task, undefined, texts)
      assert.deepEqual(withoutUndefined(compact), task)
      assert.deepEqual(withoutUndefined({ ...compact }), task)
      const changed = compactTask({ ...compact, nodeId: before.nodeId, status: before.status }, before, compact, texts)
      const { version, createdAt, updatedAt, nodeId, status } = before
      assert.deepEqual(withoutUndefined(changed), withoutUndefined({ ...task, version, createdAt, updatedAt, nodeId, status }))
      assert.deepEqual(withoutUndefined(decodeStored('task', encodeStored('task', compact))), task)
    }),
  )
})

test('what a change of a task leaves alone is shared with the task before', () => {
  const texts = new SharedTexts()
  const [task] = fc.sample(tasks, 1) as [Task]
  const before = compactTask(
    { ...task, attachments: [{ networkId: 'n' as NetworkId, addresses: ['10.0.0.2/24'] }] },
    task,
    undefined,
    texts,
  )
  const after = compactTask({ ...before, desiredState: TaskState.SHUTDOWN }, before, before, texts)
  assert.equal(after.status, before.status)
  assert.equal(after.attachments, before.attachments)
})
