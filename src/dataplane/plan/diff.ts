// The changes that lead from one kernel state to another.
import { type KernelChange, type KernelObject, keyOf, sameObject, sameTunnel } from '../../ports/index.ts'
import { INDEXED_MAPS } from './rules.ts'

/** Changes from `from` to `to`, for the given keys or for all. Objects that a change of their device would take along are put again. */
export function diff(
  from: ReadonlyMap<string, KernelObject>,
  to: ReadonlyMap<string, KernelObject>,
  keys: Iterable<string> = new Set([...from.keys(), ...to.keys()]),
): KernelChange[] {
  const puts: KernelChange[] = []
  const deletes: KernelChange[] = []
  const emptied = new Set<string>() // devices whose entries the kernel throws away with the change
  for (const key of keys) {
    const before = from.get(key)
    const after = to.get(key)
    if (after && !(before && sameObject(before, after))) {
      puts.push({ op: 'put', object: after, before })
      if (before?.kind === 'vxlan' && after.kind === 'vxlan' && !sameTunnel(before, after)) emptied.add(after.name)
      // a new MAC flushes all neighbour entries, permanent ones too
      if (before?.kind === 'bridge' && after.kind === 'bridge' && before.mac !== after.mac) emptied.add(after.name)
    } else if (before && !after) {
      deletes.push({ op: 'delete', object: before, late: before.kind === 'element' && INDEXED_MAPS.has(before.set) })
    }
  }
  if (emptied.size > 0) {
    for (const [key, object] of to) {
      if ((object.kind !== 'fdb' && object.kind !== 'neighbour') || !emptied.has(object.device)) continue
      const before = from.get(key)
      if (before && sameObject(before, object)) puts.push({ op: 'put', object })
    }
  }
  return [...puts, ...deletes]
}

/** Brings `state` to what a list of changes leaves of it. */
export function applyChanges(state: Map<string, KernelObject>, changes: readonly KernelChange[]): void {
  for (const change of changes) {
    if (change.op === 'put') state.set(keyOf(change.object), change.object)
    else if (change.op === 'delete') state.delete(keyOf(change.object))
  }
}
