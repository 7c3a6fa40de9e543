// `shoal stack` against a manager's real API: the same specs as docker stack deploy, nothing changed the second time, differences, refusals.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import type { Harness } from '../../api/harness.ts'
import { dumpStack, FILES, shoal, startStackApi } from './support.ts'

let api: Harness

before(async () => {
  api = await startStackApi()
})

after(() => api.close())

/** Deploys files given as texts. */
const deploy = (stack: string, text: string, files: Record<string, string> = {}, ...flags: string[]) =>
  shoal(api.socket, ['deploy', '--resolve-image', 'never', ...flags, '-c', 'own.yaml', stack], { 'own.yaml': text, ...files })

const diff = (stack: string, text: string, ...flags: string[]) =>
  shoal(api.socket, ['diff', ...flags, '-c', 'own.yaml', stack], { 'own.yaml': text })

const specOf = async (name: string) => (await api.call('GET', `/services/${name}`)).json.Spec

test('every service of both.yaml, and its networks, secrets and configs, are what docker stack deploy makes of them', async () => {
  const { status, stdout, stderr } = await shoal(api.socket, ['deploy', '--resolve-image', 'never', '-c', 'both.yaml', 'st'])
  assert.equal(status, 0, stderr)
  assert.match(stdout, /^Creating network st_back$/m)
  assert.match(stdout, /^Creating secret named-secret$/m)
  assert.match(stdout, /^Creating config st_conf$/m)
  assert.match(stdout, /^Creating service st_minimal$/m)
  const docker = JSON.parse(readFileSync(path.join(FILES, 'docker.json'), 'utf8')) as Record<string, unknown>
  const ours = await dumpStack(api)
  assert.deepEqual(Object.keys(ours), Object.keys(docker))
  for (const [name, spec] of Object.entries(docker)) assert.deepEqual(ours[name], spec, name)
})

test('deploying the same again changes nothing, and diff says so', async () => {
  const versions = async () =>
    (await api.call('GET', '/services')).json.map((service: { Version: { Index: number } }) => service.Version.Index)
  const earlier = await versions()
  const seq = api.store.view().seq
  const { status, stdout } = await shoal(api.socket, ['deploy', '--resolve-image', 'never', '-c', 'both.yaml', 'st'])
  assert.equal(status, 0)
  assert.deepEqual(
    stdout.split('\n').filter((line) => line !== '' && !line.startsWith('Unchanged service')),
    [],
  )
  assert.deepEqual(await versions(), earlier)
  assert.equal(api.store.view().seq, seq, 'nothing at all was written')
  const shown = await shoal(api.socket, ['diff', '--exit-code', '-c', 'both.yaml', 'st'])
  assert.deepEqual([shown.status, shown.stdout], [0, ''])
})

test('diff names what would change, deploy does it, and the rest stays', async () => {
  const first = 'services: {web: {image: "app:1"}, db: {image: "db:1"}}'
  assert.equal((await deploy('d1', first)).status, 0)
  const second =
    'services: {web: {image: "app:2", environment: {A: x}, networks: [extra, default]}, cache: {image: "c:1"}}\nnetworks: {extra: {}}'
  const shown = await diff('d1', second, '--exit-code')
  assert.equal(shown.status, 2)
  assert.match(shown.stdout, /^\+ network d1_extra$/m)
  assert.match(shown.stdout, /^\+ service d1_cache$/m)
  assert.match(shown.stdout, /^~ service d1_web$/m)
  assert.match(shown.stdout, /^ {4}TaskTemplate\.ContainerSpec\.Image: "app:1" -> "app:2"$/m)
  assert.match(shown.stdout, /^ {4}TaskTemplate\.ContainerSpec\.Env: \(none\) -> \["A=x"\]$/m)
  assert.match(shown.stdout, /^- service d1_db \(stays; --prune removes it\)$/m)
  const done = await deploy('d1', second, {}, '--prune')
  assert.match(done.stdout, /^Removing service d1_db$/m)
  assert.match(done.stdout, /^Updating service d1_web \(id: [0-9a-z]{25}\)$/m)
  assert.equal((await diff('d1', second, '--exit-code')).status, 0)
})

