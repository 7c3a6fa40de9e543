// What we build is what the agent parses, and nothing that crashes a stock engine leaves the builder.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fromBinary, toBinary } from '@bufbuild/protobuf'
import fc from 'fast-check'
import type { AssignedConfig, AssignedSecret, TaskReport } from '../../src/model/index.ts'
import { TaskState } from '../../src/model/index.ts'
import {
  AssignmentsMessageSchema,
  NodeDescriptionSchema,
  UpdateTaskStatusRequest_TaskStatusUpdateSchema as ReportSchema,
  SessionMessageSchema,
  SubscriptionMessageSchema,
  type Task,
  TaskSchema,
} from '../../src/proto/index.ts'
import {
  buildAssignments,
  buildLogLine,
  buildNetwork,
  buildNodeDescription,
  buildSessionMessage,
  buildSubscription,
  buildTask,
  buildTaskReport,
  parseAssignments,
  parseLogLine,
  parseNodeDescription,
  parseSessionMessage,
  parseSubscription,
  parseTask,
  parseTaskReport,
  type SessionUpdate,
} from '../../src/wire/index.ts'
import { assignedTask, attachment, nodeDescription, overlay } from './arbitrary.ts'

const RUNS = { numRuns: 300 }
const travel = (task: Task) => fromBinary(TaskSchema, toBinary(TaskSchema, task))

test('a task comes back as it was sent', () => {
  fc.assert(
    fc.property(assignedTask, (task) => {
      assert.deepEqual(parseTask(travel(buildTask(task, { ownAgent: true }))), task)
    }),
    RUNS,
  )
})

test('a task for a stock engine has no field of ours and all pointers that engines read unchecked', () => {
  fc.assert(
    fc.property(assignedTask, (task) => {
      const wire = travel(
        buildTask(task, { ownAgent: false, endpoint: { mode: 'vip', vips: [{ networkId: 'n', address: '10.0.0.2/24' }] } }),
      )
      assert.equal(wire.shoalNotBefore, undefined)
      const pointers: unknown[] = [
        wire.meta?.version,
        wire.spec?.runtime.value,
        wire.spec?.restart,
        wire.spec?.placement,
        wire.spec?.resources,
      ]
      pointers.push(wire.annotations, wire.serviceAnnotations, wire.status?.timestamp, wire.specVersion, wire.endpoint?.spec)
      for (const { network } of wire.networks) pointers.push(network?.driverState, network?.ipam?.driver, network?.spec?.annotations)
      for (const pointer of pointers) assert.notEqual(pointer, undefined)
      if (wire.spec?.runtime.case === 'container') {
        for (const { target } of [...wire.spec.runtime.value.secrets, ...wire.spec.runtime.value.configs])
          assert.notEqual(target.value, undefined)
      }
    }),
    RUNS,
  )
})

test('an overlay that would kill an engine at every start is refused', () => {
  const network = fc.sample(overlay, 1)[0]!
  for (const broken of [{ vni: 0 }, { vni: 2 ** 24 }, { subnet: '' }, { gateway: '' }, { name: '' }]) {
    assert.throws(() => buildNetwork({ ...network, ...broken }), { code: 'internal' })
  }
})

test('a task that an engine could not survive is refused', () => {
  const task = { ...fc.sample(assignedTask, 1)[0]!, spec: { container: { image: 'nginx' }, forceUpdate: 0 } }
  const broken = [
    { knownState: TaskState.PENDING },
    { spec: { forceUpdate: 0 } },
    { spec: { container: { image: '' }, forceUpdate: 0 } },
    { spec: { container: { image: 'nginx', secrets: [{ secretId: 'x', secretName: 'y' }] }, forceUpdate: 0 } },
    { attachments: [{ network: fc.sample(overlay, 1)[0]!, addresses: ['10.0.0.5'], aliases: [] }] },
    { attachments: [{ network: fc.sample(overlay, 1)[0]!, addresses: [], aliases: [] }] },
  ]
  buildTask(task, { ownAgent: true })
  for (const change of broken) assert.throws(() => buildTask({ ...task, ...change } as never, { ownAgent: true }), { code: 'internal' })
  assert.throws(() => buildTask({ ...task, slot: 1.5 }, { ownAgent: true }), { code: 'invalid-argument' })
  const image = { container: { image: 'nginx', mounts: [{ type: 'image' as const, target: '/x' }] }, forceUpdate: 0 }
  assert.throws(() => buildTask({ ...task, spec: image }, { ownAgent: false }), { code: 'invalid-argument' })
})

test('a task with no restart policy is sent as restarting always, which is what its absence means', () => {
  const task = { ...fc.sample(assignedTask, 1)[0]!, spec: { container: { image: 'nginx' }, forceUpdate: 0 } }
  assert.equal(parseTask(buildTask(task, { ownAgent: true })).spec.restart?.condition, 'any')
})

const keys = ['networking:gossip', 'networking:ipsec'].flatMap((subsystem, s) =>
  [1, 2, 3].map((n) => ({ subsystem, key: Buffer.alloc(16, n).toString('base64'), lamportTime: 10 * s + n })),
)
const session: SessionUpdate = {
  sessionId: 's1',
  node: {
    id: 'n1',
    name: '',
    labels: {},
    availability: 'drain',
    desiredRole: 'worker',
    role: 'worker',
    rotateCertificate: true,
    attachments: [],
    dataPathPort: 4789,
  },
  managers: [{ nodeId: 'm1', address: '10.0.0.1:2377' }],
  networkKeys: keys,
  rootCaPem: 'PEM\n',
}

