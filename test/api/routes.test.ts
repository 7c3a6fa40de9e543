// What clients get from the API's routes: shapes, statuses and texts of docker-api.md.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { ServiceId, TaskId } from '../../src/lib/index.ts'
import { TaskState } from '../../src/model/index.ts'
import { type Answer, type Harness, MANAGER_ID, SPEC, startApi } from './harness.ts'

let h: Harness
before(async () => {
  h = await startApi()
})
after(() => h.close())

const filters = (value: unknown) => encodeURIComponent(JSON.stringify(value))
const refused = (answer: Answer, status: number, message: RegExp | string) => {
  assert.equal(answer.status, status, answer.text)
  assert.equal(answer.headers['content-type'], 'application/json')
  assert.ok(answer.text.endsWith('}\n'))
  if (typeof message === 'string') assert.equal(answer.json.message, message)
  else assert.match(answer.json.message, message)
}
const create = async (spec: object): Promise<string> => {
  const answer = await h.call('POST', '/v1.41/services/create', spec)
  assert.equal(answer.status, 201, answer.text)
  return answer.json.ID
}

test('ping answers with the versions of the engine behind, with a body only for GET', async () => {
  const get = await h.call('GET', '/_ping')
  assert.deepEqual(
    [get.status, get.text, get.headers['api-version'], get.headers.ostype, get.headers.swarm],
    [200, 'OK', '1.41', 'linux', 'active/manager'],
  )
  const head = await h.call('HEAD', '/v1.41/_ping')
  assert.deepEqual([head.status, head.text, head.headers['docker-experimental']], [200, '', 'false'])
})

test('versions in the path are refused as the engine would, unknown paths are not found', async () => {
  refused(await h.call('GET', '/v9.99/version'), 400, 'client version 9.99 is too new. Maximum supported API version is 1.41')
  refused(await h.call('GET', '/v1.1/nodes'), 400, /^client version 1.1 is too old. Minimum supported API version is 1.12, please upgrade/)
  refused(await h.call('GET', '/v1.41/nosuchpath'), 404, 'page not found')
  refused(await h.call('PATCH', '/services/x/y/z'), 404, 'page not found')
  refused(await h.call('GET', '/nodes/%zz'), 400, /invalid escape/)
})

