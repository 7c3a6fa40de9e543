// Placement: reasons, order, and the rules that hold for every input.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { nodeMatches, parseConstraints } from '../../src/model/index.ts'
import { type Demand, NodeSet, placeGroup } from '../../src/scheduler/index.ts'
import { demand, type NodeInput, nodeOf } from './build.ts'

function setOf(...inputs: NodeInput[]): NodeSet {
  const nodes = new NodeSet()
  for (const input of inputs) nodes.setNode(nodeOf(input))
  return nodes
}

const tasks = (count: number, prefix = 't') => Array.from({ length: count }, (_, at) => ({ taskId: `${prefix}${at}` }))
const reason = (nodes: NodeSet, wanted: Demand) => placeGroup(nodes, wanted, tasks(1), 0).unplaced[0]?.reason

test('every filter says why, in the words of Swarm, and the one that refused most comes first', () => {
  const two = [{ id: 'a' }, { id: 'b' }]
  assert.equal(reason(setOf(), demand()), 'no suitable node')
  assert.equal(reason(setOf({ id: 'a', ready: false }), demand()), 'no suitable node (1 node not available for new tasks)')
  assert.equal(reason(setOf(...two), demand({ memoryBytes: 9e9 })), 'no suitable node (insufficient resources on 2 nodes)')
  assert.equal(
    reason(setOf(...two), demand({ plugins: [{ type: 'Volume', name: 'nfs' }] })),
    'no suitable node (missing plugin on 2 nodes)',
  )
  const mars = parseConstraints(['node.hostname==mars'])
  assert.equal(reason(setOf(...two), demand({ constraints: mars })), 'no suitable node (scheduling constraints not satisfied on 2 nodes)')
  const arm = [{ os: 'linux', architecture: 'arm64' }]
  assert.equal(reason(setOf({ id: 'a' }), demand({ platforms: arm })), 'no suitable node (unsupported platform on 1 node)')
  assert.equal(
    reason(setOf({ id: 'a', availability: 'drain' }, { id: 'b' }, { id: 'c' }), demand({ constraints: mars })),
    'no suitable node (scheduling constraints not satisfied on 2 nodes; 1 node not available for new tasks)',
  )
})

test('an image for amd64 runs where the engine says x86_64', () => {
  assert.equal(reason(setOf({ id: 'a' }), demand({ platforms: [{ os: 'linux', architecture: 'amd64' }] })), undefined)
})

test('a task bound to a node goes there or says why not', () => {
  const nodes = setOf({ id: 'a' }, { id: 'b', ready: false })
  const { placed, unplaced } = placeGroup(
    nodes,
    demand(),
    [
      { taskId: 'x', nodeId: 'a' },
      { taskId: 'y', nodeId: 'b' },
    ],
    0,
  )
  assert.deepEqual(
    placed.map(({ nodeId }) => nodeId),
    ['a'],
  )
  assert.equal(unplaced[0]?.reason, 'no suitable node (1 node not available for new tasks)')
})

test('a node where a group failed five times in five minutes is the last choice, until they are over', () => {
  const nodes = setOf({ id: 'a' }, { id: 'b' })
  for (let at = 0; at < 5; at++) nodes.get('a')?.failed('svc.1', at)
  const first = placeGroup(nodes, demand(), tasks(2), 1_000).placed
  assert.deepEqual(
    first.map(({ nodeId }) => nodeId),
    ['b', 'b'],
  )
  const later = placeGroup(nodes, demand(), [{ taskId: 'later' }], 400_000).placed
  assert.equal(later[0]?.nodeId, 'a')
})

test('equal nodes: the least reserved one is taken, then the one with fewest tasks', () => {
  const nodes = setOf({ id: 'a' }, { id: 'b' }, { id: 'c' })
  placeGroup(nodes, demand({ serviceId: 'big', memoryBytes: 1e9 }), [{ taskId: 'big', nodeId: 'a' }], 0)
  placeGroup(nodes, demand({ serviceId: 'small' }), [{ taskId: 'small', nodeId: 'b' }], 0)
  const order = placeGroup(nodes, demand(), tasks(3), 0).placed.map(({ nodeId }) => nodeId)
  assert.deepEqual(order, ['c', 'b', 'a'])
})

