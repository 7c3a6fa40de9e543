// List filters: `filters={"name":{"web":true}}` (Go, CLI) and `{"name":["web"]}` (docker-py, dockerode).
import { ShoalError } from '../../lib/index.ts'

export class Filters {
  readonly #values: ReadonlyMap<string, readonly string[]>

  constructor(values: ReadonlyMap<string, readonly string[]>) {
    this.#values = values
  }

  has(key: string): boolean {
    return this.get(key).length > 0
  }

  get(key: string): readonly string[] {
    return this.#values.get(key) ?? []
  }

  keys(): Iterable<string> {
    return this.#values.keys()
  }

  /** Whether one of the candidates begins with one of the key's values; true without the key. */
  prefix(key: string, ...candidates: readonly (string | undefined)[]): boolean {
    return !this.has(key) || this.get(key).some((wanted) => candidates.some((candidate) => candidate?.startsWith(wanted)))
  }

  exact(key: string, ...candidates: readonly (string | undefined)[]): boolean {
    return !this.has(key) || this.get(key).some((wanted) => candidates.includes(wanted))
  }

  contains(key: string, candidate: string): boolean {
    return !this.has(key) || this.get(key).some((wanted) => candidate.includes(wanted))
  }

  /** Whether the labels satisfy all values of the key: `k` is there, `k=v` has this value. */
  labels(key: string, labels: Readonly<Record<string, string>>): boolean {
    return this.get(key).every((wanted) => {
      const equals = wanted.indexOf('=')
      const name = equals < 0 ? wanted : wanted.slice(0, equals)
      if (!Object.hasOwn(labels, name)) return false
      return equals < 0 || labels[name] === wanted.slice(equals + 1)
    })
  }

  /** Values of a key that may only be some words. */
  requireOneOf(key: string, words: readonly string[]): void {
    for (const value of this.get(key)) {
      if (!words.includes(value))
        throw new ShoalError('invalid-argument', `Invalid ${key} filter: '${value}'`, { next: `Use ${words.join(', ')}` })
    }
  }

  /** The value of a yes-or-no key. */
  flag(key: string): boolean | undefined {
    const [value] = this.get(key)
    if (value === undefined) return undefined
    if (['1', 'true', 't', 'yes'].includes(value.toLowerCase())) return true
    if (['0', 'false', 'f', 'no'].includes(value.toLowerCase())) return false
    throw new ShoalError('invalid-argument', `Invalid filter '${key}=${value}'`, { next: 'Use true or false' })
  }
}

/** `allowed` undefined = any key. */
export function parseFilters(query: URLSearchParams, allowed: readonly string[] | undefined): Filters {
  const text = query.get('filters')
  const values = new Map<string, string[]>()
  if (text === null || text === '') return new Filters(values)
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (error) {
    throw new ShoalError('invalid-argument', `invalid filters: ${(error as Error).message}`)
  }
  if (json === null) return new Filters(values)
  if (typeof json !== 'object' || Array.isArray(json)) throw new ShoalError('invalid-argument', 'invalid filters: expected a JSON object')
  for (const [key, value] of Object.entries(json)) {
    if (allowed && !allowed.includes(key)) throw new ShoalError('invalid-argument', `invalid filter '${key}'`)
    values.set(key, valuesOf(key, value))
  }
  return new Filters(values)
}

function valuesOf(key: string, value: unknown): string[] {
  const words = Array.isArray(value)
    ? value
    : typeof value === 'object' && value !== null
      ? Object.entries(value).flatMap(([word, on]) => (on === true ? [word] : []))
      : [value]
  for (const word of words) {
    if (typeof word !== 'string') throw new ShoalError('invalid-argument', `invalid filters: the values of '${key}' must be strings`)
  }
  return words as string[]
}
