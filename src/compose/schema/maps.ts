// Schemas of mappings: with names of the user's (networks), with fields of the specification's (a service), and lists of KEY=VALUE.
import { type Entry, isNull, type MapTree, scalar, type Tree } from '../tree.ts'
import { anything, type FileContext, type Infer, mergeMaps, type Schema, scalarText, wrongType } from './schema.ts'

const NAME = /^[a-zA-Z0-9._-]+$/

export interface MapOptions {
  /** Which names are good; by default those of the specification. */
  readonly keys?: RegExp
  /** A list of names is as good as a mapping: what each name maps to. */
  readonly fromList?: (item: Tree, name: string, context: FileContext) => readonly [key: string, value: Tree] | undefined
}

export function mapOf<T>(item: Schema<T>, { keys = NAME, fromList }: MapOptions = {}): Schema<ReadonlyMap<string, T>> {
  return {
    normalize(tree, name, context) {
      if (isNull(tree)) return undefined
      const map = tree.kind === 'list' && fromList ? mapFromList(tree, name, context, fromList) : tree
      if (map.kind !== 'map') return wrongType(tree, name, fromList ? 'a mapping or a list' : 'a mapping', context)
      const entries = new Map<string, Entry>()
      for (const [key, { at, value }] of map.entries) {
        const entryName = `${name}.${key}`
        if (key.startsWith('x-')) continue
        if (!keys.test(key))
          context.problems.error(at, entryName, key === '' ? 'the name is empty' : 'a name may only have letters, digits, dots, - and _')
        const good = value.tag === 'reset' ? value : item.normalize(value, entryName, context)
        if (good) entries.set(key, { at, value: withTag(good, value) })
      }
      return { ...map, entries }
    },
    merge: (base, override) => (base.kind === 'map' && override.kind === 'map' ? mergeMaps(base, override, () => item) : override),
    read: (tree) => new Map(tree.kind === 'map' ? [...tree.entries].map(([key, { value }]) => [key, item.read(value)]) : []),
  }
}

function withTag(good: Tree, written: Tree): Tree {
  return written.tag && !good.tag ? { ...good, tag: written.tag } : good
}

function mapFromList(
  tree: Extract<Tree, { kind: 'list' }>,
  name: string,
  context: FileContext,
  fromList: NonNullable<MapOptions['fromList']>,
): MapTree {
  const entries = new Map<string, Entry>()
  for (const [i, item] of tree.items.entries()) {
    const pair = fromList(item, `${name}[${i}]`, context)
    if (pair) entries.set(pair[0], { at: item.at, value: pair[1] })
  }
  return { kind: 'map', at: tree.at, entries, ...(tree.tag ? { tag: tree.tag } : {}) }
}

/** A list of names as a mapping from each to nothing in particular. */
export function names(item: Tree, name: string, context: FileContext): readonly [string, Tree] | undefined {
  const key = scalarText(item)
  return key === undefined ? wrongType(item, name, 'a name', context) : [key, { kind: 'map', at: item.at, entries: new Map() }]
}

/**
 * `KEY: value` or a list of `KEY=value`. Numbers and booleans are as good as their texts; `bare` says what a key without a value has: null for variables
 * that come from the environment, '' for labels.
 */
export function dictionary(bare: null | '', separators = '='): Schema<ReadonlyMap<string, string | null>> {
  const item: Schema<string | null> = {
    normalize(tree, name, context) {
      if (isNull(tree)) return scalar(tree.at, bare)
      const value = scalarText(tree)
      return value === undefined ? wrongType(tree, name, 'a text, a number or nothing', context) : { ...tree, kind: 'scalar', value }
    },
    merge: (_base, override) => override,
    read: (tree) => (tree.kind === 'scalar' && tree.value !== null ? String(tree.value) : null),
  }
  const split = (text: string): number => {
    const found = [...separators].map((separator) => text.indexOf(separator)).filter((index) => index >= 0)
    return found.length > 0 ? Math.min(...found) : -1
  }
  return mapOf(item, {
    keys: /./s,
    fromList(each, name, context) {
      const written = scalarText(each)
      if (written === undefined) return wrongType(each, name, 'KEY=VALUE', context)
      const index = split(written)
      return index < 0 ? [written, scalar(each.at, null)] : [written.slice(0, index), scalar(each.at, written.slice(index + 1))]
    },
  })
}

