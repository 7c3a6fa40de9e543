// The Docker adapter over a real engine: the port's conformance test, create bodies, logs, secrets, and dockerd killed and started again.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createDockerEngine, type DockerEngine } from '../../src/engine/index.ts'
import { isShoalError, silentLogger } from '../../src/lib/index.ts'
import { type EngineLogOptions, realClock } from '../../src/ports/index.ts'
import { engineConformance, planOf } from '../ports/engine-conformance.ts'
import { startDockerd, type TestDockerd } from './dockerd.ts'

let dockerd: TestDockerd
let engine: DockerEngine

describe('the Docker adapter', () => {
  before(async () => {
    dockerd = await startDockerd('engine')
    engine = createDockerEngine({
      host: dockerd.host,
      clock: realClock,
      log: silentLogger,
      filesDir: `${dockerd.folder}/files`,
      rewriteMountSource: (source) => (source === '/var/run/docker.sock' ? `${dockerd.folder}/docker.sock` : source),
    })
  })
  after(async () => {
    engine?.close()
    await dockerd?.close()
  })

  engineConformance('docker', () =>
    Promise.resolve({
      engine,
      image: 'busybox:latest',
      settle: (promise) => promise,
      sleep: (ms) => sleep(ms),
      close: () => Promise.resolve(),
    }),
  )

  const run = async (script: string, more: Parameters<typeof planOf>[2] = {}) => {
    const id = await engine.create(planOf('busybox:latest', script, more))
    await engine.start(id)
    return id
  }
  const lines = async (id: string, options: Partial<EngineLogOptions> = {}) => {
    const found: string[] = []
    const wanted = { stdout: true, stderr: true, follow: false, tail: undefined, since: undefined, ...options }
    for await (const line of engine.logs(id, wanted, new AbortController().signal)) {
      assert(Math.abs(line.at - Date.now()) < 60_000)
      found.push(`${line.stream}:${new TextDecoder().decode(line.data)}`)
    }
    return found
  }

  it('makes containers as swarm mode does', async () => {
    const id = await run('sleep 1000', {
      user: '1000:1000',
      workingDir: '/tmp',
      hostname: 'hh',
      env: ['A=b'],
      readOnlyRootfs: true,
      init: true,
      stopSignal: 'SIGINT',
      capabilityAdd: ['CAP_NET_ADMIN'],
      capabilityDrop: ['CAP_MKNOD'],
      ulimits: [{ name: 'nofile', soft: 1000, hard: 2000 }],
      sysctls: { 'net.ipv4.ip_unprivileged_port_start': '0' },
      dns: { nameservers: ['9.9.9.9'], search: ['x.y'], options: [] },
      extraHosts: ['hosty:1.2.3.4'],
      tty: true,
      groups: ['2000'],
      mounts: [
        { type: 'tmpfs', source: '', target: '/tm', readOnly: false },
        { type: 'volume', source: 'agent-vv', target: '/vv', readOnly: false },
        { type: 'bind', source: '/etc', target: '/hostetc', readOnly: true },
        { type: 'bind', source: '/var/run/docker.sock', target: '/docker.sock', readOnly: true },
      ],
      healthcheck: { test: ['NONE'], intervalNs: 0, timeoutNs: 0, retries: 0, startPeriodNs: 0, startIntervalNs: 0 },
      logDriver: { name: 'json-file', options: { 'max-size': '1m' } },
      limits: { nanoCpus: 250_000_000, memoryBytes: 32 << 20, pids: 50 },
      hostPorts: [{ protocol: 'tcp', target: 80, published: 8282 }],
    })
    const [inspect] = JSON.parse(await dockerd.docker('inspect', id))
    const { Config: C, HostConfig: H } = inspect
    assert.equal(C.User, '1000:1000')
    assert.equal(C.WorkingDir, '/tmp')
    assert.equal(C.Hostname, 'hh')
    assert(C.Env.includes('A=b'))
    assert.equal(C.StopSignal, 'SIGINT')
    assert.equal(C.Tty, true)
    assert.deepEqual(C.Healthcheck.Test, ['NONE'])
    assert.equal(H.ReadonlyRootfs, true)
    assert.equal(H.Init, true)
    assert.deepEqual(H.CapAdd, ['CAP_NET_ADMIN'])
    assert.deepEqual(H.CapDrop, ['CAP_MKNOD'])
    assert.deepEqual(H.Ulimits, [{ Name: 'nofile', Hard: 2000, Soft: 1000 }])
    assert.deepEqual(H.Sysctls, { 'net.ipv4.ip_unprivileged_port_start': '0' })
    assert.deepEqual([H.Dns, H.DnsSearch, H.ExtraHosts, H.GroupAdd], [['9.9.9.9'], ['x.y'], ['hosty:1.2.3.4'], ['2000']])
    assert.deepEqual(H.LogConfig, { Type: 'json-file', Config: { 'max-size': '1m' } })
    assert.deepEqual([H.Memory, H.NanoCpus, H.PidsLimit], [32 << 20, 250_000_000, 50])
    assert.deepEqual(inspect.Mounts.map((mount: { Type: string }) => mount.Type).sort(), ['bind', 'bind', 'tmpfs', 'volume'])
    assert(inspect.Mounts.some((mount: { Source: string }) => mount.Source === `${dockerd.folder}/docker.sock`))
    assert.deepEqual((await engine.inspect(id))?.ports, [{ protocol: 'tcp', target: 80, published: 8282 }])
    await engine.remove(id)
    await dockerd.docker('volume', 'rm', 'agent-vv')
  })

  it('keeps secrets in memory, with owner and mode, and removes them with the container', async () => {
    const files = [
      { target: '/run/secrets/s1', data: new TextEncoder().encode('top-secret'), uid: 0, gid: 0, mode: 0o444 },
      { target: '/custom/s', data: new TextEncoder().encode('three'), uid: 1, gid: 1, mode: 0o400 },
    ]
    const plan = planOf('busybox:latest', 'sleep 1000', { files, readOnlyRootfs: true })
    const id = await engine.create(plan)
    await engine.start(id)
    assert.equal(await dockerd.docker('exec', id, 'cat', '/run/secrets/s1'), 'top-secret')
    assert.equal(await dockerd.docker('exec', id, 'stat', '-c', '%u %g %a', '/run/secrets/s1', '/custom/s'), '0 0 444\n1 1 400\n')
    assert.match(await dockerd.docker('exec', id, 'sh', '-c', 'mount | grep run/secrets'), /tmpfs/)
    const [inspect] = JSON.parse(await dockerd.docker('inspect', id))
    const source = inspect.Mounts.find((mount: { Destination: string }) => mount.Destination === '/run/secrets/s1').Source
    const { existsSync } = await import('node:fs')
    assert(existsSync(source))
    await engine.remove(id)
    assert(!existsSync(source))
  })

  it('reads logs apart by stream, with tail, follow and TTY', async () => {
    const id = await run('echo out1; echo err1 >&2; echo out2')
    for (let tries = 0; tries < 50 && (await engine.inspect(id))?.status !== 'exited'; tries += 1) await sleep(50)
    assert.deepEqual((await lines(id)).sort(), ['stderr:err1\n', 'stdout:out1\n', 'stdout:out2\n'])
    assert.deepEqual((await lines(id, { stderr: false })).sort(), ['stdout:out1\n', 'stdout:out2\n'])
    assert.equal((await lines(id, { tail: 2 })).length, 2)
    assert.deepEqual(await lines(id, { since: Date.now() + 60_000 }), [])
    await engine.remove(id)
    const tty = await run('echo tty1; sleep 1; echo tty2', { tty: true })
    assert.deepEqual(await lines(tty, { follow: true }), ['stdout:tty1\r\n', 'stdout:tty2\r\n'])
    await engine.remove(tty)
  })

  it('says why a container cannot be made or started', async () => {
    await assert.rejects(
      engine.create(planOf('none:1', 'x')),
      (error) => isShoalError(error, 'not-found') && error.message === 'No such image: none:1',
    )
    const id = await engine.create(planOf('busybox:latest', 'x', { command: ['/nope'] }))
    await assert.rejects(engine.start(id), (error) => isShoalError(error) && /no such file or directory/.test(error.message))
    await engine.remove(id)
    const bind = planOf('busybox:latest', 'x', { mounts: [{ type: 'bind', source: '/does/not/exist', target: '/x', readOnly: false }] })
    await assert.rejects(
      engine.create(bind),
      (error) => isShoalError(error, 'invalid-argument') && /bind source path does not exist/.test(error.message),
    )
  })

  it('starts the local image at once when a pull fails, and does not pull what is there by id', async () => {
    const begin = Date.now()
    await engine.ensureImage('busybox:latest', {})
    await engine.ensureImage('nginx', {})
    assert(Date.now() - begin < 3_000)
    const id = JSON.parse(await dockerd.docker('image', 'inspect', 'busybox:latest'))[0].Id
    await engine.ensureImage(id, {})
    await assert.rejects(
      engine.ensureImage('none', {}),
      (error) => isShoalError(error, 'not-found') && error.message === 'No such image: none:latest',
    )
  })

  it('finds its containers running after dockerd was killed and started again', async () => {
    const abort = new AbortController()
    let reconnects = 0
    const reading = (async () => {
      for await (const event of engine.events(abort.signal)) if (event.kind === 'reconnected') reconnects += 1
    })()
    const id = await run('sleep 1000')
    const { pid } = (await engine.inspect(id))!
    await dockerd.kill()
    await assert.rejects(engine.inspect(id), (error) => isShoalError(error, 'unavailable'))
    await dockerd.start()
    for (let tries = 0; tries < 50 && reconnects < 2; tries += 1) await sleep(100)
    assert.equal(reconnects, 2)
    const state = await engine.inspect(id)
    assert.equal(state?.status, 'running')
    assert.equal(state?.pid, pid)
    await engine.remove(id)
    abort.abort()
    await reading
  })
})
