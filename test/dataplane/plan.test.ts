// The plan of the kernel state: what it holds, and that planning and comparing obey their laws for all meshes.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { applyMeshUpdate, emptyMeshState, type LocalTask, type MeshState, planKernel } from '../../src/dataplane/index.ts'
import { applyChanges, diff } from '../../src/dataplane/plan/diff.ts'
import { Planner } from '../../src/dataplane/plan/planner.ts'
import { flowsToForget } from '../../src/dataplane/reconciler.ts'
import { isShoalError } from '../../src/lib/index.ts'
import { FakeKernel } from '../../src/ports/fakes/index.ts'
import type { KernelObject } from '../../src/ports/index.ts'
import { FEATURES, localTasks, meshStates, SELF } from './arbitrary.ts'
import { endpoint, INGRESS, meshUpdate, overlay, service } from './lab.ts'

const PEERS = [1, 2, 258].map((number, i) => ({ nodeId: `node${i + 1}`, number, address: `10.81.0.${i + 1}`, hostname: `h${i + 1}` }))
const APP = overlay('appnetworkid0000000000001', 4097, 4)

function state(parts: Parameters<typeof meshUpdate>[0]): MeshState {
  return applyMeshUpdate(emptyMeshState, meshUpdate({ snapshot: true, version: 1n, peers: PEERS, networks: [INGRESS, APP], ...parts }))
}

function plan(mesh: MeshState, tasks: readonly LocalTask[] = []): ReadonlyMap<string, KernelObject> {
  return planKernel({ state: mesh, self: SELF, localTasks: tasks, features: FEATURES })
}

function element(wanted: ReadonlyMap<string, KernelObject>, set: string, key: string): string | undefined {
  const object = wanted.get(`element ip shoal ${set} ${key}`)
  return object?.kind === 'element' ? object.value : undefined
}

const ON_APP: LocalTask[] = [{ taskId: 't', networkIds: [APP.id] }]

describe('plan', () => {
  test('the ingress network is there on every node, an overlay only where a task is on it', () => {
    assert.ok(plan(state({})).has('bridge ov-ingress'))
    assert.ok(!plan(state({})).has('bridge ov-appnetworki'))
    assert.ok(plan(state({}), ON_APP).has('vxlan vx-appnetworki'))
  })

  test('an overlay bridge has its gateway’s MAC on all nodes, the ingress bridge the MAC of its node’s number', () => {
    const wanted = plan(state({}), ON_APP)
    assert.deepEqual(wanted.get('bridge ov-appnetworki'), { kind: 'bridge', name: 'ov-appnetworki', mac: '02:42:0a:00:04:01', mtu: 1450 })
    assert.deepEqual(wanted.get('bridge ov-ingress'), { kind: 'bridge', name: 'ov-ingress', mac: '02:42:64:40:00:01', mtu: 1450 })
    assert.equal(element(wanted, 'nodemark', '02:42:64:40:01:02'), '0x4d000102')
    assert.equal(element(wanted, 'nodezone', '02:42:64:40:01:02'), '258')
    assert.equal(element(wanted, 'nodemark', '02:42:64:40:00:01'), undefined, 'the own node is no peer')
  })

  test('a published port leads to the serving endpoints, whatever node they are on', () => {
    const endpoints = [
      endpoint('a', 'web', 'node1', [[INGRESS.id, '10.0.0.11']]),
      endpoint('b', 'web', 'node2', [[INGRESS.id, '10.0.0.12']]),
      endpoint('c', 'web', 'node2', [[INGRESS.id, '10.0.0.13']], false),
    ]
    const wanted = plan(state({ services: [service('web', 8080)], endpoints }))
    assert.equal(element(wanted, 'tcpport', '8080'), 'goto tcp2')
    assert.equal(element(wanted, 'tcpep', '8080 . 0'), '10.0.0.11 . 80')
    assert.equal(element(wanted, 'tcpep', '8080 . 1'), '10.0.0.12 . 80')
    assert.equal(element(wanted, 'tcpep', '8080 . 2'), undefined)
    // one that drains keeps its established connections
    assert.deepEqual(wanted.get('fdb vx-ingress 02:42:0a:00:00:0d'), {
      kind: 'fdb',
      device: 'vx-ingress',
      mac: '02:42:0a:00:00:0d',
      remote: '10.81.0.2',
    })
    assert.ok(!wanted.has('neighbour ov-ingress 10.0.0.11'), 'a local task answers for itself')
  })

  test('a port or VIP without endpoints refuses', () => {
    const wanted = plan(state({ services: [service('web', 8080, [{ networkId: APP.id, address: '10.0.4.100' }])] }), ON_APP)
    assert.equal(element(wanted, 'udpport', '8080'), 'goto none')
    assert.equal(element(wanted, 'vip', '"ov-appnetworki" . 10.0.4.100'), 'goto none')
  })

  test('a dnsrr service has no VIP', () => {
    const web = { ...service('web', 0, [{ networkId: APP.id, address: '10.0.4.100' }]), dnsrr: true }
    assert.equal(element(plan(state({ services: [web] }), ON_APP), 'vip', '"ov-appnetworki" . 10.0.4.100'), undefined)
  })

  test('more endpoints than there are chains bring more chains', () => {
    const endpoints = Array.from({ length: 20 }, (_, i) => endpoint(`t${i}`, 'web', 'node2', [[INGRESS.id, `10.0.0.${20 + i}`]]))
    const wanted = plan(state({ services: [service('web', 8080)], endpoints }))
    assert.equal(element(wanted, 'tcpport', '8080'), 'goto tcp20')
    const table = wanted.get('table ip shoal')
    assert.ok(table?.kind === 'table' && table.chains.some((chain) => chain.name === 'tcp32'))
  })

  test('an update touches only what it changes', () => {
    const endpoints = Array.from({ length: 20 }, (_, i) => endpoint(`t${i}`, `s${i % 4}`, 'node2', [[INGRESS.id, `10.0.0.${20 + i}`]]))
    const services = [0, 1, 2, 3].map((i) => service(`s${i}`, 8080 + i))
    const first = state({ services, endpoints })
    const planner = new Planner()
    planner.plan({ state: first, self: SELF, localTasks: [], features: FEATURES })
    const before = new Map(planner.wanted)
    const second = applyMeshUpdate(first, meshUpdate({ base: 1n, version: 2n, endpoints: [{ ...endpoints[7]!, serving: false }] }))
    const touched = planner.plan({ state: second, self: SELF, localTasks: [], features: FEATURES })
    assert.ok(
      [...touched].every((key) => !/808[012]/.test(key)),
      'other services are left alone',
    )
    const changes = diff(before, planner.wanted, touched)
    assert.equal(changes.length, 4, 'port and last endpoint, for tcp and udp')
    assert.ok(changes.some((change) => change.op === 'delete' && change.late))
  })

  test('a delta that does not fit on the known version is refused', () => {
    assert.throws(
      () => applyMeshUpdate(state({}), meshUpdate({ base: 7n, version: 8n })),
      (error) => isShoalError(error, 'out-of-range'),
    )
  })

  test('connections to a dead endpoint and by a dead node are forgotten, those to a draining endpoint are not', () => {
    const web = [service('web', 8080)]
    const local = endpoint('a', 'web', 'node1', [[INGRESS.id, '10.0.0.11']])
    const remote = endpoint('b', 'web', 'node2', [[INGRESS.id, '10.0.0.12']])
    const all = plan(state({ services: web, endpoints: [local, remote] }))
    const draining = plan(state({ services: web, endpoints: [local, { ...remote, serving: false }] }))
    const gone = plan(state({ services: web, endpoints: [], peers: PEERS.slice(0, 2) }))
    assert.deepEqual(flowsToForget(diff(all, draining)), [])
    assert.deepEqual(flowsToForget(diff(draining, gone)), [
      { op: 'forgetMark', mark: 0x4d000102 },
      { op: 'forgetAddress', address: '10.0.0.11' },
      { op: 'forgetAddress', address: '10.0.0.12' },
    ])
  })
})

