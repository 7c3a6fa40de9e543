// Overlays and VIPs on the real kernel, and what happens to them when endpoints go, rules are destroyed and shoald is killed.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { Attachment, DataPlaneCounters, MeshUpdate } from '../../src/dataplane/index.ts'
import type { Answer, LoadResult } from './inside.ts'
import { endpoint, type Host, INGRESS, type Inside, LAN_CLIENT, Lab, meshUpdate, overlay, peersOf, service } from './lab.ts'

const APP = overlay('appnetworkid0000000000001', 4100, 4)
const OTHER = overlay('othernetworkid00000000001', 4101, 5)
const INNER = overlay('innernetworkid00000000001', 4102, 6, true)
const VIP = '10.0.4.100'
const EMPTY_VIP = '10.0.4.101'
const SOLO_VIP = '10.0.4.102'
const PORT = 8080
const SNAPSHOT: Partial<MeshUpdate> = {
  snapshot: true,
  networks: [INGRESS, APP, OTHER, INNER],
  services: [
    service('web', PORT, [{ networkId: APP.id, address: VIP }]),
    service('empty', 0, [{ networkId: APP.id, address: EMPTY_VIP }]),
    service('solo', 0, [{ networkId: APP.id, address: SOLO_VIP }]),
  ],
}
const WEB = ['t1', 't2', 't3'].map((name, i) =>
  endpoint(name, 'web', `node${i + 1}`, [
    [INGRESS.id, `10.0.0.${11 + i}`],
    [APP.id, `10.0.4.${11 + i}`],
  ]),
)
const SOLO = endpoint('solo1', 'solo', 'node1', [[APP.id, '10.0.4.20']])
const ENDPOINTS = [...WEB, SOLO]

