// .env files and env_file: NAME=VALUE lines with quotes, comments and variables.
import { type Lookup, substitute } from './interpolate.ts'
import type { Problems } from './problems.ts'

/** null: a bare NAME, which takes its value from the environment if that has one. */
export type Variables = ReadonlyMap<string, string | null>

export interface DotenvOptions {
  readonly file: string
  readonly lookup: Lookup
  readonly problems: Problems
  /** raw: the value is everything after the first '=', as it stands. */
  readonly raw?: boolean
}

/** Values in double quotes know \n, \t, \r, \" and variables; single quotes keep everything; both may go over several lines. */
export function parseDotenv(text: string, { file, lookup, problems, raw = false }: DotenvOptions): Variables {
  const variables = new Map<string, string | null>()
  const source = text.replace(/^\uFEFF/, '').replaceAll('\r\n', '\n')
  const local: Lookup = (name) => lookup(name) ?? variables.get(name) ?? undefined
  let offset = 0
  let line = 0
  while (offset < source.length) {
    const lineEnd = endOfLine(source, offset)
    const content = source.slice(offset, lineEnd)
    line += 1
    const at = { file, line, column: 1 }
    const match = /^\s*(?:export\s+)?([^\s=:#][^\s=:]*)\s*(?:([=:])[ \t]*|$)/.exec(content)
    if (!match) {
      if (!/^\s*(?:#.*)?$/.test(content)) problems.error(at, '', 'this is no NAME=VALUE line')
      offset = lineEnd + 1
      continue
    }
    const name = match[1] as string
    if (match[2] === undefined) {
      variables.set(name, null)
      offset = lineEnd + 1
      continue
    }
    if (raw) {
      variables.set(name, content.slice(content.indexOf(match[2]) + 1))
      offset = lineEnd + 1
      continue
    }
    const from = offset + match[0].length
    const value = readValue(source, from, lineEnd)
    if (value === undefined) {
      problems.error(at, name, 'the quote is never closed')
      return variables
    }
    line += value.text.split('\n').length - 1
    offset = endOfLine(source, value.end) + 1
    const result = value.expands ? substitute(value.text, local) : undefined
    if (result?.kind === 'wrong') problems.error(at, name, result.reason)
    variables.set(name, result === undefined ? value.text : result.kind === 'text' ? withoutEscapes(result.text, value.quoted) : '')
  }
  return variables
}

function endOfLine(source: string, from: number): number {
  const end = source.indexOf('\n', from)
  return end < 0 ? source.length : end
}

interface Value {
  readonly text: string
  readonly end: number
  readonly expands: boolean
  readonly quoted: boolean
}

function readValue(source: string, from: number, lineEnd: number): Value | undefined {
  const quote = source[from]
  if (quote !== '"' && quote !== "'") {
    const text = source
      .slice(from, lineEnd)
      .replace(/(?:^|\s+)#.*$/, '')
      .trim()
    return { text, end: lineEnd, expands: true, quoted: false }
  }
  for (let i = from + 1; i < source.length; i += 1) {
    if (source[i] === '\\') i += 1
    else if (source[i] === quote) {
      const text = source.slice(from + 1, i)
      return { text: quote === "'" ? text.replaceAll("\\'", "'") : text, end: i, expands: quote === '"', quoted: true }
    }
  }
  return undefined
}

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', '"': '"', '\\': '\\', $: '$' }

function withoutEscapes(text: string, quoted: boolean): string {
  return quoted ? text.replace(/\\([nrt"\\$])/g, (_, char: string) => ESCAPES[char] ?? char) : text
}
