// Addresses, ports, ids: nothing is given twice, reserved things stay, exhaustion has a reason.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { AddressIndex, allocateNetwork, freeNodeNumber, overlaps, PortIndex, parseBlock, portConflict } from '../../src/allocator/index.ts'
import type { NetworkId } from '../../src/lib/index.ts'
import type { Network, NetworkSpec, PortConfig, Service } from '../../src/model/index.ts'

function specOf(overrides: Partial<NetworkSpec> = {}): NetworkSpec {
  const options = { driverOptions: {}, ipamOptions: {}, ipamDriver: 'default', driver: 'overlay', ipam: [] }
  return { name: 'net', labels: {}, ipv6: false, internal: false, attachable: false, ingress: false, ...options, ...overrides }
}

function networkOf(id: string, subnet: string, overrides: Partial<NetworkSpec> = {}): Network {
  const gateway = subnet.replace(/\.\d+\/\d+$/, '.1')
  const meta = { version: 1, createdAt: 0, updatedAt: 0 }
  return { ...meta, id: id as NetworkId, spec: specOf(overrides), plane: 'shoal', vni: 5000, subnets: [{ subnet, gateway }] }
}

const given = (picked: ReturnType<AddressIndex['pick']>) => ('address' in picked ? picked.address : undefined)

test('network, gateway and broadcast are never given, and a full network says so', () => {
  const index = new AddressIndex()
  index.setNetwork(networkOf('n', '10.1.0.0/29'))
  const all: string[] = []
  for (let owner = 0; owner < 5; owner++) {
    const address = given(index.pick('n'))!
    index.setUses(`task/${owner}`, [{ networkId: 'n', address }])
    all.push(address)
  }
  assert.deepEqual(all, ['10.1.0.2/29', '10.1.0.3/29', '10.1.0.4/29', '10.1.0.5/29', '10.1.0.6/29'])
  assert.deepEqual(index.pick('n'), { reason: 'no free address left in network net (10.1.0.0/29)' })
  index.setUses('task/1', [])
  assert.equal(given(index.pick('n')), '10.1.0.3/29')
})

test('addresses come from the range that the user gave', () => {
  const index = new AddressIndex()
  index.setNetwork(networkOf('n', '10.1.0.0/24', { ipam: [{ subnet: '10.1.0.0/24', range: '10.1.0.128/30', gateway: '' }] }))
  assert.equal(given(index.pick('n')), '10.1.0.128/24')
})

test('no address belongs to two owners, a held one is not given, and an index built anew says the same', () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('take' as const), owner: fc.integer({ min: 0, max: 20 }) }),
    fc.record({ kind: fc.constant('free' as const), owner: fc.integer({ min: 0, max: 20 }) }),
    fc.record({ kind: fc.constant('hold' as const), host: fc.integer({ min: 2, max: 14 }) }),
    fc.record({ kind: fc.constant('rebuild' as const) }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const network = networkOf('n', '10.2.0.0/28')
      let index = new AddressIndex()
      index.setNetwork(network)
      const owners = new Map<string, string>()
      for (const change of steps) {
        if (change.kind === 'take') {
          const owner = `task/${change.owner}`
          if (owners.has(owner)) continue
          const address = given(index.pick('n'))
          if (address === undefined) {
            assert.equal(new Set([...owners.values()].map((used) => used.split('/')[0])).size, 13)
            continue
          }
          for (const used of owners.values()) assert.notEqual(used.split('/')[0], address.split('/')[0])
          assert.ok(!['10.2.0.0', '10.2.0.1', '10.2.0.15'].includes(address.split('/')[0]!))
          owners.set(owner, address)
          index.setUses(owner, [{ networkId: 'n', address }])
        } else if (change.kind === 'free') {
          owners.delete(`task/${change.owner}`)
          index.setUses(`task/${change.owner}`, [])
        } else if (change.kind === 'hold') {
          const address = `10.2.0.${change.host}`
          owners.set(`hold/${address}`, address)
          index.setUses(`hold/${address}`, [{ networkId: 'n', address }])
        } else {
          index = new AddressIndex()
          index.setNetwork(network)
          for (const [owner, address] of owners) index.setUses(owner, [{ networkId: 'n', address }])
        }
      }
    }),
    { numRuns: 300 },
  )
})

