// The walk-through of the tutorial, played in order with the unmodified docker CLI and again with `shoal`, on three machines.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { curl, type TestCluster, testCluster, until } from './cluster.ts'

const MACHINES = ['mgr1', 'worker1', 'worker2'] as const
let cluster: TestCluster

before(
  async () => {
    cluster = await testCluster('walk', '10.83.0.0/24', MACHINES, { swarm: false })
  },
  { timeout: 240_000 },
)
after(() => cluster?.down(), { timeout: 120_000 })

for (const cli of ['docker', 'shoal'] as const) {
  test(`the walk-through works with ${cli}`, { timeout: 600_000 }, async (t) => {
    const on = (machine: string, ...args: string[]) => cluster.ok(machine, cli, ...args)
    const manager = (...args: string[]) => on('mgr1', ...args)
    const address = cluster.ip.mgr1 as string
    const running = async (service: string) =>
      (await manager('service', 'ps', service, '--filter', 'desired-state=running', '--format', '{{.Name}} {{.Node}} {{.CurrentState}}'))
        .split('\n')
        .filter((line) => / Running /.test(line))

    await t.test('swarm init tells how to join', async () => {
      const said = await manager('swarm', 'init', '--advertise-addr', address)
      assert.match(
        said,
        /^Swarm initialized: current node \([0-9a-z]{25}\) is now a manager\.\n\nTo add a worker to this swarm, run the following command:\n\n {4}\w+ swarm join --token SWMTKN-1-/,
      )
      assert.match(said, new RegExp(`${address}:2377\n`))
    })

    await t.test('join-token shows both commands, and the workers join with theirs', async () => {
      assert.match(await manager('swarm', 'join-token', 'manager'), /^To add a manager to this swarm, run the following command:\n\n/)
      const command = /swarm join --token (\S+) (\S+)/.exec(await manager('swarm', 'join-token', 'worker')) as RegExpExecArray
      for (const worker of ['worker1', 'worker2'])
        assert.equal(
          await on(worker, 'swarm', 'join', '--token', command[1] as string, command[2] as string),
          'This node joined a swarm as a worker.\n',
        )
    })

    await t.test('node ls shows three ready nodes and the leader', async () => {
      const nodes = await until(
        () => manager('node', 'ls'),
        (text) => (text.match(/Ready/g) ?? []).length === 3,
      )
      assert.match(nodes, /^ID\s+HOSTNAME\s+STATUS\s+AVAILABILITY\s+MANAGER STATUS/)
      assert.match(nodes, /^[0-9a-z]{25} \*\s+mgr1\s+Ready\s+Active\s+Leader/m)
      for (const worker of ['worker1', 'worker2']) assert.match(nodes, new RegExp(`^[0-9a-z]{25}\\s+${worker}\\s+Ready\\s+Active`, 'm'))
    })

    await t.test('info shows the swarm', async () => {
      const info = await manager('info')
      assert.match(
        info,
        /Swarm: active\n\s*NodeID: [0-9a-z]{25}\n\s*Is Manager: true\n\s*ClusterID: [0-9a-z]{25}\n\s*Managers: 1\n\s*Nodes: 3/,
      )
      assert.match(info, new RegExp(`Node Address: ${address}`))
    })

    await t.test('a service with five replicas comes up, from 0/5 to 5/5', async () => {
      const id = (await manager('service', 'create', '-d', '--replicas', '5', '-p', '80:80', '--name', 'web', 'nginx')).trim()
      assert.match(id, /[0-9a-z]{25}$/)
      assert.match(await manager('service', 'ls'), /^[0-9a-z]{12}\s+web\s+replicated\s+[0-5]\/5\s+nginx/m)
      await until(
        () => manager('service', 'ls'),
        (text) => /web\s+replicated\s+5\/5/.test(text),
      )
      const tasks = await running('web')
      assert.deepEqual(tasks.map((line) => line.split(' ')[0]).sort(), ['web.1', 'web.2', 'web.3', 'web.4', 'web.5'])
      assert.deepEqual(MACHINES.map((machine) => tasks.filter((line) => line.includes(` ${machine} `)).length).sort(), [1, 2, 2])
    })

    await t.test('docker ps on a node shows the containers', async () => {
      assert.match(await on('mgr1', 'ps'), /nginx.*web\.\d\.[0-9a-z]{25}/)
    })

    await t.test('nginx answers on every machine', async () => {
      for (const machine of MACHINES)
        assert.match(
          await until(
            () => curl(cluster.ip[machine] as string),
            (text) => text !== '',
            10_000,
          ),
          /Welcome to nginx/,
        )
    })

    await t.test('scale to eight', async () => {
      assert.match(await manager('service', 'scale', 'web=8'), /^web scaled to 8\n/)
      assert.equal((await running('web')).length, 8)
    })

    await t.test('nodes can be inspected', async () => {
      assert.match(await manager('node', 'inspect', 'self'), /"Hostname": "mgr1"/)
      assert.match(await manager('node', 'inspect', 'worker1'), /"Availability": "active"/)
      assert.match(await manager('node', 'inspect', '--pretty', 'worker1'), /Hostname:\s+worker1\n(.*\n)*\s*Availability:\s+Active/)
    })

    await t.test('a drained node gives its tasks away and shows them as history', async () => {
      assert.equal(await manager('node', 'update', '--availability', 'drain', 'worker1'), 'worker1\n')
      await until(
        () => running('web'),
        (tasks) => tasks.length === 8 && !tasks.some((line) => line.includes(' worker1 ')),
      )
      await until(
        () => manager('service', 'ps', 'web'),
        (text) => /^[0-9a-z]{12}\s+ \\_ web\.\d\s+nginx\S*\s+worker1\s+Shutdown\s+Shutdown/m.test(text),
      )
      await until(
        () => manager('node', 'ps', 'worker1'),
        (text) => /web\.\d\s+nginx\S*\s+worker1\s+Shutdown\s+Shutdown/.test(text),
      )
      assert.match(await manager('node', 'inspect', 'worker1'), /"Availability": "drain"/)
    })

    await t.test('a node without a task answers, too', async () => {
      await until(
        () => on('worker1', 'ps', '-q'),
        (text) => text.trim() === '',
      )
      assert.match(await curl(cluster.ip.worker1 as string), /Welcome to nginx/)
    })

    await t.test('active again: it takes new tasks', async () => {
      await manager('node', 'update', '--availability', 'active', 'worker1')
      await manager('service', 'scale', 'web=5')
      await manager('service', 'scale', 'web=9')
      assert.ok((await running('web')).some((line) => line.includes(' worker1 ')))
    })

    await t.test('a rolling update to another image, and back', async () => {
      await manager(
        'service',
        'update',
        '--image',
        'nginx:alpine',
        '--update-parallelism',
        '3',
        '--update-monitor',
        '1s',
        '--rollback-parallelism',
        '3',
        '--rollback-monitor',
        '1s',
        'web',
      )
      assert.match(await manager('service', 'ls'), /web\s+replicated\s+9\/9\s+nginx:alpine/)
      await until(
        () => manager('service', 'inspect', '--pretty', 'web'),
        (text) => /State:\s+completed/.test(text),
      )
      await manager('service', 'rollback', 'web')
      assert.match(await manager('service', 'ls'), /web\s+replicated\s+9\/9\s+nginx(:latest)?\s/)
      for (const machine of MACHINES) assert.match(await curl(cluster.ip[machine] as string), /Welcome to nginx/)
    })

    await t.test('removed, the service is gone everywhere', async () => {
      assert.equal(await manager('service', 'rm', 'web'), 'web\n')
      assert.equal((await manager('service', 'ls')).trim().split('\n').length, 1)
      const missing = await cluster.ssh('mgr1', cli, 'service', 'inspect', 'web')
      assert.equal(missing.code, 1)
      assert.match(missing.stdout + missing.stderr, /no such service: web/i)
      for (const machine of MACHINES)
        await until(
          () => on(machine, 'ps', '-aq'),
          (text) => text.trim() === '',
        )
    })

    await t.test('all leave', async () => {
      for (const machine of ['worker1', 'worker2']) assert.equal(await on(machine, 'swarm', 'leave'), 'Node left the swarm.\n')
      assert.equal(await manager('swarm', 'leave', '--force'), 'Node left the swarm.\n')
    })
  })
}
