// What others do to the kernel's network state: deleted, flushed, reordered at random; the plan is back within five seconds, and nothing foreign is touched.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Attachment, DataPlaneCounters } from '../../src/dataplane/index.ts'
import { endpoint, type Host, INGRESS, Lab, meshUpdate, overlay, peersOf, service } from './lab.ts'

const SOAK = process.env.SHOAL_SOAK === '1'
const ROUNDS = SOAK ? 200 : 20
const HEAL_MS = 5_000
const OTHER = overlay('othernetworkid00000000001', 4097, 5)
const VXLAN = 'vx-othernetwor'

/** Each is something that a person or another program may do. */
const VANDALISM: Record<string, readonly string[]> = {
  'elements deleted': ['nft', 'flush map ip shoal tcpep'],
  'an endpoint corrupted': [
    'nft',
    'delete element ip shoal vipep { 10.0.5.2 . 0 }; add element ip shoal vipep { 10.0.5.2 . 0 : 10.0.5.99 }',
  ],
  'rules flushed': ['nft', 'flush chain ip shoal pre'],
  'the table deleted': ['nft', 'delete table ip shoal'],
  'the guard deleted': ['nft', 'delete table bridge shoal'],
  'everything flushed': ['nft', 'flush ruleset'],
  'the VXLAN device deleted': ['ip', 'link', 'delete', 'vx-ingress'],
  'the bridge deleted': ['ip', 'link', 'delete', 'ov-ingress'],
  'neighbours flushed': ['ip', 'neigh', 'flush', 'dev', 'ov-ingress', 'nud', 'permanent'],
  'a forwarding entry deleted': ['bridge', 'fdb', 'delete', '02:42:0a:00:00:0c', 'dev', 'vx-ingress', 'self'],
  'the MTU changed': ['ip', 'link', 'set', 'vx-ingress', 'mtu', '1280'],
  'the firewall reordered': ['iptables', '-I', 'FORWARD', '1', '-j', 'ACCEPT'],
  'the firewall flushed': ['iptables', '-F', 'FORWARD'],
}

describe('drift', { skip: process.getuid?.() === 0 ? false : 'needs root' }, () => {
  const lab = new Lab('dr-')
  let host: Host
  const ask = (...command: string[]) => lab.inNamespace(host.namespace, ...command)
  const counters = () => host.plane.ask<DataPlaneCounters>('counters')

  before(async () => {
    await lab.up([1, 2])
    host = lab.hosts[0]!
    assert.deepEqual(await host.plane.ask('start', { nodeId: host.nodeId, address: host.address }), { on: true })
    const networks = [
      [INGRESS.id, '10.0.0.11'],
      [OTHER.id, '10.0.5.11'],
    ] as const
    await host.plane.ask(
      'mesh',
      meshUpdate({
        snapshot: true,
        peers: peersOf(lab.hosts),
        networks: [INGRESS, OTHER],
        services: [service('web', 8080, [{ networkId: OTHER.id, address: '10.0.5.2' }])],
        endpoints: [
          endpoint('t1', 'web', host.nodeId, networks),
          endpoint('t2', 'web', lab.hosts[1]!.nodeId, [
            [INGRESS.id, '10.0.0.12'],
            [OTHER.id, '10.0.5.12'],
          ]),
        ],
      }),
    )
    await host.plane.ask<Attachment[]>('attach', {
      taskId: 't1',
      networks: networks.map(([networkId, address]) => ({ networkId, address })),
    })
    await sleep(500)
  })
  after(() => lab.down())

  /** All that is ours, as the tools tell it, in no order where the kernel has none. */
  function state(): string {
    const lines = (text: string) =>
      text
        .replaceAll(/[{},]/g, '\n')
        .split('\n')
        .map((line) => line.trim())
        .sort()
    const table = (family: string) => lines(ask('nft', '-nn', '-s', 'list', 'table', family, 'shoal'))
    const links =
      ask('ip', '-o', 'link', 'show')
        .match(/ (?:ov|vx)-\S+: .* mtu \d+/g)
        ?.map((line) => line.replace(/<.*>/, '')) ?? []
    return JSON.stringify([
      table('ip'),
      table('bridge'),
      links.sort(),
      lines(ask('ip', 'neigh', 'show', 'nud', 'permanent')),
      ask('bridge', 'fdb', 'show')
        .split('\n')
        .filter((line) => / dev vx-.* (dst|master)/.test(line) && /^02:42/.test(line))
        .sort(),
      ask('iptables', '-S', 'FORWARD').split('\n')[1],
    ])
  }
  const stateOrNone = () => {
    try {
      return state()
    } catch {
      return '' // a table is not there
    }
  }

  test(`${ROUNDS} rounds of vandalism are healed within ${HEAL_MS} ms, each counted`, { timeout: ROUNDS * 8_000 }, async () => {
    const healthy = state()
    assert.ok(healthy.includes(VXLAN.slice(0, 8)))
    ask('nft', 'add table ip foreign; add chain ip foreign keep; add rule ip foreign keep counter')
    const kinds = Object.keys(VANDALISM)
    let slowestMs = 0
    for (let round = 0; round < ROUNDS; round += 1) {
      const kind = round < kinds.length ? kinds[round]! : kinds[Math.floor(Math.random() * kinds.length)]!
      const before = await counters()
      const began = performance.now()
      ask(...VANDALISM[kind]!)
      assert.notEqual(stateOrNone(), healthy, `${kind} shows`)
      while (stateOrNone() !== healthy) {
        assert.ok(performance.now() - began < HEAL_MS, `${kind}: not healed after ${HEAL_MS} ms`)
        await sleep(50)
      }
      slowestMs = Math.max(slowestMs, performance.now() - began)
      await sleep(300)
      assert.ok((await counters()).driftRepairs > before.driftRepairs, `${kind} was counted`)
      if (kind === 'everything flushed') ask('nft', 'add table ip foreign; add chain ip foreign keep; add rule ip foreign keep counter')
    }
    assert.match(ask('nft', 'list', 'table', 'ip', 'foreign'), /counter/)
    console.log(`${ROUNDS} rounds, the slowest healed after ${slowestMs.toFixed(0)} ms`)
  })

  test('changes of our own are not taken for those of others, and a restart changes nothing', { timeout: 30_000 }, async () => {
    const before = await counters()
    for (let version = 0; version < 10; version += 1) {
      await host.plane.ask(
        'mesh',
        meshUpdate({ endpoints: [endpoint('t2', 'web', lab.hosts[1]!.nodeId, [[INGRESS.id, `10.0.0.${20 + version}`]])] }),
      )
    }
    await sleep(2_500)
    assert.equal((await counters()).driftRepairs, before.driftRepairs)
    assert.ok((await counters()).foreignChanges - before.foreignChanges <= 2, 'few looks for changes of our own')
  })
})
