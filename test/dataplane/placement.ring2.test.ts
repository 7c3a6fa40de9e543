// Client affinity and chosen addresses on the real kernel: one client stays with one task, by whichever node it comes; a port answers only where it was published.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { Attachment } from '../../src/dataplane/index.ts'
import type { Answer } from './inside.ts'
import { endpoint, INGRESS, Lab, meshUpdate, peersOf, service } from './lab.ts'

const TASKS = [
  { name: 't1', host: 0, address: '10.0.0.11' },
  { name: 't2', host: 1, address: '10.0.0.12' },
  { name: 't3', host: 1, address: '10.0.0.13' },
] as const

describe('affinity and addresses', { skip: process.getuid?.() === 0 ? false : 'needs root' }, () => {
  const lab = new Lab('af-')
  before(async () => {
    await lab.up([1, 2])
    for (const { plane, nodeId, address } of lab.hosts) assert.deepEqual(await plane.ask('start', { nodeId, address }), { on: true })
    const on = (id: string, published: number, address: string) => {
      const plain = service(id, published)
      return { ...plain, ports: plain.ports.map((port) => ({ ...port, address })) }
    }
    const services = [
      { ...service('sticky', 8080), clientAffinity: true },
      on('address', 8081, '10.81.0.1'),
      on('device', 8082, 'eth0'),
      on('nowhere', 8083, 'eth7'),
    ]
    const everyone = (update: Parameters<typeof meshUpdate>[0]) =>
      Promise.all(lab.hosts.map(({ plane }) => plane.ask('mesh', meshUpdate(update))))
    await everyone({ snapshot: true, peers: peersOf(lab.hosts), networks: [INGRESS], services })
    for (const { name, host, address } of TASKS) {
      const attachments = await lab.hosts[host]!.plane.ask<Attachment[]>('attach', {
        taskId: name,
        networks: [{ networkId: INGRESS.id, address }],
      })
      await (await lab.container(name, lab.hosts[host]!, attachments)).ask('serve', { name, port: 80 })
    }
    const at = (serviceId: string) =>
      TASKS.map(({ name, host, address }) => endpoint(`${serviceId}-${name}`, serviceId, lab.hosts[host]!.nodeId, [[INGRESS.id, address]]))
    await everyone({ endpoints: services.flatMap(({ id }) => at(id)) })
  })
  after(() => lab.down())

  const ask = (host: number, port: number) => lab.lan.ask<Answer>('tcp', { host: lab.hosts[host]!.address, port })

  test('all connections of a client go to one task, by whichever node', async () => {
    const seen = new Map<string, Set<string>>()
    for (let i = 0; i < 20; i += 1) {
      for (const client of [lab.lan, lab.routed]) {
        const { text } = await client.ask<Answer>('tcp', { host: lab.hosts[i % 2]!.address, port: 8080 })
        const [task, caller] = text!.split(' ') as [string, string]
        seen.set(caller, (seen.get(caller) ?? new Set()).add(task))
      }
    }
    assert.deepEqual(
      [...seen.values()].map((tasks) => tasks.size),
      [1, 1],
    )
  })

  test('a port that was published on an address or a device answers only there', async () => {
    assert.match((await ask(0, 8081)).text ?? '', /^t\d /)
    assert.equal((await ask(1, 8081)).error, 'ECONNREFUSED')
    for (const host of [0, 1]) assert.match((await ask(host, 8082)).text ?? '', /^t\d /)
    assert.equal((await ask(0, 8083)).error, 'ECONNREFUSED')
  })
})
