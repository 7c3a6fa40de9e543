// The agent over a real Docker Engine: tasks run, end and fail as Swarm says, and survive kill -9 of agent and dockerd untouched.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Agent, createAgent } from '../../src/agent/index.ts'
import { createDockerEngine, type DockerEngine } from '../../src/engine/index.ts'
import { silentLogger, type TaskId } from '../../src/lib/index.ts'
import { type AssignedTask, TaskState as S } from '../../src/model/index.ts'
import { createFakeDisk } from '../../src/ports/fakes/index.ts'
import { realClock, realRandom } from '../../src/ports/index.ts'
import { startDockerd, type TestDockerd } from '../engine/dockerd.ts'
import { createFakeDataPlane, createMemoryRpc, ManagerStub, NODE, secret, task } from './support.ts'

const IDENTITY = {
  nodeId: NODE,
  clusterId: 'c1',
  role: 'worker',
  certificatePem: 'cert',
  privateKeyPem: 'key',
  rootCaPem: 'root\n',
} as const

describe('an agent on a real engine', () => {
  const rpc = createMemoryRpc()
  const manager = new ManagerStub()
  const disk = createFakeDisk()
  let dockerd: TestDockerd
  let engine: DockerEngine
  let agent: Agent

  const startAgent = async () => {
    agent = createAgent({
      clock: realClock,
      random: realRandom,
      rpc,
      engine,
      disk,
      log: silentLogger,
      issuer: {
        inspect: () => Promise.resolve({ subject: undefined, notBefore: 0, notAfter: 0, subjectDer: 'AA==', publicKeyDer: 'AA==' }),
      },
      dataPlane: createFakeDataPlane(),
      nodeId: NODE,
      identity: () => IDENTITY,
      managers: () => ['m1:2377'],
      daemonVersion: 'test',
    })
    await agent.start()
    await agent.connected()
  }
  const until = async (condition: () => boolean, limitMs = 30_000) => {
    for (let waited = 0; !condition(); waited += 50) {
      assert(waited < limitMs, `not within ${limitMs} ms: ${condition}; ${JSON.stringify(manager.reports.slice(-5))}`)
      await sleep(50)
    }
  }
  const state = (id: string) => manager.last(id)?.state
  const shell = (id: string, script: string, more: Partial<AssignedTask['spec']['container']> = {}, desired: S = S.RUNNING): AssignedTask =>
    task(id, desired, { image: 'busybox', command: ['sh', '-c', script], ...more }, { slot: Number(id.replace(/\D/g, '')) })

  before(async () => {
    dockerd = await startDockerd('task')
    engine = createDockerEngine({ host: dockerd.host, clock: realClock, log: silentLogger, filesDir: `${dockerd.folder}/files` })
    rpc.listen('m1:2377', manager.routes())
    await startAgent()
  })
  after(async () => {
    await agent?.stop()
    await agent?.destroy()
    engine?.close()
    await dockerd?.close()
  })

  it('runs tasks, and tells how those that ended did', async () => {
    manager.send(secret('pw', 'hush'))
    manager.run(
      shell('t1', 'sleep 1000', {
        secrets: [{ secretId: 'pw' as never, secretName: 'pw', file: { name: 'pw', uid: '0', gid: '0', mode: 0o444 } }],
      }),
    )
    manager.run(shell('t2', 'exit 3'))
    manager.run(shell('t3', 'true'))
    manager.run(task('t4', S.RUNNING, { image: 'conf/none:1' }))
    manager.run(task('t5', S.RUNNING, { image: 'busybox', command: ['/nope'] }))
    await until(() => state('t1') === S.RUNNING && [state('t2'), state('t3'), state('t4'), state('t5')].every((s) => (s ?? 0) > S.RUNNING))
    assert.deepEqual([state('t2'), manager.last('t2')?.error], [S.FAILED, 'task: non-zero exit (3)'])
    assert.deepEqual([state('t3'), manager.last('t3')?.message], [S.COMPLETE, 'finished'])
    assert.deepEqual([state('t4'), manager.last('t4')?.error], [S.REJECTED, 'No such image: conf/none:1'])
    assert.equal(state('t5'), S.FAILED)
    assert.match(manager.last('t5')?.error ?? '', /^starting container failed: .*no such file/)
    assert.equal(await dockerd.docker('exec', 'web.1.t1', 'cat', '/run/secrets/pw'), 'hush')
  })

  it('waits for health, also that of the image, and replaces what is unhealthy', async () => {
    const check = (script: string) => ({ test: ['CMD-SHELL', script], intervalNs: 500e6, retries: 2 })
    manager.run(shell('t6', 'sleep 2; touch /ok; sleep 1000', { healthcheck: { ...check('test -f /ok'), retries: 20 } }))
    manager.run(shell('t7', 'trap "exit 7" TERM; sleep 1000 & wait', { healthcheck: check('exit 1') }))
    manager.run(task('t8', S.RUNNING, { image: 'conf/web:sick' }, { slot: 8 }))
    await until(() => state('t6') === S.RUNNING && state('t7') === S.FAILED && state('t8') === S.FAILED)
    assert.equal(manager.last('t7')?.error, 'task: non-zero exit (7): dockerexec: unhealthy container')
    manager.run(shell('t6', 'x', { stopGracePeriodNs: 1e9 }, S.SHUTDOWN))
    await until(() => state('t6') === S.SHUTDOWN)
    assert.equal(manager.last('t6')?.container?.exitCode, 137)
  })

  it('a container that somebody removes is a failed task', async () => {
    manager.run(shell('t9', 'sleep 1000'))
    await until(() => state('t9') === S.RUNNING)
    await dockerd.docker('rm', '-f', 'web.9.t9')
    await until(() => state('t9') === S.FAILED)
    assert.match(manager.last('t9')?.error ?? '', /^(task: non-zero exit \(137\)|No such container: )/)
  })

  it('takes over running containers after its own death and after kill -9 of dockerd, untouched', async () => {
    const started = () => dockerd.docker('inspect', '-f', '{{.State.StartedAt}} {{.Id}}', 'web.1.t1')
    const before = await started()
    await agent.stop()
    await startAgent()
    await sleep(500)
    assert.equal(await started(), before)
    await dockerd.kill()
    await sleep(1_000)
    assert.equal(state('t1'), S.RUNNING)
    await dockerd.start()
    manager.run(shell('t10', 'sleep 1000'))
    await until(() => state('t10') === S.RUNNING)
    assert.equal(await started(), before)
    assert.equal(state('t1'), S.RUNNING)
  })

  it('publishes logs', async () => {
    manager.run(shell('t11', 'echo one; echo two >&2; sleep 1000'))
    await until(() => state('t11') === S.RUNNING)
    await sleep(300)
    manager.subscribe('all')
    await until(() => manager.closedSubscriptions.includes('all'))
    const texts = manager.lines.filter((line) => line.taskId === 't11').map((line) => new TextDecoder().decode(line.data))
    assert.deepEqual(texts.sort(), ['one\n', 'two\n'])
  })

  it('removes the containers of removed tasks', async () => {
    for (const id of ['t1', 't2', 't10']) manager.remove(id as TaskId)
    for (let tries = 0; tries < 100; tries += 1) {
      if (!/web\.(1\.t1|2\.t2|10\.t10)$/m.test(await dockerd.docker('ps', '-a', '--format', '{{.Names}}'))) return
      await sleep(100)
    }
    assert.fail('a container of a removed task is still there')
  })
})
