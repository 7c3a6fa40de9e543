// What a schema does with a value of a Compose file: bring it to the long form and check it, merge two of them, read it as typed data.
import type { Problems } from '../problems.ts'
import { isNull, list, type MapTree, scalar, type Tree } from '../tree.ts'

/** What values of one file are read with. */
export interface FileContext {
  readonly problems: Problems
  /** Makes a path of the file absolute: relative ones start at the project's folder, ~ is the user's home. */
  resolvePath(path: string): string
}

export interface Schema<T> {
  /** The value in its long form; undefined when it is wrong (which has been told) or says nothing. */
  normalize(tree: Tree, name: string, context: FileContext): Tree | undefined
  /** What an override makes of a value; both are in the long form. */
  merge(base: Tree, override: Tree): Tree
  /** The typed value of a tree in the long form. */
  read(tree: Tree): T
}

export type Infer<S> = S extends Schema<infer T> ? T : never

/** Applies !reset and !override, and leaves the rest to the schema. */
export function mergeWith(schema: Schema<unknown>, base: Tree, override: Tree): Tree {
  return override.tag === undefined ? schema.merge(base, override) : override
}

function describe(tree: Tree): string {
  if (tree.kind === 'map') return 'a mapping'
  if (tree.kind === 'list') return 'a list'
  if (tree.value === null) return 'nothing'
  return typeof tree.value === 'string' ? JSON.stringify(tree.value) : `the ${typeof tree.value} ${tree.value}`
}

export function wrongType(tree: Tree, name: string, expected: string, context: FileContext, advice?: string): undefined {
  context.problems.error(tree.at, name, `must be ${expected}, not ${describe(tree)}`, advice)
}

/** The text of a scalar that may be written as a number or a boolean. */
export function scalarText(tree: Tree): string | undefined {
  return tree.kind === 'scalar' && tree.value !== null ? String(tree.value) : undefined
}

function leaf<T>(normalize: Schema<T>['normalize'], read: (value: string | number | boolean | null) => T): Schema<T> {
  return {
    normalize: (tree, name, context) => (isNull(tree) ? undefined : normalize(tree, name, context)),
    merge: (_base, override) => override,
    read: (tree) => read(tree.kind === 'scalar' ? tree.value : null),
  }
}

export interface TextOptions {
  readonly oneOf?: readonly string[]
  /** Throws with the reason when the text is not good. */
  readonly check?: (text: string) => unknown
  /** true: numbers and booleans are as good as their texts. */
  readonly loose?: boolean
}

export function text({ oneOf, check, loose = false }: TextOptions = {}): Schema<string> {
  return leaf(
    (tree, name, context) => {
      const value = loose ? scalarText(tree) : tree.kind === 'scalar' && typeof tree.value === 'string' ? tree.value : undefined
      if (value === undefined) return wrongType(tree, name, 'a text', context, tree.kind === 'scalar' ? 'Put it into quotes' : undefined)
      if (oneOf && !oneOf.includes(value)) return wrongType(tree, name, `one of ${oneOf.join(', ')}`, context)
      return checked(tree, name, context, () => check?.(value)) ? { ...tree, kind: 'scalar', value } : undefined
    },
    (value) => String(value),
  )
}

function checked(tree: Tree, name: string, context: FileContext, check: () => unknown): boolean {
  try {
    check()
    return true
  } catch (error) {
    context.problems.error(tree.at, name, error instanceof Error ? error.message : String(error))
    return false
  }
}

export function path(): Schema<string> {
  return leaf(
    (tree, name, context) => {
      const value = scalarText(tree)
      if (value === undefined || value === '') return wrongType(tree, name, 'a path', context)
      return { ...tree, kind: 'scalar', value: context.resolvePath(value) }
    },
    (value) => String(value),
  )
}

export interface NumberOptions {
  readonly min?: number
  readonly max?: number
}