test('spreading over labels is even over their values, however many nodes have them', () => {
  const nodes = setOf({ id: 'a', labels: { zone: 'x' } }, { id: 'b', labels: { zone: 'y' } }, { id: 'c', labels: { zone: 'y' } })
  const { placed } = placeGroup(nodes, demand({ spreadOver: ['node.labels.zone'] }), tasks(6), 0)
  const on = (id: string) => placed.filter(({ nodeId }) => nodeId === id).length
  assert.deepEqual([on('a'), on('b') + on('c')], [3, 3])
})

test('a spread tree whose lighter branches are full goes on with the heavier ones and ends (swarmkit 2d6aff7)', () => {
  const nodes = setOf(
    { id: 'a', labels: { zone: 'x', rack: '1' }, memoryBytes: 1e9 },
    { id: 'b', labels: { zone: 'y', rack: '2' }, memoryBytes: 9e9 },
    { id: 'c', labels: { zone: 'y', rack: '3' }, memoryBytes: 2e9 },
  )
  const wanted = demand({ memoryBytes: 1e9, spreadOver: ['node.labels.zone', 'node.labels.rack'] })
  const { placed, unplaced } = placeGroup(nodes, wanted, tasks(20), 0)
  assert.equal(placed.length, 12)
  assert.equal(unplaced.length, 8)
})

const nodeInputs = fc
  .array(
    fc.record({
      zone: fc.constantFrom('a', 'b', ''),
      rack: fc.constantFrom('1', '2', ''),
      memoryBytes: fc.integer({ min: 0, max: 10 }),
      nanoCpus: fc.integer({ min: 0, max: 10 }),
      ready: fc.boolean(),
      availability: fc.constantFrom('active' as const, 'active' as const, 'pause' as const, 'drain' as const),
    }),
    { maxLength: 8 },
  )
  .map((inputs) => inputs.map(({ zone, rack, ...rest }, at): NodeInput => ({ id: `n${at}`, labels: { zone, rack }, ...rest })))

const groups = fc.array(
  fc.record({
    count: fc.integer({ min: 1, max: 12 }),
    nanoCpus: fc.integer({ min: 0, max: 3 }),
    memoryBytes: fc.integer({ min: 0, max: 3 }),
    constraints: fc.constantFrom([], ['node.labels.zone==a'], ['node.labels.zone!=a'], ['node.labels.rack==1', 'node.labels.zone==b']),
    spreadOver: fc.constantFrom([], ['node.labels.zone'], ['node.labels.zone', 'node.labels.rack']),
    maxReplicasPerNode: fc.constantFrom(0, 0, 1, 2),
    hostPorts: fc.constantFrom([], [], ['tcp/80'], ['tcp/80', 'udp/53']),
  }),
  { maxLength: 6 },
)

test('nobody is ever placed over capacity, against a constraint, on a node that is not active, or on a taken port; and what could be placed is', () => {
  fc.assert(
    fc.property(nodeInputs, groups, (inputs, wanted) => {
      const nodes = setOf(...inputs)
      const known = new Map(inputs.map((input) => [input.id, nodeOf(input)]))
      const used = new Map(inputs.map((input) => [input.id, { cpu: 0, memory: 0, ports: new Set<string>() }]))
      for (const [at, group] of wanted.entries()) {
        const { count, ...rest } = group
        const constraints = parseConstraints(rest.constraints)
        const asked = demand({ ...rest, serviceId: `s${at}`, groupKey: `s${at}.1`, constraints })
        const { placed, unplaced } = placeGroup(nodes, asked, tasks(count, `s${at}.`), 0)
        assert.equal(placed.length + unplaced.length, count)
        const onNode = new Map<string, number>()
        for (const { nodeId } of placed) {
          const node = known.get(nodeId)!
          const use = used.get(nodeId)!
          assert.ok(node.status.state === 'ready' && node.spec.availability === 'active')
          assert.ok(nodeMatches(constraints, node))
          use.cpu += asked.nanoCpus
          use.memory += asked.memoryBytes
          if (asked.nanoCpus > 0) assert.ok(use.cpu <= node.description!.resources.nanoCpus)
          if (asked.memoryBytes > 0) assert.ok(use.memory <= node.description!.resources.memoryBytes)
          for (const port of asked.hostPorts) {
            assert.ok(!use.ports.has(port))
            use.ports.add(port)
          }
          onNode.set(nodeId, (onNode.get(nodeId) ?? 0) + 1)
          if (asked.maxReplicasPerNode > 0) assert.ok(onNode.get(nodeId)! <= asked.maxReplicasPerNode)
        }
        if (unplaced.length > 0) {
          for (const [id, node] of known) {
            const use = used.get(id)!
            const fits =
              node.status.state === 'ready' &&
              node.spec.availability === 'active' &&
              nodeMatches(constraints, node) &&
              (asked.nanoCpus === 0 || use.cpu + asked.nanoCpus <= node.description!.resources.nanoCpus) &&
              (asked.memoryBytes === 0 || use.memory + asked.memoryBytes <= node.description!.resources.memoryBytes) &&
              !asked.hostPorts.some((port) => use.ports.has(port)) &&
              (asked.maxReplicasPerNode === 0 || (onNode.get(id) ?? 0) < asked.maxReplicasPerNode)
            assert.ok(!fits, `a task was left over although ${id} could take it`)
          }
        }
      }
    }),
    { numRuns: 500 },
  )
})

