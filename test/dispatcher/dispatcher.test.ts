// Sessions, heartbeats, assignments and reports under a virtual clock.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDispatcher, type Dispatcher } from '../../src/dispatcher/index.ts'
import { type NodeId, silentLogger, type TaskId } from '../../src/lib/index.ts'
import { type TaskReport, TaskState } from '../../src/model/index.ts'
import { LogBroker, Dispatcher as Service } from '../../src/proto/index.ts'
import { type AssignmentChange, buildTaskReport, parseAssignments, parseSessionMessage } from '../../src/wire/index.ts'
import { collect, nodeChannel, type TestCluster, testCluster } from './harness.ts'

interface Bench extends TestCluster {
  readonly dispatcher: Dispatcher
}

async function bench(): Promise<Bench> {
  const c = await testCluster()
  const dispatcher = createDispatcher({ ...c, logger: silentLogger, self: () => ({ nodeId: 'm1', address: '10.0.0.1:2377' }) })
  dispatcher.start()
  await c.addService('web')
  return { ...c, dispatcher }
}

/** A node with an open Session stream. */
async function register(b: Bench, id: string, ownAgent = false, offered = '') {
  const channel = nodeChannel(b.dispatcher.routes(), { clusterId: b.cluster.id, nodeId: id, ownAgent })
  const messages = collect(channel.serverStream(Service.method.session, { sessionId: offered, description: { hostname: `host-${id}` } }))
  await b.clock.settle()
  const sessionId = messages.items[0]?.sessionId ?? ''
  return {
    channel,
    messages,
    sessionId,
    heartbeat: () => channel.unary(Service.method.heartbeat, { sessionId }),
    assignments: () => collect(channel.serverStream(Service.method.assignments, { sessionId })),
    report: (report: Partial<TaskReport> & { taskId: TaskId; state: TaskState }) =>
      channel.unary(Service.method.updateTaskStatus, {
        sessionId,
        updates: [buildTaskReport({ at: b.clock.now(), message: '', error: '', ...report })],
      }),
  }
}

const nodeState = (b: Bench, id: string) => b.store.view().nodes.get(id as NodeId)?.status
const taskStatus = (b: Bench, id: string) => b.store.view().tasks.get(id as TaskId)?.status
const summary = (change: AssignmentChange) =>
  change.action === 'remove'
    ? `-${change.kind} ${change.id}`
    : change.kind === 'task'
      ? `task ${change.task.id} ${change.task.desiredState}`
      : `${change.kind} ${change.kind === 'secret' ? change.secret.id : change.config.id}`

test('a node that registers is Ready, with its description, and knows its managers', async () => {
  const b = await bench()
  await b.addNode('n1', 'stock')
  const node = await register(b, 'n1')
  assert.equal(nodeState(b, 'n1')?.state, 'ready')
  assert.equal(b.store.view().nodes.get('n1' as NodeId)?.description?.hostname, 'host-n1')
  const update = parseSessionMessage(node.messages.items[0]!)
  assert.deepEqual(update.managers, [{ nodeId: 'm1', address: '10.0.0.1:2377' }])
  assert.equal(update.rootCaPem, b.cluster.rootCaPem)
  assert.equal(node.messages.items.length, 1)
})

test('a node is told when it is drained, and not when only its status changes', async () => {
  const b = await bench()
  await b.addNode('n1')
  const node = await register(b, 'n1')
  await b.write((tx) => {
    const current = tx.nodes.get('n1' as NodeId)!
    tx.nodes.update({ ...current, status: { ...current.status, message: 'x' } })
  })
  await b.clock.settle()
  assert.equal(node.messages.items.length, 1)
  await b.write((tx) => {
    const current = tx.nodes.get('n1' as NodeId)!
    tx.nodes.update({ ...current, spec: { ...current.spec, availability: 'drain' } })
  })
  await b.clock.settle()
  assert.equal(node.messages.items.length, 2)
  assert.equal(parseSessionMessage(node.messages.items[1]!).node.availability, 'drain')
})

