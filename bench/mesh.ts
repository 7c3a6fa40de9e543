// The mesh: what a path costs a request, and what a change costs the manager. Needs root for the paths (network namespaces).
//   npm run bench:mesh [-- paths|manager]
// Paths: round trips on an open connection, interleaved, the median over the repeats of each repeat's tenth percentile; against a plain DNAT rule of the kind
// that Docker makes for `-p`, and against the task's own address.
// Manager: 500 nodes and 20,000 endpoints in this process; CPU of all that a change causes (commit, streams, acknowledgements), the nodes' own side included.
import type { Attachment, MeshUpdate } from '../src/dataplane/index.ts'
import { createDispatcher } from '../src/dispatcher/index.ts'
import { type NetworkId, type NodeId, type ServiceId, silentLogger, type TaskId } from '../src/lib/index.ts'
import { type Network, TaskState } from '../src/model/index.ts'
import { Dispatcher, Mesh } from '../src/proto/index.ts'
import { endpoint, INGRESS, type Inside, Lab, meshUpdate, overlay, peersOf, service } from '../test/dataplane/lab.ts'
import { nodeChannel, testCluster } from '../test/dispatcher/harness.ts'
import { cpuSeconds, line, percentile } from './measure.ts'

const WARM_UP = 30
const what = process.argv[2] ?? 'all'
if (what === 'all' || what === 'paths') await paths()
if (what === 'all' || what === 'manager') await manager(500, 20_000, 100)
process.exit(0)

async function paths(): Promise<void> {
  const repeats = 15
  const count = 1_000
  const other = overlay('othernetworkid00000000001', 4097, 5)
  const lab = new Lab('bm-')
  try {
    await lab.up([1, 2])
    const [near, far] = lab.hosts as [(typeof lab.hosts)[0], (typeof lab.hosts)[0]]
    for (const { plane, nodeId, address } of lab.hosts) await plane.ask('start', { nodeId, address })
    const everyone = (update: Partial<MeshUpdate>) => Promise.all(lab.hosts.map(({ plane }) => plane.ask('mesh', meshUpdate(update))))
    const services = [
      service('caller', 0),
      service('here', 8081),
      service('there', 8082),
      service('vip', 0, [{ networkId: other.id, address: '10.0.5.2' }]),
    ]
    await everyone({ snapshot: true, peers: peersOf(lab.hosts), networks: [INGRESS, other], services })
    const task = async (name: string, host: typeof near, networks: readonly (readonly [string, string])[]): Promise<Inside> => {
      const wanted = networks.map(([networkId, address]) => ({ networkId, address }))
      const container = await lab.container(name, host, await host.plane.ask<Attachment[]>('attach', { taskId: name, networks: wanted }))
      await container.ask('serve', { name, port: 80 })
      return container
    }
    await task('t1', near, [[INGRESS.id, '10.0.0.11']])
    await task('t2', far, [[INGRESS.id, '10.0.0.12']])
    await task('t3', far, [[other.id, '10.0.5.13']])
    const caller = await task('t4', near, [[other.id, '10.0.5.14']])
    await everyone({
      endpoints: [
        endpoint('t1', 'here', near.nodeId, [[INGRESS.id, '10.0.0.11']]),
        endpoint('t2', 'there', far.nodeId, [[INGRESS.id, '10.0.0.12']]),
        endpoint('t3', 'vip', far.nodeId, [[other.id, '10.0.5.13']]),
        endpoint('t4', 'caller', near.nodeId, [[other.id, '10.0.5.14']]),
      ],
    })
    lab.inNamespace(
      near.namespace,
      'iptables',
      '-t',
      'nat',
      '-A',
      'PREROUTING',
      '-p',
      'tcp',
      '--dport',
      '9080',
      '-j',
      'DNAT',
      '--to-destination',
      '10.0.0.11:80',
    )
    lab.inNamespace(near.namespace, 'iptables', '-I', 'FORWARD', '2', '-o', 'ov-ingress', '-p', 'tcp', '--dport', '80', '-j', 'ACCEPT')
    const ways = {
      engine: [lab.lan, near.address, 9080],
      local: [lab.lan, near.address, 8081],
      remote: [lab.lan, near.address, 8082],
      direct: [caller, '10.0.5.13', 80],
      vip: [caller, '10.0.5.2', 80],
    } as const
    const p10 = new Map<string, number[]>(Object.keys(ways).map((name) => [name, []]))
    for (let repeat = 0; repeat < repeats; repeat += 1) {
      for (const [name, [from, host, port]] of Object.entries(ways)) {
        p10.get(name)!.push((await from.ask<{ p10: number }>('roundTrips', { host, port, count })).p10)
      }
    }
    const median = (name: keyof typeof ways) => percentile(p10.get(name)!, 0.5)
    line('ingress to a local task, round trip', median('local'), 'us', "the engine's published port (at most 1.1)", median('engine'))
    line('ingress to a remote task, round trip', median('remote'), 'us', "the engine's published port (at most 1.8)", median('engine'))
    line('VIP to a remote task, round trip', median('vip'), 'us', 'its own address (at most 1.15)', median('direct'))
  } finally {
    await lab.down()
  }
}

