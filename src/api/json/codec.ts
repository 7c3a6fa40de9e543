// Declarative codecs between the Docker API's JSON and the model: one table per object that both reads and prints.
import { ShoalError } from '../../lib/index.ts'

/** `parse` throws a ShoalError 'invalid-argument' that names the field; `print` gives a JSON value. Both are total otherwise. */
export interface Codec<T> {
  parse(json: unknown, path: string): T
  print(value: T): unknown
}

/** One entry of an object's table: reads from a JSON object into a draft of T, and prints from T. */
export interface Field<T> {
  read(json: JsonObject, draft: Draft, path: string): void
  write(value: T, out: Draft): void
}

type Draft = Record<string, unknown>

/** Longer than any list of a real spec. */
const MAX_ARRAY = 10_000

/** A JSON object whose keys are found exactly or else without regard to case, as Go's decoder does. */
export class JsonObject {
  readonly #exact: Readonly<Record<string, unknown>>
  #folded: Map<string, unknown> | undefined

  constructor(json: Readonly<Record<string, unknown>>) {
    this.#exact = json
  }

  /** Undefined for what is missing or null. */
  get(key: string): unknown {
    if (Object.hasOwn(this.#exact, key)) return this.#exact[key] ?? undefined
    this.#folded ??= new Map(Object.entries(this.#exact).map(([name, value]) => [name.toLowerCase(), value]))
    return this.#folded.get(key.toLowerCase()) ?? undefined
  }
}

export function refuse(path: string, expected: string, got: unknown): never {
  throw new ShoalError('invalid-argument', `invalid JSON: ${path || 'body'}: expected ${expected}, got ${describe(got)}`)
}

function describe(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'an array'
  if (typeof value === 'object') return 'an object'
  const text = JSON.stringify(value)
  return text.length > 40 ? `${text.slice(0, 40)}…` : text
}

export function asObject(json: unknown, path: string): JsonObject {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) refuse(path, 'an object', json)
  return new JsonObject(json as Record<string, unknown>)
}

export const string: Codec<string> = {
  parse: (json, path) => (typeof json === 'string' ? json : refuse(path, 'a string', json)),
  print: (value) => value,
}

export const boolean: Codec<boolean> = {
  parse: (json, path) => (typeof json === 'boolean' ? json : refuse(path, 'true or false', json)),
  print: (value) => value,
}

/** Whole numbers that JSON and JavaScript both hold exactly. */
export const integer: Codec<number> = {
  parse(json, path) {
    if (typeof json !== 'number') refuse(path, 'a whole number', json)
    if (!Number.isInteger(json)) refuse(path, 'a whole number', json)
    if (!Number.isSafeInteger(json)) {
      throw new ShoalError('invalid-argument', `invalid JSON: ${path}: ${json} is too large: numbers beyond 2^53 are not supported`)
    }
    return json === 0 ? 0 : json // -0
  },
  print: (value) => value,
}

/** Unsigned in Go: a negative one is refused where Go's decoder refuses it. */
export const unsigned: Codec<number> = {
  parse(json, path) {
    const value = integer.parse(json, path)
    return value >= 0 ? value : refuse(path, 'a number that is not negative', json)
  },
  print: (value) => value,
}

export const float: Codec<number> = {
  parse: (json, path) => (typeof json === 'number' && Number.isFinite(json) ? json : refuse(path, 'a number', json)),
  print: (value) => value,
}

/** Bytes as base64 text, kept as text. */
export const base64: Codec<string> = {
  parse(json, path) {
    const text = string.parse(json, path)
    if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) {
      throw new ShoalError('invalid-argument', `invalid JSON: ${path}: illegal base64 data`)
    }
    return text
  },
  print: (value) => value,
}

/** A string that is one of few. The empty one counts as left out and is read as `fallback` when there is one. */
export function oneOf<const T extends string>(values: readonly T[], fallback?: T): Codec<T> {
  return {
    parse(json, path) {
      const text = string.parse(json, path)
      const known = values.find((value) => value === text)
      if (known !== undefined) return known
      if (text === '' && fallback !== undefined) return fallback
      throw new ShoalError(
        'invalid-argument',
        `invalid ${path}: ${JSON.stringify(text)}: must be one of ${values.map((v) => `"${v}"`).join(', ')}`,
      )
    },
    print: (value) => value,
  }
}

/** A branded string. */
export function id<T extends string>(): Codec<T> {
  return string as unknown as Codec<T>
}