export type Fields = Readonly<Record<string, Schema<unknown>>>
export type ObjectOf<F extends Fields> = { readonly [K in keyof F]?: Infer<F[K]> }

export interface ObjectOptions {
  /** The long form of a short one; undefined when it is wrong, which it tells. */
  readonly short?: (tree: Tree, name: string, context: FileContext) => Tree | undefined
  readonly required?: readonly string[]
  /** true: nothing at all (`front:`) is an object without fields. */
  readonly empty?: boolean
}

const EXTENSION = anything()

/** A mapping with known fields; x- fields may stand everywhere and are kept. */
export function object<F extends Fields>(fields: F, { short, required = [], empty = false }: ObjectOptions = {}): Schema<ObjectOf<F>> {
  const schemaOf = (key: string): Schema<unknown> | undefined => (Object.hasOwn(fields, key) ? fields[key] : undefined)
  return {
    normalize(tree, name, context) {
      if (isNull(tree)) return empty ? { kind: 'map', at: tree.at, entries: new Map() } : undefined
      const long = tree.kind === 'map' ? tree : short?.(tree, name, context)
      if (!long && short) return undefined
      if (long?.kind !== 'map') return wrongType(tree, name, 'a mapping', context)
      const entries = new Map<string, Entry>()
      for (const [key, { at, value }] of long.entries) {
        const entryName = name ? `${name}.${key}` : key
        const schema = key.startsWith('x-') ? EXTENSION : schemaOf(key)
        if (!schema) {
          context.problems.error(at, entryName, 'there is no such field', suggestion(key, Object.keys(fields)))
          continue
        }
        const good = value.tag === 'reset' ? value : schema.normalize(value, entryName, context)
        if (good) entries.set(key, { at, value: withTag(good, value) })
      }
      for (const key of required) {
        const isMissing = !entries.has(key) && !long.entries.has(key)
        if (isMissing) context.problems.error(tree.at, name, `${key} is missing`)
      }
      return { ...long, entries }
    },
    merge: (base, override) =>
      base.kind === 'map' && override.kind === 'map' ? mergeMaps(base, override, (key) => schemaOf(key) ?? EXTENSION) : override,
    read(tree) {
      const values: Record<string, unknown> = {}
      if (tree.kind !== 'map') return values as ObjectOf<F>
      for (const [key, { value }] of tree.entries) {
        const schema = schemaOf(key)
        if (schema && value.tag !== 'reset') values[key] = schema.read(value)
      }
      return values as ObjectOf<F>
    },
  }
}

/** `Did you mean "image"?` for a field that is nearly another. */
function suggestion(key: string, known: readonly string[]): string {
  const wanted = key.toLowerCase().replaceAll('-', '_')
  let best: string | undefined
  let bestDistance = Math.min(3, Math.ceil(wanted.length / 3)) + 1
  for (const candidate of known) {
    const distance = candidate === wanted ? 0 : editDistance(wanted, candidate, bestDistance)
    if (distance < bestDistance) {
      best = candidate
      bestDistance = distance
    }
  }
  return best === undefined ? 'Fields of your own begin with x-' : `Did you mean ${best}?`
}

/** How many letters differ; `limit` when it is at least as many. */
function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) >= limit) return limit
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i]
    for (let j = 1; j <= b.length; j += 1) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1
      next.push(Math.min((next[j - 1] as number) + 1, (row[j] as number) + 1, (row[j - 1] as number) + cost))
    }
    row = next
  }
  return Math.min(limit, row.at(-1) as number)
}
