// A stock Docker Engine joins a small manager made of wire, ca and dispatcher, runs a task, and stays after it renewed its certificate.
import assert from 'node:assert/strict'
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { promisify } from 'node:util'
import { caRoutes, issueNodeCertificate, makeJoinTokens, newNode, realIssuer } from '../../src/ca/index.ts'
import { createDispatcher, type Dispatcher } from '../../src/dispatcher/index.ts'
import { type ClusterId, type NodeId, newId, type ServiceId, silentLogger, type TaskId } from '../../src/lib/index.ts'
import { DEFAULT_CLUSTER_SPEC, type Task, TaskState } from '../../src/model/index.ts'
import { type Identity, type RpcServer, realClock, realRandom } from '../../src/ports/index.ts'
import { createMemoryJournal, createStore, type Store } from '../../src/store/index.ts'
import { createWireRpc, type LogLine } from '../../src/wire/index.ts'

const BUSYBOX = '/bin/busybox'
const NAMESPACE = 'wire-w'
const [OUTSIDE, INSIDE] = ['wire-v0', 'wire-v1']
const [MANAGER, WORKER] = ['10.80.0.1', '10.80.0.2']
const missing = process.getuid?.() !== 0 ? 'needs root' : [BUSYBOX, '/usr/sbin/dockerd'].find((path) => !existsSync(path))
const ip = (...args: string[]) => execFileSync('ip', args, { stdio: 'pipe' })

