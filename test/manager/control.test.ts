// Control operations: Swarm's rules and texts over a real store.
import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import { type NetworkId, type SecretId, silentLogger, type TaskId } from '../../src/lib/index.ts'
import { type Control, createControl } from '../../src/manager/index.ts'
import { type ServiceSpec, TaskState } from '../../src/model/index.ts'
import { createRandom } from '../../src/ports/fakes/index.ts'
import { realClock } from '../../src/ports/index.ts'
import { createMemoryJournal, createStore, type Store } from '../../src/store/index.ts'
import { freshNode, initialise, MANAGER_ID } from '../api/harness.ts'

let store: Store
let control: Control

beforeEach(async () => {
  store = await createStore({ clock: realClock, journal: createMemoryJournal(), log: silentLogger })
  await initialise(store)
  control = createControl({ store, random: createRandom(3) })
})

const spec = (name: string, more: Partial<ServiceSpec> = {}, image = 'nginx'): ServiceSpec => ({
  name,
  labels: {},
  mode: { kind: 'replicated', replicas: 1 },
  task: { container: { image }, forceUpdate: 0 },
  ...more,
})
const published = (port: number, publishMode: 'ingress' | 'host' = 'ingress') => ({
  endpoint: { ports: [{ protocol: 'tcp' as const, targetPort: 80, publishedPort: port, publishMode }] },
})
const refuses = (promise: Promise<unknown>, message: RegExp | string, code?: string) =>
  assert.rejects(promise, (error: { message: string; code: string }) => {
    if (typeof message === 'string') assert.equal(error.message, message)
    else assert.match(error.message, message)
    if (code) assert.equal(error.code, code)
    return true
  })

test('a created service has spec version 1 and a revision, and its name is taken', async () => {
  const service = await control.createService(spec('web'))
  assert.equal(service.specVersion, 1)
  assert.equal(store.view().specRevisions.of(service.id, 1)?.task.container?.image, 'nginx')
  await refuses(control.createService(spec('web')), 'name conflicts with an existing object: service web already exists', 'already-exists')
})

test('an update with an old version is out of sequence and changes nothing', async () => {
  const first = await control.createService(spec('web'))
  await control.updateService('web', first.version, spec('web', { labels: { a: 'b' } }))
  await refuses(control.updateService('web', first.version, spec('web')), 'update out of sequence', 'unknown')
  assert.deepEqual(control.service('web').spec.labels, { a: 'b' })
})

test('labels and replicas keep the spec version, another image raises it and starts an update', async () => {
  let service = await control.createService(spec('web'))
  service = await control.updateService(
    'web',
    service.version,
    spec('web', { labels: { a: 'b' }, mode: { kind: 'replicated', replicas: 9 } }),
  )
  assert.equal(service.specVersion, 1)
  assert.equal(service.updateStatus, undefined)
  service = await control.updateService('web', service.version, spec('web', {}, 'nginx:2'))
  assert.equal(service.specVersion, 2)
  assert.equal(service.updateStatus?.state, 'updating')
  assert.equal(service.updateStatus?.message, 'update in progress')
  assert.equal(service.previousSpec?.labels.a, 'b')
})

test('a rollback takes up the old revision, and a second one undoes the first', async () => {
  const created = await control.createService(spec('web'))
  await refuses(
    control.updateService('web', created.version, undefined, { rollback: 'previous' }),
    `service ${created.id} does not have a previous spec`,
    'failed-precondition',
  )
  let service = await control.updateService('web', created.version, spec('web', {}, 'nginx:2'))
  service = await control.updateService('web', service.version, undefined, { rollback: 'previous' })
  assert.deepEqual([service.specVersion, service.spec.task.container?.image], [1, 'nginx'])
  assert.equal(service.updateStatus?.state, 'rollback_started')
  assert.equal(service.updateStatus?.message, 'manually requested rollback')
  service = await control.updateService('web', service.version, undefined, { rollback: 'previous' })
  assert.deepEqual([service.specVersion, service.spec.task.container?.image], [2, 'nginx:2'])
  service = await control.updateService('web', service.version, spec('web', {}, 'nginx:3'))
  assert.equal(service.specVersion, 3)
})