describe('overlays and VIPs', { skip: process.getuid?.() === 0 ? false : 'needs root' }, () => {
  const lab = new Lab('dpo-')
  const tasks: Inside[] = []
  let solo: Inside
  let other: Inside
  let inner: Inside
  const localTasks = new Map<Host, { taskId: string; networkIds: string[] }[]>()

  const everyone = (update: Partial<MeshUpdate>) => Promise.all(lab.hosts.map(({ plane }) => plane.ask('mesh', meshUpdate(update))))

  before(async () => {
    await lab.up([1, 2, 65000])
    await Promise.all(lab.hosts.map(({ plane, nodeId, address }) => plane.ask('start', { nodeId, address })))
    await everyone({ ...SNAPSHOT, peers: peersOf(lab.hosts) })
    for (const [i, { taskId, addresses }] of WEB.entries()) tasks.push(await container(taskId, lab.hosts[i]!, addresses))
    solo = await container('solo1', lab.hosts[0]!, SOLO.addresses)
    other = await container('o1', lab.hosts[0]!, [{ networkId: OTHER.id, address: '10.0.5.30' }])
    inner = await container('n1', lab.hosts[1]!, [{ networkId: INNER.id, address: '10.0.6.30' }])
    for (const [i, task] of tasks.entries()) await task.ask('serve', { name: WEB[i]!.taskId, port: 80 })
    await solo.ask('serve', { name: 'solo1', port: 80 })
    await everyone({ endpoints: ENDPOINTS })
  })
  after(() => lab.down())

  async function container(name: string, host: Host, networks: readonly { networkId: string; address: string }[]): Promise<Inside> {
    const attachments = await host.plane.ask<Attachment[]>('attach', { taskId: name, networks })
    localTasks.set(host, [...(localTasks.get(host) ?? []), { taskId: name, networkIds: networks.map((network) => network.networkId) }])
    return lab.container(name, host, attachments)
  }

  async function ask(client: Inside, op: 'tcp' | 'udp', host: string, port = 80): Promise<string> {
    const { text, error } = await client.ask<Answer>(op, { host, port })
    return text ?? `${error}`
  }

  /** Who answers at the VIP within 40 calls. */
  async function answers(client: Inside, op: 'tcp' | 'udp', host: string, port = 80): Promise<string[]> {
    const seen = new Set<string>()
    for (let i = 0; i < 40 && seen.size < 3; i++) seen.add(await ask(client, op, host, port))
    return [...seen].sort()
  }

  async function everythingWorks(): Promise<void> {
    const outside = ['t1', 't2', 't3'].map((name) => `${name} ${LAN_CLIENT}`)
    for (const host of lab.hosts) assert.deepEqual(await answers(lab.lan, 'tcp', host.address, PORT), outside, host.namespace)
    for (const op of ['tcp', 'udp'] as const) {
      assert.deepEqual(await answers(solo, op, VIP), ['t1 10.0.4.20', 't2 10.0.4.20', 't3 10.0.4.20'])
      assert.equal(await ask(tasks[2]!, op, SOLO_VIP), 'solo1 10.0.4.13')
    }
  }

  for (const op of ['tcp', 'udp'] as const) {
    test(`${op}: tasks reach each other on all nodes, by address and by VIP, and see the caller's own address`, async () => {
      for (const [i, client] of tasks.entries()) {
        for (const [j, name] of ['t1', 't2', 't3'].entries())
          if (j !== i) assert.equal(await ask(client, op, `10.0.4.${11 + j}`), `${name} 10.0.4.${11 + i}`)
        const seen = await answers(client, op, VIP)
        assert.deepEqual(
          seen.map((answer) => answer.split(' ')[0]),
          ['t1', 't2', 't3'],
        )
      }
      await everythingWorks()
    })

    test(`${op}: a task that is the only endpoint of its service reaches itself by the VIP`, async () => {
      assert.equal(await ask(solo, op, SOLO_VIP), 'solo1 10.0.4.1')
    })

    test(`${op}: a VIP without endpoints refuses quickly`, async () => {
      const { error, ms } = await tasks[0]!.ask<Answer>(op, { host: EMPTY_VIP, port: 80 })
      assert.equal(error, 'ECONNREFUSED')
      assert.ok(ms < 500, `${ms} ms`)
    })
  }

  test('a VIP is for tasks of its network only, and an internal network does not reach published ports', async () => {
    assert.notEqual((await ask(other, 'tcp', VIP)).split(' ').length, 2)
    assert.equal(await ask(inner, 'tcp', INNER.gateway, PORT), 'ECONNREFUSED')
    assert.match(await ask(other, 'tcp', OTHER.gateway, PORT), /^t\d /)
  })

  test('a connection stays on its endpoint while that drains and is reset when it is gone; no new ones come', async () => {
    const host = lab.hosts[0]!
    for (const [i, { address, port }] of [
      { address: host.address, port: PORT },
      { address: VIP, port: 80 },
    ].entries()) {
      const client = i === 0 ? lab.lan : solo
      await client.ask('hold', { host: address, port })
      const [name] = (await client.ask<string>('poke')).split(' ')
      const mine = WEB.find(({ taskId }) => taskId === name)!
      await everyone({ endpoints: [{ ...mine, serving: false }] })
      assert.ok(!(await answers(client, 'tcp', address, port)).some((answer) => answer.startsWith(`${name} `)))
      assert.match(await client.ask('poke'), new RegExp(`^${name} `))
      await everyone({ goneEndpoints: [mine.taskId] })
      for (const { address } of mine.addresses) {
        for (const { namespace } of lab.hosts)
          assert.deepEqual(lab.flowsTo(namespace, address), [], `${namespace} remembers flows to ${address}`)
      }
      assert.match(await client.ask('poke'), /ECONNRESET|CLOSED|EPIPE/)
      await everyone({ endpoints: [mine] })
    }
    await everythingWorks()
  })

  const VANDALISM: readonly (readonly string[])[] = [
    ['nft', 'flush', 'table', 'ip', 'shoal'],
    ['nft', 'delete', 'table', 'ip', 'shoal'],
    ['nft', 'delete', 'table', 'bridge', 'shoal'],
    ['nft', 'flush', 'map', 'ip', 'shoal', 'tcpport'],
    ['nft', 'add element ip shoal vipep { 10.0.4.77 . 0 : 10.0.4.78 }'],
    ['nft', 'insert rule ip shoal pre drop'],
    ['nft', 'add chain ip shoal foreign { type filter hook forward priority -5; policy drop; }'],
    ['iptables', '-I', 'FORWARD', '1', '-i', 'ov-appnetworki', '-j', 'DROP'],
    ['iptables', '-F', 'FORWARD'],
    ['iptables', '-F', 'SHOAL-FORWARD'],
    ['ip', 'link', 'delete', 'vx-ingress'],
    ['ip', 'link', 'set', 'vx-appnetworki', 'nomaster'],
    ['ip', 'link', 'set', 'vx-appnetworki', 'down'],
    ['ip', 'link', 'set', 'ov-ingress', 'address', '02:42:64:40:77:77'],
    ['ip', 'address', 'flush', 'dev', 'ov-ingress'],
    ['ip', 'neigh', 'flush', 'dev', 'ov-appnetworki', 'nud', 'permanent'],
    ['ip', 'link', 'set', 'ov-ingress', 'type', 'bridge', 'nf_call_iptables', '0'],
    ['bridge', 'link', 'set', 'dev', 'vx-ingress', 'learning', 'on', 'neigh_suppress', 'off'],
    ['bridge', 'link', 'set', 'dev', 'v1t1', 'hairpin', 'off'],
    ['sysctl', '-qw', 'net.ipv4.conf.ov-ingress.route_localnet=0', 'net.ipv4.ip_forward=0'],
  ]
  test(`what is deleted, corrupted or reordered is repaired and counted (${VANDALISM.length} ways), and a second check finds nothing`, async () => {
    const host = lab.hosts[0]!
    for (const command of VANDALISM) {
      lab.inNamespace(host.namespace, ...command)
      const repaired = await host.plane.ask<number>('check')
      if (!command.includes('hairpin')) assert.ok(repaired > 0, `${command.join(' ')} was not seen`)
      assert.equal(await host.plane.ask<number>('check'), 0, `${command.join(' ')} was not repaired at once`)
    }
    await everythingWorks()
    assert.equal((await host.plane.ask<DataPlaneCounters>('counters')).driftRepairs, VANDALISM.length - 1)
  })

  test('a published port is occupied, and a conflict with a process of the host is reported', async () => {
    const host = lab.hosts[1]!
    const rival = lab.program(host.namespace)
    await assert.rejects(rival.ask('serve', { name: 'rival', port: PORT }), /EADDRINUSE/)
    await rival.ask('serve', { name: 'rival', port: 8090 })
    await everyone({ services: [service('late', 8090)], endpoints: [endpoint('l1', 'late', 'node1', [[INGRESS.id, '10.0.0.11']])] })
    assert.deepEqual(await host.plane.ask('conflicts'), [
      { protocol: 'tcp', port: 8090 },
      { protocol: 'udp', port: 8090 },
    ])
    assert.equal(await ask(lab.lan, 'tcp', host.address, 8090), `t1 ${LAN_CLIENT}`, 'the mesh serves it all the same')
    await everyone({ goneServices: ['late'], goneEndpoints: ['l1'] })
    await rival.kill()
  })

  test('shoald may be killed and come back under traffic: no connection fails, and nothing is changed in the kernel', async () => {
    const host = lab.hosts[0]!
    const targets = lab.hosts.map(({ address }) => ({ host: address, port: PORT }))
    const loading = lab.lan.ask<LoadResult>('load', { targets, count: 2_000, parallel: 2 })
    await lab.restart(host)
    assert.deepEqual(await host.plane.ask('start', { nodeId: host.nodeId, address: host.address }), { on: true })
    await host.plane.ask('mesh', meshUpdate({ ...SNAPSHOT, peers: peersOf(lab.hosts), endpoints: ENDPOINTS }))
    await host.plane.ask('tasks', localTasks.get(host))
    assert.deepEqual((await loading).failed, [])
    const { changes } = await host.plane.ask<DataPlaneCounters>('counters')
    assert.ok(changes <= 2, `only the two tables are loaded anew, not ${changes} objects`)
    await everythingWorks()
  })

  test('teardown leaves nothing of ours in the kernel', async () => {
    const host = lab.hosts[2]!
    await host.plane.ask('teardown')
    assert.doesNotMatch(lab.inNamespace(host.namespace, 'nft', 'list', 'tables'), /shoal/)
    assert.doesNotMatch(lab.inNamespace(host.namespace, 'iptables', '-S'), /SHOAL/)
    assert.doesNotMatch(lab.inNamespace(host.namespace, 'ip', '-br', 'link'), /^(ov|vx)-/m)
  })
})
