// Addresses rest: who decides when one may be given to another task, and that it comes back at last.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { NetworkId, NodeId, TaskId } from '../../src/lib/index.ts'
import { holds } from '../../src/loops/holds.ts'
import { type Acknowledgements, AT_ONCE, WorkLimit } from '../../src/loops/index.ts'
import { holdsOf, MESH_LEASE_MARGIN_MS, MESH_LEASE_MS, type Node, type Task, TaskState } from '../../src/model/index.ts'
import { putHold, type WriteTx } from '../../src/store/index.ts'
import { createHarness } from './harness.ts'

const NET = 'ingress' as NetworkId
const ID = `${NET}/10.0.0.9`
const ended = {
  id: 't1' as TaskId,
  serviceId: 's',
  nodeId: 'n1' as NodeId,
  status: { state: TaskState.RUNNING },
  attachments: [{ networkId: NET, addresses: ['10.0.0.9/24'] }],
} as unknown as Task

test('an address rests until every live node has acknowledged, and one that never ran does not rest', async () => {
  let reached = false
  const acks: Acknowledgements = { ...AT_ONCE, everywhere: () => reached }
  const swarm = await createHarness()
  await swarm.stopRunner()
  const look = () => swarm.write((tx) => holds(acks).reconcile(contextOf(tx), ID))
  await swarm.write((tx) => {
    for (const hold of holdsOf(ended, tx.now)) putHold(tx, hold)
  })
  await look()
  assert.ok(swarm.store.view().addressHolds.get(ID as never))
  reached = true
  await look()
  assert.equal(swarm.store.view().addressHolds.get(ID as never), undefined)
  assert.deepEqual(holdsOf({ ...ended, status: { ...ended.status, state: TaskState.STARTING } }, 0), [])
})

test('while a node is lost that may know it, an address rests until the node has forgotten by itself', async () => {
  const swarm = await createHarness()
  await swarm.stopRunner()
  await swarm.nodes('n1', 'n2')
  await swarm.changeNode('n1', (node: Node) => ({
    ...node,
    agent: 'shoal',
    status: { ...node.status, state: 'down' },
    downSince: swarm.clock.now(),
  }))
  await swarm.write((tx) => {
    for (const hold of holdsOf(ended, tx.now)) putHold(tx, hold)
  })
  const look = () => swarm.write((tx) => holds().reconcile(contextOf(tx), ID))
  const outcome = await look()
  assert.deepEqual(outcome, { wakeAt: swarm.clock.now() + MESH_LEASE_MS + MESH_LEASE_MARGIN_MS })
  assert.ok(swarm.store.view().addressHolds.get(ID as never))
  await swarm.pass(MESH_LEASE_MS + MESH_LEASE_MARGIN_MS)
  await look()
  assert.equal(swarm.store.view().addressHolds.get(ID as never), undefined)
})

function contextOf(tx: WriteTx) {
  return { tx, now: tx.now, ids: { task: () => 'x' as TaskId }, limit: new WorkLimit(10) }
}