test('heartbeats keep a node up; silence for three periods brings it down; it comes back', async () => {
  const b = await bench()
  await b.addNode('n1', 'stock')
  const node = await register(b, 'n1')
  for (let i = 0; i < 5; i += 1) {
    await b.clock.advance(10_000)
    const { period } = await node.heartbeat()
    const ms = Number(period!.seconds) * 1000 + period!.nanos / 1e6
    assert.ok(ms >= 4_500 && ms <= 5_500)
  }
  await b.clock.advance(14_900)
  assert.equal(nodeState(b, 'n1')?.state, 'ready')
  await b.clock.advance(200)
  assert.deepEqual(nodeState(b, 'n1'), { state: 'down', message: 'heartbeat failure', address: '10.0.0.9' })
  assert.ok(b.store.view().nodes.get('n1' as NodeId)?.downSince)
  assert.equal((node.messages.error as { code: string }).code, 'not-found')
  await assert.rejects(node.heartbeat(), { code: 'not-found' })
  await register(b, 'n1')
  assert.equal(nodeState(b, 'n1')?.state, 'ready')
  assert.equal(b.store.view().nodes.get('n1' as NodeId)?.downSince, undefined)
})

test('a second registration takes the place of the first, whose calls are stale', async () => {
  const b = await bench()
  await b.addNode('n1')
  const first = await register(b, 'n1')
  const second = await register(b, 'n1')
  assert.notEqual(first.sessionId, second.sessionId)
  assert.equal(first.messages.ended, true)
  await assert.rejects(first.heartbeat(), { code: 'invalid-argument' })
  await second.heartbeat()
  const third = await register(b, 'n1', false, second.sessionId)
  assert.equal(third.sessionId, second.sessionId)
})

test('a node that registers too often has to wait', async () => {
  const b = await bench()
  await b.addNode('n1')
  for (let i = 0; i < 3; i += 1) await register(b, 'n1')
  assert.equal(((await register(b, 'n1')).messages.error as { code: string }).code, 'unavailable')
  await b.clock.advance(8_000)
  assert.equal((await register(b, 'n1')).messages.ended, false)
})

test('strangers and removed nodes are not in the cluster', async () => {
  const b = await bench()
  assert.equal(((await register(b, 'nobody')).messages.error as { code: string }).code, 'not-found')
  await b.addNode('n1')
  const node = await register(b, 'n1')
  await b.write((tx) => tx.nodes.delete('n1' as NodeId))
  await b.clock.settle()
  assert.equal((node.messages.error as { code: string }).code, 'not-found')
})

test('after a start of the manager a node that was Ready has twice the time', async () => {
  const b = await bench()
  const node = await b.addNode('n1', 'stock')
  await b.write((tx) => tx.nodes.update({ ...tx.nodes.get(node.id)!, status: { state: 'ready', message: '', address: '10.0.0.9' } }))
  await b.addNode('n2', 'stock', { status: { state: 'ready', message: '', address: '10.0.0.9' } })
  await b.dispatcher.stop()
  const again = { ...b, dispatcher: createDispatcher({ ...b, logger: silentLogger, self: () => undefined }) }
  await b.write((tx) =>
    tx.nodes.update({ ...tx.nodes.get(node.id)!, managerStatus: { leader: true, reachability: 'reachable', address: '10.0.0.1:2377' } }),
  )
  again.dispatcher.start()
  await b.clock.advance(29_000)
  assert.equal(nodeState(b, 'n1')?.state, 'ready')
  const back = await register(again, 'n2')
  await b.clock.advance(1_100)
  assert.equal(nodeState(b, 'n1')?.state, 'down')
  await back.heartbeat()
  await b.clock.advance(14_000)
  assert.equal(nodeState(b, 'n2')?.state, 'ready')
})