test('what another client has set stays: forced updates and pinned images', async () => {
  const text = 'services: {web: {image: "pin:1"}}'
  await deploy('d2', text)
  const { ID, Version, Spec } = (await api.call('GET', '/services/d2_web')).json
  Spec.TaskTemplate.ContainerSpec.Image = `pin:1@sha256:${'a'.repeat(64)}`
  Spec.TaskTemplate.ForceUpdate = 3
  Spec.TaskTemplate.Placement = { Platforms: [{ Architecture: 'amd64', OS: 'linux' }] }
  assert.equal((await api.call('POST', `/services/${ID}/update?version=${Version.Index}`, Spec)).status, 200)
  assert.match((await deploy('d2', text)).stdout, /^Unchanged service d2_web/m)
  await deploy('d2', 'services: {web: {image: "pin:2"}}')
  const { TaskTemplate } = await specOf('d2_web')
  assert.deepEqual([TaskTemplate.ContainerSpec.Image, TaskTemplate.ForceUpdate, TaskTemplate.Placement], ['pin:2', 3, {}])
})

test('depends_on becomes labels, and dependencies are created first', async () => {
  const { stdout, stderr, status } = await deploy(
    'd3',
    `services:
  a: {image: "a:1", depends_on: {z: {condition: service_healthy}, m: {condition: service_completed_successfully}}}
  m: {image: "m:1", depends_on: [z], deploy: {mode: replicated-job}}
  z: {image: "z:1"}`,
  )
  assert.equal(status, 0, stderr)
  assert.deepEqual(
    stdout.split('\n').filter((line) => line.startsWith('Creating service')),
    ['Creating service d3_z', 'Creating service d3_m', 'Creating service d3_a'],
  )
  assert.deepEqual((await specOf('d3_a')).Labels, {
    'com.docker.stack.image': 'a:1',
    'com.docker.stack.namespace': 'd3',
    'shoal.depends-on.m': 'service_completed_successfully',
    'shoal.depends-on.z': 'service_healthy',
  })
})

test('secrets and configs from file, environment and text', async () => {
  const text = `services: {web: {image: "a:1", secrets: [f, e], configs: [{source: t, target: /t}]}}
secrets: {f: {file: ./own.txt}, e: {environment: SET_IN_TEST}}
configs: {t: {content: "hello \${SET_IN_TEST}"}}`
  assert.equal((await deploy('d4', text, { 'own.txt': 'from file' })).status, 0)
  const config = (await api.call('GET', '/configs/d4_t')).json
  assert.equal(Buffer.from(config.Spec.Data, 'base64').toString(), 'hello set')
  const [secret] = [...api.store.view().secrets.values()].filter(({ spec }) => spec.name === 'd4_e')
  assert.equal(Buffer.from(secret?.spec.data ?? '', 'base64').toString() === 'set' || secret?.spec.data === 'set', true)
  const again = await deploy('d4', text, { 'own.txt': 'other content' })
  assert.equal(again.status, 1)
  assert.match(again.stderr, /^failed to update secret d4_f: .*only updates to Labels are allowed\nIts content cannot change/)
  const unset = await deploy('d5', 'services: {web: {image: "a:1"}}\nsecrets: {e: {environment: NOT_SET}}')
  assert.match(unset.stderr, /^secrets\.e: the variable NOT_SET is not set/)
})