test('mode and name of a service stay what they are', async () => {
  const { version } = await control.createService(spec('web'))
  await refuses(control.updateService('web', version, spec('web', { mode: { kind: 'global' } })), 'service mode change is not allowed')
  await refuses(control.updateService('web', version, spec('other')), 'renaming services is not supported')
})

test('a forced job runs anew', async () => {
  const mode = { kind: 'replicated-job', maxConcurrent: 1, totalCompletions: 1 } as const
  const job = await control.createService(spec('job', { mode }))
  assert.equal(job.job?.iteration, 0)
  const again = await control.updateService(
    'job',
    job.version,
    spec('job', { mode, task: { container: { image: 'nginx' }, forceUpdate: 1 } }),
  )
  assert.equal(again.job?.iteration, 1)
  assert.equal(again.updateStatus, undefined)
})

test('ingress ports exclude each other over the cluster, host ports only meet on nodes', async () => {
  const web = await control.createService(spec('web', published(8080)))
  const taken = `port '8080' is already in use by service 'web' (${web.id}) as an ingress port`
  await refuses(control.createService(spec('b', published(8080))), taken, 'invalid-argument')
  await refuses(control.createService(spec('b', published(8080, 'host'))), taken)
  await control.createService(spec('c', published(9090, 'host')))
  await control.createService(spec('d', published(9090, 'host')))
  await refuses(control.createService(spec('e', published(9090))), /as a host-published port$/)
  // The service itself does not stand in its own way.
  await control.updateService('web', web.version, spec('web', { ...published(8080), labels: { x: 'y' } }))
})

test('stored registry credentials are kept by an update, as the caller says', async () => {
  let service = await control.createService(spec('web'), { registryAuth: 'first' })
  service = await control.updateService('web', service.version, spec('web', {}, 'nginx:2'))
  assert.equal(service.spec.task.container?.registryAuth, 'first')
  service = await control.updateService('web', service.version, spec('web', {}, 'nginx:3'), { registryAuth: 'second' })
  service = await control.updateService('web', service.version, spec('web', {}, 'nginx:4'), { registryAuthFrom: 'previous-spec' })
  assert.equal(service.spec.task.container?.registryAuth, 'first')
})

test('what a service names must be there', async () => {
  const network = { target: 'nosuch' as NetworkId }
  await refuses(control.createService(spec('a', { networks: [network] })), 'network nosuch not found', 'not-found')
  const secrets = [{ secretId: 'x' as SecretId, secretName: 's1', file: { name: 's1', uid: '0', gid: '0', mode: 0o444 } }]
  await refuses(control.createService(spec('a', { task: { container: { image: 'i', secrets }, forceUpdate: 0 } })), 'secret not found: s1')
  await refuses(
    control.createService(spec('a', { networks: [{ target: 'ingress' as NetworkId }] })),
    /explicitly attached to the ingress network/,
  )
})