test('assignments begin complete and go on as a chain, batched; a removed task is taken back', async () => {
  const b = await bench()
  await b.addNode('n1')
  await b.addTask('t1', 'n1')
  await b.addTask('early', 'n1', { status: { state: TaskState.PENDING, at: 0, message: '', error: '' } })
  await b.addTask('other', 'n2')
  const node = await register(b, 'n1')
  const stream = node.assignments()
  await b.clock.settle()
  for (let i = 2; i < 6; i += 1) await b.addTask(`t${i}`, 'n1')
  await b.clock.advance(150)
  await b.write((tx) => tx.tasks.delete('t1' as TaskId))
  await b.patchTask('t2', { desiredState: TaskState.SHUTDOWN })
  await b.clock.advance(150)
  const seen = stream.items.map(parseAssignments)
  assert.deepEqual(
    seen.map((message) => [message.complete, message.appliesTo, message.resultsIn]),
    [
      [true, '', '1'],
      [false, '1', '2'],
      [false, '2', '3'],
    ],
  )
  assert.deepEqual(seen[0]!.changes.map(summary), ['task t1 512'])
  assert.deepEqual(seen[1]!.changes.map(summary), ['task t2 512', 'task t3 512', 'task t4 512', 'task t5 512'])
  assert.deepEqual(seen[2]!.changes.map(summary), ['-task t1', 'task t2 640'])
})

test('many changes come in messages of at most a hundred', async () => {
  const b = await bench()
  await b.addNode('n1')
  const node = await register(b, 'n1')
  const stream = node.assignments()
  await b.clock.settle()
  await b.write((tx) => {
    const model = {
      slot: 1,
      nodeId: 'n1' as NodeId,
      specVersion: 1,
      desiredState: TaskState.RUNNING,
      attachments: [],
      serviceId: 'web' as never,
    }
    for (let i = 0; i < 250; i += 1)
      tx.tasks.create({ ...model, id: `t${i}` as TaskId, status: { state: TaskState.ASSIGNED, at: 0, message: '', error: '' } })
  })
  await b.clock.advance(1_000)
  assert.deepEqual(
    stream.items.map((message) => message.changes.length),
    [0, 100, 100, 50],
  )
})

test('a running task that is to stop is sent as running until it is released; one that never ran stops at once', async () => {
  const b = await bench()
  await b.addNode('n1')
  await b.addTask('ran', 'n1', { status: { state: TaskState.RUNNING, at: 0, message: '', error: '' } })
  await b.addTask('young', 'n1', { status: { state: TaskState.STARTING, at: 0, message: '', error: '' } })
  const node = await register(b, 'n1')
  const stream = node.assignments()
  await b.clock.settle()
  await b.patchTask('ran', { desiredState: TaskState.SHUTDOWN })
  await b.patchTask('young', { desiredState: TaskState.SHUTDOWN })
  await b.clock.advance(150)
  assert.deepEqual(parseAssignments(stream.items[1]!).changes.map(summary), ['task young 640'])
  // its report of RUNNING crosses our order: it is not told to go on
  await node.report({ taskId: 'young' as TaskId, state: TaskState.RUNNING })
  await b.clock.advance(300)
  assert.equal(stream.items.length, 2)
  await b.patchTask('ran', { desiredState: TaskState.REMOVE })
  await b.clock.advance(300)
  assert.equal(stream.items.length, 2)
  await b.patchTask('ran', { releasedAt: b.clock.now() })
  await b.clock.advance(150)
  assert.deepEqual(parseAssignments(stream.items[2]!).changes.map(summary), ['task ran 800'])
})

