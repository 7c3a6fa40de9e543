// One task among many nodes: looking from the least loaded on finds the node that looking at all of them finds.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Demand, demandOf, type NodeInfo, NodeSet, placeGroup, refusal } from '../../src/scheduler/index.ts'
import { nodeOf } from './build.ts'

const NODES = 16

function wanted(service: number, constraint: number, memoryBytes: number): Demand {
  return demandOf({
    serviceId: `s${service}`,
    specVersion: 1,
    task: { forceUpdate: 0, resources: { reservations: { nanoCpus: 0, memoryBytes, generic: [] } } },
    placement: constraint < 3 ? { constraints: [`node.labels.zone==${constraint}`] } : undefined,
    ports: [],
    plane: 'none',
  })
}

/** What `placeGroup` promises, spelled out. */
function bestOfAll(nodes: NodeSet, demand: Demand, now: number): NodeInfo | undefined {
  const count = (info: NodeInfo) => nodes.tasksOf(demand.serviceId)?.get(info.node.id) ?? 0
  return [...nodes.values()]
    .filter((info) => refusal(info, demand, count(info)) === undefined)
    .sort(
      (a, b) =>
        a.recentFailures(demand.groupKey, now) - b.recentFailures(demand.groupKey, now) ||
        count(a) - count(b) ||
        a.load - b.load ||
        a.activeTasks - b.activeTasks ||
        a.index - b.index,
    )[0]
}

test('a task alone goes where ranking all nodes would put it, whatever came, went, failed or changed before', () => {
  const step = fc.record({
    kind: fc.constantFrom('place', 'place', 'place', 'end', 'relabel', 'remove', 'add', 'fail'),
    node: fc.nat(NODES - 1),
    service: fc.nat(3),
    constraint: fc.nat(4),
    memoryBytes: fc.constantFrom(0, 1e8, 1e9),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120, size: 'max' }), (steps) => {
      const nodes = new NodeSet()
      const node = (n: number, zone: number) => nodeOf({ id: `n${n}`, labels: { zone: String(zone) } })
      for (let n = 0; n < NODES; n++) nodes.setNode(node(n, n % 3))
      const running: string[] = []
      for (const [at, { kind, node: n, service, constraint, memoryBytes }] of steps.entries()) {
        if (kind === 'place') {
          const demand = wanted(service, constraint, memoryBytes)
          const expected = bestOfAll(nodes, demand, at)?.node.id
          const { placed, unplaced } = placeGroup(nodes, demand, [{ taskId: `t${at}` }], at)
          assert.equal(placed[0]?.nodeId, expected)
          assert.equal(unplaced.length, expected === undefined ? 1 : 0)
          if (expected !== undefined) running.push(`t${at}`)
        } else if (kind === 'end') nodes.setTask(running.pop() ?? '', undefined)
        else if (kind === 'relabel') nodes.setNode(node(n, constraint))
        else if (kind === 'remove') nodes.removeNode(`n${n}`)
        else if (kind === 'add') nodes.setNode(node(n, n % 3))
        else for (let i = 0; i < 5; i++) nodes.get(`n${n}`)?.failed(`s${service}.1`, at)
      }
    }),
    { numRuns: 300 },
  )
})
