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
  const remade = new Set<string>() // VXLAN devices that are made anew
  for (const key of keys) {
    const before = from.get(key)
    const after = to.get(key)
    if (after && !(before && sameObject(before, after))) {
      puts.push({ op: 'put', object: after, before })
      if (before?.kind === 'vxlan' && after.kind === 'vxlan' && !sameTunnel(before, after)) remade.add(after.name)
    } else if (before && !after) {
      deletes.push({ op: 'delete', object: before, late: before.kind === 'element' && INDEXED_MAPS.has(before.set) })
    }
  }
  if (remade.size > 0) {
    for (const [key, object] of to) {
      const before = from.get(key)
      if (object.kind === 'fdb' && remade.has(object.device) && before && sameObject(before, object)) puts.push({ op: 'put', object })
    }
  }
  return [...puts, ...deletes]
}

/** What a list of changes leaves of `state`. */
export function applyChanges(state: ReadonlyMap<string, KernelObject>, changes: readonly KernelChange[]): Map<string, KernelObject> {
  const result = new Map(state)
  for (const change of changes) {
    if (change.op === 'put') result.set(keyOf(change.object), change.object)
    else if (change.op === 'delete') result.delete(keyOf(change.object))
  }
  return result
}
