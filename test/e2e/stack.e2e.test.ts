// A stack on real machines: secrets, configs, networks, dependencies; deployed again nothing changes, rm waits.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { curl, type TestCluster, testCluster, until } from './cluster.ts'

const MACHINES = ['mgr1', 'worker1'] as const
let cluster: TestCluster

before(
  async () => {
    cluster = await testCluster('stack', '10.96.77.0/24', MACHINES, { swarm: true })
  },
  { timeout: 300_000 },
)
after(() => cluster?.down(), { timeout: 120_000 })

const COMPOSE = `
services:
  web:
    image: nginx
    ports: ["8080:80"]
    networks: {front: {aliases: [www]}, back: {}}
    secrets: [key]
    configs: [{source: text, target: /etc/text}]
    environment: {GREETING: "\${GREETING:-hello}"}
    depends_on: {db: {condition: service_healthy}, setup: {condition: service_completed_successfully}}
    deploy: {replicas: 2, update_config: {order: start-first, monitor: 1s}}
  db:
    image: busybox
    command: sh -c 'touch /started; sleep 10000'
    healthcheck: {test: 'test -f /healthy', interval: 1s, retries: 1000, start_period: 600s}
    networks: [back]
    deploy: {placement: {constraints: [node.role == manager]}}
  setup:
    image: busybox
    command: ["true"]
    networks: [back]
    deploy: {mode: replicated-job, replicas: 1}
networks:
  front: {attachable: true}
  back: {internal: true, ipam: {config: [{subnet: 10.96.50.0/24}]}}
secrets: {key: {file: ./key.txt}}
configs: {text: {content: "written by \${WHO:-nobody}"}}
`

const FOLDER = '/tmp/shoal-stack-test'

/** Runs a command in the folder of the Compose file. */
const inFolder = (command: string) => cluster.ok('mgr1', 'sh', '-c', `mkdir -p ${FOLDER} && cd ${FOLDER} && ${command}`)

test('a stack lives', { timeout: 600_000 }, async (t) => {
  await inFolder(
    `echo ${Buffer.from(COMPOSE).toString('base64')} | base64 -d > compose.yaml && printf sesame > key.txt && echo WHO=us > .env`,
  )

  const tasks = (format: string) => cluster.ok('mgr1', 'shoal', 'stack', 'ps', '--no-trunc', '--format', format, 'app')

  await t.test('deploy creates everything, and the web waits for the database', async () => {
    const said = await inFolder('shoal stack deploy app')
    for (const line of [
      'network app_back',
      'network app_front',
      'secret app_key',
      'config app_text',
      'service app_db',
      'service app_web',
    ]) {
      assert.match(said, new RegExp(`^Creating ${line}$`, 'm'))
    }
    const waiting = await until(
      () => tasks('{{.Name}} {{.CurrentState}} {{.Error}}'),
      (text) => /app_web\.1 Pending .*"waits for db to be healthy"/.test(text),
    )
    assert.match(waiting, /app_web\.2 Pending/)
  })

  await t.test('when the database is healthy the web runs, with secret, config and names', async () => {
    const db = () => cluster.ok('mgr1', 'docker', 'ps', '-q', '-f', 'label=com.docker.swarm.service.name=app_db')
    const id = (await until(db, (text) => text.trim() !== '')).trim()
    await cluster.ok('mgr1', 'docker', 'exec', id, 'touch', '/healthy')
    await until(
      () => cluster.ok('mgr1', 'shoal', 'stack', 'services', 'app', '--format', '{{.Name}} {{.Replicas}}'),
      (text) => /app_web 2\/2/.test(text),
      120_000,
    )
    assert.match(
      await until(
        () => curl(cluster.ip.worker1 as string, 8080),
        (text) => text !== '',
      ),
      /\S/,
    )
    const anywhere = async (...command: string[]) => {
      for (const machine of MACHINES) {
        const found = (await cluster.ok(machine, 'docker', 'ps', '-q', '-f', 'label=com.docker.swarm.service.name=app_web'))
          .trim()
          .split('\n')[0]
        if (found) return (await cluster.ok(machine, 'docker', 'exec', found, ...command)).trim()
      }
      return assert.fail('no web runs')
    }
    assert.equal(await anywhere('cat', '/run/secrets/key'), 'sesame')
    assert.equal(await anywhere('cat', '/etc/text'), 'written by us')
  })

  await t.test('deployed again, nothing changes', async () => {
    const before = await tasks('{{.ID}} {{.Name}}')
    const said = await inFolder('shoal stack deploy app')
    assert.deepEqual(
      said.split('\n').filter((line) => line !== '' && !line.startsWith('Unchanged service')),
      [],
    )
    assert.equal(await inFolder('shoal stack diff --exit-code app'), '')
    assert.equal(await tasks('{{.ID}} {{.Name}}'), before)
  })

  await t.test('diff shows what a change would do, and deploy waits for it when asked', async () => {
    const changed = await inFolder('GREETING=ahoy shoal stack diff app')
    assert.equal(changed, '~ service app_web\n    TaskTemplate.ContainerSpec.Env: ["GREETING=hello"] -> ["GREETING=ahoy"]\n')
    const said = await inFolder('GREETING=ahoy shoal stack deploy --detach=false app')
    assert.match(said, /^Updating service app_web \(id: [0-9a-z]{25}\)$/m)
    assert.match(said, /verify: Service app_web converged/)
  })

  await t.test('ls counts the services, rm waits until nothing is left', async () => {
    assert.match(await cluster.ok('mgr1', 'shoal', 'stack', 'ls'), /^app\s+3$/m)
    const said = await cluster.ok('mgr1', 'shoal', 'stack', 'rm', 'app')
    for (const line of ['service app_web', 'secret app_key', 'config app_text', 'network app_back']) {
      assert.match(said, new RegExp(`^Removing ${line}$`, 'm'))
    }
    for (const noun of ['service', 'secret', 'config', 'network']) {
      assert.doesNotMatch(await cluster.ok('mgr1', 'docker', noun, 'ls'), /app_/, noun)
    }
    for (const machine of MACHINES) assert.doesNotMatch(await cluster.ok(machine, 'docker', 'ps', '-a'), /app_/)
    const { code, stderr } = await cluster.ssh('mgr1', 'shoal', 'stack', 'rm', 'app')
    assert.deepEqual([code, stderr], [0, 'Nothing found in stack: app\n'])
  })
})
