// The log broker: who is asked, how lines come together, and that no reader ever hangs.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDispatcher, type LogGap } from '../../src/dispatcher/index.ts'
import { type NodeId, type ServiceId, silentLogger, type TaskId } from '../../src/lib/index.ts'
import { LogBroker, Dispatcher as Service } from '../../src/proto/index.ts'
import { buildLogLine, type LogLine, type LogOptions, parseSubscription, type Subscription } from '../../src/wire/index.ts'
import { collect, nodeChannel, testCluster } from './harness.ts'

async function bench() {
  const c = await testCluster()
  const dispatcher = createDispatcher({
    ...c,
    logger: silentLogger,
    limits: { logQueueLines: 5 },
    self: () => ({ nodeId: 'm1', address: '10.0.0.1:2377' }),
  })
  dispatcher.start()
  await c.addService('web')
  const node = async (id: string) => {
    if (!c.store.view().nodes.get(id as NodeId)) await c.addNode(id)
    const channel = nodeChannel(dispatcher.routes(), { clusterId: c.cluster.id, nodeId: id })
    collect(channel.serverStream(Service.method.session, {}))
    await c.clock.settle()
    const heard = collect(channel.serverStream(LogBroker.method.listenSubscriptions, {}))
    await c.clock.settle()
    const asked = () => heard.items.map(parseSubscription)
    const publish = async (task: string, count: number, close: boolean, subscription: Subscription = asked().at(-1)!) => {
      let sent = 0
      const done = channel.clientStream(
        LogBroker.method.publishLogs,
        (async function* () {
          for (let i = 0; i < count; i += 1) {
            yield { subscriptionId: subscription.id, messages: [buildLogLine(line(id, task, i))] }
            sent += 1
          }
          if (close) yield { subscriptionId: subscription.id, close: true }
          else await new Promise(() => {}) // says nothing more
        })(),
      )
      return { done, sent: () => sent }
    }
    return { channel, asked, publish }
  }
  const read = (options: Partial<LogOptions> = {}, services = ['web'], tasks: string[] = []) => {
    const controller = new AbortController()
    const selector = { serviceIds: services as ServiceId[], nodeIds: [], taskIds: tasks as TaskId[] }
    const lines = collect(dispatcher.logs.subscribe(selector, { stdout: true, stderr: true, follow: false, ...options }, controller.signal))
    return { lines, controller }
  }
  return { ...c, dispatcher, node, read }
}

function line(node: string, task: string, i: number): LogLine {
  return {
    serviceId: 'web' as ServiceId,
    nodeId: node as NodeId,
    taskId: task as TaskId,
    at: i,
    atNs: 0,
    stream: 'stdout',
    data: new Uint8Array([i]),
    attrs: {},
  }
}
const gaps = (items: readonly (LogLine | LogGap)[]) => items.flatMap((item) => ('gap' in item ? [item.gap] : []))

test('all nodes with tasks of the service are asked, and the end comes when all have said all', async () => {
  const b = await bench()
  const [one, two, three] = [await b.node('n1'), await b.node('n2'), await b.node('n3')]
  await b.addTask('t1', 'n1')
  await b.addTask('t2', 'n2')
  const { lines } = b.read({ tail: 2 })
  await b.clock.settle()
  const [subscription] = one.asked()
  assert.equal(subscription?.close, false)
  assert.deepEqual(!subscription?.close && subscription?.options, { stdout: true, stderr: true, follow: false, tail: 2 })
  assert.equal(three.asked().length, 0)
  await (await one.publish('t1', 2, true)).done
  assert.equal(lines.ended, false)
  await (await two.publish('t2', 1, true)).done
  await b.clock.settle()
  assert.equal(lines.ended, true)
  assert.equal(lines.items.length, 3)
})

test('no matching task, no waiting', async () => {
  const b = await bench()
  const { lines } = b.read({}, [], ['nothing'])
  await b.clock.settle()
  assert.deepEqual([lines.ended, lines.items], [true, []])
})