test('a session message comes back as it was sent', () => {
  fc.assert(
    fc.property(fc.array(attachment, { maxLength: 2 }), fc.boolean(), (attachments, withKeys) => {
      const update = { ...session, node: { ...session.node, attachments }, networkKeys: withKeys ? keys : [] }
      const wire = fromBinary(SessionMessageSchema, toBinary(SessionMessageSchema, buildSessionMessage(update)))
      assert.deepEqual(parseSessionMessage(wire), update)
    }),
    RUNS,
  )
})

test('a session message that would strand or crash a stock engine is refused', () => {
  const broken: Partial<SessionUpdate>[] = [
    { managers: [] },
    { sessionId: '' },
    { rootCaPem: '' },
    { networkKeys: keys.slice(0, 1) },
    { networkKeys: keys.slice(0, 3) },
    { networkKeys: keys.map((key) => ({ ...key, lamportTime: 1 })) },
    { networkKeys: keys.map((key) => ({ ...key, key: 'AA==' })) },
  ]
  for (const change of broken) assert.throws(() => buildSessionMessage({ ...session, ...change }), { code: 'internal' })
  assert.throws(() => buildSessionMessage({ ...session, managers: [{ nodeId: 'm1', address: '10.0.0.1' }] }), { code: 'invalid-argument' })
})

test('a node description comes back as it was sent; one of a stock engine has no agent', () => {
  fc.assert(
    fc.property(nodeDescription, (description) => {
      const agent = { daemonVersion: '1', dataPlane: { on: false, reason: 'no nft' } }
      const wire = fromBinary(NodeDescriptionSchema, toBinary(NodeDescriptionSchema, buildNodeDescription(description, agent)))
      assert.deepEqual(parseNodeDescription(wire), { description, agent })
      assert.equal(parseNodeDescription({ ...wire, shoalAgent: undefined }).agent, undefined)
    }),
    RUNS,
  )
})

test('assignments come back as they were sent, and a broken chain is refused', () => {
  const secret: AssignedSecret = {
    id: 's1' as AssignedSecret['id'],
    name: 'password',
    data: new Uint8Array([1, 2]),
    templating: { name: 'golang' },
  }
  const config: AssignedConfig = { id: 'c1' as AssignedConfig['id'], name: 'conf', data: new Uint8Array([3]) }
  fc.assert(
    fc.property(assignedTask, (task) => {
      const assignments = {
        complete: false,
        appliesTo: '1',
        resultsIn: '2',
        changes: [
          { action: 'update' as const, kind: 'secret' as const, secret },
          { action: 'update' as const, kind: 'config' as const, config },
          { action: 'update' as const, kind: 'task' as const, task },
          { action: 'remove' as const, kind: 'task' as const, id: task.id },
          { action: 'remove' as const, kind: 'secret' as const, id: secret.id },
          { action: 'remove' as const, kind: 'config' as const, id: config.id },
        ],
      }
      const wire = buildAssignments(assignments, true)
      assert.deepEqual(parseAssignments(fromBinary(AssignmentsMessageSchema, toBinary(AssignmentsMessageSchema, wire))), assignments)
    }),
    { numRuns: 50 },
  )
  assert.throws(() => buildAssignments({ complete: false, appliesTo: '', resultsIn: '2', changes: [] }, true), { code: 'internal' })
  assert.throws(() => buildAssignments({ complete: true, appliesTo: '1', resultsIn: '2', changes: [] }, true), { code: 'internal' })
})

test('a report comes back as it was sent', () => {
  const report: TaskReport = {
    taskId: 't1' as TaskReport['taskId'],
    state: TaskState.RUNNING,
    at: 1_700_000_000_123,
    message: 'started',
    error: '',
    container: { containerId: 'c', pid: 12, exitCode: -1 },
    ports: [{ protocol: 'udp', targetPort: 53, publishedPort: 32_768 }],
  }
  const wire = fromBinary(ReportSchema, toBinary(ReportSchema, buildTaskReport(report)))
  assert.deepEqual(parseTaskReport(wire, 0), report)
  assert.throws(() => parseTaskReport({ ...wire, status: { ...wire.status!, state: 7 as TaskState } }, 0), { code: 'invalid-argument' })
})

test('log subscriptions always carry options, and come back as they were sent', () => {
  const selector = { serviceIds: ['s1'], nodeIds: [], taskIds: ['t1'] } as never
  const travelled = (subscription: Parameters<typeof buildSubscription>[0]) => {
    const wire = fromBinary(SubscriptionMessageSchema, toBinary(SubscriptionMessageSchema, buildSubscription(subscription)))
    assert.notEqual(wire.options, undefined)
    return { wire, parsed: parseSubscription(wire) }
  }
  for (const tail of [undefined, 0, 1, 500]) {
    const options = {
      stdout: true,
      stderr: tail !== 1,
      follow: tail === 0,
      since: 1_700_000_000_000,
      ...(tail === undefined ? {} : { tail }),
    }
    const { wire, parsed } = travelled({ id: 'x', close: false, selector, options })
    assert.equal(wire.options?.tail, tail === undefined ? 0n : BigInt(-tail - 1))
    assert.deepEqual(parsed, { id: 'x', close: false, selector, options })
  }
  assert.deepEqual(travelled({ id: 'x', close: true }).parsed, { id: 'x', close: true })
})

test('a log line keeps its nanoseconds', () => {
  const line = {
    serviceId: 's' as never,
    nodeId: 'n' as never,
    taskId: 't' as never,
    at: 1_700_000_000_123,
    atNs: 456_789,
    stream: 'stderr' as const,
    data: new Uint8Array([104, 10]),
    attrs: { a: 'b' },
  }
  assert.deepEqual(parseLogLine(buildLogLine(line)), line)
})
