// Each checker complains when its rule is broken, and only then.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Node, type Service, type Task, TaskState } from '../../src/model/index.ts'
import { addresses } from '../../src/sim/checkers/addresses.ts'
import { slots } from '../../src/sim/checkers/containers.ts'
import { assignment, history, taskLife } from '../../src/sim/checkers/tasks.ts'
import type { ContainerChange, WorldFacts } from '../../src/sim/checkers/types.ts'
import type { Change, Commit, View } from '../../src/store/index.ts'

const task = (fields: Partial<Task> & { state?: number } = {}): Task =>
  ({
    id: 't1',
    serviceId: 's1',
    slot: 1,
    nodeId: undefined,
    specVersion: 1,
    desiredState: TaskState.RUNNING,
    attachments: [],
    version: 1,
    ...fields,
    status: { state: fields.state ?? TaskState.NEW, at: 0, message: '', error: '' },
  }) as unknown as Task

const change = (before: Task | undefined, after: Task | undefined): Change => ({ table: 'task', id: (after ?? before)!.id, before, after })
const commit = (...changes: Change[]): Commit => ({ seq: 1, at: 0, changes })
const viewOf = (parts: { nodes?: Node[]; tasks?: Task[]; services?: Service[] }): View =>
  ({
    nodes: new Map(parts.nodes?.map((node) => [node.id, node])),
    services: new Map(parts.services?.map((service) => [service.id, service])),
    tasks: Object.assign(new Map(parts.tasks?.map((each) => [each.id, each])), {
      bySlot: (_id: string, slot: number) => (parts.tasks ?? []).filter((each) => each.slot === slot),
    }),
    cluster: { spec: { taskHistoryRetentionLimit: 5 } },
  }) as unknown as View
const node = (state: string, availability: string): Node => ({ id: 'n1', status: { state }, spec: { availability } }) as unknown as Node

function collect() {
  const found: string[] = []
  return { found, complain: (rule: string, what: string) => void found.push(`${rule}: ${what}`) }
}

test('task states may grow and nothing else', () => {
  const { found, complain } = collect()
  const checker = taskLife({ runsTask: (id) => id === 't1' }, complain)
  const check = (before: Task, after: Task) => {
    checker.onCommit?.(commit(change(before, after)), viewOf({}))
    return found.splice(0).length
  }
  assert.equal(check(task(), task({ state: TaskState.RUNNING })), 0)
  assert.equal(check(task({ state: TaskState.RUNNING }), task({ state: TaskState.STARTING })), 1)
  assert.equal(check(task({ desiredState: TaskState.SHUTDOWN }), task({ desiredState: TaskState.RUNNING })), 1)
  assert.equal(check(task({ nodeId: 'n1' as never }), task({ nodeId: 'n2' as never })), 1)
  assert.equal(check(task({ servedAt: 5 }), task({ servedAt: 6 })), 1)
})

test('the object of a task whose container runs is not deleted', () => {
  const { found, complain } = collect()
  const checker = taskLife({ runsTask: (id) => id === 't1' }, complain)
  checker.onCommit?.(commit(change(task({ state: TaskState.RUNNING }), undefined)), viewOf({}))
  assert.equal(found.splice(0).length, 1)
  checker.onCommit?.(commit(change(task({ id: 't2' as never, state: TaskState.RUNNING }), undefined)), viewOf({}))
  assert.deepEqual(found, [])
})

test('assignments to paused, drained and down nodes are seen, and those to good nodes are not', () => {
  const { found, complain } = collect()
  const checker = assignment(complain)
  const before = task({ state: TaskState.PENDING })
  const after = task({ state: TaskState.ASSIGNED, nodeId: 'n1' as never })
  for (const bad of [node('ready', 'pause'), node('ready', 'drain'), node('down', 'active')]) {
    checker.onCommit?.(commit(change(before, after)), viewOf({ nodes: [bad] }))
    assert.equal(found.splice(0).length, 1)
  }
  checker.onCommit?.(commit(change(before, after)), viewOf({ nodes: [node('ready', 'active')] }))
  // What was assigned earlier may stay on a paused node.
  checker.onCommit?.(
    commit(change(after, task({ state: TaskState.RUNNING, nodeId: 'n1' as never }))),
    viewOf({ nodes: [node('ready', 'pause')] }),
  )
  assert.deepEqual(found, [])
})

test('two containers in one slot are one too many, unless the service updates start-first or the node is out of reach', () => {
  const run = (order: string, unsound: number | undefined) => {
    const { found, complain } = collect()
    let nowMs = 200_000
    const service = { id: 's1', spec: { update: { order } } } as unknown as Service
    const tasks = ['t1', 't2', 't3'].map((id) => task({ id: id as never }))
    const world = {
      get nowMs() {
        return nowMs
      },
      soundSinceMs: (host: number) => (host === unsound ? undefined : 0),
      nodeOfHost: (host: number) => `n${host}`,
      view: () => viewOf({ services: [service], tasks }),
    } as unknown as WorldFacts
    const checker = slots(world, complain)
    const start = (host: number, id: string): void => {
      const event: ContainerChange = { running: true, containerId: `c${id}`, taskId: id, serviceId: 's1', taskName: `web.1.${id}` }
      checker.onContainer?.(host, event)
    }
    start(0, 't1')
    start(1, 't2')
    nowMs += 1_000
    checker.onSecond?.()
    const two = found.splice(0).length
    start(0, 't3')
    return [two > 0, found.length > 0]
  }
  assert.deepEqual(run('stop-first', undefined), [true, true])
  assert.deepEqual(run('start-first', undefined), [false, true])
  assert.deepEqual(run('stop-first', 1), [false, true])
})

test('one task never runs in two containers', () => {
  const { found, complain } = collect()
  const world = { nowMs: 0, soundSinceMs: () => undefined, view: () => undefined } as unknown as WorldFacts
  const checker = slots(world, complain)
  for (const host of [0, 1]) {
    checker.onContainer?.(host, { running: true, containerId: 'c1', taskId: 't1', serviceId: 's1', taskName: 'web.1.t1' })
  }
  assert.equal(found.length, 1)
})

test('an address has one living owner', () => {
  const { found, complain } = collect()
  const checker = addresses(complain)
  const attachments = [{ networkId: 'net' as never, addresses: ['10.0.0.5/24'] }]
  const first = task({ attachments })
  const second = task({ id: 't2' as never, attachments })
  checker.onCommit?.(commit(change(undefined, first)), viewOf({ tasks: [first] }))
  checker.onCommit?.(commit(change(undefined, second)), viewOf({ tasks: [first, second] }))
  assert.equal(found.splice(0).length, 1)
  const third = task({ id: 't3' as never, attachments })
  checker.onCommit?.(commit(change(second, task({ id: 't2' as never, attachments, state: TaskState.FAILED }))), viewOf({ tasks: [] }))
  checker.onCommit?.(commit(change(undefined, third)), viewOf({ tasks: [third] }))
  assert.deepEqual(found, [])
})

test('history beyond the limit and its slack is seen', () => {
  const { found, complain } = collect()
  const checker = history(complain, 2)
  const dead = Array.from({ length: 8 }, (_, i) => task({ id: `d${i}` as never, state: TaskState.FAILED }))
  const fresh = task({ id: 'new' as never })
  checker.onCommit?.(commit(change(undefined, fresh)), viewOf({ tasks: [...dead.slice(1), fresh] }))
  assert.deepEqual(found, [])
  checker.onCommit?.(commit(change(undefined, fresh)), viewOf({ tasks: [...dead, fresh] }))
  assert.equal(found.length, 1)
})
