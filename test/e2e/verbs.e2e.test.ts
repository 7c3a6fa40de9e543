// Every verb of docker CLI 28's groups around swarm and its twin in shoal, on the same cluster: the outputs are compared. Then other clients: dockerode, and the
// look-ups that Prometheus and Traefik make.
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { type Answer, root, run, type TestCluster, testCluster, until } from './cluster.ts'

const DOCKER = ['/usr/local/bin/docker', '/usr/bin/docker'].find((file) => existsSync(file)) as string
const SHOAL = path.join(root, 'bin/shoal')
let cluster: TestCluster
let folder = ''
let host = ''
let env: Record<string, string> = {}

/** Runs the same words with both. */
async function both(...args: string[]): Promise<readonly [docker: Answer, shoal: Answer]> {
  return [await run(DOCKER, args, { env }), await run(SHOAL, args, { env })]
}

/** What differs by time or by chance: ids, ages, progress; and the name that a CLI gives itself. */
function plain(text: string, ...names: string[]): string {
  let out = text
    .replace(/\b(less than a second|about an? \w+|\d+ \w+) ago/gi, 'AGO')
    .replace(/\b[0-9a-z]{25}\b/g, 'ID')
    .replace(/\b(?=[0-9a-z]*\d)[0-9a-z]{12}\b/g, 'ID')
    .replace(/\bdocker (?=swarm|service|node|stack|secret|config|network|\w+ --help)/g, 'shoal ')
    .replace(/^docker: /gm, 'shoal: ')
    .replace(/'docker /g, "'shoal ")
    .replace(/[ \t]+$/gm, '')
  for (const name of names) out = out.replaceAll(name, 'NAME')
  return out.replace(/ +/g, ' ').trim()
}

before(
  async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'shoal-verbs-'))
    cluster = await testCluster('verbs', '10.95.0.0/24', ['mgr1', 'worker1'], { swarm: true })
    const set = { SHOAL_MACHINE_SET: 'verbs', SHOAL_MACHINE_SUBNET: '10.95.0.0/24' }
    host = (await run(SHOAL, ['machine', 'url', 'mgr1'], { env: set })).stdout.trim()
    env = { ...set, DOCKER_HOST: host, SHOAL_HOST: host, DOCKER_CONFIG: folder }
    await writeFile(path.join(folder, 'stack.yml'), 'services:\n  a:\n    image: busybox\n    command: sleep 1000\n')
    await writeFile(path.join(folder, 'content'), 'content')
    const docker = async (...args: string[]) => assert.equal((await run(DOCKER, args, { env })).code, 0, args.join(' '))
    await docker('secret', 'create', '-l', 'k=v', 's', path.join(folder, 'content'))
    await docker('config', 'create', 'c', path.join(folder, 'content'))
    await docker('network', 'create', '-d', 'overlay', '--attachable', 'n')
    await docker(
      'service',
      'create',
      '-q',
      '--name',
      'web',
      '--replicas',
      '2',
      '--secret',
      's',
      '--config',
      'c',
      '--network',
      'n',
      '-p',
      '8080:80',
      '--limit-memory',
      '64M',
      'busybox',
      'sh',
      '-c',
      'echo hello; sleep 1000',
    )
    await docker('service', 'create', '-q', '--name', 'each', '--mode', 'global', 'busybox', 'sleep', '1000')
    await docker('stack', 'deploy', '-c', path.join(folder, 'stack.yml'), 'st')
    await until(
      () => run(DOCKER, ['service', 'ls', '--format', '{{.Replicas}}'], { env }),
      ({ stdout }) => stdout.split('\n').sort().join() === ',1/1,2/2,2/2',
    )
  },
  { timeout: 300_000 },
)
after(
  async () => {
    await cluster?.down()
    await rm(folder, { recursive: true })
  },
  { timeout: 120_000 },
)