test('a network that a service or a task uses is not removed', async () => {
  const network = await control.createNetwork({
    name: 'ov1',
    labels: {},
    driver: 'overlay',
    driverOptions: {},
    ipv6: false,
    internal: false,
    attachable: false,
    ingress: false,
    ipamDriver: 'default',
    ipamOptions: {},
    ipam: [],
  })
  await refuses(control.createNetwork(network.spec), 'network with name ov1 already exists', 'already-exists')
  const service = await control.createService(
    spec('a', { task: { container: { image: 'i' }, networks: [{ target: 'ov1' as NetworkId }], forceUpdate: 0 } }),
  )
  assert.equal(service.spec.task.networks?.[0]?.target, network.id)
  await refuses(control.removeNetwork('ov1'), `network ${network.id} is in use by service ${service.id}`, 'failed-precondition')
  await store.transact((tx) =>
    tx.tasks.create({
      id: 'task000000000000000000001' as TaskId,
      serviceId: service.id,
      slot: 1,
      nodeId: MANAGER_ID,
      specVersion: 1,
      desiredState: TaskState.RUNNING,
      status: { state: TaskState.RUNNING, at: 1, message: '', error: '' },
      attachments: [{ networkId: network.id, addresses: [] }],
    }),
  )
  await control.updateService(service.id, service.version, { ...service.spec, task: { ...service.spec.task, networks: [] } })
  await refuses(control.removeNetwork('ov1'), /is in use by task task0000/)
  await control.removeService('a')
  // its task still ends: the network is gone for people, and its name free, but the task keeps it until then
  await control.removeNetwork('ov1')
  assert.equal(store.view().networks.get(network.id)?.removing, true)
  await refuses(control.removeNetwork(network.id), /network .* not found/, 'not-found')
  const next = await control.createNetwork(network.spec)
  assert.notEqual(next.id, network.id)
  await store.transact((tx) => tx.tasks.delete('task000000000000000000001' as TaskId))
  await refuses(control.removeNetwork('host'), /is a pre-defined network and cannot be removed/, 'permission-denied')
})

test('secrets: data stays, labels change, in use they are kept', async () => {
  const secret = await control.createSecret({ name: 's1', labels: {}, data: 'eA==' })
  await refuses(control.createSecret({ name: 's1', labels: {}, data: 'eA==' }), 'secret s1 already exists', 'already-exists')
  await refuses(control.createSecret({ name: 'b', labels: {}, data: '' }), /larger than 0 and less than 512000 bytes/)
  await refuses(control.updateSecret('s1', secret.version, { name: 's1', labels: {}, data: 'eg==' }), 'only updates to Labels are allowed')
  await control.updateSecret('s1', secret.version, { name: 's1', labels: { a: 'b' } })
  assert.deepEqual([control.secret('s1').spec.labels, control.secret('s1').spec.data], [{ a: 'b' }, 'eA=='])
  const secrets = [{ secretId: secret.id, secretName: 's1', file: { name: 's1', uid: '0', gid: '0', mode: 0o444 } }]
  await control.createService(spec('sec', { task: { container: { image: 'i', secrets }, forceUpdate: 0 } }))
  await refuses(control.removeSecret('s1'), "secret 's1' is in use by the following service: sec", 'invalid-argument')
  await control.removeService('sec')
  await control.removeSecret('s1')
})

