// What people may change on nodes, and when a node may be removed.
import { type Instant, MINUTE_MS, ShoalError } from '../../lib/index.ts'
import { type Node, validateDrainDeadline } from '../../model/index.ts'
import type { View } from '../../store/index.ts'
import { type ControlDeps, find, precondition, requireVersion } from './context.ts'
import type { Control, NodeSpecChange, UpdateNodeOptions } from './types.ts'

type NodeControl = Pick<Control, 'node' | 'updateNode' | 'removeNode'>

export function nodeControl({ store }: ControlDeps): NodeControl {
  return {
    node: (text) => find('node', store.view().nodes, text),
    updateNode: (text, version, change, options = {}) =>
      store.transact((tx) => {
        const node = find('node', tx.nodes, text)
        // what changed beside the spec since the caller has read it is none of his business
        if (node.specIndex === undefined || version < node.specIndex || version > node.version) requireVersion(node, version)
        requireRoleAllowed(tx, node, change)
        const { name, labels, desiredRole, availability } = change
        validateDrainDeadline(labels)
        const { drain: _ended, ...rest } = node
        const drain = drainOf(node, change, options, tx.now)
        return tx.nodes.update({
          ...rest,
          spec: { ...node.spec, name, labels, desiredRole, availability },
          specIndex: tx.seq,
          ...(drain ? { drain } : {}),
        })
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

const MAX_DRAIN_MS = 24 * 60 * MINUTE_MS

/** Since when the node is drained: another word on the deadline counts from the beginning too. */
function drainOf(node: Node, { availability }: NodeSpecChange, { drainDeadlineMs }: UpdateNodeOptions, now: Instant): Node['drain'] {
  if (drainDeadlineMs !== undefined && availability !== 'drain')
    throw new ShoalError('invalid-argument', 'a drain deadline is for nodes that are drained', {
      next: 'set the availability to drain, too',
    })
  if (drainDeadlineMs !== undefined && !(drainDeadlineMs >= 0 && drainDeadlineMs <= MAX_DRAIN_MS))
    throw new ShoalError('invalid-argument', 'the drain deadline is not valid', {
      next: 'give a duration of at most 24h, such as 10m or 0',
    })
  if (availability !== 'drain') return undefined
  const since = node.spec.availability === 'drain' ? (node.drain?.since ?? now) : now
  const deadlineMs = drainDeadlineMs ?? node.drain?.deadlineMs
  return deadlineMs === undefined ? { since } : { since, deadlineMs }
}

function requireRoleAllowed(view: View, node: Node, change: NodeSpecChange): void {
  if (change.desiredRole === node.spec.desiredRole) return
  const managers = [...view.nodes.values()].filter((one) => one.spec.desiredRole === 'manager')
  if (change.desiredRole === 'worker' && managers.length <= 1) throw precondition('attempting to demote the last manager of the swarm')
  if (change.desiredRole === 'manager') {
    if (node.agent === 'stock')
      throw precondition(
        `node ${node.id} is a stock Docker Engine: it can be a worker of this swarm only; run shoald on it to make it a manager`,
      )
    return
  }
  requireQuorumWithout(managers, node)
}

/** A group that would lose its majority is not made smaller: then nobody could change anything any more. */
function requireQuorumWithout(managers: readonly Node[], node: Node): void {
  if (!node.managerStatus) return // it takes no part in the group
  const rest = managers.filter(({ id, managerStatus }) => id !== node.id && managerStatus !== undefined)
  if (rest.length === 0) throw precondition('attempting to demote the last manager of the swarm')
  const reachable = rest.filter(({ managerStatus }) => managerStatus?.reachability === 'reachable').length
  const needed = Math.floor(rest.length / 2) + 1
  if (reachable >= needed) return
  throw precondition(
    `can't demote node ${node.id}: of the ${rest.length} managers left ${reachable} would be reachable, and ${needed} are needed: this would result in a loss of quorum`,
  )
}
