// One table: the durable rows with their indexes, and a draft over them that a batch of transactions writes to.
import { assert } from '../lib/index.ts'

export interface Identified {
  readonly id: string
}

/** A durable object and its places in the index lists. Replacing an object whose keys stay costs one assignment. */
class Row<T> {
  object: T
  readonly places: number[]

  constructor(object: T, indexes: number) {
    this.object = object
    this.places = indexes > 0 ? new Array(indexes).fill(-1) : NO_PLACES
  }
}
const NO_PLACES: number[] = []

/** Which list of an index an object belongs to; undefined = none. */
export type KeyOf<T> = (object: T) => string | undefined

/** Durable rows and lists of rows by key. Lists are arrays with swap-remove: cheap to change, in no particular order. */
export class Table<T extends Identified> {
  readonly #rows = new Map<string, Row<T>>()
  readonly #keys: readonly KeyOf<T>[]
  readonly #lists: Map<string, Row<T>[]>[]

  constructor(keys: readonly KeyOf<T>[]) {
    this.#keys = keys
    this.#lists = keys.map(() => new Map())
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
    for (const row of this.#lists[index]?.get(key) ?? []) yield row.object
  }

  listSize(index: number, key: string): number {
    return this.#lists[index]?.get(key)?.length ?? 0
  }

  /** Makes a change durable in memory; returns what was there before. */
  put(id: string, object: T | undefined): T | undefined {
    const row = this.#rows.get(id)
    const before = row?.object
    if (row && object) {
      row.object = object
      this.#keys.forEach((keyOf, index) => {
        const from = keyOf(before as T)
        const to = keyOf(object)
        if (from === to) return
        this.#unlist(index, from, row)
        this.#enlist(index, to, row)
      })
    } else if (object) {
      const fresh = new Row(object, this.#keys.length)
      this.#rows.set(id, fresh)
      this.#keys.forEach((keyOf, index) => {
        this.#enlist(index, keyOf(object), fresh)
      })
    } else if (row) {
      this.#rows.delete(id)
      this.#keys.forEach((keyOf, index) => {
        this.#unlist(index, keyOf(before as T), row)
      })
    }
    return before
  }

  #enlist(index: number, key: string | undefined, row: Row<T>): void {
    if (key === undefined) return
    const lists = this.#lists[index] as Map<string, Row<T>[]>
    const list = lists.get(key)
    row.places[index] = list ? list.length : 0
    if (list) list.push(row)
    else lists.set(key, [row])
  }

  #unlist(index: number, key: string | undefined, row: Row<T>): void {
    if (key === undefined) return
    const lists = this.#lists[index] as Map<string, Row<T>[]>
    const list = lists.get(key)
    const place = row.places[index] as number
    assert(list && list[place] === row, 'a row stands where its index says')
    const last = list.pop() as Row<T>
    if (last !== row) {
      list[place] = last
      last.places[index] = place
    }
    if (list.length === 0) lists.delete(key)
  }
}

/** Changes over a table that are not durable yet. Reads see them. */
export class Draft<T extends Identified> {
  readonly #base: Table<T>
  readonly #keys: readonly KeyOf<T>[]
  readonly #changed = new Map<string, T | undefined>()
  /** Per index: key -> drafted objects in that list. */
  readonly #added: Map<string, Map<string, T>>[]
  #sizeChange = 0

  constructor(base: Table<T>, keys: readonly KeyOf<T>[]) {
    this.#base = base
    this.#keys = keys
    this.#added = keys.map(() => new Map())
  }

  get size(): number {
    return this.#base.size + this.#sizeChange
  }

  get(id: string): T | undefined {
    return this.#changed.has(id) ? this.#changed.get(id) : this.#base.get(id)
  }

  ids(): string[] {
    return this.values().map((object) => object.id)
  }

  /** As of the call: writing while walking through it is safe. */
  values(): T[] {
    const found: T[] = []
    for (const object of this.#base.values()) if (!this.#changed.has(object.id)) found.push(object)
    for (const object of this.#changed.values()) if (object) found.push(object)
    return found
  }

  /** As of the call, like `values`. */
  list(index: number, key: string): T[] {
    const found: T[] = []
    for (const object of this.#base.list(index, key)) if (!this.#changed.has(object.id)) found.push(object)
    for (const object of this.#added[index]?.get(key)?.values() ?? []) found.push(object)
    return found
  }

  /** Writes over whatever is there; `undefined` deletes. Returns how to undo it. */
  put(id: string, object: T | undefined): () => void {
    const wasChanged = this.#changed.has(id)
    const before = this.get(id)
    this.#set(id, before, object)
    return () => {
      this.#set(id, object, before)
      if (!wasChanged) {
        this.#changed.delete(id)
        if (before) for (const [index, keyOf] of this.#keys.entries()) this.#drop(index, keyOf(before), id)
      }
    }
  }

  /** Ids with their drafted objects. */
  changes(): ReadonlyMap<string, T | undefined> {
    return this.#changed
  }

  clear(): void {
    this.#changed.clear()
    for (const lists of this.#added) lists.clear()
    this.#sizeChange = 0
  }

  #set(id: string, before: T | undefined, after: T | undefined): void {
    this.#sizeChange += (after ? 1 : 0) - (before ? 1 : 0)
    this.#changed.set(id, after)
    for (const [index, keyOf] of this.#keys.entries()) {
      if (before) this.#drop(index, keyOf(before), id)
      const key = after && keyOf(after)
      if (after && key !== undefined) {
        const lists = this.#added[index] as Map<string, Map<string, T>>
        const list = lists.get(key)
        if (list) list.set(id, after)
        else lists.set(key, new Map([[id, after]]))
      }
    }
  }

  #drop(index: number, key: string | undefined, id: string): void {
    if (key === undefined) return
    const lists = this.#added[index] as Map<string, Map<string, T>>
    const list = lists.get(key)
    list?.delete(id)
    if (list?.size === 0) lists.delete(key)
  }
}