/** A number, also written as a text (variables put in texts). */
export function number({ min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY }: NumberOptions, whole: boolean): Schema<number> {
  const expected = whole ? 'a whole number' : 'a number'
  const range = min > Number.NEGATIVE_INFINITY ? (max < Number.POSITIVE_INFINITY ? ` from ${min} to ${max}` : ` of at least ${min}`) : ''
  return leaf(
    (tree, name, context) => {
      const written = tree.kind === 'scalar' && typeof tree.value !== 'boolean' ? scalarText(tree)?.trim() : undefined
      const value = written === undefined || !/^[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?$/i.test(written) ? Number.NaN : Number(written)
      const isGood = whole ? Number.isSafeInteger(value) : Number.isFinite(value)
      if (!isGood || value < min || value > max) return wrongType(tree, name, expected + range, context)
      return scalar(tree.at, value)
    },
    (value) => Number(value),
  )
}

export function int(options: NumberOptions = {}): Schema<number> {
  return number(options, true)
}

export function bool(): Schema<boolean> {
  return leaf(
    (tree, name, context) => {
      const value = scalarText(tree)?.toLowerCase()
      if (value !== undefined && /^(?:true|yes|y|on|1)$/.test(value)) return scalar(tree.at, true)
      if (value !== undefined && /^(?:false|no|n|off|0)$/.test(value)) return scalar(tree.at, false)
      return wrongType(tree, name, 'true or false', context)
    },
    (value) => value === true,
  )
}

/** A text that stands for a number, such as a duration or a size; stays as written until it is read. */
export function measured(parse: (text: string) => number, options: { plainNumbers: boolean; min?: number }): Schema<number> {
  return leaf(
    (tree, name, context) => {
      const isPlainNumber = tree.kind === 'scalar' && typeof tree.value === 'number'
      const value = scalarText(tree)
      if (value === undefined || (isPlainNumber && !options.plainNumbers)) {
        return wrongType(tree, name, 'a text with a unit', context, isPlainNumber ? `Write ${value}s for seconds` : undefined)
      }
      const check = () => {
        const parsed = parse(value)
        if (parsed < (options.min ?? Number.NEGATIVE_INFINITY)) throw new Error(`must not be less than ${options.min}`)
      }
      return checked(tree, name, context, check) ? { ...tree, kind: 'scalar', value } : undefined
    },
    (value) => parse(String(value)),
  )
}

/** Whatever it is: extensions and fields that are only passed on. */
export function anything(): Schema<Tree> {
  return {
    normalize: (tree) => tree,
    merge: (base, override) => (base.kind === 'map' && override.kind === 'map' ? mergeMaps(base, override, () => anything()) : override),
    read: (tree) => tree,
  }
}

/** The same schema, but an override takes the place of the whole value. */
export function replaced<T>(schema: Schema<T>): Schema<T> {
  return { ...schema, merge: (_base, override) => override }
}

export interface ListOptions {
  /** true: a single value is as good as a list of one. */
  readonly single?: boolean
  /** Items with the same key are one thing: the override's is merged into the base's. */
  readonly keyOf?: (item: Tree) => string
  /** One written item that stands for several, such as a range of ports. */
  readonly spread?: (item: Tree, name: string, context: FileContext) => readonly Tree[]
}

export function listOf<T>(item: Schema<T>, { single = false, keyOf, spread }: ListOptions = {}): Schema<readonly T[]> {
  return {
    normalize(tree, name, context) {
      if (isNull(tree)) return undefined
      const items = tree.kind === 'list' ? tree.items : single && tree.kind === 'scalar' ? [tree] : undefined
      if (!items) return wrongType(tree, name, 'a list', context)
      const normalized: Tree[] = []
      for (const [i, each] of items.entries()) {
        const itemName = `${name}[${i}]`
        for (const part of spread ? spread(each, itemName, context) : [each]) {
          const good = item.normalize(part, itemName, context)
          if (good) normalized.push(good)
        }
      }
      return { ...list(tree.at, normalized), ...(tree.tag ? { tag: tree.tag } : {}) }
    },
    merge(base, override) {
      if (base.kind !== 'list' || override.kind !== 'list') return override
      if (!keyOf) {
        const known = new Set(base.items.map(identity))
        return { ...base, items: [...base.items, ...override.items.filter((each) => !known.has(identity(each)))] }
      }
      const merged = new Map(base.items.map((each) => [keyOf(each), each]))
      for (const each of override.items) {
        const earlier = merged.get(keyOf(each))
        merged.set(keyOf(each), earlier ? item.merge(earlier, each) : each)
      }
      return { ...base, items: [...merged.values()] }
    },
    read: (tree) => (tree.kind === 'list' ? tree.items.map((each) => item.read(each)) : []),
  }
}

/** Saying the same again in an override adds nothing. */
function identity(tree: Tree): string {
  if (tree.kind === 'scalar') return JSON.stringify(tree.value)
  if (tree.kind === 'list') return `[${tree.items.map(identity).join()}]`
  return `{${[...tree.entries].map(([key, { value }]) => `${JSON.stringify(key)}:${identity(value)}`).join()}}`
}

export function mergeMaps(base: MapTree, override: MapTree, schemaOf: (key: string) => Schema<unknown>): MapTree {
  const entries = new Map(base.entries)
  for (const [key, entry] of override.entries) {
    const earlier = entries.get(key)
    if (entry.value.tag === 'reset') entries.delete(key)
    else entries.set(key, earlier ? { at: entry.at, value: mergeWith(schemaOf(key), earlier.value, entry.value) } : entry)
  }
  return { ...base, entries }
}