test('secrets and configs come before the first task that needs them and go after the last', async () => {
  const b = await bench()
  await b.addNode('n1')
  const file = { name: 'f', uid: '0', gid: '0', mode: 0o444 }
  await b.addService('db', {
    secrets: [{ secretId: 's1', secretName: 's', file }],
    configs: [{ configId: 'c1', configName: 'c', file }],
  })
  await b.write((tx) => {
    tx.secrets.create({ id: 's1' as never, spec: { name: 's', labels: {}, data: 'AAEC' } })
    tx.configs.create({ id: 'c1' as never, spec: { name: 'c', labels: {}, data: 'AAEC' } })
  })
  await b.addTask('t1', 'n1', { serviceId: 'db' as never })
  const node = await register(b, 'n1')
  const stream = node.assignments()
  await b.clock.settle()
  await b.addTask('t2', 'n1', { serviceId: 'db' as never })
  await b.clock.advance(150)
  await b.write((tx) => tx.tasks.delete('t1' as TaskId))
  await b.clock.advance(150)
  await node.report({ taskId: 't2' as TaskId, state: TaskState.FAILED })
  await b.clock.advance(300)
  assert.deepEqual(
    stream.items.map((message) => parseAssignments(message).changes.map(summary)),
    [['secret s1', 'config c1', 'task t1 512'], ['task t2 512'], ['-task t1'], ['-secret s1', '-config c1']],
  )
})

test('new content of a secret goes to the nodes whose tasks use it, and to no others', async () => {
  const b = await bench()
  await b.addNode('n1')
  await b.addNode('n2')
  const file = { name: 'f', uid: '0', gid: '0', mode: 0o444 }
  await b.addService('db', { secrets: [{ secretId: 's1', secretName: 's', file }] })
  await b.write((tx) => tx.secrets.create({ id: 's1' as never, spec: { name: 's', labels: {}, data: 'AAEC' } }))
  await b.addTask('t1', 'n1', { serviceId: 'db' as never })
  await b.addTask('t2', 'n2', { serviceId: 'web' as never })
  const streams = [(await register(b, 'n1')).assignments(), (await register(b, 'n2')).assignments()]
  await b.clock.settle()
  await b.write((tx) => {
    const secret = tx.secrets.get('s1' as never)!
    tx.secrets.update({ ...secret, spec: { ...secret.spec, data: 'AAED' } })
  })
  await b.clock.advance(300)
  const told = streams.map((stream) => stream.items.slice(1).flatMap((message) => parseAssignments(message).changes.map(summary)))
  assert.deepEqual(told, [['secret s1'], []])
})

test('a task that would break its node is rejected with the reason, and the others go', async () => {
  const b = await bench()
  await b.addNode('n1')
  await b.addService('bad', { secrets: [{ secretId: 's1', secretName: 's' }] })
  await b.addTask('t1', 'n1', { serviceId: 'bad' as never })
  await b.addTask('t2', 'n1')
  const node = await register(b, 'n1')
  const stream = node.assignments()
  await b.clock.advance(500)
  assert.deepEqual(parseAssignments(stream.items[0]!).changes.map(summary), ['task t2 512'])
  assert.equal(taskStatus(b, 't1')?.state, TaskState.REJECTED)
  assert.match(taskStatus(b, 't1')!.error, /without a file/)
})