test('the ingress network is 4096 and 10.0.0.0/24; the next ones follow, around what is taken', () => {
  const networks: Network[] = []
  const add = (spec: NetworkSpec) => {
    const network = { ...networkOf(`n${networks.length}`, '0.0.0.0/32'), spec, ...allocateNetwork(spec, networks, [], 24) }
    networks.push(network)
    return network
  }
  const ingress = add(specOf({ ingress: true }))
  assert.deepEqual([ingress.vni, ingress.subnets], [4096, [{ subnet: '10.0.0.0/24', gateway: '10.0.0.1' }]])
  assert.deepEqual(add(specOf({ ipam: [{ subnet: '10.0.1.0/25', range: '', gateway: '10.0.1.9' }] })).subnets, [
    { subnet: '10.0.1.0/25', gateway: '10.0.1.9' },
  ])
  const third = add(specOf())
  assert.deepEqual([third.vni, third.subnets], [4098, [{ subnet: '10.0.2.0/24', gateway: '10.0.2.1' }]])
  assert.throws(() => add(specOf({ ipam: [{ subnet: '10.0.2.128/25', range: '', gateway: '' }] })), /overlaps/)
  assert.throws(() => allocateNetwork(specOf(), networks, ['10.0.0.0/24'], 24), /no free subnet/)
})

test('subnets cut from pools never overlap', () => {
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom('', '10.0.3.0/26', '10.0.0.0/22', '10.0.7.0/24', '192.168.0.0/16'), { maxLength: 12 }),
      (wanted) => {
        const networks: Network[] = []
        for (const subnet of wanted) {
          const spec = specOf({ ipam: subnet === '' ? [] : [{ subnet, range: '', gateway: '' }] })
          try {
            networks.push({ ...networkOf(`n${networks.length}`, '0.0.0.0/32'), ...allocateNetwork(spec, networks, [], 24) })
          } catch {
            assert.notEqual(subnet, '') // only a subnet that was asked for can be in the way of another
          }
        }
        const blocks = networks.map((network) => parseBlock(network.subnets[0]!.subnet)!)
        for (const [at, a] of blocks.entries()) for (const b of blocks.slice(at + 1)) assert.ok(!overlaps(a, b))
        assert.equal(new Set(networks.map((network) => network.vni)).size, networks.length)
      },
    ),
    { numRuns: 200 },
  )
})

const port = (publishedPort: number, overrides: Partial<PortConfig> = {}): PortConfig => ({
  protocol: 'tcp',
  targetPort: 80,
  publishedPort,
  publishMode: 'ingress',
  ...overrides,
})

test('an open port gets the lowest free number and keeps it; a taken one is refused', () => {
  const ports = new PortIndex()
  ports.setPorts('a', [port(30_000)])
  const open = ports.allocate('b', [port(0)], [])
  assert.deepEqual(open, { ports: [port(30_001)] })
  ports.setPorts('a', [])
  assert.deepEqual(ports.allocate('b', [port(0)], [port(30_001)]), { ports: [port(30_001)] })
  ports.setPorts('a', [port(8080)])
  assert.deepEqual(ports.allocate('b', [port(8080)], []), { reason: "port '8080' is already in use as an ingress port" })
  assert.deepEqual(ports.allocate('b', [port(8080, { protocol: 'udp' })], []), { ports: [port(8080, { protocol: 'udp' })] })
})

test('control refuses a port of another service in the words of Swarm', () => {
  const other = (ports: PortConfig[]) => [{ id: 'x', spec: { name: 'web', endpoint: { ports } } } as unknown as Service]
  assert.equal(
    portConflict({ ports: [port(8080)] }, undefined, other([port(8080)])),
    "port '8080' is already in use by service 'web' (x) as an ingress port",
  )
  assert.equal(portConflict({ ports: [port(8080)] }, 'x', other([port(8080)])), undefined)
  const host = port(8080, { publishMode: 'host' })
  assert.equal(portConflict({ ports: [host] }, undefined, other([host])), undefined)
  assert.match(portConflict({ ports: [port(8080)] }, undefined, other([host])) ?? '', /as a host-published port/)
})

test('node numbers start at 1 and fill gaps', () => {
  assert.equal(freeNodeNumber(new Set()), 1)
  assert.equal(freeNodeNumber(new Set([0, 1, 3])), 2)
})
