// Values as people write them on the command line: durations (1m30s), sizes (32M), CPUs (0.5), key=value.

const UNIT_NS: Readonly<Record<string, number>> = {
  ns: 1,
  us: 1e3,
  µs: 1e3,
  μs: 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
}
const MAX_DURATION_NS = 2 ** 63

/** A Go duration such as 300ms, 1.5h or 2h45m, in nanoseconds. A bare number needs a unit, apart from 0. */
export function parseDurationNs(text: string): number {
  const quoted = JSON.stringify(text)
  const negative = text.startsWith('-')
  let rest = text.replace(/^[+-]/, '')
  if (rest === '0') return 0
  if (rest === '') throw new Error(`time: invalid duration ${quoted}`)
  let total = 0
  while (rest !== '') {
    const number = /^(?:\d+\.?\d*|\.\d+)/.exec(rest)?.[0]
    if (number === undefined) throw new Error(`time: invalid duration ${quoted}`)
    rest = rest.slice(number.length)
    const unit = /^[^\d.]*/.exec(rest)?.[0] ?? ''
    if (unit === '') throw new Error(`time: missing unit in duration ${quoted}`)
    const scale = UNIT_NS[unit]
    if (scale === undefined) throw new Error(`time: unknown unit ${JSON.stringify(unit)} in duration ${quoted}`)
    total += Number(number) * scale
    rest = rest.slice(unit.length)
  }
  if (total >= MAX_DURATION_NS) throw new Error(`time: invalid duration ${quoted}`)
  return Math.round(negative ? -total : total)
}

const BYTE_POWERS = 'bkmgtp'

/** A size such as 32M, 4 MiB or 1gb in bytes; units are powers of 1024. */
export function parseBytes(text: string): number {
  const match = /^(\d+(?:\.\d+)?|\.\d+) ?([a-z]*)$/i.exec(text)
  if (!match) throw new Error(`invalid size: '${text}'`)
  const suffix = (match[2] as string).toLowerCase()
  if (suffix === '') return Math.trunc(Number(match[1]))
  const power = BYTE_POWERS.indexOf(suffix[0] as string)
  if (power < 0 || !/^(?:[kmgtp](?:i?b)?|b)$/.test(suffix)) throw new Error(`invalid suffix: '${match[2]}'`)
  return Math.trunc(Number(match[1]) * 1024 ** power)
}

/** CPUs such as 0.5 in billionths. */
export function parseCpus(text: string): number {
  if (!/^[+-]?(?:\d+\.?\d*|\.\d+)$/.test(text)) throw new Error(`failed to parse ${text} as a rational number`)
  const nano = Number(text) * 1e9
  if (Math.abs(nano - Math.round(nano)) > 1e-3) throw new Error('value is too precise')
  return Math.round(nano)
}

/** Splits key=value at the first '='; a bare key has the value ''. */
export function keyValue(text: string): [string, string] {
  const equals = text.indexOf('=')
  return equals < 0 ? [text, ''] : [text.slice(0, equals), text.slice(equals + 1)]
}

/** `key=value` strings as a map; the last one wins. */
export function keyValues(texts: readonly string[]): Record<string, string> {
  return Object.fromEntries(texts.map(keyValue))
}

/** Words as a POSIX shell would split them (quotes, backslashes), for --entrypoint and --args. */
export function shellWords(text: string): string[] {
  const words: string[] = []
  let word: string | undefined
  let quote = ''
  for (let i = 0; i < text.length; i += 1) {
    const char = text[i] as string
    if (quote === "'") {
      if (char === "'") quote = ''
      else word += char
    } else if (char === '\\' && (quote === '' || '"\\$`\n'.includes(text[i + 1] ?? ''))) {
      i += 1
      word = (word ?? '') + (text[i] ?? '')
    } else if (quote === '"') {
      if (char === '"') quote = ''
      else word += char
    } else if (char === "'" || char === '"') {
      quote = char
      word ??= ''
    } else if (/\s/.test(char)) {
      if (word !== undefined) words.push(word)
      word = undefined
    } else {
      word = (word ?? '') + char
    }
  }
  if (quote !== '') throw new Error('EOF found when expecting closing quote')
  if (word !== undefined) words.push(word)
  return words
}

/** One record of comma separated values, where a field may be quoted: the syntax of --mount, --publish, --secret. */
export function csvFields(text: string): string[] {
  const fields: string[] = []
  let field = ''
  let i = 0
  while (i <= text.length) {
    const char = text[i]
    if (char === undefined || char === ',') {
      fields.push(field)
      field = ''
      i += 1
    } else if (char === '"' && field === '') {
      i += 1
      while (i < text.length && !(text[i] === '"' && text[i + 1] !== '"')) {
        field += text[i]
        i += text[i] === '"' ? 2 : 1
      }
      if (i >= text.length) throw new Error(`parse error on line 1, column ${i + 1}: extraneous or missing " in quoted-field`)
      i += 1
    } else {
      field += char
      i += 1
    }
  }
  return fields
}
