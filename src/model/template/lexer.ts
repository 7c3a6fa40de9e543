// Splits a Go template into literal text and actions, and an action into its words.
import { ShoalError } from '../../lib/index.ts'

export type Piece = { readonly kind: 'text'; readonly text: string } | { readonly kind: 'action'; readonly words: readonly Word[] }

export type Word =
  | { readonly kind: 'string'; readonly value: string }
  | { readonly kind: 'number'; readonly value: number }
  /** `.Service.Name`, `$.Service.Name`, `.` */
  | { readonly kind: 'field'; readonly root: boolean; readonly path: readonly string[] }
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'symbol'; readonly symbol: '|' | '(' | ')' }

export function templateError(message: string): ShoalError {
  return new ShoalError('invalid-argument', `template: expansion:1: ${message}`)
}

/** `{{-` and `-}}` trim the text beside them; comments vanish. */
export function lex(source: string): readonly Piece[] {
  const pieces: Piece[] = []
  let position = 0
  let trimNext = false
  const text = (value: string) => {
    if (value !== '') pieces.push({ kind: 'text', text: value })
  }
  for (;;) {
    const open = source.indexOf('{{', position)
    let literal = source.slice(position, open < 0 ? undefined : open)
    if (trimNext) literal = literal.trimStart()
    if (open < 0) {
      text(literal)
      return pieces
    }
    const trimBefore = /^\{\{-\s/.test(source.slice(open, open + 4))
    text(trimBefore ? literal.trimEnd() : literal)
    const start = open + (trimBefore ? 3 : 2)
    const close = findClose(source, start)
    const trimAfter = source[close - 1] === '-' && /\s/.test(source[close - 2] ?? '')
    const inner = source.slice(start, trimAfter ? close - 1 : close).trim()
    trimNext = trimAfter
    position = close + 2
    if (!inner.startsWith('/*')) pieces.push({ kind: 'action', words: words(inner) })
  }
}

/** Where `}}` of an action stands: not inside a string or comment. */
function findClose(source: string, start: number): number {
  const comment = /^\s*\/\*/.exec(source.slice(start))
  if (comment) {
    const end = source.indexOf('*/', start)
    const close = end < 0 ? -1 : source.indexOf('}}', end)
    if (close < 0) throw templateError('unclosed comment')
    return close
  }
  for (let i = start; i < source.length; i += 1) {
    const character = source[i]
    if (character === '"' || character === '`') i = endOfString(source, i)
    else if (character === '}' && source[i + 1] === '}') return i
  }
  throw templateError('unclosed action')
}

function endOfString(source: string, start: number): number {
  const quote = source[start]
  for (let i = start + 1; i < source.length; i += 1) {
    if (source[i] === '\\' && quote === '"') i += 1
    else if (source[i] === quote) return i
    else if (source[i] === '\n' && quote === '"') break
  }
  throw templateError(quote === '"' ? 'unterminated quoted string' : 'unterminated raw quoted string')
}

function words(text: string): readonly Word[] {
  const found: Word[] = []
  let i = 0
  while (i < text.length) {
    const rest = text.slice(i)
    const space = /^\s+/.exec(rest)
    if (space) {
      i += space[0].length
      continue
    }
    if (rest[0] === '"' || rest[0] === '`') {
      const end = endOfString(text, i)
      found.push({ kind: 'string', value: rest[0] === '`' ? text.slice(i + 1, end) : unquote(text.slice(i, end + 1)) })
      i = end + 1
      continue
    }
    const number = /^-?\d+(\.\d+)?/.exec(rest)
    const field = /^(\$)?((?:\.[\p{L}_][\p{L}\p{N}_]*)+|\.)/u.exec(rest)
    const name = /^(?:\$|[\p{L}_][\p{L}\p{N}_]*)/u.exec(rest)
    if (number) found.push({ kind: 'number', value: Number(number[0]) })
    else if (field) found.push({ kind: 'field', root: field[1] === '$', path: field[2] === '.' ? [] : field[2]!.slice(1).split('.') })
    else if (name?.[0] === '$') found.push({ kind: 'field', root: true, path: [] })
    else if (name) found.push({ kind: 'name', name: name[0] })
    else if (rest[0] === '|' || rest[0] === '(' || rest[0] === ')') found.push({ kind: 'symbol', symbol: rest[0] })
    else throw templateError(`unexpected ${JSON.stringify(rest[0])} in command`)
    i += (number ?? field ?? name ?? [rest[0]!])[0].length
  }
  return found
}

function unquote(quoted: string): string {
  try {
    return JSON.parse(quoted) as string
  } catch {
    throw templateError(`invalid syntax in string ${quoted}`)
  }
}