/** Verbs that only look. */
const LOOKS: readonly (readonly string[])[] = [
  ['node', 'ls'],
  ['node', 'ls', '-q'],
  ['node', 'ls', '--filter', 'role=worker'],
  ['node', 'ls', '--format', '{{.Hostname}} {{.Status}} {{.ManagerStatus}}'],
  ['node', 'ps', 'worker1'],
  ['node', 'inspect', 'mgr1'],
  ['node', 'inspect', '--pretty', 'worker1'],
  ['node', 'inspect', 'nosuch'],
  ['service', 'ls'],
  ['service', 'ls', '--format', 'json', '--filter', 'name=each'],
  ['service', 'ps', 'web'],
  ['service', 'ps', '--no-trunc', 'each'],
  ['service', 'ps', 'nosuch'],
  ['service', 'inspect', 'web'],
  ['service', 'inspect', '--pretty', 'web'],
  ['service', 'inspect', '--format', '{{.Spec.Name}} {{json .Endpoint.Ports}}', 'web'],
  ['service', 'logs', '--raw', 'web'],
  ['service', 'logs', 'nosuch'],
  ['secret', 'ls'],
  ['secret', 'inspect', 's'],
  ['secret', 'inspect', '--pretty', 's'],
  ['config', 'ls'],
  ['config', 'inspect', 'c'],
  ['config', 'inspect', '--pretty', 'c'],
  ['network', 'ls', '--filter', 'scope=swarm'],
  ['network', 'inspect', 'n'],
  ['stack', 'ls'],
  ['stack', 'services', 'st'],
  ['stack', 'ps', 'st'],
  ['swarm', 'join-token', 'worker'],
  ['swarm', 'join-token', '-q', 'manager'],
  ['swarm', 'unlock-key'],
  ['swarm', 'leave'],
]

for (const words of LOOKS) {
  test(`${words.join(' ')} says the same`, async () => {
    const [docker, shoal] = await both(...words)
    assert.equal(plain(shoal.stdout), plain(docker.stdout))
    assert.equal(plain(shoal.stderr), plain(docker.stderr))
    assert.equal(shoal.code, docker.code)
  })
}

/** Verbs that change something: docker does it to one object, shoal to another. `X` stands for the object's name. */
const CHANGES: readonly (readonly string[])[] = [
  ['secret', 'create', 'X', 'FILE'],
  ['secret', 'rm', 'X'],
  ['config', 'create', 'X', 'FILE'],
  ['config', 'rm', 'X'],
  ['network', 'create', '-d', 'overlay', '--attachable', 'X'],
  ['network', 'rm', 'X'],
  ['service', 'create', '-d', '--name', 'X', '--no-resolve-image', 'busybox', 'sleep', '1000'],
  ['service', 'create', '-d', '--name', 'X', '--no-resolve-image', 'busybox'],
  ['service', 'update', '-d', '--env-add', 'A=1', 'X'],
  ['service', 'scale', '-d', 'X=3'],
  ['service', 'rollback', '-d', 'X'],
  ['service', 'rm', 'X'],
  ['service', 'rm', 'X'],
  ['node', 'update', '--label-add', 'X=1', 'worker1'],
  ['node', 'promote', 'nosuch'],
  ['node', 'demote', 'mgr1'],
  ['node', 'rm', 'worker1'],
  ['swarm', 'update', '--task-history-limit', '6'],
]

for (const [index, words] of CHANGES.entries()) {
  test(`${words.join(' ')} (step ${index + 1}) does and says the same`, async () => {
    const of = (name: string) => words.map((word) => (word === 'FILE' ? path.join(folder, 'content') : word.replace(/^X/, name)))
    const docker = await run(DOCKER, of('dx'), { env })
    const shoal = await run(SHOAL, of('sx'), { env })
    assert.equal(plain(shoal.stdout, 'sx'), plain(docker.stdout, 'dx'))
    assert.equal(plain(shoal.stderr, 'sx'), plain(docker.stderr, 'dx'))
    assert.equal(shoal.code, docker.code)
  })
}

test('dockerode creates, looks at, updates, reads the logs of, runs commands in and hears of services', { timeout: 120_000 }, async () => {
  // biome-ignore lint/suspicious/noExplicitAny: it comes without types
  const Docker = createRequire(import.meta.url)('dockerode') as any
  const docker = new Docker({ socketPath: host.replace('unix://', '') })
  const events = await docker.getEvents({ filters: { type: ['service'] } })
  let heard = ''
  events.on('data', (chunk: Buffer) => {
    heard += chunk.toString()
  })
  const { id } = await docker.createService({
    Name: 'ode',
    TaskTemplate: {
      ContainerSpec: { Image: 'busybox', Command: ['sh', '-c', 'echo from-ode; sleep 1000'] },
      Placement: { Constraints: ['node.hostname==mgr1'] },
    },
    Mode: { Replicated: { Replicas: 1 } },
  })
  const service = docker.getService(id)
  const tasks = () => docker.listTasks({ filters: { service: ['ode'], 'desired-state': ['running'] } })
  await until(tasks, (all: { Status: { State: string } }[]) => all[0]?.Status.State === 'running', 30_000)
  const { Spec, Version } = await service.inspect()
  await service.update({ version: Version.Index, ...Spec, Labels: { a: 'b' } })
  assert.equal((await service.inspect()).Spec.Labels.a, 'b')
  assert.equal((await docker.listServices({ filters: { name: ['ode'] } })).length, 1)
  await until(
    async () => String(await service.logs({ stdout: true, stderr: true })),
    (text) => text.includes('from-ode'),
    20_000,
  )
  const [task] = await tasks()
  const exec = await docker.getContainer(task.Status.ContainerStatus.ContainerID).exec({ Cmd: ['echo', 'executed'], AttachStdout: true })
  const stream = await exec.start({})
  let said = ''
  for await (const chunk of stream) said += String(chunk)
  assert.match(said, /executed/)
  await service.remove()
  await until(
    async () => heard,
    (text) => /"remove"/.test(text),
    10_000,
  )
  events.destroy()
})

