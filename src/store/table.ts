// One table: the durable rows with their indexes, and a draft over them that a batch of transactions writes to.
import { assert } from '../lib/index.ts'

export interface Identified {
  readonly id: string
}

/** A durable object and its places in two lists. Replacing an object whose keys stay costs one assignment. */
class Row<T> {
  object: T
  first = -1
  second = -1

  constructor(object: T) {
    this.object = object
  }
}

/** Which list of an index an object belongs to; undefined = none. */
export type KeyOf<T> = (object: T) => string | undefined

/** What an index goes by. With `slotOf` the first list is kept by slot, so that one slot of a large service is found at once. */
export interface Keys<T> {
  /** At most two. */
  readonly lists: readonly KeyOf<T>[]
  readonly slotOf?: (object: T) => number
}

/** Rows of one key: all in a list, or by slot (a slot of one row, which is nearly all of them, needs no list). */
type Lists<T> = Map<string, Row<T>[]>
type Slots<T> = Map<string, Map<number, Row<T> | Row<T>[]>>

/** Durable rows and lists of rows by key. Lists are arrays with swap-remove: cheap to change, in no particular order. */
export class Table<T extends Identified> {
  readonly #rows = new Map<string, Row<T>>()
  readonly #keys: readonly KeyOf<T>[]
  readonly #slotOf: ((object: T) => number) | undefined
  readonly #lists: readonly Lists<T>[]
  readonly #slots: Slots<T> = new Map()

  constructor({ lists, slotOf }: Keys<T>) {
    assert(lists.length <= 2, 'a row has two places')
    this.#keys = lists
    this.#slotOf = slotOf
    this.#lists = lists.map(() => new Map())
  }

  get size(): number {
    return this.#rows.size
  }

  get(id: string): T | undefined {
    return this.#rows.get(id)?.object
  }

  ids(): Iterable<string> {
    return this.#rows.keys()
  }