async function manager(nodes: number, endpoints: number, changes: number): Promise<void> {
  const c = await testCluster()
  const dispatcher = createDispatcher({ ...c, logger: silentLogger, self: () => ({ nodeId: 'm1', address: '10.0.0.1:2377' }) })
  const net = 'net' as NetworkId
  await c.write((tx) => {
    tx.networks.create({
      id: net,
      spec: {
        name: 'ingress',
        labels: {},
        driver: 'overlay',
        driverOptions: {},
        ipv6: false,
        internal: false,
        attachable: false,
        ingress: true,
        ipamDriver: 'default',
        ipamOptions: {},
        ipam: [],
      },
      plane: 'shoal',
      vni: 4096,
      subnets: [{ subnet: '10.0.0.0/16', gateway: '10.0.0.1' }],
    } satisfies Omit<Network, 'version' | 'createdAt' | 'updatedAt'>)
    for (let i = 0; i < endpoints / 10; i += 1) {
      const spec = {
        name: `s${i}`,
        labels: {},
        task: { container: { image: 'x' }, forceUpdate: 0 },
        mode: { kind: 'replicated' as const, replicas: 10 },
      }
      tx.services.create({ id: `s${i}` as ServiceId, spec, specVersion: 1 })
    }
  })
  for (let i = 0; i < nodes; i += 1) {
    await c.addNode(`n${i}`, 'shoal', {
      number: i + 1,
      status: { state: 'ready', message: '', address: `10.9.${i >> 8}.${i & 255}` },
      dataPlane: { on: true, reason: '' },
    })
  }
  await c.write((tx) => {
    for (let i = 0; i < endpoints; i += 1) {
      tx.tasks.create({
        id: `t${i}` as TaskId,
        serviceId: `s${i % (endpoints / 10)}` as ServiceId,
        slot: 1,
        nodeId: `n${i % nodes}` as NodeId,
        specVersion: 1,
        desiredState: TaskState.RUNNING,
        status: { state: TaskState.RUNNING, at: 0, message: '', error: '' },
        attachments: [{ networkId: net, addresses: [`10.0.${i >> 8}.${i & 255}/16`] }],
      })
    }
  })
  dispatcher.start()
  let heard = 0
  const routes = dispatcher.routes()
  const channels = Array.from({ length: nodes }, (_, i) =>
    nodeChannel(routes, { clusterId: c.cluster.id, nodeId: `n${i}`, ownAgent: true }),
  )
  for (const channel of channels) void drop(channel.serverStream(Dispatcher.method.session, {}))
  await c.clock.settle()
  for (const channel of channels) {
    const out: object[] = [{ msg: { case: 'hello', value: { ackedVersion: 0n, dataPlaneOn: true } } }]
    let wake = () => {}
    const up = async function* () {
      for (;;) {
        const next = out.shift()
        if (next) yield next
        else
          await new Promise<void>((resolve) => {
            wake = resolve
          })
      }
    }
    void (async () => {
      for await (const { msg } of channel.bidiStream(Mesh.method.stream, up() as never)) {
        if (msg.case === 'ping') out.push({ msg: { case: 'pong', value: { seq: msg.value.seq } } })
        if (msg.case === 'update') {
          heard += 1
          out.push({ msg: { case: 'ack', value: { version: msg.value.version } } })
        }
        wake()
      }
    })()
  }
  await c.clock.advance(50)
  let before = heard
  let start = process.cpuUsage()
  for (let i = -WARM_UP; i < changes; i += 1) {
    if (i === 0) {
      before = heard
      start = process.cpuUsage()
    }
    const task = c.store.view().tasks.get(`t${(i + WARM_UP) * 7}` as TaskId)!
    await c.write((tx) => tx.tasks.update({ ...task, desiredState: TaskState.SHUTDOWN, nodeId: task.nodeId as NodeId }))
    await c.clock.advance(30)
  }
  const ms = (cpuSeconds(start) * 1_000) / changes
  if (dispatcher.mesh.lowestAcked() !== c.store.view().seq) throw new Error('not every node has acknowledged')
  line(`${nodes} nodes, ${endpoints} endpoints: CPU of a change`, ms, 'ms', 'the target', 2)
  console.log(
    `  ${((heard - before) / changes).toFixed(0)} messages for each change, ${((ms * 1_000 * changes) / (heard - before)).toFixed(1)} CPU-us each, acknowledgement included`,
  )
}

async function drop(stream: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of stream);
}