interface Discovered {
  services: { ID: string; Endpoint: { VirtualIPs?: { NetworkID: string; Addr: string }[] } }[]
  tasks: {
    NodeID: string
    ServiceID: string
    DesiredState: string
    NetworksAttachments: { Network: { ID: string }; Addresses: string[] }[] | null
    Status: { PortStatus: object }
  }[]
}

test('what Prometheus and Traefik ask for parses: addresses are CIDRs, every id leads somewhere', async () => {
  const get = async (where: string) =>
    JSON.parse((await run('curl', ['-s', '--unix-socket', host.replace('unix://', ''), `http://d${where}`])).stdout)
  const { services, tasks }: Discovered = { services: await get('/v1.41/services'), tasks: await get('/v1.41/tasks') }
  const listed: { ID: string; Status: { Addr: string } }[] = await get('/v1.41/nodes')
  for (const { Status } of listed) assert.match(Status.Addr, /^[\d.]+$/)
  const nodes = new Set(listed.map(({ ID }) => ID))
  const networks = new Set((await get('/v1.41/networks')).map(({ Id }: { Id: string }) => Id))
  const swarmNetworks = await get(`/v1.41/networks?filters=${encodeURIComponent('{"scope":["swarm"]}')}`)
  assert.ok(swarmNetworks.length >= 2)
  for (const { Endpoint } of services)
    for (const { NetworkID, Addr } of Endpoint.VirtualIPs ?? []) {
      assert.match(Addr, /^\d+\.\d+\.\d+\.\d+\/\d+$/)
      assert.ok(networks.has(NetworkID))
    }
  for (const { NodeID, ServiceID, DesiredState, NetworksAttachments, Status } of tasks) {
    assert.ok(nodes.has(NodeID) && typeof Status.PortStatus === 'object')
    // a service that was just removed still has tasks that stop
    assert.ok(DesiredState !== 'running' || services.some(({ ID }) => ID === ServiceID))
    for (const { Network, Addresses } of NetworksAttachments ?? []) {
      assert.ok(networks.has(Network.ID))
      for (const address of Addresses) assert.match(address, /^\d+\.\d+\.\d+\.\d+\/\d+$/)
    }
  }
  const [service] = services
  assert.ok(
    (await get(`/v1.41/tasks?filters=${encodeURIComponent(JSON.stringify({ service: [service?.ID], 'desired-state': ['running'] }))}`))
      .length > 0,
  )
})

test('a container that mounts /var/run/docker.sock gets our socket in its place, also as a task', { timeout: 60_000 }, async () => {
  // in a machine the engine's own socket lies elsewhere; what stands at docker.sock is ours, and must stay so inside
  const mount = '/var/run/docker.sock:/var/run/docker.sock'
  const made = await run(DOCKER, ['create', '-v', mount, 'busybox'], { env })
  const source = await run(DOCKER, ['inspect', '--format', '{{(index .Mounts 0).Source}}', made.stdout.trim()], { env })
  const seen = await cluster.ok('mgr1', 'curl', '-s', '--unix-socket', source.stdout.trim(), 'http://d/services')
  assert.ok(JSON.parse(seen).length > 0)
})

test('a command runs in any task from the manager, and files and ports of it are reached', async () => {
  for (const slot of [1, 2]) {
    const answer = await run(SHOAL, ['service', 'exec', `web.${slot}`, 'sh', '-c', 'cat /run/secrets/s; exit 3'], { env })
    assert.deepEqual([answer.stdout, answer.code], ['content', 3])
    await run(SHOAL, ['task', 'cp', path.join(folder, 'content'), `web.${slot}:/tmp/copied.txt`], { env })
    assert.equal((await run(SHOAL, ['task', 'cp', `web.${slot}:/tmp/copied.txt`, path.join(folder, `back${slot}`)], { env })).code, 0)
    assert.equal((await run('cat', [path.join(folder, `back${slot}`)])).stdout, 'content')
  }
  assert.match((await run(SHOAL, ['task', 'stats', 'web'], { env })).stdout, /web\.1 +mgr1|web\.1 +worker1/)
})