test('where nothing blocks, nodes differ by at most one task of a service, also after nodes and tasks came and went', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 9 }),
      fc.array(fc.integer({ min: 1, max: 15 }), { minLength: 1, maxLength: 5 }),
      (nodeCount, batches) => {
        const nodes = setOf(...Array.from({ length: nodeCount }, (_, at) => ({ id: `n${at}` })))
        const counts = new Map<string, number>()
        for (const [at, count] of batches.entries()) {
          for (const { nodeId } of placeGroup(nodes, demand(), tasks(count, `b${at}.`), 0).placed)
            counts.set(nodeId, (counts.get(nodeId) ?? 0) + 1)
        }
        const all = Array.from({ length: nodeCount }, (_, at) => counts.get(`n${at}`) ?? 0)
        assert.ok(Math.max(...all) - Math.min(...all) <= 1)
      },
    ),
    { numRuns: 300 },
  )
})

test('the node set that followed every change equals one that was built anew', () => {
  const step = fc.oneof(
    fc.record({
      kind: fc.constant('task' as const),
      task: fc.integer({ min: 0, max: 9 }),
      node: fc.integer({ min: 0, max: 3 }),
      active: fc.boolean(),
    }),
    fc.record({ kind: fc.constant('gone' as const), task: fc.integer({ min: 0, max: 9 }) }),
    fc.record({ kind: fc.constant('leave' as const), node: fc.integer({ min: 0, max: 3 }) }),
    fc.record({ kind: fc.constant('join' as const), node: fc.integer({ min: 0, max: 3 }) }),
  )
  const asked = demand({ nanoCpus: 1, memoryBytes: 2, hostPorts: ['tcp/80'] })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const nodes = new NodeSet()
      const present = new Set<number>()
      const uses = new Map<string, { nodeId: string; demand: Demand; generic: undefined; active: boolean }>()
      for (const change of steps) {
        if (change.kind === 'task') {
          const use = { nodeId: `n${change.node}`, demand: asked, generic: undefined, active: change.active }
          uses.set(`t${change.task}`, use)
          nodes.setTask(`t${change.task}`, use)
        } else if (change.kind === 'gone') {
          uses.delete(`t${change.task}`)
          nodes.setTask(`t${change.task}`, undefined)
        } else if (change.kind === 'leave') {
          present.delete(change.node)
          nodes.removeNode(`n${change.node}`)
        } else {
          present.add(change.node)
          nodes.setNode(nodeOf({ id: `n${change.node}` }))
        }
      }
      const fresh = new NodeSet()
      for (const node of present) fresh.setNode(nodeOf({ id: `n${node}` }))
      for (const [id, use] of uses) fresh.setTask(id, use)
      for (const node of present) {
        const a = nodes.get(`n${node}`)!
        const b = fresh.get(`n${node}`)!
        assert.deepEqual(
          [a.nanoCpusUsed, a.memoryBytesUsed, a.activeTasks, a.load, [...a.hostPorts]],
          [b.nanoCpusUsed, b.memoryBytesUsed, b.activeTasks, b.load, [...b.hostPorts]],
        )
      }
      assert.deepEqual(new Map(nodes.tasksOf('svc')), new Map(fresh.tasksOf('svc')))
    }),
    { numRuns: 300 },
  )
})