describe('a stock Docker Engine as a worker', { skip: missing ?? false }, () => {
  const directory = mkdtempSync(join(tmpdir(), 'wire-'))
  const at = (name: string) => join(directory, name)
  const rpc = createWireRpc({ logger: silentLogger })
  let daemon: ChildProcess
  let store: Store
  let identity: Identity
  let server: RpcServer
  let dispatcher: Dispatcher
  let nodeId: NodeId

  const docker = async (...args: string[]) =>
    (await promisify(execFile)('/usr/bin/docker', ['-H', `unix://${at('sock')}`, ...args], { timeout: 60_000 })).stdout.trim()
  const until = async (what: string, holds: () => boolean, seconds = 30) => {
    for (let i = 0; i < seconds * 20; i += 1) {
      if (holds()) return
      await realClock.sleep(50)
    }
    throw new Error(`not within ${seconds} s: ${what}; ${JSON.stringify([...store.view().tasks.values()].map((task) => task.status))}`)
  }
  const node = () => store.view().nodes.get(nodeId)!
  const task = () => store.view().tasks.get('t1' as TaskId)!
  const patch = (change: Partial<Task>) => store.transact((tx) => tx.tasks.update({ ...tx.tasks.get('t1' as TaskId)!, ...change }))

  async function startManager(address: string): Promise<void> {
    dispatcher = createDispatcher({
      store,
      clock: realClock,
      random: realRandom,
      logger: silentLogger,
      self: () => ({ nodeId: identity.nodeId, address: server.address }),
    })
    dispatcher.start()
    const ca = caRoutes({ store, issuer: realIssuer, clock: realClock, random: realRandom, logger: silentLogger })
    server = await rpc.serve(address, () => identity, [...ca, ...dispatcher.routes()])
  }

  before(async () => {
    ip('netns', 'add', NAMESPACE)
    ip('link', 'add', OUTSIDE, 'type', 'veth', 'peer', 'name', INSIDE, 'netns', NAMESPACE)
    ip('addr', 'add', `${MANAGER}/24`, 'dev', OUTSIDE)
    ip('link', 'set', OUTSIDE, 'up')
    for (const args of [
      ['addr', 'add', `${WORKER}/24`, 'dev', INSIDE],
      ['link', 'set', INSIDE, 'up'],
      ['link', 'set', 'lo', 'up'],
    ]) {
      ip('-n', NAMESPACE, ...args)
    }
    const log = openSync(at('log'), 'a')
    const roots = ['--data-root', at('data'), '--exec-root', at('exec'), '--pidfile', at('pid'), '-H', `unix://${at('sock')}`]
    daemon = spawn('nsenter', [`--net=/run/netns/${NAMESPACE}`, 'dockerd', ...roots], {
      stdio: ['ignore', log, log],
      env: { ...process.env, DOCKER_SERVICE_PREFER_OFFLINE_IMAGE: '1' },
    })

    store = await createStore({ clock: realClock, journal: createMemoryJournal(), log: silentLogger })
    const root = await realIssuer.createRoot(realClock.now())
    const cluster = await store.transact((tx) =>
      tx.setCluster({
        id: newId<ClusterId>(realRandom),
        spec: DEFAULT_CLUSTER_SPEC,
        rootCaPem: root.certificatePem,
        rootCaKeyPem: root.privateKeyPem,
        joinTokens: makeJoinTokens(root.certificatePem, realRandom),
        defaultAddressPools: [],
        subnetSize: 24,
        dataPathPort: 4789,
        networkKeys: [],
      }),
    )
    const { csrPem, privateKeyPem } = await realIssuer.createCsr()
    const own = newId<NodeId>(realRandom)
    const certificatePem = await issueNodeCertificate(realIssuer, cluster, { csrPem, nodeId: own, role: 'manager' }, realClock.now())
    const first = { id: own, role: 'manager' as const, availability: 'active' as const, address: MANAGER, agent: 'shoal' as const }
    await store.transact((tx) => tx.nodes.create(newNode(tx.nodes, { ...first, csrPem, certificatePem })))
    identity = { nodeId: own, clusterId: cluster.id, role: 'manager', certificatePem, privateKeyPem, rootCaPem: root.certificatePem }
    await startManager(`${MANAGER}:0`)

    for (let i = 0; i < 300 && !existsSync(at('sock')); i += 1) await realClock.sleep(100)
    mkdirSync(at('image/bin'), { recursive: true })
    execFileSync('cp', [BUSYBOX, at('image/bin/busybox')])
    execFileSync('tar', ['-C', at('image'), '-cf', at('image.tar'), '.'])
    await docker('import', at('image.tar'), 'box')
  })

  after(async () => {
    await server?.close().catch(() => {})
    await dispatcher?.stop()
    await docker('swarm', 'leave', '--force').catch(() => '')
    if (daemon && daemon.exitCode === null) {
      const gone = new Promise((resolve) => daemon.once('exit', resolve))
      daemon.kill('SIGTERM')
      await gone
    }
    for (const line of readFileSync('/proc/mounts', 'utf8').split('\n').reverse()) {
      const mount = line.split(' ')[1]
      if (mount?.startsWith(`${directory}/`)) execFileSync('umount', ['-l', mount])
    }
    ip('netns', 'del', NAMESPACE)
    try {
      ip('link', 'del', OUTSIDE)
    } catch {
      // it went with the namespace
    }
    rmSync(directory, { recursive: true, force: true })
  })

  test('it is told that it cannot be a manager, and leaves no node behind', async () => {
    const token = store.view().cluster!.joinTokens.manager
    await assert.rejects(docker('swarm', 'join', '--token', token, server.address), /can join this cluster as a worker only/)
    assert.equal(store.view().nodes.size, 1)
  })

  test('it joins with the unmodified command and is Ready', async () => {
    await docker('swarm', 'join', '--token', store.view().cluster!.joinTokens.worker, '--advertise-addr', WORKER, server.address)
    const ready = () =>
      [...store.view().nodes.values()].find((candidate) => candidate.agent === 'stock' && candidate.status.state === 'ready')
    await until('the node is ready', () => ready() !== undefined)
    nodeId = ready()!.id
    assert.match(node().description!.engineVersion, /^20\.10/)
    assert.equal(node().status.address, WORKER)
  })

  test('it runs a task with a secret, and its logs come back', async () => {
    const command = ['/bin/busybox', 'sh', '-c', 'echo out; /bin/busybox cat /run/secrets/password; exec /bin/busybox sleep 1000']
    const file = { name: 'password', uid: '0', gid: '0', mode: 0o444 }
    await store.transact((tx) => {
      tx.secrets.create({ id: 's1' as never, spec: { name: 'password', labels: {}, data: Buffer.from('hush\n').toString('base64') } })
      const container = {
        image: 'box',
        command,
        stopGracePeriodNs: 1_000_000_000,
        secrets: [{ secretId: 's1' as never, secretName: 'password', file }],
      }
      tx.specRevisions.create({
        id: 'web.1',
        serviceId: 'web' as ServiceId,
        specVersion: 1,
        serviceName: 'web',
        serviceLabels: {},
        task: { container, forceUpdate: 0 },
      })
      tx.tasks.create({
        id: 't1' as TaskId,
        serviceId: 'web' as ServiceId,
        slot: 1,
        nodeId,
        specVersion: 1,
        desiredState: TaskState.RUNNING,
        status: { state: TaskState.ASSIGNED, at: tx.now, message: '', error: '' },
        attachments: [],
      })
    })
    await until('the task runs', () => task().status.state >= TaskState.RUNNING)
    assert.equal(task().status.state, TaskState.RUNNING, task().status.error)
    assert.equal(await docker('ps', '--format', '{{.Names}}'), 'web.1.t1')
    const lines: string[] = []
    const selector = { serviceIds: ['web' as ServiceId], nodeIds: [], taskIds: [] }
    const signal = AbortSignal.timeout(15_000)
    for await (const line of dispatcher.logs.subscribe(selector, { stdout: true, stderr: true, follow: false }, signal)) {
      lines.push(new TextDecoder().decode((line as LogLine).data))
    }
    assert.deepEqual(lines, ['out\n', 'hush\n'])
  })

  test('it renews its certificate when asked, and after a restart of the manager it comes back without ALPN', async () => {
    const before_ = node().certificate.certificatePem
    await store.transact((tx) => {
      const current = tx.nodes.get(nodeId)!
      tx.nodes.update({ ...current, certificate: { ...current.certificate, state: 'rotate' } })
    })
    await until('the certificate is renewed', () => node().certificate.state === 'issued' && node().certificate.certificatePem !== before_)
    const { address } = server
    await server.close()
    await dispatcher.stop()
    await startManager(address)
    await until('it has a session again', () => dispatcher.isConnected(nodeId))
    assert.equal(node().status.state, 'ready')
    assert.equal(await docker('ps', '--format', '{{.Names}}'), 'web.1.t1')
  })

  test('it stops the task once all nodes have withdrawn it, and leaves when told', { timeout: 60_000 }, async () => {
    await patch({ desiredState: TaskState.SHUTDOWN })
    await realClock.sleep(1_000)
    assert.equal(task().status.state, TaskState.RUNNING)
    await patch({ releasedAt: realClock.now() })
    await until('the task has stopped', () => task().status.state === TaskState.SHUTDOWN)
    await docker('swarm', 'leave', '--force')
    await until('the node is down', () => node().status.state === 'down')
  })
})
