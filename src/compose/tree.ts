// The content of Compose files as a tree in which every value knows its place.
import type { Place } from './problems.ts'

/** `!reset` takes a value of an earlier file away, `!override` puts the new value in place of it instead of merging. */
export type Tag = 'reset' | 'override'

export type Scalar = string | number | boolean | null

export interface ScalarTree {
  readonly kind: 'scalar'
  readonly at: Place
  readonly value: Scalar
  readonly tag?: Tag
}

export interface ListTree {
  readonly kind: 'list'
  readonly at: Place
  readonly items: readonly Tree[]
  readonly tag?: Tag
}

export interface Entry {
  /** Where the key stands. */
  readonly at: Place
  readonly value: Tree
}

export interface MapTree {
  readonly kind: 'map'
  readonly at: Place
  readonly entries: ReadonlyMap<string, Entry>
  readonly tag?: Tag
}

export type Tree = ScalarTree | ListTree | MapTree

/** A tree as plain data, as JSON and YAML know it. */
export type Plain = Scalar | Plain[] | { [key: string]: Plain }

export function scalar(at: Place, value: Scalar): ScalarTree {
  return { kind: 'scalar', at, value }
}

export function list(at: Place, items: readonly Tree[]): ListTree {
  return { kind: 'list', at, items }
}

/** A map from values that stand where `at` is; undefined ones are left out. */
export function mapOfTrees(at: Place, values: Readonly<Record<string, Tree | undefined>>): MapTree {
  const entries = new Map<string, Entry>()
  for (const [key, value] of Object.entries(values)) if (value) entries.set(key, { at: value.at, value })
  return { kind: 'map', at, entries }
}

export function isNull(tree: Tree): boolean {
  return tree.kind === 'scalar' && tree.value === null
}

/** The value at a path of keys, if there is one. */
export function child(tree: Tree | undefined, ...path: readonly string[]): Tree | undefined {
  let found = tree
  for (const key of path) found = found?.kind === 'map' ? found.entries.get(key)?.value : undefined
  return found
}

/** The keys and values of the map at a path. */
export function childEntries(tree: Tree | undefined, ...path: readonly string[]): [string, Entry][] {
  const found = child(tree, ...path)
  return found?.kind === 'map' ? [...found.entries] : []
}

export function withEntry(map: MapTree, key: string, value: Tree): MapTree {
  const entries = new Map(map.entries)
  entries.set(key, { at: map.entries.get(key)?.at ?? value.at, value })
  return { ...map, entries }
}

export function withoutEntry(map: MapTree, key: string): MapTree {
  const entries = new Map(map.entries)
  entries.delete(key)
  return { ...map, entries }
}

export function toPlain(tree: Tree): Plain {
  if (tree.kind === 'scalar') return tree.value
  if (tree.kind === 'list') return tree.items.map(toPlain)
  // No prototype: a key such as __proto__ is a key like any other.
  const plain = Object.create(null) as { [key: string]: Plain }
  for (const [key, { value }] of tree.entries) plain[key] = toPlain(value)
  return plain
}

/** The place nearest to a path of keys and indexes: of the key itself, or of the innermost thing on the way that exists. */
export function placeOf(tree: Tree, path: readonly (string | number)[]): Place {
  let at = tree.at
  let found: Tree | undefined = tree
  for (const step of path) {
    if (found?.kind === 'map') {
      const entry: Entry | undefined = found.entries.get(String(step))
      if (!entry) return at
      at = entry.at
      found = entry.value
    } else if (found?.kind === 'list' && typeof step === 'number') {
      found = found.items[step]
      if (!found) return at
      at = found.at
    } else return at
  }
  return at
}
