// What people may change on nodes, and when a node may be removed.
import { ShoalError } from '../../lib/index.ts'
import type { Node } from '../../model/index.ts'
import type { View } from '../../store/index.ts'
import { type ControlDeps, find, precondition, requireVersion } from './context.ts'
import type { Control, NodeSpecChange } from './types.ts'

type NodeControl = Pick<Control, 'node' | 'updateNode' | 'removeNode'>

export function nodeControl({ store }: ControlDeps): NodeControl {
  return {
    node: (text) => find('node', store.view().nodes, text),
    updateNode: (text, version, change) =>
      store.transact((tx) => {
        const node = find('node', tx.nodes, text)
        requireVersion(node, version)
        requireRoleAllowed(tx, node, change)
        const { name, labels, desiredRole, availability } = change
        return tx.nodes.update({ ...node, spec: { ...node.spec, name, labels, desiredRole, availability } })
      }),
    removeNode: (text, { force }) =>
      store.transact((tx) => {
        const node = find('node', tx.nodes, text)
        if (node.spec.desiredRole === 'manager' || node.role === 'manager') {
          throw precondition(
            `node ${node.id} is a cluster manager and is a member of the raft cluster. It must be demoted to worker before removal`,
          )
        }
        if (!force && node.status.state !== 'down') throw precondition(`node ${node.id} is not down and can't be removed`)
        tx.nodes.delete(node.id)
        return node.id
      }),
  }
}

function requireRoleAllowed(view: View, node: Node, change: NodeSpecChange): void {
  if (change.desiredRole === node.spec.desiredRole) return
  const managers = [...view.nodes.values()].filter((one) => one.spec.desiredRole === 'manager')
  if (change.desiredRole === 'worker' && managers.length <= 1) throw precondition('attempting to demote the last manager of the swarm')
  throw new ShoalError(
    'unimplemented',
    'changing the role of a node is not possible yet: several managers come with a later version of Shoal',
    {
      next: 'Let the node stay what it is',
    },
  )
}