test('fields of the older format and tricks that a swarm can do stand in the spec', async () => {
  const { stderr, status } = await deploy(
    'd6',
    `services:
  web:
    image: "a:1"
    cpus: 0.5
    mem_limit: 64m
    mem_reservation: 32m
    pids_limit: 10
    scale: 3
    restart: on-failure:4
    shm_size: 128m
    tmpfs: ["/run:size=1m,mode=755"]
    group_add: ["100"]
    dns_opt: [ndots:2]
    security_opt: ["no-new-privileges:true"]
    platform: linux/arm64
    oom_score_adj: 5
    healthcheck: {test: x, start_interval: 2s}
    stop_grace_period: 1h
  host: {image: "a:1", network_mode: host, restart: "no"}`,
  )
  assert.equal(status, 0, stderr)
  assert.equal(stderr, '')
  const { TaskTemplate: task, Mode } = await specOf('d6_web')
  assert.deepEqual(Mode, { Replicated: { Replicas: 3 } })
  assert.deepEqual(task.Resources, { Limits: { NanoCPUs: 5e8, MemoryBytes: 2 ** 26, Pids: 10 }, Reservations: { MemoryBytes: 2 ** 25 } })
  assert.deepEqual(task.RestartPolicy, { Condition: 'on-failure', MaxAttempts: 4 })
  assert.deepEqual(task.ContainerSpec.Mounts, [
    { Type: 'tmpfs', Target: '/run', TmpfsOptions: { SizeBytes: 2 ** 20, Mode: 0o755 } },
    { Type: 'tmpfs', Target: '/dev/shm', TmpfsOptions: { SizeBytes: 2 ** 27 } },
  ])
  assert.deepEqual(task.ContainerSpec.Groups, ['100'])
  assert.deepEqual(task.ContainerSpec.DNSConfig, { Options: ['ndots:2'] })
  assert.deepEqual(task.ContainerSpec.Privileges, { NoNewPrivileges: true })
  assert.deepEqual(task.Placement, { Platforms: [{ Architecture: 'arm64', OS: 'linux' }] })
  assert.equal(task.ContainerSpec.Healthcheck.StartInterval, 2e9)
  const host = (await specOf('d6_host')).TaskTemplate
  assert.deepEqual([host.Networks?.length, host.RestartPolicy], [1, { Condition: 'none' }])
  assert.match(
    (await deploy('d6', 'services: {host: {image: "a:1", network_mode: host, restart: "no"}}')).stdout,
    /Unchanged service d6_host/,
  )
})

test('what is wrong is refused before anything is made', async () => {
  const seq = api.store.view().seq
  const outside = await deploy('d7', 'services: {web: {image: "a:1", networks: [n]}}\nnetworks: {n: {external: true}}')
  assert.match(outside.stderr, /^network "n" is declared as external, but could not be found\. You need to create a swarm-scoped network/)
  const secret = await deploy('d7', 'services: {web: {image: "a:1", secrets: [s]}}\nsecrets: {s: {external: true}}')
  assert.match(secret.stderr, /^secret not found: s\n/)
  const wrong = await deploy('d7', 'services: {web: {imagee: "a:1"}}')
  assert.match(wrong.stderr, /own\.yaml:1:18: services\.web\.imagee: there is no such field\. Did you mean image\?\n/)
  const name = await deploy('no name', 'services: {web: {image: "a:1"}}')
  assert.match(name.stderr, /^invalid stack name: "no name"/)
  assert.equal(api.store.view().seq, seq)
})

test('rm takes everything of the stack away and waits; what is not there is told', async () => {
  assert.equal((await deploy('d8', 'services: {web: {image: "a:1", secrets: [s]}}\nsecrets: {s: {file: secret.txt}}')).status, 0)
  const { status, stdout, stderr } = await shoal(api.socket, ['rm', 'd8', 'd9'])
  assert.equal(status, 0, stderr)
  assert.deepEqual(stdout.trim().split('\n'), ['Removing service d8_web', 'Removing secret d8_s', 'Removing network d8_default'])
  assert.equal(stderr, 'Nothing found in stack: d9\n')
  assert.equal(
    [...api.store.view().services.values()].some(({ spec }) => spec.name.startsWith('d8_')),
    false,
  )
})

test('ls, services, ps and config', async () => {
  assert.match((await shoal(api.socket, ['ls'])).stdout, /^NAME\s+SERVICES\n(?:.*\n)*d3\s+3\n/)
  assert.match(
    (await shoal(api.socket, ['services', 'd3', '--format', '{{.Name}} {{.Mode}}'])).stdout,
    /^d3_a replicated\nd3_m replicated job\n/,
  )
  assert.equal((await shoal(api.socket, ['services', 'none'])).stderr, 'Nothing found in stack: none\n')
  const ps = await shoal(api.socket, ['ps', 'none'])
  assert.deepEqual([ps.status, ps.stderr], [1, 'nothing found in stack: none\n'])
  const config = await shoal(api.socket, ['config', '-c', 'own.yaml'], {
    'own.yaml': 'services: {web: {image: "a:$$1", ports: ["80:80"]}}',
  })
  assert.equal(
    config.stdout,
    'services:\n  web:\n    image: a:$$1\n    ports:\n      - mode: ingress\n        protocol: tcp\n        published: 80\n        target: 80\n',
  )
  const again = await shoal(api.socket, ['config', '-c', '-'], { '-': config.stdout })
  assert.equal(again.stdout, config.stdout, 'the output is its own source')
})
