// Which tables there are, which lists each keeps, and the typed reads and writes over them.
import type { Instant, NetworkId, NodeId, ServiceId } from '../lib/index.ts'
import { ShoalError } from '../lib/index.ts'
import { type Cluster, compactTask, type Meta, type Node, type SharedTexts, type Task } from '../model/index.ts'
import { type Draft, type Identified, type Keys, Table } from './table.ts'
import type {
  Fresh,
  NamedReadTable,
  NodeReadTable,
  ReadTable,
  SpecRevisionReadTable,
  TableName,
  Tables,
  TaskReadTable,
  Writes,
} from './types.ts'

type Named = Identified & { readonly spec: { readonly name: string } }

/** Names are compared without regard to case, as SwarmKit does. */
const nameKey = (name: string): string => name.toLowerCase()
const byNameKey = (object: Named): string | undefined => (object.spec.name === '' ? undefined : nameKey(object.spec.name))

// biome-ignore lint/suspicious/noExplicitAny: heterogenous by nature; the typed faces below give the types back
type AnyKeys = Keys<any>
const NAME = 0

export const TABLE_KEYS: Record<TableName, AnyKeys> = {
  cluster: { lists: [] },
  node: { lists: [byNameKey, (node: Node) => (node.description ? nameKey(node.description.hostname) : undefined)] },
  service: { lists: [byNameKey] },
  specRevision: { lists: [(revision: Tables['specRevision']) => revision.serviceId] },
  task: { lists: [(task: Task) => task.serviceId, (task: Task) => task.nodeId], slotOf: (task: Task) => task.slot },
  network: { lists: [byNameKey] },
  secret: { lists: [byNameKey] },
  config: { lists: [byNameKey] },
  rollout: { lists: [] },
  addressHold: { lists: [(hold: Tables['addressHold']) => hold.networkId] },
}
export const TABLE_NAMES = Object.keys(TABLE_KEYS) as TableName[]

/** Tables in which no two objects may have the same name. */
const UNIQUE_NAMES: ReadonlySet<TableName> = new Set<TableName>(['service', 'network', 'secret', 'config'])

/** What Table and Draft have in common. */
export interface Source<T extends Identified> {
  readonly size: number
  get(id: string): T | undefined
  ids(): Iterable<string>
  values(): Iterable<T>
  list(index: number, key: string): Iterable<T>
  /** Only of tables with slots. */
  slot(key: string, slot: number): T[]
}

export function newTable<K extends TableName>(name: K): Table<Tables[K]> {
  return new Table<Tables[K]>(TABLE_KEYS[name])
}

export function readTable<T extends Identified>(source: Source<T>): ReadTable<T> {
  return {
    get: (id) => source.get(id),
    ids: () => source.ids() as Iterable<T['id']>,
    values: () => source.values(),
    get size() {
      return source.size
    },
  }
}

export function namedTable<T extends Named>(source: Source<T>): NamedReadTable<T> {
  const byName = (name: string) => first(source.list(NAME, nameKey(name)))
  return mix(readTable(source), {
    byName,
    lookUp(text: string) {
      const exact = source.get(text) ?? byName(text)
      return exact ? [exact] : byPrefix(source, text)
    },
  })
}

export function nodeTable(source: Source<Node>): NodeReadTable {
  const byHostname = (hostname: string) => [...source.list(1, nameKey(hostname))]
  const byName = (name: string) => first(source.list(NAME, nameKey(name))) ?? byHostname(name)[0]
  return mix(readTable(source), {
    byName,
    byHostname,
    lookUp(text: string) {
      const exact = source.get(text)
      if (exact) return [exact]
      const named = new Set([...source.list(NAME, nameKey(text)), ...byHostname(text)])
      return named.size > 0 ? [...named] : byPrefix(source, text)
    },
  })
}

export function revisionTable(source: Source<Tables['specRevision']>): SpecRevisionReadTable {
  return mix(readTable(source), {
    of: (serviceId: ServiceId, specVersion: number) => source.get(`${serviceId}.${specVersion}`),
    byService: (serviceId: ServiceId) => source.list(0, serviceId),
  })
}