test('reports grow a task’s state, in batches; lower ones and those of other nodes do not count', async () => {
  const b = await bench()
  await b.addNode('n1')
  await b.addTask('t1', 'n1')
  await b.addTask('foreign', 'n2')
  const node = await register(b, 'n1')
  const container = { containerId: 'abc', pid: 7, exitCode: 0 }
  await node.report({ taskId: 't1' as TaskId, state: TaskState.PREPARING })
  await node.report({
    taskId: 't1' as TaskId,
    state: TaskState.RUNNING,
    message: 'started',
    container,
    ports: [{ protocol: 'tcp', targetPort: 80, publishedPort: 8080 }],
  })
  await node.report({ taskId: 't1' as TaskId, state: TaskState.STARTING })
  assert.equal(taskStatus(b, 't1')?.state, TaskState.ASSIGNED)
  const seq = b.store.view().seq
  await b.clock.advance(60)
  assert.equal(b.store.view().seq, seq + 1)
  const status = taskStatus(b, 't1')!
  assert.equal(status.state, TaskState.RUNNING)
  assert.deepEqual(status.container, container)
  assert.equal(status.ports?.[0]?.publishedPort, 8080)
  await node.report({ taskId: 't1' as TaskId, state: TaskState.RUNNING, message: 'started', container: { ...container, exitCode: -1 } })
  await node.report({ taskId: 't1' as TaskId, state: TaskState.ACCEPTED })
  await node.report({ taskId: 'gone' as TaskId, state: TaskState.FAILED })
  await b.clock.advance(60)
  assert.equal(b.store.view().seq, seq + 1)
  await assert.rejects(node.report({ taskId: 'foreign' as TaskId, state: TaskState.FAILED }), { code: 'permission-denied' })
})

test('a report from the future or the past gets our own time', async () => {
  const b = await bench()
  await b.addNode('n1')
  await b.addTask('t1', 'n1')
  const node = await register(b, 'n1')
  await b.clock.advance(10_000)
  await node.report({ taskId: 't1' as TaskId, state: TaskState.RUNNING, at: b.clock.now() - 4_000 })
  await b.clock.advance(60)
  assert.equal(taskStatus(b, 't1')?.at, b.clock.now() - 60 - 4_000)
  await node.report({ taskId: 't1' as TaskId, state: TaskState.FAILED, at: b.clock.now() + 3_600_000 })
  await b.clock.advance(60)
  assert.ok(taskStatus(b, 't1')!.at <= b.clock.now())
})

test('tasks of a node that was down for a day, or was removed, are orphaned', async () => {
  const b = await bench()
  await b.addNode('n1', 'stock')
  await b.addNode('n2', 'stock')
  await b.addTask('t1', 'n1')
  await b.addTask('t2', 'n2')
  await register(b, 'n1')
  await register(b, 'n2')
  await b.clock.advance(16_000)
  assert.equal(nodeState(b, 'n1')?.state, 'down')
  await b.clock.advance(23 * 3_600_000)
  assert.equal(taskStatus(b, 't1')?.state, TaskState.ASSIGNED)
  await b.write((tx) => tx.nodes.delete('n2' as NodeId))
  await b.clock.settle()
  assert.equal(taskStatus(b, 't2')?.state, TaskState.ORPHANED)
  await b.clock.advance(3_600_000)
  assert.equal(taskStatus(b, 't1')?.state, TaskState.ORPHANED)
})

test('a stop ends all streams, writes what waits, and refuses what comes later', async () => {
  const b = await bench()
  await b.addNode('n1')
  await b.addTask('t1', 'n1')
  const node = await register(b, 'n1')
  const stream = node.assignments()
  const logs = collect(node.channel.serverStream(LogBroker.method.listenSubscriptions, {}))
  await b.clock.settle()
  await node.report({ taskId: 't1' as TaskId, state: TaskState.RUNNING })
  await b.dispatcher.stop()
  await b.clock.settle()
  assert.equal(taskStatus(b, 't1')?.state, TaskState.RUNNING)
  for (const ended of [node.messages, stream, logs]) assert.equal((ended.error as { code: string }).code, 'unavailable')
  await assert.rejects(node.heartbeat(), { code: 'unavailable' })
  assert.equal(b.clock.pending, 0)
})

test('a broken connection leaves no stream behind', async () => {
  const b = await bench()
  await b.addNode('n1')
  const node = await register(b, 'n1')
  const stream = node.assignments()
  await b.clock.settle()
  node.channel.cut()
  await b.clock.settle()
  assert.deepEqual([node.messages.ended, node.messages.error, stream.ended, stream.error], [true, undefined, true, undefined])
  await node.heartbeat()
})