export function array<T>(item: Codec<T>): Codec<readonly T[]> {
  return {
    parse(json, path) {
      if (!Array.isArray(json)) refuse(path, 'an array', json)
      if (json.length > MAX_ARRAY) throw new ShoalError('invalid-argument', `invalid JSON: ${path}: more than ${MAX_ARRAY} entries`)
      return json.map((value, index) => item.parse(value, `${path}[${index}]`))
    },
    print: (values) => values.map((value) => item.print(value)),
  }
}

/** String to string. A null value is an empty string, as in Go. */
export const stringMap: Codec<Readonly<Record<string, string>>> = {
  parse(json, path) {
    if (typeof json !== 'object' || json === null || Array.isArray(json)) refuse(path, 'an object of strings', json)
    const map: Record<string, string> = {}
    for (const [key, value] of Object.entries(json)) {
      const text = value === null ? '' : string.parse(value, `${path}[${JSON.stringify(key)}]`)
      // `__proto__` as a key must stay a plain key.
      Object.defineProperty(map, key, { value: text, enumerable: true, configurable: true, writable: true })
    }
    return map
  },
  print: (value) => value,
}

/** An object by its table. Unknown fields are passed over, as Go does it. */
export function object<T>(fields: readonly Field<T>[]): Codec<T> {
  return {
    parse(json, path) {
      const source = asObject(json, path)
      const draft: Draft = {}
      for (const field of fields) field.read(source, draft, path)
      return draft as T
    },
    print(value) {
      const out: Draft = {}
      for (const field of fields) field.write(value, out)
      return out
    },
  }
}

/** The zero value where it is left out; always printed. */
export function required<T, K extends keyof T & string>(
  name: string,
  key: K,
  codec: Codec<NonNullable<T[K]>>,
  zero: NonNullable<T[K]>,
): Field<T> {
  return {
    read(json, draft, path) {
      const value = json.get(name)
      draft[key] = value === undefined ? zero : codec.parse(value, join(path, name))
    },
    write(value, out) {
      out[name] = codec.print(value[key] ?? zero)
    },
  }
}

/** Like required, but a zero value is not printed (Go's omitempty). */
export function sparse<T, K extends keyof T & string>(
  name: string,
  key: K,
  codec: Codec<NonNullable<T[K]>>,
  zero: NonNullable<T[K]>,
): Field<T> {
  const always = required<T, K>(name, key, codec, zero)
  return {
    read: always.read,
    write(value, out) {
      if (!isEmpty(value[key])) always.write(value, out)
    },
  }
}

/** Absent where it is left out. Printed when it is there, whatever its value (a pointer in Go). */
export function optional<T, K extends keyof T & string>(name: string, key: K, codec: Codec<NonNullable<T[K]>>): Field<T> {
  return {
    read(json, draft, path) {
      const value = json.get(name)
      if (value !== undefined) draft[key] = codec.parse(value, join(path, name))
    },
    write(value, out) {
      const present = value[key]
      if (present !== undefined && present !== null) out[name] = codec.print(present)
    },
  }
}

/** Absent where it is left out or empty ('' 0 false [] {}); so printing and reading agree with Go's omitempty. */
export function omitEmpty<T, K extends keyof T & string>(name: string, key: K, codec: Codec<NonNullable<T[K]>>): Field<T> {
  return {
    read(json, draft, path) {
      const value = json.get(name)
      if (value === undefined || value === '') return
      const parsed = codec.parse(value, join(path, name))
      if (!isEmpty(parsed)) draft[key] = parsed
    },
    write(value, out) {
      const present = value[key]
      if (!isEmpty(present)) out[name] = codec.print(present as NonNullable<T[K]>)
    },
  }
}

/** Fields of T that stand in an object of their own in the JSON. */
export function group<T>(name: string, fields: readonly Field<T>[]): Field<T> {
  return {
    read(json, draft, path) {
      const inner = asObject(json.get(name) ?? {}, join(path, name))
      for (const field of fields) field.read(inner, draft, join(path, name))
    },
    write(value, out) {
      const inner: Draft = {}
      for (const field of fields) field.write(value, inner)
      out[name] = inner
    },
  }
}

/** Printed only: computed from the whole value. Undefined is not printed. */
export function computed<T>(name: string, print: (value: T) => unknown): Field<T> {
  return {
    read() {},
    write(value, out) {
      const printed = print(value)
      if (printed !== undefined) out[name] = printed
    },
  }
}

function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null || value === '' || value === 0 || value === false) return true
  if (Array.isArray(value)) return value.length === 0
  return typeof value === 'object' && Object.keys(value).length === 0
}

function join(path: string, name: string): string {
  return path === '' ? name : `${path}.${name}`
}