export function taskTable(source: Source<Task>): TaskReadTable {
  return mix(readTable(source), {
    byService: (id: ServiceId) => source.list(0, id),
    byNode: (id: NodeId) => source.list(1, id),
    bySlot: (serviceId: ServiceId, slot: number) => source.slot(serviceId, slot).sort(oldestFirst),
    lookUp(text: string) {
      const exact = source.get(text)
      return exact ? [exact] : byPrefix(source, text)
    },
  })
}

export function holdTable(source: Source<Tables['addressHold']>) {
  return mix(readTable(source), { byNetwork: (id: NetworkId) => source.list(0, id) })
}

/** Creation order; tasks of one commit by id, so that the order is the same everywhere. */
export function oldestFirst(a: Task, b: Task): number {
  return a.createdAt - b.createdAt || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0)
}

/** Writes to a draft; `record` keeps the undo of each. */
export function writes<K extends TableName>(
  table: K,
  draft: Draft<Tables[K]>,
  stamp: () => { seq: number; now: Instant },
  record: (undo: () => void) => void,
  texts: SharedTexts,
): Writes<Tables[K]> {
  type T = Tables[K]
  const withMeta = (object: Fresh<T>, meta: Meta, before: T | undefined): T =>
    table === 'task'
      ? (compactTask(object as unknown as Task, meta, before as Task | undefined, texts) as T)
      : ({ ...object, ...meta } as unknown as T)
  const put = (object: T): T => {
    if (UNIQUE_NAMES.has(table)) {
      const { name } = (object as unknown as Named).spec
      for (const other of draft.list(NAME, nameKey(name))) {
        if (other.id !== object.id) throw new ShoalError('already-exists', `${table} ${name} already exists`)
      }
    }
    record(draft.put(object.id, object))
    return object
  }
  const update = (object: T, current: T | undefined): T => {
    if (!current) throw new ShoalError('not-found', `${table} ${object.id} not found`)
    const { seq, now } = stamp()
    return put(withMeta(object, { version: seq, createdAt: current.createdAt, updatedAt: now }, current))
  }
  return {
    create(object: Fresh<T>) {
      if (draft.get(object.id)) throw new ShoalError('already-exists', `${table} ${object.id} already exists`)
      const { seq, now } = stamp()
      return put(withMeta(object, { version: seq, createdAt: now, updatedAt: now }, undefined))
    },
    update: (object) => update(object, draft.get(object.id)),
    updateIfVersion(object, expectedVersion) {
      const current = draft.get(object.id)
      if (current && current.version !== expectedVersion) throw outOfSequence()
      return update(object, current)
    },
    delete(id) {
      if (draft.get(id)) record(draft.put(id, undefined))
    },
  }
}

/** Swarm answers 500 to this, because its code is `unknown`; clients know the text. */
export function outOfSequence(): ShoalError {
  return new ShoalError('unknown', 'update out of sequence', { next: 'read the object again and repeat the change on the new version' })
}

export type AnyCluster = Fresh<Cluster> | Cluster

function* byPrefixAll<T extends Identified>(source: Source<T>, prefix: string): Generator<T> {
  if (prefix === '') return
  for (const object of source.values()) if (object.id.startsWith(prefix)) yield object
}

/** At most two: enough to see that a prefix is ambiguous. */
function byPrefix<T extends Identified>(source: Source<T>, prefix: string): readonly T[] {
  const found: T[] = []
  for (const object of byPrefixAll(source, prefix)) {
    found.push(object)
    if (found.length === 2) break
  }
  return found
}

function first<T>(items: Iterable<T>): T | undefined {
  for (const item of items) return item
  return undefined
}

/** Two faces as one object; the getter of `size` stays a getter, which spreading would freeze. */
export function mix<A extends object, B extends object>(reads: A, more: B): A & B {
  return Object.defineProperties({}, { ...Object.getOwnPropertyDescriptors(reads), ...Object.getOwnPropertyDescriptors(more) }) as A & B
}
