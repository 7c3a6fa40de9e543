// `self`: the node that the daemon itself is.
import type { ApiClient } from '../../client/index.ts'
import { ShoalError } from '../../lib/index.ts'

/** The reference as it stands, or for `self` the id of the daemon's own node. */
export async function nodeReference(client: ApiClient, reference: string): Promise<string> {
  if (reference !== 'self') return reference
  const { Swarm } = await client.info()
  if (!Swarm?.NodeID) {
    // The daemon knows best why there is no node id; ask it in a way that makes it say so.
    await client.nodes()
    throw new ShoalError('failed-precondition', 'node ID not found in /info')
  }
  return Swarm.NodeID
}
