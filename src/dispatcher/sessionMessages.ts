// What a node is told about itself and its managers, computed from the store.

import type { NodeId } from '../lib/index.ts'
import { ShoalError } from '../lib/index.ts'
import type { Change, View } from '../store/index.ts'
import type { SessionUpdate } from '../wire/index.ts'

const DEFAULT_DATA_PATH_PORT = 4789

/** Addresses of the live managers. `self` counts as long as the store names none: the list must never be empty (wire-protocol 6.1). */
export class ManagerList {
  readonly #ids = new Set<NodeId>()
  readonly #self: () => { readonly nodeId: string; readonly address: string } | undefined

  constructor(self: () => { readonly nodeId: string; readonly address: string } | undefined) {
    this.#self = self
  }

  load(view: View): void {
    for (const node of view.nodes.values()) if (node.managerStatus) this.#ids.add(node.id)
  }

  /** Whether the list may have changed. */
  changed(change: Change): boolean {
    if (change.table !== 'node') return false
    if (change.before?.managerStatus === change.after?.managerStatus) return false
    if (change.after?.managerStatus) this.#ids.add(change.id)
    else this.#ids.delete(change.id)
    return true
  }

  list(view: View): SessionUpdate['managers'] {
    const managers: { nodeId: string; address: string }[] = []
    for (const id of this.#ids) {
      const status = view.nodes.get(id)?.managerStatus
      if (status?.address && status.reachability !== 'unreachable') managers.push({ nodeId: id, address: status.address })
    }
    const self = this.#self()
    if (managers.length === 0 && self) managers.push(self)
    return managers
  }
}

/** Throws 'not-found' when the node is gone, 'unavailable' before the cluster is there. */
export function sessionUpdate(view: View, nodeId: NodeId, sessionId: string, managers: SessionUpdate['managers']): SessionUpdate {
  const { cluster } = view
  const node = view.nodes.get(nodeId)
  if (!cluster) throw new ShoalError('unavailable', 'the cluster is not ready yet')
  if (!node) throw new ShoalError('not-found', `node ${nodeId} was removed from the cluster`)
  return {
    sessionId,
    node: {
      id: node.id,
      name: node.spec.name,
      labels: node.spec.labels,
      availability: node.spec.availability,
      // A stock engine that was told to be a manager would try Raft.
      desiredRole: node.agent === 'stock' ? 'worker' : node.spec.desiredRole,
      role: node.role,
      rotateCertificate: node.certificate.state === 'rotate',
      attachments: [],
      dataPathPort: cluster.dataPathPort || DEFAULT_DATA_PATH_PORT,
    },
    managers,
    // Gossip is stock engines' business; ours have the mesh stream.
    networkKeys: node.agent === 'stock' ? cluster.networkKeys : [],
    rootCaPem: cluster.rootCaPem,
  }
}

/** Whether a change of the store can change the message to any node, or to one. */
export function sessionsConcerned(change: Change): 'all' | NodeId | undefined {
  if (change.table === 'cluster') {
    const { before, after } = change
    const same =
      before?.rootCaPem === after?.rootCaPem && before?.networkKeys === after?.networkKeys && before?.dataPathPort === after?.dataPathPort
    return same ? undefined : 'all'
  }
  if (change.table !== 'node' || !change.after || !change.before) return undefined
  const { before, after } = change
  const same =
    before.spec === after.spec && before.role === after.role && before.certificate === after.certificate && before.agent === after.agent
  return same ? undefined : after.id
}