  *values(): Generator<T> {
    for (const row of this.#rows.values()) yield row.object
  }

  *list(index: number, key: string): Generator<T> {
    if (index > 0 || !this.#slotOf) {
      for (const row of this.#lists[index]?.get(key) ?? []) yield row.object
      return
    }
    for (const rows of this.#slots.get(key)?.values() ?? []) {
      if (rows instanceof Row) yield rows.object
      else for (const row of rows) yield row.object
    }
  }

  slot(key: string, slot: number): T[] {
    const rows = this.#slots.get(key)?.get(slot)
    if (!rows) return []
    return rows instanceof Row ? [rows.object] : rows.map((row) => row.object)
  }

  /** Makes a change durable in memory; returns what was there before. */
  put(id: string, object: T | undefined): T | undefined {
    const row = this.#rows.get(id)
    const before = row?.object
    if (row && before && object) {
      row.object = object
      for (let index = 0; index < this.#keys.length; index++) {
        const from = this.#keys[index]!(before)
        const to = this.#keys[index]!(object)
        if (from === to && (index > 0 || this.#slotOf?.(before) === this.#slotOf?.(object))) continue
        this.#unlist(index, from, before, row)
        this.#enlist(index, to, object, row)
      }
    } else if (object) {
      const fresh = new Row(object)
      this.#rows.set(id, fresh)
      for (let index = 0; index < this.#keys.length; index++) this.#enlist(index, this.#keys[index]!(object), object, fresh)
    } else if (row && before) {
      this.#rows.delete(id)
      for (let index = 0; index < this.#keys.length; index++) this.#unlist(index, this.#keys[index]!(before), before, row)
    }
    return before
  }

  #enlist(index: number, key: string | undefined, object: T, row: Row<T>): void {
    if (key === undefined) return
    if (index === 0 && this.#slotOf) this.#enlistSlot(key, this.#slotOf(object), row)
    else {
      const lists = this.#lists[index]!
      const list = lists.get(key)
      place(row, index, list ? list.length : 0)
      if (list) list.push(row)
      else lists.set(key, [row])
    }
  }

  #enlistSlot(key: string, slot: number, row: Row<T>): void {
    let slots = this.#slots.get(key)
    if (!slots) {
      slots = new Map()
      this.#slots.set(key, slots)
    }
    const rows = slots.get(slot)
    if (!rows) slots.set(slot, row)
    else if (rows instanceof Row) {
      rows.first = 0
      row.first = 1
      slots.set(slot, [rows, row])
    } else {
      row.first = rows.length
      rows.push(row)
    }
  }

  #unlist(index: number, key: string | undefined, object: T, row: Row<T>): void {
    if (key === undefined) return
    if (index > 0 || !this.#slotOf) {
      const lists = this.#lists[index]!
      const list = lists.get(key)
      if (takeOut(list, index, row)) lists.delete(key)
      return
    }
    const slots = this.#slots.get(key)
    const slot = this.#slotOf(object)
    const rows = slots?.get(slot)
    assert(slots && rows, 'a row stands in its slot')
    if (rows === row || (Array.isArray(rows) && takeOut(rows, index, row))) slots.delete(slot)
    else if (Array.isArray(rows) && rows.length === 1) slots.set(slot, rows[0]!)
    if (slots.size === 0) this.#slots.delete(key)
  }
}

function place<T>(row: Row<T>, index: number, at: number): void {
  if (index === 0) row.first = at
  else row.second = at
}

/** True when the list is empty then. */
function takeOut<T>(list: Row<T>[] | undefined, index: number, row: Row<T>): boolean {
  const at = index === 0 ? row.first : row.second
  assert(list && list[at] === row, 'a row stands where its index says')
  const last = list.pop()!
  if (last !== row) {
    list[at] = last
    place(last, index, at)
  }
  return list.length === 0
}

/** How to undo one write. */
interface Undo<T> {
  readonly id: string
  readonly before: T | undefined
  readonly wasChanged: boolean
}

/** Changes over a table that are not durable yet. Reads see them. */
export class Draft<T extends Identified> {
  readonly #base: Table<T>
  readonly #keys: readonly KeyOf<T>[]
  readonly #slotOf: ((object: T) => number) | undefined
  readonly #changed = new Map<string, T | undefined>()
  /** Per index: key -> drafted objects in that list. */
  readonly #added: readonly Map<string, Map<string, T>>[]
  /** `<key>/<slot>` -> drafted objects in that slot. */
  readonly #addedToSlots = new Map<string, Map<string, T>>()
  #sizeChange = 0

  constructor(base: Table<T>, { lists, slotOf }: Keys<T>) {
    this.#base = base
    this.#keys = lists
    this.#slotOf = slotOf
    this.#added = lists.map(() => new Map())
  }

  get size(): number {
    return this.#base.size + this.#sizeChange
  }

  get(id: string): T | undefined {
    const drafted = this.#changed.get(id)
    return drafted === undefined && !this.#changed.has(id) ? this.#base.get(id) : drafted
  }

  ids(): string[] {
    return this.values().map((object) => object.id)
  }

  /** As of the call: writing while walking through it is safe. */
  values(): T[] {
    return this.#merged(this.#base.values(), this.#changed.values())
  }

  /** As of the call, like `values`. */
  list(index: number, key: string): T[] {
    return this.#merged(this.#base.list(index, key), this.#added[index]?.get(key)?.values())
  }

  slot(key: string, slot: number): T[] {
    return this.#merged(this.#base.slot(key, slot), this.#addedToSlots.get(slotKey(key, slot))?.values())
  }

  #merged(base: Iterable<T>, drafted: Iterable<T | undefined> | undefined): T[] {
    const found: T[] = []
    if (this.#changed.size === 0) for (const object of base) found.push(object)
    else for (const object of base) if (!this.#changed.has(object.id)) found.push(object)
    if (drafted) for (const object of drafted) if (object) found.push(object)
    return found
  }

  /** Writes over whatever is there; `undefined` deletes. Returns how to undo it. */
  put(id: string, object: T | undefined): () => void {
    const wasChanged = this.#changed.has(id)
    const before = this.get(id)
    this.#set(id, before, object)
    return () => this.#undo({ id, before, wasChanged })
  }

  /** Ids with their drafted objects. */
  changes(): ReadonlyMap<string, T | undefined> {
    return this.#changed
  }

  clear(): void {
    if (this.#changed.size === 0) return
    this.#changed.clear()
    for (const lists of this.#added) lists.clear()
    this.#addedToSlots.clear()
    this.#sizeChange = 0
  }

  #undo({ id, before, wasChanged }: Undo<T>): void {
    this.#set(id, this.get(id), before)
    if (wasChanged) return
    this.#changed.delete(id)
    if (before) this.#unlist(before)
  }

  #set(id: string, before: T | undefined, after: T | undefined): void {
    this.#sizeChange += (after ? 1 : 0) - (before ? 1 : 0)
    this.#changed.set(id, after)
    if (before) this.#unlist(before)
    if (!after) return
    for (let index = 0; index < this.#keys.length; index++) {
      const key = this.#keys[index]!(after)
      if (key === undefined) continue
      add(this.#added[index]!, key, id, after)
      if (index === 0 && this.#slotOf) add(this.#addedToSlots, slotKey(key, this.#slotOf(after)), id, after)
    }
  }

  #unlist(object: T): void {
    for (let index = 0; index < this.#keys.length; index++) {
      const key = this.#keys[index]!(object)
      if (key === undefined) continue
      drop(this.#added[index]!, key, object.id)
      if (index === 0 && this.#slotOf) drop(this.#addedToSlots, slotKey(key, this.#slotOf(object)), object.id)
    }
  }
}

function slotKey(key: string, slot: number): string {
  return `${key}/${slot}`
}

function add<T>(lists: Map<string, Map<string, T>>, key: string, id: string, object: T): void {
  const list = lists.get(key)
  if (list) list.set(id, object)
  else lists.set(key, new Map([[id, object]]))
}

function drop<T>(lists: Map<string, Map<string, T>>, key: string, id: string): void {
  const list = lists.get(key)
  if (list?.delete(id) && list.size === 0) lists.delete(key)
}
