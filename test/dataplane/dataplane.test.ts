// The life of a data plane over a fake kernel and a virtual clock.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { applyMeshUpdate, createDataPlane, type DataPlane, emptyMeshState, type MeshState, planKernel } from '../../src/dataplane/index.ts'
import { isShoalError, silentLogger } from '../../src/lib/index.ts'
import { createVirtualClock, FakeKernel, type FakeKernelOptions, type VirtualClock } from '../../src/ports/fakes/index.ts'
import { FEATURES, localTasks, meshStates, SELF } from './arbitrary.ts'
import { endpoint, INGRESS, meshUpdate, overlay, service } from './lab.ts'

const PEERS = [1, 2].map((number) => ({ nodeId: `node${number}`, number, address: `10.81.0.${number}`, hostname: '' }))
const APP = overlay('appnetworkid0000000000001', 4097, 4)
const MESH = applyMeshUpdate(
  emptyMeshState,
  meshUpdate({
    snapshot: true,
    version: 1n,
    peers: PEERS,
    networks: [INGRESS, APP],
    services: [service('web', 8080, [{ networkId: APP.id, address: '10.0.4.100' }])],
    endpoints: [
      endpoint('a', 'web', 'node2', [
        [INGRESS.id, '10.0.0.12'],
        [APP.id, '10.0.4.12'],
      ]),
    ],
  }),
)

interface Rig {
  readonly kernel: FakeKernel
  readonly clock: VirtualClock
  readonly plane: DataPlane
}

async function rig(options: FakeKernelOptions & { kernel?: FakeKernel; mode?: 'auto' | 'off'; address?: string } = {}): Promise<Rig> {
  const clock = createVirtualClock()
  const kernel = options.kernel ?? new FakeKernel({ features: FEATURES, ...options })
  const { mode = 'auto', address = SELF.address } = options
  const plane = createDataPlane({ kernel, clock, log: silentLogger, nodeId: SELF.nodeId, address, mode })
  await plane.start()
  return { kernel, clock, plane }
}

/** Lets time pass until the promise has settled. */
async function soon<T>(clock: VirtualClock, promise: Promise<T>, limitMs = 60_000): Promise<T> {
  let done = false
  const mark = () => {
    done = true
  }
  promise.then(mark, mark)
  await clock.settle()
  if (!done) await clock.runUntil(() => done, limitMs)
  assert.ok(done, 'still waiting')
  return promise
}

