// Reads YAML into trees with places: anchors, merge keys, the tags !reset and !override; scalars as Go's YAML reader (and so docker) understands them.
import { type Document, isAlias, isMap, isScalar, isSeq, LineCounter, type Node, type Pair, parseAllDocuments, stringify } from 'yaml'
import { errorText } from '../lib/index.ts'
import type { Place, Problems } from './problems.ts'
import { type Entry, list, type MapTree, type Plain, type Scalar, scalar, type Tag, type Tree } from './tree.ts'

const MAX_BYTES = 8 * 1024 * 1024
/** Values of one file with all its aliases spelled out: what a file of nested anchors could blow up is refused. */
const MAX_VALUES = 200_000
const MAX_DEPTH = 200
const TAGS: Readonly<Record<string, Tag>> = { '!reset': 'reset', '!override': 'override' }

/** The documents of a file, one tree each; broken YAML is told to `problems` and gives none. */
export function parseYaml(file: string, text: string, problems: Problems): Tree[] {
  const lines = new LineCounter()
  const placeAt = (offset: number | undefined): Place => {
    const { line, col } = lines.linePos(offset ?? 0)
    return { file, line: Math.max(1, line), column: Math.max(1, col) }
  }
  if (Buffer.byteLength(text) > MAX_BYTES) {
    problems.error(placeAt(0), '', `the file is larger than ${MAX_BYTES / 1024 / 1024} MiB`, 'Is it a Compose file at all?')
    return []
  }
  let documents: readonly Document.Parsed[]
  try {
    const parsed = parseAllDocuments(text, {
      version: '1.2',
      schema: 'failsafe',
      lineCounter: lines,
      prettyErrors: false,
      uniqueKeys: false,
    })
    documents = 'empty' in parsed ? [] : parsed
  } catch (error) {
    // The parser recurses with the nesting of the file.
    problems.error(placeAt(0), '', error instanceof RangeError ? 'the file is nested too deeply' : errorText(error))
    return []
  }
  const trees: Tree[] = []
  for (const document of documents) {
    for (const error of document.errors) problems.error(placeAt(error.pos[0]), '', lowerFirst(error.message))
    if (document.errors.length > 0 || !document.contents) continue
    const builder = new Builder(document, placeAt, problems)
    const tree = builder.build(document.contents, 0)
    if (tree && !(tree.kind === 'scalar' && tree.value === null)) trees.push(tree)
  }
  return trees
}

/** Plain data as YAML, keys in the order given. */
export function formatYaml(plain: Plain): string {
  return stringify(plain, { lineWidth: 0, aliasDuplicateObjects: false })
}

class Builder {
  readonly #document: Document.Parsed
  readonly #placeAt: (offset: number | undefined) => Place
  readonly #problems: Problems
  readonly #open = new Set<Node>()
  #values = 0

  constructor(document: Document.Parsed, placeAt: (offset: number | undefined) => Place, problems: Problems) {
    this.#document = document
    this.#placeAt = placeAt
    this.#problems = problems
  }

  build(node: Node | null | undefined, depth: number, at = this.#placeAt(node?.range?.[0])): Tree | undefined {
    if (this.#values > MAX_VALUES || depth > MAX_DEPTH) return undefined
    this.#values += 1
    if (this.#values > MAX_VALUES) {
      this.#problems.error(at, '', `the file has more than ${MAX_VALUES} values with its aliases spelled out`)
      return undefined
    }
    if (depth === MAX_DEPTH) {
      this.#problems.error(at, '', `the file is nested more than ${MAX_DEPTH} levels deep`)
      return undefined
    }
    if (!node) return scalar(at, null)
    if (isAlias(node)) return this.#alias(node, depth, at)
    const tag = node.tag === undefined ? undefined : TAGS[node.tag]
    const tree = isScalar(node)
      ? scalar(at, scalarValue(node.value, node.type, node.tag))
      : isSeq(node)
        ? list(
            at,
            node.items.map((item) => this.build(item as Node, depth + 1)).filter((item) => item !== undefined),
          )
        : isMap(node)
          ? this.#map(node.items as Pair<Node, Node | null>[], at, depth)
          : scalar(at, null)
    return tag ? { ...tree, tag } : tree
  }

  #alias(node: Node, depth: number, at: Place): Tree | undefined {
    const target = isAlias(node) ? node.resolve(this.#document) : undefined
    if (!target || this.#open.has(target)) {
      const name = isAlias(node) ? node.source : ''
      this.#problems.error(at, '', target ? `the alias *${name} contains itself` : `there is no anchor &${name} before this alias`)
      return undefined
    }
    this.#open.add(target)
    // What an alias brings stands, for whoever reads an error, where the anchor is.
    const tree = this.build(target, depth + 1)
    this.#open.delete(target)
    return tree
  }

  #map(pairs: readonly Pair<Node, Node | null>[], at: Place, depth: number): MapTree {
    const entries = new Map<string, Entry>()
    const merged: MapTree[] = []
    for (const { key, value } of pairs) {
      const keyAt = this.#placeAt(key?.range?.[0])
      if (!isScalar(key)) {
        this.#problems.error(keyAt, '', 'a key must be a plain name')
        continue
      }
      const name = String(key.value ?? '')
      const tree = this.build(value, depth + 1, value?.range ? undefined : keyAt)
      if (!tree) continue
      if (name === '<<' && key.type === 'PLAIN') merged.push(...this.#merged(tree, keyAt))
      else if (entries.has(name)) this.#problems.error(keyAt, name, `the key is there twice`, 'Keep one of the two')
      else entries.set(name, { at: keyAt, value: tree })
    }
    for (const map of merged) for (const [name, entry] of map.entries) if (!entries.has(name)) entries.set(name, entry)
    return { kind: 'map', at, entries }
  }

  /** The maps that a merge key brings; earlier ones win. */
  #merged(tree: Tree, at: Place): MapTree[] {
    if (tree.kind === 'map') return [tree]
    if (tree.kind === 'list' && tree.items.every((item) => item.kind === 'map')) return tree.items as MapTree[]
    this.#problems.error(at, '<<', 'a merge key needs a mapping or a list of mappings')
    return []
  }
}

/** YAML 1.2 with the octal numbers of 1.1 (`0444`), as Go's reader resolves plain scalars; yes, no and 22:22 are strings. */
function scalarValue(value: unknown, type: string | undefined, tag: string | undefined): Scalar {
  const text = String(value ?? '')
  const isQuoted = type !== undefined && type !== 'PLAIN'
  if (isQuoted || tag === 'tag:yaml.org,2002:str') return text
  if (/^(?:|~|null|Null|NULL)$/.test(text)) return null
  if (/^(?:true|True|TRUE)$/.test(text)) return true
  if (/^(?:false|False|FALSE)$/.test(text)) return false
  const octal = /^([-+]?)0o?([0-7]+)$/.exec(text)
  if (octal) return sign(octal[1]) * Number.parseInt(octal[2] as string, 8)
  const based = /^([-+]?)(0x[0-9a-fA-F]+|0b[01]+)$/.exec(text)
  if (based) return sign(based[1]) * Number(based[2])
  if (/^[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?$/.test(text)) {
    const number = Number(text)
    // Digits that a number cannot hold stay as they were written.
    return /^[-+]?\d+$/.test(text) && !Number.isSafeInteger(number) ? text : number
  }
  return text
}

function sign(text: string | undefined): 1 | -1 {
  return text === '-' ? -1 : 1
}

function lowerFirst(text: string): string {
  return text.slice(0, 1).toLowerCase() + text.slice(1)
}