test('nodes that are away, do not answer or break off are gaps, and the reader gets its end', async () => {
  const b = await bench()
  const [silent, broken] = [await b.node('n1'), await b.node('n2')]
  await b.addNode('n3')
  for (const [task, node] of [
    ['t1', 'n1'],
    ['t2', 'n2'],
    ['t3', 'n3'],
  ] as const)
    await b.addTask(task, node)
  const { lines } = b.read()
  await b.clock.settle()
  assert.deepEqual(gaps(lines.items), ['n3'])
  await broken.publish('t2', 1, false)
  await b.clock.settle()
  broken.channel.cut()
  await b.clock.settle()
  assert.deepEqual(gaps(lines.items), ['n3', 'n2'])
  await b.clock.advance(10_000)
  assert.deepEqual(gaps(lines.items), ['n3', 'n2', 'n1'])
  assert.equal(lines.ended, true)
  assert.equal(silent.asked().length, 1)
})

test('a slow reader makes its nodes wait, and nothing is lost', async () => {
  const b = await bench()
  const one = await b.node('n1')
  await b.addTask('t1', 'n1')
  const controller = new AbortController()
  const selector = { serviceIds: ['web' as ServiceId], nodeIds: [], taskIds: [] }
  const reader = b.dispatcher.logs
    .subscribe(selector, { stdout: true, stderr: true, follow: false }, controller.signal)
    [Symbol.asyncIterator]()
  const first = reader.next()
  await b.clock.settle()
  const publishing = await one.publish('t1', 100, true)
  await b.clock.settle()
  await first
  assert.ok(publishing.sent() < 10)
  let count = 1
  while (!(await reader.next()).done) count += 1
  assert.equal(count, 100)
  await publishing.done
})

test('a follower hears of new nodes; when it leaves, the nodes are told to stop', async () => {
  const b = await bench()
  const [one, two] = [await b.node('n1'), await b.node('n2')]
  await b.addTask('t1', 'n1')
  const { lines, controller } = b.read({ follow: true })
  await b.clock.settle()
  await b.addTask('t2', 'n2')
  await b.clock.settle()
  assert.equal(two.asked().length, 1)
  await one.publish('t1', 1, false)
  await b.clock.settle()
  assert.equal(lines.ended, false)
  controller.abort()
  await b.clock.settle()
  assert.equal(lines.ended, true)
  assert.equal(one.asked().at(-1)?.close, true)
  assert.equal(two.asked().at(-1)?.close, true)
  assert.equal(one.asked().length, 2)
})

test('a followed node that comes back goes on after its last line', async () => {
  const b = await bench()
  const one = await b.node('n1')
  await b.addTask('t1', 'n1')
  const { lines } = b.read({ follow: true, tail: 10 })
  await b.clock.settle()
  await one.publish('t1', 3, false)
  await b.clock.settle()
  one.channel.cut()
  await b.clock.settle()
  assert.deepEqual(gaps(lines.items), ['n1'])
  const back = await b.node('n1')
  const [again] = back.asked()
  assert.deepEqual(!again?.close && again?.options, { stdout: true, stderr: true, follow: true, since: 3 })
})

test('a node can publish neither the lines of another nor for nobody', async () => {
  const b = await bench()
  const one = await b.node('n1')
  await b.addTask('t1', 'n1')
  b.read()
  await b.clock.settle()
  const [subscription] = one.asked()
  const send = (messages: LogLine[], id = subscription!.id) =>
    one.channel.clientStream(
      LogBroker.method.publishLogs,
      (async function* () {
        yield { subscriptionId: id, messages: messages.map(buildLogLine) }
      })(),
    )
  await assert.rejects(send([line('n2', 't1', 0)]), { code: 'permission-denied' })
  await assert.rejects(send([line('n1', 't1', 0)], 'unknown'), { code: 'not-found' })
})
