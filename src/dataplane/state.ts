// Folds updates of the mesh stream into the mesh state, keeping the identity of everything that did not change.
import { ShoalError } from '../lib/index.ts'
import type { MeshState, MeshUpdate } from './types.ts'

export const emptyMeshState: MeshState = { version: 0n, peers: new Map(), networks: new Map(), services: new Map(), endpoints: new Map() }

/** The state after `update`. Throws ShoalError 'out-of-range' when a delta does not fit on `state`: the caller has to ask for a snapshot. */
export function applyMeshUpdate(state: MeshState, update: MeshUpdate): MeshState {
  if (!update.snapshot && update.base !== state.version) {
    throw new ShoalError(
      'out-of-range',
      `mesh update ${update.version} builds on version ${update.base}, but this node has ${state.version}`,
      {
        next: 'reconnect and take a snapshot',
      },
    )
  }
  const from = update.snapshot ? emptyMeshState : state
  return {
    version: update.version,
    peers: fold(from.peers, update.peers, (peer) => peer.nodeId, update.gonePeers),
    networks: fold(from.networks, update.networks, (network) => network.id, update.goneNetworks),
    services: fold(from.services, update.services, (service) => service.id, update.goneServices),
    endpoints: fold(from.endpoints, update.endpoints, (endpoint) => endpoint.taskId, update.goneEndpoints),
  }
}

function fold<T>(
  from: ReadonlyMap<string, T>,
  changed: readonly T[],
  id: (item: T) => string,
  gone: readonly string[],
): ReadonlyMap<string, T> {
  if (changed.length === 0 && gone.length === 0) return from
  const result = new Map(from)
  for (const key of gone) result.delete(key)
  for (const item of changed) result.set(id(item), item)
  return result
}
