// nftables as text: transactions for `nft -f -` from changes, and objects from a listing.
import { createHash } from 'node:crypto'
import { type ElementObject, type KernelChange, keyOf, type TableObject } from '../../ports/index.ts'

const ELEMENTS_PER_COMMAND = 200

/** The transactions for the nftables part of a list of changes: at most two, the second with the late deletes. */
export function nftTransactions(changes: readonly KernelChange[], knownChains: ReadonlyMap<string, readonly string[]>): string[] {
  const tables: string[] = []
  const goneTables = new Set<string>()
  const newTables = new Set<string>()
  const drop = new Map<string, string[]>()
  const dropLate = new Map<string, string[]>()
  const add = new Map<string, string[]>()
  for (const change of changes) {
    if (change.op !== 'put' && change.op !== 'delete') continue
    const { object } = change
    if (object.kind === 'table') {
      const name = `${object.family} ${object.name}`
      if (change.op === 'delete') goneTables.add(name)
      else {
        if (!change.before) newTables.add(name)
        tables.push(tableCommands(object, knownChains.get(keyOf(object)) ?? []))
      }
    }
  }
  for (const change of changes) {
    if ((change.op !== 'put' && change.op !== 'delete') || change.object.kind !== 'element') continue
    const { object } = change
    const table = `${object.family} ${object.table}`
    const set = `${table} ${object.set}`
    if (change.op === 'put') {
      // an element with another value has to go first; both happen in one transaction
      if (change.before && !newTables.has(table)) collect(drop, set, object.key)
      collect(add, set, object.value === '' ? object.key : `${object.key} : ${object.value}`)
    } else if (!goneTables.has(table)) {
      collect(change.late ? dropLate : drop, set, object.key)
    }
  }
  const gone = [...goneTables].map((name) => `delete table ${name}\n`)
  const first = [...gone, ...tables, ...elementCommands('delete', drop), ...elementCommands('add', add)].join('')
  const second = [...elementCommands('delete', dropLate)].join('')
  return [first, second].filter((text) => text !== '')
}

/** Makes the constant part of a table what it should be, in one transaction and with all elements kept. */
function tableCommands(table: TableObject, knownChains: readonly string[]): string {
  const at = `${table.family} ${table.name}`
  const wanted = new Set(table.chains.map((chain) => chain.name))
  const lines = [`add table ${at}`]
  for (const set of table.sets) lines.push(`add ${set.kind} ${at} ${set.name} { ${set.type}; }`)
  for (const chain of table.chains) lines.push(`add chain ${at} ${chain.name}${chain.hook ? ` { ${chain.hook} }` : ''}`)
  lines.push(`flush table ${at}`) // rules only
  for (const chain of table.chains) for (const rule of chain.rules) lines.push(`add rule ${at} ${chain.name} ${rule}`)
  for (const chain of knownChains) if (!wanted.has(chain) && !isCountChain(chain)) lines.push(`delete chain ${at} ${chain}`)
  return `${lines.join('\n')}\n`
}

/** Chains that are made by number of endpoints stay when fewer are wanted: elements that are on their way out still lead to them. */
function isCountChain(name: string): boolean {
  return /^[a-z]+\d+$/.test(name)
}

function collect(map: Map<string, string[]>, set: string, element: string): void {
  const list = map.get(set)
  if (list) list.push(element)
  else map.set(set, [element])
}

function* elementCommands(verb: 'add' | 'delete', sets: ReadonlyMap<string, readonly string[]>): Generator<string> {
  for (const [set, elements] of sets) {
    for (let i = 0; i < elements.length; i += ELEMENTS_PER_COMMAND) {
      yield `${verb} element ${set} { ${elements.slice(i, i + ELEMENTS_PER_COMMAND).join(', ')} }\n`
    }
  }
}

export interface TableListing {
  readonly elements: readonly ElementObject[]
  readonly chains: readonly string[]
  /** Hash of everything but the elements, as the kernel tells it. */
  readonly print: string
}

/** Parses `nft -nn -s list table`. */
export function parseTable(family: TableObject['family'], table: string, text: string): TableListing {
  const elements: ElementObject[] = []
  const chains: string[] = []
  const hash = createHash('sha256')
  let set = ''
  let body: string[] | undefined // elements of the set, collected over its lines
  for (const line of text.split('\n')) {
    if (body === undefined) {
      const opening = /^\t(set|map|chain) (\S+) \{$/.exec(line)
      if (opening) {
        set = opening[1] === 'chain' ? '' : opening[2]!
        if (opening[1] === 'chain') chains.push(opening[2]!)
      }
      const start = set !== '' ? /^\t\telements = \{ (.*)$/.exec(line) : null
      if (!start) {
        hash.update(`${line}\n`)
        continue
      }
      body = [start[1]!]
    } else {
      body.push(line.trim())
    }
    if (!line.endsWith('}')) continue
    for (const item of body.join(' ').slice(0, -1).split(',')) elements.push(elementOf(family, table, set, item.trim()))
    body = undefined
  }
  return { elements, chains, print: hash.digest('hex') }
}

function elementOf(family: TableObject['family'], table: string, set: string, item: string): ElementObject {
  const colon = item.indexOf(' : ') // MACs have colons too, but no blanks around them
  const key = colon < 0 ? item : item.slice(0, colon)
  return { kind: 'element', family, table, set, key, value: colon < 0 ? '' : item.slice(colon + 3) }
}
