// What every adapter of the Kernel port keeps to.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { diff } from '../../src/dataplane/plan/diff.ts'
import { guardTable, meshTable } from '../../src/dataplane/plan/rules.ts'
import { isShoalError } from '../../src/lib/index.ts'
import { type ElementObject, type Kernel, type KernelObject, keyOf } from '../../src/ports/index.ts'

const SYSCTLS = ['net/ipv4/conf/ov-ingress/route_localnet']
const FEATURES = { sctp: true, iptables: true }
const VIP: ElementObject = {
  kind: 'element',
  family: 'ip',
  table: 'shoal',
  set: 'vip',
  key: '"ov-ingress" . 10.0.0.100',
  value: 'goto vip1',
}
const OBJECTS: readonly KernelObject[] = [
  { kind: 'bridge', name: 'ov-ingress', mac: '02:42:64:40:00:01', mtu: 1450 },
  { kind: 'address', device: 'ov-ingress', cidr: '10.0.0.1/24' },
  { kind: 'vxlan', name: 'vx-ingress', bridge: 'ov-ingress', vni: 4096, local: '127.0.0.1', underlay: 'lo', port: 4789, mtu: 1450 },
  { kind: 'fdb', device: 'vx-ingress', mac: '02:42:0a:00:00:0c', remote: '10.81.0.2' },
  { kind: 'fdb', device: 'vx-ingress', mac: '02:42:ff:00:00:01', remote: '' },
  { kind: 'neighbour', device: 'ov-ingress', address: '10.0.0.12', mac: '02:42:0a:00:00:0c' },
  { kind: 'sysctl', name: SYSCTLS[0]!, value: '1' },
  { kind: 'firewall', rules: ['-m connmark --mark 0x4d000000/0xff000000 -j ACCEPT', '-i ov-ingress -o ov-ingress -j ACCEPT'] },
  meshTable(FEATURES, 2),
  guardTable(),
  VIP,
  { kind: 'element', family: 'ip', table: 'shoal', set: 'vipep', key: '10.0.0.100 . 0', value: '10.0.0.12' },
  { kind: 'element', family: 'ip', table: 'shoal', set: 'tcpport', key: '22', value: 'goto none' },
  { kind: 'element', family: 'ip', table: 'shoal', set: 'tcpport', key: '8080', value: 'goto tcp2' },
  { kind: 'element', family: 'ip', table: 'shoal', set: 'tcpep', key: '8080 . 0', value: '10.0.0.12 . 80' },
  { kind: 'element', family: 'ip', table: 'shoal', set: 'tcpep', key: '8080 . 1', value: '10.0.0.13 . 80' },
  { kind: 'element', family: 'ip', table: 'shoal', set: 'sctpport', key: '9999', value: 'goto sctp1' },
  { kind: 'element', family: 'ip', table: 'shoal', set: 'hairpin', key: '10.0.0.11 . 10.0.0.11', value: '' },
  { kind: 'element', family: 'ip', table: 'shoal', set: 'internal', key: '"ov-ingress"', value: '' },
  { kind: 'element', family: 'ip', table: 'shoal', set: 'published', key: '6 . 8080', value: '' },
  { kind: 'element', family: 'ip', table: 'shoal', set: 'published', key: '132 . 9999', value: '' },
  { kind: 'element', family: 'ip', table: 'shoal', set: 'nodemark', key: '02:42:64:40:01:02', value: '0x4d000102' },
  { kind: 'element', family: 'ip', table: 'shoal', set: 'nodezone', key: '02:42:64:40:01:02', value: '258' },
  { kind: 'element', family: 'ip', table: 'shoal', set: 'markmac', key: '0x4d000102', value: '02:42:64:40:01:02' },
  { kind: 'element', family: 'bridge', table: 'shoal', set: 'nodemac', key: '02:42:64:40:01:02', value: '' },
]

/** Registers the conformance tests; they build on each other and leave nothing behind. `lateness` is for the names. */
export function kernelConformance(kernel: () => Kernel): void {
  const actual = async () => (await kernel().read(SYSCTLS)).objects
  const wanted = new Map(OBJECTS.map((object) => [keyOf(object), object]))
  const bring = async (to: ReadonlyMap<string, KernelObject>) => kernel().apply(diff(await actual(), to))

  test('probing says that it can work, twice the same', async () => {
    const first = await kernel().probe()
    assert.ok(first.ok, first.ok ? '' : first.reason)
    assert.deepEqual(await kernel().probe(), first)
  })

  test('what is applied can be read, and then there is no difference', async () => {
    await bring(wanted)
    assert.deepEqual(diff(await actual(), wanted), [])
    assert.deepEqual([...(await actual()).keys()].sort(), [...wanted.keys()].sort())
  })

  test('an object that has changed is changed in place', async () => {
    const changed: KernelObject[] = [
      { kind: 'bridge', name: 'ov-ingress', mac: '02:42:64:40:00:02', mtu: 1400 },
      { kind: 'fdb', device: 'vx-ingress', mac: '02:42:0a:00:00:0c', remote: '10.81.0.3' },
      { kind: 'firewall', rules: ['-m connmark --mark 0x4d000000/0xff000000 -j ACCEPT'] },
      { ...VIP, value: 'goto vip2' },
      meshTable(FEATURES, 4),
    ]
    const next = new Map(wanted)
    for (const object of changed) next.set(keyOf(object), object)
    await bring(next)
    assert.deepEqual(diff(await actual(), next), [])
    await bring(wanted)
    assert.deepEqual(diff(await actual(), wanted), [])
  })

  test('a VXLAN device with another id is made anew, with its forwarding entries', async () => {
    const next = new Map(wanted)
    next.set('vxlan vx-ingress', {
      kind: 'vxlan',
      name: 'vx-ingress',
      bridge: 'ov-ingress',
      vni: 5000,
      local: '127.0.0.1',
      underlay: 'lo',
      port: 4789,
      mtu: 1450,
    })
    await bring(next)
    assert.deepEqual(diff(await actual(), next), [])
    await bring(wanted)
  })

  test('a change that does not fit what is there is refused, and changes no rule', async () => {
    const missing: ElementObject = { ...VIP, key: '"ov-ingress" . 10.0.0.199' }
    const other: ElementObject = { ...VIP, key: '"ov-ingress" . 10.0.0.198' }
    for (const changes of [
      [
        { op: 'put', object: other },
        { op: 'delete', object: missing },
      ],
      [
        { op: 'put', object: other },
        { op: 'put', object: missing, before: VIP },
      ],
      [{ op: 'put', object: OBJECTS[0]! }],
    ] as const) {
      await assert.rejects(kernel().apply(changes), (error) => isShoalError(error, 'aborted'))
      assert.deepEqual(diff(await actual(), wanted), [])
    }
  })

  test('forgetting flows that are not there is no error', async () => {
    await kernel().apply([
      { op: 'forgetAddress', address: '10.0.0.99' },
      { op: 'forgetMark', mark: 0x4d000063 },
    ])
  })

  test('a port can be held once released, and the lock is taken once', async () => {
    assert.equal(await kernel().holdPort('tcp', 8099), true)
    assert.equal(await kernel().holdPort('udp', 8099), true)
    await kernel().releasePort('tcp', 8099)
    await kernel().releasePort('udp', 8099)
    assert.equal(await kernel().claim(), true)
    await kernel().unclaim()
  })

  test('with nothing wanted, nothing of ours is left', async () => {
    await bring(new Map())
    assert.deepEqual(
      [...(await actual()).values()].filter((object) => object.kind !== 'sysctl'),
      [],
    )
  })
}