test('nodes: live ones and managers stay, the last manager is not demoted, down ones go', async () => {
  await refuses(control.removeNode('w1', { force: false }), /^node worker\d+ is not down and can't be removed$/, 'failed-precondition')
  await refuses(control.removeNode('m1', { force: true }), /is a cluster manager and is a member of the raft cluster/)
  const manager = control.node('m1')
  const change = { name: '', labels: {}, desiredRole: 'worker', availability: 'active' } as const
  await refuses(control.updateNode('m1', manager.version, change), 'attempting to demote the last manager of the swarm')
  const promoted = await control.updateNode('w1', control.node('w1').version, { ...change, desiredRole: 'manager' })
  assert.equal(promoted.spec.desiredRole, 'manager')
  await refuses(control.updateNode('m1', manager.version, change), 'attempting to demote the last manager of the swarm')
  await store.transact((tx) =>
    tx.nodes.update({
      ...tx.nodes.get(promoted.id)!,
      managerStatus: { leader: false, reachability: 'unreachable', address: '10.0.0.2:2377' },
    }),
  )
  await refuses(
    control.updateNode('m1', control.node('m1').version, change),
    /of the 1 managers left 0 would be reachable, and 1 are needed: this would result in a loss of quorum$/,
  )
  const worker = await control.updateNode('w1', control.node('w1').version, change)
  await control.updateNode('w1', worker.version, { ...change, labels: { zone: 'a' }, availability: 'drain' })
  assert.deepEqual([control.node('w1').spec.labels.zone, control.node('w1').spec.availability], ['a', 'drain'])
  const since = control.node('w1').drain?.since
  assert.notEqual(since, undefined)
  const drain = { ...change, availability: 'drain' } as const
  await control.updateNode('w1', control.node('w1').version, drain, { drainDeadlineMs: 0 })
  assert.deepEqual(control.node('w1').drain, { since, deadlineMs: 0 })
  const node = () => control.node('w1')
  await refuses(control.updateNode('w1', node().version, change, { drainDeadlineMs: 0 }), /for nodes that are drained/, 'invalid-argument')
  const odd = { ...drain, labels: { 'shoal.drain.deadline': 'soon' } }
  await refuses(control.updateNode('w1', node().version, odd), /label shoal.drain.deadline: "soon" is not valid/, 'invalid-argument')
  await control.updateNode('w1', node().version, change)
  assert.equal(node().drain, undefined)
  await control.removeNode('w1', { force: true })
  await refuses(
    Promise.resolve().then(() => control.node('w1')),
    'node w1 not found',
    'not-found',
  )
})

test('a prefix of several ids is ambiguous', async () => {
  assert.throws(() => control.node('worker'), /node worker is ambiguous \(2 matches found\)/)
  assert.throws(() => control.node(''), /not found/)
})

test('rotating a join token changes its secret and leaves the digest and the other token', async () => {
  const before = control.cluster()
  const cluster = await control.updateCluster(before.version, before.spec, { rotateWorkerToken: true })
  assert.match(cluster.joinTokens.worker, /^SWMTKN-1-a{50}-[0-9a-z]{25}$/)
  assert.notEqual(cluster.joinTokens.worker, before.joinTokens.worker)
  assert.equal(cluster.joinTokens.manager, before.joinTokens.manager)
  await refuses(control.updateCluster(before.version, before.spec), 'update out of sequence')
})

test('a swarm begins with ingress on VNI 4096 and the networks of each node', () => {
  const names = [...store.view().networks.values()].map(({ spec, vni, subnets }) => [spec.name, vni, subnets[0]?.subnet])
  assert.deepEqual(names.sort(), [
    ['bridge', 0, undefined],
    ['host', 0, undefined],
    ['ingress', 4096, '10.0.0.0/24'],
  ])
})

test('nodes with the same hostname are told apart by id only', async () => {
  await store.transact((tx) => tx.nodes.create(freshNode('worker00000000000000000003', 'w1')))
  assert.throws(() => control.node('w1'), /ambiguous/)
})

test('new content of a config is remembered, restarts its users when the policy says so, and can be taken back', async () => {
  const config = await control.createConfig({ name: 'c', labels: {}, data: 'YQ==' })
  const reference = { configId: config.id, configName: 'c', file: { name: 'c', uid: '0', gid: '0', mode: 0o444 } }
  const using = (name: string) => spec(name, { task: { container: { image: 'nginx', configs: [reference] }, forceUpdate: 0 } })
  const user = await control.createService(using('user'))
  const other = await control.createService(spec('other'))
  await control.updateConfigContent('c', undefined, { data: 'Yg==' })
  assert.equal(control.service('user').version, user.version, 'without a policy nothing restarts')
  await control.updateConfigContent('c', control.config('c').version, { data: 'Yw==', policy: 'restart' })
  assert.equal(control.service('user').spec.task.forceUpdate, 1)
  assert.equal(control.service('user').specVersion, 2)
  assert.equal(control.service('other').version, other.version)
  assert.deepEqual(
    control.config('c').history?.map(({ version, data }) => [version, data]),
    [
      [1, 'YQ=='],
      [2, 'Yg=='],
    ],
  )
  await control.updateConfigContent('c', undefined, { restore: 1 })
  assert.equal(control.config('c').spec.data, 'YQ==')
  await refuses(control.updateConfigContent('c', undefined, { restore: 9 }), /version 9 of c is not kept/, 'not-found')
  await refuses(control.updateConfigContent('c', 1, { data: 'eA==' }), 'update out of sequence')
})