describe('data plane', () => {
  test('is off, with the reason, where it cannot work', async () => {
    const taken = new FakeKernel({ features: FEATURES })
    taken.lockTaken = true
    for (const [options, reason] of [
      [{ mode: 'off' }, /--data-plane off/],
      [{ address: '127.0.0.1' }, /loopback/],
      [{ broken: 'the kernel has no VXLAN' }, /no VXLAN/],
      [{ underlays: {} }, /no network device/],
      [{ kernel: taken }, /another shoald/],
    ] as const) {
      const { plane, kernel } = await rig(options)
      const status = plane.status()
      assert.ok(!status.on)
      assert.match(status.reason, reason)
      await plane.update(MESH)
      assert.equal(kernel.applied.length, 0)
      await assert.rejects(plane.attach('t', [{ networkId: APP.id, address: '10.0.4.10' }]), (error) => isShoalError(error, 'unavailable'))
    }
  })

  test('an update resolves when the kernel has it, and updates that come together are one batch', async () => {
    const { plane, kernel, clock } = await rig()
    const first = plane.update(emptyMeshState)
    const second = plane.update(MESH)
    await clock.advance(19)
    assert.equal(kernel.applied.length, 0)
    await soon(clock, Promise.all([first, second]))
    assert.equal(kernel.applied.length, 1)
    assert.ok(kernel.objects.has('element ip shoal tcpport 8080'))
    await soon(clock, plane.update({ ...MESH, version: 2n }))
    assert.equal(kernel.applied.length, 1, 'nothing changed, nothing done')
  })

  test('attach makes the networks and gives ingress the default route', async () => {
    const { plane, kernel, clock } = await rig()
    const pending = plane.attach('t', [
      { networkId: APP.id, address: '10.0.4.10/24' },
      { networkId: INGRESS.id, address: '10.0.0.10/24' },
    ])
    await soon(clock, plane.update(MESH)) // the network becomes known only now
    const [first, second] = await soon(clock, pending)
    assert.equal(first?.bridge, 'ov-ingress')
    assert.deepEqual(second, {
      networkId: APP.id,
      engineNetwork: {
        name: `shoal-n-${APP.id}`,
        subnet: '10.0.4.0/24',
        gateway: '10.0.4.1',
        bridge: 'ov-appnetworki',
        mtu: 1450,
        internal: false,
        labels: { 'shoal.network.id': APP.id },
      },
      bridge: 'ov-appnetworki',
      address: '10.0.4.10',
      mac: '02:42:0a:00:04:0a',
      gateway: '10.0.4.1',
      dns: undefined,
    })
    assert.ok(kernel.objects.has('bridge ov-appnetworki'))
    await soon(clock, plane.setLocalTasks([]))
    assert.ok(!kernel.objects.has('bridge ov-appnetworki'))
  })

  test('attach to a network that nobody tells about fails in bounded time', async () => {
    const { plane, clock } = await rig()
    const pending = plane.attach('t', [{ networkId: 'nonsense', address: '10.0.9.9' }])
    await assert.rejects(soon(clock, pending), (error) => isShoalError(error, 'unavailable'))
  })

  test('a kernel that refuses is read and tried again until it takes the plan; the update waits', async () => {
    const { plane, kernel, clock } = await rig()
    for (let i = 0; i < 6; i++) kernel.failNext()
    const pending = plane.update(MESH)
    await soon(clock, pending)
    assert.ok(plane.counters().failures >= 4)
    assert.ok(kernel.objects.has('element ip shoal tcpport 8080'))
  })

  test('drift is repaired within 30 s and counted, and what was right is left alone', async () => {
    const { plane, kernel, clock } = await rig()
    await soon(clock, plane.update(MESH))
    const before = new Map(kernel.objects)
    kernel.vandalize('table ip shoal')
    kernel.vandalize('bridge ov-ingress')
    kernel.smuggle({ kind: 'element', family: 'ip', table: 'shoal', set: 'tcpport', key: '9', value: 'goto tcp1' })
    await clock.advance(30_000)
    assert.deepEqual(new Map(kernel.objects), before)
    assert.equal(plane.counters().driftRepairs, 1)
    assert.equal(await soon(clock, plane.check()), 0)
  })

  test('the start of the first container on a network puts our firewall rule back to the front', async () => {
    const { plane, kernel, clock } = await rig()
    await soon(clock, plane.update(MESH))
    for (const taskId of ['first', 'second']) {
      await soon(clock, plane.attach(taskId, [{ networkId: APP.id, address: '10.0.4.10' }]))
      kernel.vandalize('firewall')
      await soon(clock, plane.hairpin())
      assert.ok(kernel.objects.has('firewall'), taskId)
      await soon(clock, plane.detach(taskId)) // the engine makes its network again for the next
    }
  })

  test('after a restart of shoald the kernel is not touched before the mesh is known, and overlays stay until the tasks are known', async () => {
    const { plane, kernel, clock } = await rig()
    await soon(clock, plane.update(MESH))
    await soon(clock, plane.attach('t', [{ networkId: APP.id, address: '10.0.4.10' }]))
    await plane.stop()
    assert.ok(!kernel.claimed)
    const left = new Map(kernel.objects)
    const again = await rig({ kernel })
    await again.clock.advance(31_000)
    assert.deepEqual(new Map(kernel.objects), left)
    await soon(again.clock, again.plane.update(MESH))
    assert.deepEqual(new Map(kernel.objects), left)
    await soon(again.clock, again.plane.setLocalTasks([]))
    assert.ok(!kernel.objects.has('bridge ov-appnetworki'))
  })

  test('teardown leaves nothing of ours and gives the lock back', async () => {
    const { plane, kernel, clock } = await rig()
    await soon(clock, plane.update(MESH))
    await soon(clock, plane.teardown())
    assert.deepEqual(
      [...kernel.objects.values()].filter((object) => object.kind !== 'sysctl'),
      [],
    )
    assert.ok(!kernel.claimed)
    assert.equal(kernel.heldPorts.size, 0)
  })

  test('stop ends what waits', async () => {
    const { plane, clock } = await rig()
    const pending = plane.update(MESH)
    const attaching = plane.attach('t', [{ networkId: 'nonsense', address: '10.0.9.9' }])
    const outcomes = Promise.allSettled([pending, attaching])
    await plane.stop()
    for (const outcome of await outcomes) assert.equal(outcome.status, 'rejected')
    assert.equal(clock.pending, 0)
  })

  test('published ports are occupied; a port that a process has is reported and served all the same', async () => {
    const { plane, kernel, clock } = await rig()
    kernel.foreignPorts.add('tcp 8080')
    await soon(clock, plane.update(MESH))
    assert.deepEqual(plane.conflicts(), [{ protocol: 'tcp', port: 8080 }])
    assert.deepEqual([...kernel.heldPorts], ['udp 8080'])
    kernel.foreignPorts.clear()
    await clock.advance(30_000)
    assert.deepEqual(plane.conflicts(), [])
    const without: MeshState = { ...MESH, services: new Map() }
    await soon(clock, plane.update(without))
    assert.equal(kernel.heldPorts.size, 0)
  })

  test('whatever comes, fails or drifts, the kernel ends as planned', async () => {
    const step = fc.oneof(
      fc.record({ op: fc.constant('mesh' as const), mesh: meshStates }),
      fc.record({ op: fc.constant('tasks' as const), tasks: localTasks }),
      fc.record({ op: fc.constant('fail' as const) }),
      fc.record({ op: fc.constant('drift' as const), at: fc.nat(200) }),
      fc.record({ op: fc.constant('time' as const), ms: fc.nat(100) }),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 15 }), meshStates, localTasks, async (steps, mesh, tasks) => {
        const { plane, kernel, clock } = await rig()
        const pending: Promise<void>[] = []
        for (const step of steps) {
          if (step.op === 'mesh') pending.push(plane.update(step.mesh))
          else if (step.op === 'tasks') pending.push(plane.setLocalTasks(step.tasks))
          else if (step.op === 'fail') kernel.failNext()
          else if (step.op === 'drift') kernel.vandalize([...kernel.objects.keys()][step.at] ?? '')
          else await clock.advance(step.ms)
        }
        pending.push(plane.setLocalTasks(tasks), plane.update(mesh))
        await soon(clock, Promise.all(pending))
        await clock.advance(70_000)
        const wanted = planKernel({ state: mesh, self: SELF, localTasks: tasks, features: FEATURES })
        assert.deepEqual(new Map([...kernel.objects].sort()), new Map([...wanted].sort()))
        await plane.stop()
        assert.equal(clock.pending, 0)
      }),
      { numRuns: 100 },
    )
  })
})