describe('laws of the plan', () => {
  const inputs = fc.array(fc.tuple(meshStates, localTasks), { minLength: 1, maxLength: 6 })

  test('planning step by step gives the same as planning afresh, and names every key that changed', () => {
    fc.assert(
      fc.property(inputs, (steps) => {
        const planner = new Planner()
        const before = new Map<string, KernelObject>()
        for (const [mesh, tasks] of steps) {
          const input = { state: mesh, self: SELF, localTasks: tasks, features: FEATURES }
          const touched = planner.plan(input)
          assert.deepEqual(sorted(planner.wanted), sorted(planKernel(input)))
          const changes = diff(before, planner.wanted, touched)
          applyChanges(before, changes)
          assert.deepEqual(sorted(before), sorted(planner.wanted))
        }
      }),
      { numRuns: 300 },
    )
  })

  test('the difference, applied, reaches the plan; planned again, it is empty; with nothing wanted, nothing is left', async () => {
    await fc.assert(
      fc.asyncProperty(inputs, async (steps) => {
        const kernel = new FakeKernel()
        for (const [mesh, tasks] of steps) {
          const wanted = plan(mesh, tasks)
          await kernel.apply(diff(kernel.objects, wanted))
          assert.deepEqual(sorted(kernel.objects), sorted(wanted))
          assert.deepEqual(diff(kernel.objects, plan(mesh, tasks)), [])
        }
        await kernel.apply(diff(kernel.objects, new Map()))
        assert.deepEqual(
          [...kernel.objects.values()].filter((object) => object.kind !== 'sysctl'),
          [],
        )
      }),
      { numRuns: 200 },
    )
  })

  test('every element leads to a chain that is there and every index below the count has its endpoint', () => {
    fc.assert(
      fc.property(meshStates, localTasks, (mesh, tasks) => {
        const wanted = plan(mesh, tasks)
        const table = wanted.get('table ip shoal')
        assert.ok(table?.kind === 'table')
        for (const object of wanted.values()) {
          if (object.kind !== 'element' || !object.value.startsWith('goto ')) continue
          const chain = object.value.slice(5)
          assert.ok(
            table.chains.some(({ name }) => name === chain),
            chain,
          )
          const [, kind, count] = /^(tcp|udp|sctp|vip)(\d+)$/.exec(chain) ?? []
          const key = object.key.split(' . ').at(-1)
          for (let i = 0; i < Number(count ?? 0); i++)
            assert.ok(wanted.has(`element ip shoal ${kind}ep ${key} . ${i}`), `${chain} ${key} ${i}`)
        }
      }),
      { numRuns: 300 },
    )
  })
})

function sorted(map: ReadonlyMap<string, KernelObject>): [string, KernelObject][] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : 1))
}
