// Reading the engine's JSON without trusting it: wrong types read as empty.

export type Json = Readonly<Record<string, unknown>>

export function object(value: unknown): Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : {}
}

export function array(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

export function text(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

export function number(value: unknown): number {
  return typeof value === 'number' ? value : 0
}

export function texts(value: unknown): readonly string[] {
  return array(value).filter((item) => typeof item === 'string')
}

export function labels(value: unknown): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(object(value)).filter((entry): entry is [string, string] => typeof entry[1] === 'string'))
}

/** Go's zero time and anything unreadable is undefined. */
export function instant(value: unknown): number | undefined {
  const at = Date.parse(text(value))
  return Number.isNaN(at) || at <= 0 ? undefined : at
}