test('without a swarm and on workers, cluster calls say why not', async () => {
  h.place = 'inactive'
  for (const path of ['/nodes', '/services', '/tasks', '/secrets', '/configs', '/swarm', '/nodes/x', '/swarm/unlockkey']) {
    refused(await h.call('GET', path), 503, /^This node is not a swarm manager. Use "docker swarm init" or "docker swarm join"/)
  }
  refused(await h.call('POST', '/networks/create', { Name: 'x', Driver: 'overlay' }), 503, /not a swarm manager/)
  refused(await h.call('POST', '/swarm/leave'), 503, 'This node is not part of a swarm')
  refused(await h.call('POST', '/swarm/unlock', {}), 503, /not part of a swarm/)
  const info = await h.call('GET', '/info')
  assert.deepEqual(info.json.Swarm, {
    NodeID: '',
    NodeAddr: '',
    LocalNodeState: 'inactive',
    ControlAvailable: false,
    Error: '',
    RemoteManagers: null,
  })
  h.place = 'worker'
  refused(await h.call('GET', '/nodes'), 503, /^This node is not a swarm manager. Worker nodes can't be used/)
  const worker = (await h.call('GET', '/info')).json.Swarm
  assert.deepEqual(
    [worker.LocalNodeState, worker.ControlAvailable, worker.RemoteManagers[0].Addr, 'Cluster' in worker],
    ['active', false, '10.9.0.1:2377', false],
  )
  h.place = 'manager'
  refused(await h.call('POST', '/swarm/init', { ListenAddr: '0.0.0.0:2377' }), 503, /already part of a swarm/)
  refused(await h.call('POST', '/swarm/unlock', { UnlockKey: 'x' }), 409, 'swarm is not locked')
  assert.deepEqual((await h.call('GET', '/swarm/unlockkey')).json, { UnlockKey: '' })
})

test('the swarm is shown with its settings, and info with the cluster but no tokens', async () => {
  const swarm = (await h.call('GET', '/swarm')).json
  assert.equal(swarm.Spec.Orchestration.TaskHistoryRetentionLimit, 5)
  assert.equal(swarm.Spec.CAConfig.NodeCertExpiry, 7776e12)
  assert.equal(swarm.Spec.Dispatcher.HeartbeatPeriod, 5e9)
  assert.deepEqual([swarm.DefaultAddrPool, swarm.SubnetSize, swarm.DataPathPort], [null, 24, 4789])
  assert.match(swarm.JoinTokens.Worker, /^SWMTKN-1-/)
  assert.ok(!JSON.stringify(swarm).includes('secret-key'))
  const info = (await h.call('GET', '/v1.41/info')).json.Swarm
  assert.deepEqual([info.NodeID, info.Nodes, info.Managers, info.ControlAvailable], [MANAGER_ID, 3, 1, true])
  assert.equal(info.Cluster.JoinTokens, undefined)
})

test('a swarm update changes what it names, keeps the rest, and needs the right version', async () => {
  const { Version, Spec } = (await h.call('GET', '/swarm')).json
  refused(
    await h.call('POST', `/swarm/update?version=${Version.Index - 1}`, Spec),
    500,
    'rpc error: code = Unknown desc = update out of sequence',
  )
  refused(
    await h.call('POST', '/swarm/update?version=abc', Spec),
    400,
    `invalid swarm version 'abc': strconv.ParseUint: parsing "abc": invalid syntax`,
  )
  assert.equal(
    (await h.call('POST', `/swarm/update?version=${Version.Index}`, { Orchestration: { TaskHistoryRetentionLimit: 1 } })).status,
    200,
  )
  const after = (await h.call('GET', '/swarm')).json
  assert.equal(after.Spec.Orchestration.TaskHistoryRetentionLimit, 1)
  assert.equal(after.Spec.Raft.SnapshotInterval, 10000)
  assert.equal((await h.call('POST', `/swarm/update?version=${after.Version.Index}&rotateWorkerToken=true`, after.Spec)).status, 200)
  assert.notEqual((await h.call('GET', '/swarm')).json.JoinTokens.Worker, after.JoinTokens.Worker)
})

test('nodes are listed, filtered, looked up, changed and refused', async () => {
  const ids = async (filter: unknown) =>
    (await h.call('GET', `/nodes?filters=${filters(filter)}`)).json.map(
      (node: { Description: { Hostname: string } }) => node.Description.Hostname,
    )
  assert.deepEqual(await ids({ role: ['worker'] }), ['w1', 'w2'])
  assert.deepEqual(await ids({ name: { w: true } }), ['w1', 'w2'])
  assert.deepEqual(await ids({ membership: { accepted: true } }), ['m1', 'w1', 'w2'])
  refused(await h.call('GET', `/nodes?filters=${filters({ foo: ['bar'] })}`), 400, "invalid filter 'foo'")
  refused(await h.call('GET', `/nodes?filters=${filters({ role: ['x'] })}`), 400, /^Invalid role filter: 'x'/)
  refused(await h.call('GET', '/nodes?filters={bad'), 400, /invalid filters/)
  const node = (await h.call('GET', '/nodes/m1')).json
  assert.deepEqual(node.Status, { State: 'ready', Addr: '10.9.0.1' })
  assert.deepEqual(node.ManagerStatus, { Leader: true, Reachability: 'reachable', Addr: '10.9.0.1:2377' })
  assert.deepEqual(node.Description.Platform, { Architecture: 'x86_64', OS: 'linux' })
  const worker = (await h.call('GET', '/nodes/w1')).json
  assert.equal('ManagerStatus' in worker, false)
  refused(
    await h.call('POST', `/nodes/${worker.ID}/update?version=${worker.Version.Index - 1}`, worker.Spec),
    500,
    /update out of sequence/,
  )
  refused(await h.call('POST', `/nodes/${worker.ID}/update?version=abc`, worker.Spec), 400, /^invalid node version 'abc'/)
  assert.equal(
    (await h.call('POST', `/nodes/w1/update?version=${worker.Version.Index}`, { ...worker.Spec, Labels: { zone: 'a' } })).status,
    200,
  )
  assert.deepEqual(await ids({ 'node.label': ['zone=a'] }), ['w1'])
  refused(await h.call('GET', '/nodes/nosuch'), 404, 'node nosuch not found')
  refused(
    await h.call('DELETE', '/nodes/w1'),
    400,
    /^rpc error: code = FailedPrecondition desc = node worker\d+ is not down and can't be removed$/,
  )
  refused(await h.call('DELETE', '/nodes/nosuch'), 404, 'node nosuch not found')
})

test('a service is created, shown as it was asked for, and with defaults on demand', async () => {
  const id = await create(SPEC)
  assert.match(id, /^[0-9a-z]{25}$/)
  const plain = (await h.call('GET', '/services/web')).json
  assert.deepEqual(plain.Spec.Mode, { Replicated: { Replicas: 2 } })
  for (const key of ['UpdateConfig', 'RollbackConfig', 'EndpointSpec']) assert.equal(key in plain.Spec, false)
  assert.equal('RestartPolicy' in plain.Spec.TaskTemplate, false)
  const full = (await h.call('GET', '/services/web?insertDefaults=true')).json.Spec
  assert.deepEqual(full.TaskTemplate.RestartPolicy, { Condition: 'any', Delay: 5e9, MaxAttempts: 0 })
  assert.deepEqual(full.UpdateConfig, { Parallelism: 1, FailureAction: 'pause', Monitor: 5e9, MaxFailureRatio: 0, Order: 'stop-first' })
  assert.equal(full.RollbackConfig.Parallelism, 1)
  assert.equal(full.TaskTemplate.ContainerSpec.StopGracePeriod, 1e10)
  assert.equal(full.EndpointSpec.Mode, 'vip')
  refused(
    await h.call('POST', '/services/create', SPEC),
    409,
    'rpc error: code = AlreadyExists desc = name conflicts with an existing object: service web already exists',
  )
})

test('bad service specs are refused in Swarm’s words', async () => {
  const post = (body: unknown) => h.call('POST', '/services/create', body)
  refused(await post('{bad'), 400, /^invalid JSON/)
  refused(await post(''), 400, /body is empty/)
  refused(await post('[]'), 400, /expected an object, got an array/)
  refused(await post({ Name: 'x' }), 400, /mismatched Runtime and \*Spec fields/)
  refused(await post({ Name: 'x', TaskTemplate: { ContainerSpec: { Image: '' } } }), 400, /ContainerSpec: image reference must be provided/)
  refused(
    await post({ Name: 'x', TaskTemplate: { ContainerSpec: { Image: 'BAD IMAGE' } } }),
    400,
    /ContainerSpec: "BAD IMAGE" is not a valid repository\/tag/,
  )
  refused(await post({ ...SPEC, Name: 'a b' }), 400, /name must be valid as a DNS name component/)
  const constraint = { ContainerSpec: { Image: 'i' }, Placement: { Constraints: ['node.foo>3'] } }
  refused(
    await post({ Name: 'x', TaskTemplate: constraint }),
    500,
    'rpc error: code = Unknown desc = constraint expected one operator from ==, !=',
  )
  refused(
    await post({ ...SPEC, Name: 'x', Mode: { Replicated: { Replicas: 'many' } } }),
    400,
    /Mode.Replicated.Replicas: expected a whole number, got "many"/,
  )
  refused(await post({ ...SPEC, Name: 'x', Mode: { Replicated: { Replicas: 2 ** 60 } } }), 400, /numbers beyond 2\^53/)
  const dnsrr = { Mode: 'dnsrr', Ports: [{ TargetPort: 80, PublishedPort: 81 }] }
  refused(
    await post({ ...SPEC, Name: 'x', EndpointSpec: dnsrr }),
    400,
    /EndpointSpec: port published with ingress mode can't be used with dnsrr mode/,
  )
  refused(await h.call('POST', '/services/create', 'x'.repeat(5 * 1024 * 1024)), 413, /larger than/)
})

test('a service update needs the right version, answers an object, and reaches the service by name', async () => {
  const { Version, Spec } = (await h.call('GET', '/services/web')).json
  refused(await h.call('POST', '/services/web/update', Spec), 400, /^invalid service version ''/)
  refused(await h.call('POST', '/services/nosuch/update?version=1', Spec), 404, 'service nosuch not found')
  const answer = await h.call('POST', `/services/web/update?version=${Version.Index}`, { ...Spec, Labels: { a: 'b' } })
  assert.deepEqual([answer.status, answer.json], [200, { Warnings: null }])
  refused(await h.call('POST', `/services/web/update?version=${Version.Index}`, Spec), 500, /update out of sequence/)
  const mode = { ...Spec, Mode: { Global: {} } }
  const index = (await h.call('GET', '/services/web')).json.Version.Index
  refused(await h.call('POST', `/services/web/update?version=${index}`, mode), 501, /service mode change is not allowed/)
})

test('services are filtered in both spellings, and their status comes only when asked', async () => {
  const names = async (filter: unknown) =>
    (await h.call('GET', `/services?filters=${filters(filter)}`)).json.map((one: { Spec: { Name: string } }) => one.Spec.Name)
  assert.deepEqual(await names({ name: { we: true } }), ['web'])
  assert.deepEqual(await names({ name: ['web'] }), ['web'])
  assert.deepEqual(await names({ mode: ['global'] }), [])
  assert.deepEqual(await names({ label: ['a=b'] }), ['web'])
  assert.deepEqual(await names({ label: ['x'] }), [])
  refused(await h.call('GET', `/services?filters=${filters({ nosuch: ['x'] })}`), 400, "invalid filter 'nosuch'")
  const [plain] = (await h.call('GET', '/services')).json
  assert.equal('ServiceStatus' in plain, false)
  const [counted] = (await h.call('GET', '/v1.41/services?status=true')).json
  assert.deepEqual(counted.ServiceStatus, { RunningTasks: 0, DesiredTasks: 2, CompletedTasks: 0 })
  assert.equal('ServiceStatus' in (await h.call('GET', '/v1.40/services?status=true')).json[0], false)
})

test('tasks show their spec, networks and status, and are filtered by service, node, state and version', async () => {
  const serviceId = (await h.call('GET', '/services/web')).json.ID as ServiceId
  const ingress = [...h.store.view().networks.values()].find(({ spec }) => spec.ingress)!
  const make = (id: string, slot: number, specVersion: number, desiredState: TaskState) =>
    h.store.transact((tx) =>
      tx.tasks.create({
        id: id as TaskId,
        serviceId,
        slot,
        nodeId: MANAGER_ID,
        specVersion,
        desiredState,
        status: {
          state: TaskState.RUNNING,
          at: 1_000,
          message: 'started',
          error: '',
          container: { containerId: 'c'.repeat(64), pid: 7, exitCode: 0 },
        },
        attachments: [{ networkId: ingress.id, addresses: ['10.0.0.5/24'] }],
      }),
    )
  await make('task000000000000000000001', 1, 1, TaskState.RUNNING)
  await make('task000000000000000000002', 2, 7, TaskState.SHUTDOWN)
  const list = async (filter: unknown) => (await h.call('GET', `/tasks?filters=${filters(filter)}`)).json
  const [task, ...others] = await list({ service: ['web'], 'desired-state': ['running'], '_up-to-date': ['true'] })
  assert.equal(others.length, 0)
  assert.equal(task.Slot, 1)
  assert.equal(task.Spec.ContainerSpec.Image, 'nginx')
  assert.deepEqual(task.Status, {
    Timestamp: '1970-01-01T00:00:01Z',
    State: 'running',
    Message: 'started',
    ContainerStatus: { ContainerID: 'c'.repeat(64), PID: 7, ExitCode: 0 },
    PortStatus: {},
  })
  assert.equal(task.NetworksAttachments[0].Network.Spec.Name, 'ingress')
  assert.deepEqual(task.NetworksAttachments[0].Addresses, ['10.0.0.5/24'])
  assert.equal((await list({ node: { self: true } })).length, 2)
  assert.equal((await list({ node: ['w1'] })).length, 0)
  assert.equal((await list({ name: ['web.2'] })).length, 1)
  assert.equal((await list({ label: ['a=b'] })).length, 2)
  assert.equal((await h.call('GET', `/tasks/web.1.task000000000000000000001`)).json.ID, 'task000000000000000000001')
  refused(await h.call('GET', '/tasks/nosuch'), 404, 'task nosuch not found')
  refused(await h.call('GET', '/tasks/task'), 400, 'task task is ambiguous (2 matches found)')
  refused(await h.call('GET', `/tasks?filters=${filters({ 'desired-state': ['x'] })}`), 400, "Invalid desired-state filter: 'x'")
})

test('a polled list shows a change at once', async () => {
  const first = (await h.call('GET', '/tasks')).text
  assert.equal((await h.call('GET', '/tasks')).text, first)
  await h.store.transact((tx) => {
    const task = tx.tasks.get('task000000000000000000001' as TaskId)!
    tx.tasks.update({ ...task, status: { ...task.status, message: 'changed' } })
  })
  assert.match((await h.call('GET', '/tasks')).text, /changed/)
})

test('secrets never show their data, configs do', async () => {
  const data = Buffer.from('top-secret').toString('base64')
  const secret = await h.call('POST', '/secrets/create', { Name: 's1', Labels: { k: 'v' }, Data: data })
  assert.equal(secret.status, 201)
  const config = await h.call('POST', '/configs/create', { Name: 'c1', Data: data })
  assert.equal(config.status, 201)
  for (const path of ['/secrets', '/secrets/s1']) assert.ok(!(await h.call('GET', path)).text.includes(data))
  assert.equal((await h.call('GET', '/configs/c1')).json.Spec.Data, data)
  refused(await h.call('POST', '/secrets/create', { Name: 's1', Data: data }), 409, /secret s1 already exists$/)
  refused(await h.call('POST', '/secrets/create', { Name: 's2', Data: '***' }), 400, /illegal base64/)
  assert.equal((await h.call('GET', `/secrets?filters=${filters({ names: ['s1', 'x'] })}`)).json.length, 1)
  const { Version, Spec } = (await h.call('GET', '/secrets/s1')).json
  assert.equal((await h.call('POST', `/secrets/s1/update?version=${Version.Index}`, { ...Spec, Labels: { n: '1' } })).status, 200)
  const again = (await h.call('GET', '/secrets/s1')).json
  refused(
    await h.call('POST', `/secrets/s1/update?version=${again.Version.Index}`, { ...again.Spec, Data: 'eno=' }),
    400,
    /only updates to Labels are allowed/,
  )
  assert.equal((await h.call('DELETE', '/secrets/s1')).status, 204)
  refused(await h.call('DELETE', '/secrets/s1'), 404, 'secret s1 not found')
})

test('removing a service answers 200 and then 404', async () => {
  assert.equal((await h.call('DELETE', '/services/web')).status, 200)
  refused(await h.call('DELETE', '/services/web'), 404, 'service web not found')
})
