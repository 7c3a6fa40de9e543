// Acknowledged change: what is waited for, how long at most, and that nothing is waited for in vain.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { MeshAcks } from '../../src/dispatcher/index.ts'
import { type NodeId, silentLogger, type TaskId } from '../../src/lib/index.ts'
import { ACK_LIMIT_MS, MeshAcknowledgements } from '../../src/manager/acknowledge.ts'
import { DRAIN_TIMEOUT_LABEL, drainTimeoutMs, type Task, TaskState, validateServiceLabels } from '../../src/model/index.ts'
import { createVirtualClock } from '../../src/ports/fakes/index.ts'
import type { View } from '../../src/store/index.ts'

function bench(labels: Record<string, string> = {}) {
  const clock = createVirtualClock()
  const state = { lowest: 0, live: true, asked: [] as string[], woken: [] as string[] }
  let acked: (version: number) => void = () => {}
  let drained: (ids: readonly TaskId[]) => void = () => {}
  const mesh: MeshAcks = {
    lowestAcked: () => state.lowest,
    onAcked: (listener) => {
      acked = listener
      return () => {}
    },
    isLive: () => state.live,
    drain: (_node, id) => void state.asked.push(id),
    forget: () => {},
    onDrained: (listener) => {
      drained = listener
      return () => {}
    },
  }
  const acks = new MeshAcknowledgements({
    mesh,
    clock,
    log: silentLogger,
    wake: (loop, keys) => state.woken.push(...keys.map((key) => `${loop} ${key}`)),
  })
  const service = { id: 's', spec: { labels } }
  const view = {
    services: { get: () => service as object | undefined },
    specRevisions: { of: () => ({ task: { container: { image: 'x' } } }) },
  }
  const ack = (version: number) => {
    state.lowest = version
    acked(version)
  }
  return { clock, state, acks, view: view as unknown as View, views: view, ack, drained: (id: string) => drained([id as TaskId]) }
}

const task = (change: Partial<Task> = {}): Task =>
  ({
    id: 't1',
    version: 10,
    serviceId: 's',
    nodeId: 'n1' as NodeId,
    specVersion: 1,
    desiredState: TaskState.RUNNING,
    status: { state: TaskState.RUNNING, at: 0, message: '', error: '' },
    attachments: [{ networkId: 'net', addresses: ['10.0.0.5/24'] }],
    ...change,
  }) as Task

test('a task is served when the commit that made it run is in every kernel; without networks at once', () => {
  const { acks, state, ack } = bench()
  assert.equal(acks.served(task({ attachments: [] })), 'yes')
  assert.notEqual(acks.served(task()), 'yes')
  ack(9)
  assert.deepEqual(state.woken, [])
  ack(10)
  assert.deepEqual(state.woken, ['release t1'])
  assert.equal(acks.served(task()), 'yes')
})

test('a task that shall stop is released when all have withdrawn it and its node says that its connections have ended', () => {
  const { acks, state, view, ack, drained } = bench()
  const ending = task({ desiredState: TaskState.SHUTDOWN })
  assert.notEqual(acks.released(ending, view), 'yes')
  assert.deepEqual(state.asked, [], 'nobody is asked before all have withdrawn it')
  ack(10)
  assert.notEqual(acks.released(ending, view), 'yes')
  assert.deepEqual(state.asked, ['t1'])
  drained('t1')
  assert.equal(acks.released(ending, view), 'yes')
})

test('connections that do not end are given the drain timeout, and no more', async () => {
  const { acks, clock, view, ack } = bench({ [DRAIN_TIMEOUT_LABEL]: '3s' })
  const ending = task({ desiredState: TaskState.SHUTDOWN })
  ack(10)
  const answer = acks.released(ending, view)
  assert.deepEqual(answer, { wakeAt: clock.now() + 3_000 })
  await clock.advance(2_999)
  assert.notEqual(acks.released(ending, view), 'yes')
  await clock.advance(1)
  assert.equal(acks.released(ending, view), 'yes')
})

test('nodes that do not acknowledge hold nobody up for ever', async () => {
  const { acks, clock, view } = bench({ [DRAIN_TIMEOUT_LABEL]: '0' })
  assert.notEqual(acks.served(task()), 'yes')
  await clock.advance(ACK_LIMIT_MS)
  assert.equal(acks.served(task()), 'yes')
  const ending = task({ id: 't2' as TaskId, desiredState: TaskState.SHUTDOWN })
  assert.notEqual(acks.released(ending, view), 'yes')
  await clock.advance(ACK_LIMIT_MS)
  assert.equal(acks.released(ending, view), 'yes')
})

test('nobody waits for connections of a task that never ran, has ended, is on a dead node, or whose service was removed', () => {
  const { acks, state, views, view, ack } = bench()
  const ending = (status: TaskState) => task({ desiredState: TaskState.SHUTDOWN, status: { state: status, at: 0, message: '', error: '' } })
  assert.equal(acks.released(ending(TaskState.STARTING), view), 'yes')
  assert.equal(acks.released(ending(TaskState.FAILED), view), 'yes')
  ack(10)
  state.live = false
  assert.equal(acks.released(ending(TaskState.RUNNING), view), 'yes')
  state.live = true
  views.services.get = () => undefined
  assert.equal(acks.released(ending(TaskState.RUNNING), view), 'yes')
  assert.deepEqual(state.asked, [])
})

test('labels say how long connections drain; nonsense is refused with the reason', () => {
  assert.equal(drainTimeoutMs({}, { image: 'x' }), 10_000)
  assert.equal(drainTimeoutMs({}, { image: 'x', stopGracePeriodNs: 2e9 }), 2_000)
  assert.equal(drainTimeoutMs({}, { image: 'x', stopGracePeriodNs: 60e9 }), 10_000)
  assert.equal(drainTimeoutMs({ [DRAIN_TIMEOUT_LABEL]: '1m30s' }, { image: 'x' }), 90_000)
  assert.equal(drainTimeoutMs({ [DRAIN_TIMEOUT_LABEL]: '0' }, { image: 'x' }), 0)
  for (const [label, value] of [
    [DRAIN_TIMEOUT_LABEL, 'soon'],
    ['shoal.lb.affinity', 'cookie'],
    ['shoal.publish.address', '10.0.0.300'],
  ] as const) {
    assert.throws(() => validateServiceLabels({ [label]: value }), new RegExp(label))
  }
  validateServiceLabels({ [DRAIN_TIMEOUT_LABEL]: '500ms', 'shoal.lb.affinity': 'client-ip', 'shoal.publish.address': 'eth0' })
})
