// The routing mesh on the real kernel: three hosts, tasks on two of them, clients everywhere; who answers, and whom the task sees.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { Attachment, MeshUpdate } from '../../src/dataplane/index.ts'
import type { Answer, LoadResult } from './inside.ts'
import {
  endpoint,
  type Host,
  INGRESS,
  type Inside,
  ip,
  LAN_CLIENT,
  Lab,
  meshUpdate,
  overlay,
  peersOf,
  ROUTED_CLIENT,
  service,
} from './lab.ts'

const PORT = 8080
const EMPTY_PORT = 8081
const ONE_PORT = 8082
const TASKS = [
  { name: 't1', host: 0, address: '10.0.0.11' },
  { name: 't2', host: 1, address: '10.0.0.12' },
  { name: 't3', host: 1, address: '10.0.0.13' },
] as const
const OTHER = overlay('othernetworkid00000000001', 4097, 5)

describe('routing mesh', { skip: process.getuid?.() === 0 ? false : 'needs root' }, () => {
  const lab = new Lab('dp-')
  let everyone: (update: Partial<MeshUpdate>) => Promise<unknown>
  let web: ReturnType<typeof endpoint>[]
  let bystander: Inside
  const tasks: Inside[] = []

  before(async () => {
    await lab.up([1, 253, 65000])
    const statuses = await Promise.all(lab.hosts.map(({ plane, nodeId, address }) => plane.ask('start', { nodeId, address })))
    assert.deepEqual(statuses, [{ on: true }, { on: true }, { on: true }])
    everyone = (update) => Promise.all(lab.hosts.map(({ plane }) => plane.ask('mesh', meshUpdate(update))))
    await everyone({
      snapshot: true,
      peers: peersOf(lab.hosts),
      networks: [INGRESS, OTHER],
      services: [service('web', PORT), service('empty', EMPTY_PORT)],
    })
    for (const { name, host, address } of TASKS) {
      tasks.push(await container(name, lab.hosts[host]!, [[INGRESS.id, address]]))
      await tasks.at(-1)!.ask('serve', { name, port: 80 })
    }
    bystander = await container('m', lab.hosts[0]!, [[OTHER.id, '10.0.5.20']])
    web = TASKS.map(({ name, host, address }) => endpoint(name, 'web', lab.hosts[host]!.nodeId, [[INGRESS.id, address]]))
    await everyone({ endpoints: web })
  })
  after(() => lab.down())

  async function container(name: string, host: Host, networks: [string, string][]): Promise<Inside> {
    const attachments = await host.plane.ask<Attachment[]>('attach', {
      taskId: name,
      networks: networks.map(([networkId, address]) => ({ networkId, address })),
    })
    return lab.container(name, host, attachments)
  }

  /** Asks until every task has answered, or 60 times; who they say has called. */
  async function callers(client: Inside, op: 'tcp' | 'udp', host: string): Promise<Map<string, Set<string>>> {
    const seen = new Map<string, Set<string>>()
    for (let i = 0; i < 60 && !(seen.size === 3 && i >= 12); i++) {
      const { text, error } = await client.ask<Answer>(op, { host, port: PORT })
      assert.ok(text, `${client.namespace} -> ${op} ${host}:${PORT}: ${error}`)
      const [task, peer] = text.split(' ')
      seen.set(task!, (seen.get(task!) ?? new Set()).add(peer!))
    }
    assert.equal(seen.size, 3, `${client.namespace} -> ${op} ${host} reached only ${[...seen.keys()]}`)
    return seen
  }

  for (const op of ['tcp', 'udp'] as const) {
    test(`every node serves the published ${op} port by all tasks, and they see the client's address`, async () => {
      for (const [client, address] of [
        [lab.lan, LAN_CLIENT],
        [lab.routed, ROUTED_CLIENT],
      ] as const) {
        for (const host of lab.hosts) {
          const seen = await callers(client, op, host.address)
          for (const peers of seen.values()) assert.deepEqual([...peers], [address])
        }
      }
    })

    test(`a host reaches the published ${op} port on itself, on the others and on 127.0.0.1`, async () => {
      for (const client of lab.hosts) {
        for (const host of lab.hosts) {
          const seen = await callers(client.plane, op, host.address)
          for (const peers of seen.values()) assert.deepEqual([...peers], [client.address])
        }
        for (const peers of (await callers(client.plane, op, '127.0.0.1')).values()) assert.deepEqual([...peers], ['10.0.0.1'])
      }
    })

    test(`containers reach the published ${op} port, their own service included`, async () => {
      for (const client of [tasks[0]!, tasks[1]!, bystander]) {
        for (const host of lab.hosts) await callers(client, op, host.address)
      }
    })
  }

  test('connections from one client port through three nodes to one task stand side by side, and the address stays', async () => {
    await everyone({
      services: [service('one', ONE_PORT)],
      endpoints: [endpoint('one1', 'one', 'node2', [[INGRESS.id, TASKS[1].address]])],
    })
    const names = lab.hosts.map((host) => host.namespace)
    for (const { namespace, address } of lab.hosts) {
      const target = { name: namespace, host: address, port: ONE_PORT, localPort: 40_000, localAddress: LAN_CLIENT }
      assert.equal(await lab.lan.ask('hold', target), 'connected', namespace)
    }
    for (const name of [...names, ...names]) assert.equal(await lab.lan.ask('poke', { name }), `t2 ${LAN_CLIENT}`)
  })

  test('a port that is not published is refused at once, and so is one without endpoints', async () => {
    for (const client of [lab.lan, lab.routed, lab.hosts[0]!.plane]) {
      for (const port of [PORT + 7, EMPTY_PORT]) {
        for (const op of ['tcp', 'udp'] as const) {
          const { error, ms } = await client.ask<Answer>(op, { host: lab.hosts[0]!.address, port })
          assert.equal(error, 'ECONNREFUSED', `${client.namespace} ${op} ${port}`)
          assert.ok(ms < 500, `${op} ${port} took ${ms} ms`)
        }
      }
    }
  })

  test('a container cannot use another node as its gateway', async () => {
    await lab.lan.ask('serve', { name: 'lan', port: 9_000 })
    const target = { host: LAN_CLIENT, port: 9_000 }
    assert.equal((await tasks[0]!.ask<Answer>('tcp', target)).text, 'lan 10.81.0.1')
    ip('-n', tasks[0]!.namespace, 'neigh', 'replace', '10.0.0.1', 'lladdr', '02:42:64:40:00:fd', 'dev', 'eth0', 'nud', 'permanent')
    assert.equal((await tasks[0]!.ask<Answer>('tcp', target)).error, 'TIMEOUT')
    ip('-n', tasks[0]!.namespace, 'neigh', 'delete', '10.0.0.1', 'dev', 'eth0')
  })

  test('no connection fails while endpoints come and go', async () => {
    let loading = true
    const changes = (async () => {
      let rounds = 0
      for (; loading; rounds++) {
        const off = web.filter((_, i) => i !== rounds % 3)
        await everyone({ endpoints: rounds % 2 === 0 ? web : [...off, { ...web[rounds % 3]!, serving: false }] })
      }
      return rounds
    })()
    const targets = lab.hosts.map(({ address }) => ({ host: address, port: PORT }))
    const result = await lab.lan.ask<LoadResult>('load', { targets, count: 3_000, parallel: 6 })
    loading = false
    const rounds = await changes
    assert.deepEqual(result.failed, [])
    assert.deepEqual(
      Object.keys(result.answers).sort(),
      TASKS.map(({ name }) => `${name} ${LAN_CLIENT}`),
    )
    assert.ok(rounds >= 10, `only ${rounds} changes happened meanwhile`)
  })
})
