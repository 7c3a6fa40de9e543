// Cuts a Go template into text and actions, and an action into tokens.
import { ShoalError } from '../../lib/index.ts'

export type Token =
  | { readonly kind: 'field'; readonly path: readonly string[] }
  | { readonly kind: 'variable'; readonly name: string; readonly path: readonly string[] }
  | { readonly kind: 'literal'; readonly value: string | number | boolean | null }
  | { readonly kind: 'word'; readonly text: string }
  | { readonly kind: 'symbol'; readonly text: '|' | '(' | ')' | ',' | ':=' | '=' }

export type Piece = { readonly kind: 'text'; readonly text: string } | { readonly kind: 'action'; readonly tokens: readonly Token[] }

export function templateError(reason: string): ShoalError {
  return new ShoalError('invalid-argument', `template parsing error: template: :1: ${reason}`)
}

/** The text and actions of a template; `{{-` and `-}}` trim the text beside them, comments vanish. */
export function lexTemplate(source: string): Piece[] {
  const pieces: Piece[] = []
  let position = 0
  let trimNext = false
  while (position < source.length) {
    const open = source.indexOf('{{', position)
    let text = source.slice(position, open < 0 ? undefined : open)
    if (trimNext) text = text.trimStart()
    trimNext = false
    if (open < 0) {
      if (text) pieces.push({ kind: 'text', text })
      break
    }
    const close = endOfAction(source, open + 2)
    let inner = source.slice(open + 2, close)
    if (/^-\s/.test(inner)) {
      text = text.trimEnd()
      inner = inner.slice(1)
    }
    if (/\s-$/.test(inner)) {
      trimNext = true
      inner = inner.slice(0, -1)
    }
    if (text) pieces.push({ kind: 'text', text })
    if (!/^\s*\/\*[\s\S]*\*\/\s*$/.test(inner)) pieces.push({ kind: 'action', tokens: lexAction(inner) })
    position = close + 2
  }
  return pieces
}

/** Where the action's `}}` begins: not inside a string. */
function endOfAction(source: string, start: number): number {
  let quote = ''
  for (let i = start; i < source.length; i += 1) {
    const char = source[i] as string
    if (quote) {
      if (char === '\\' && quote === '"') i += 1
      else if (char === quote) quote = ''
    } else if (char === '"' || char === '`') quote = char
    else if (source.startsWith('}}', i)) return i
  }
  throw templateError('unclosed action')
}

const NUMBER = /^[+-]?(?:0x[0-9a-f]+|\d+\.?\d*(?:e[+-]?\d+)?)/i
const PATH = /^(?:\.[A-Za-z_][\w]*)+/
const WORDS: Readonly<Record<string, boolean | null>> = { true: true, false: false, nil: null }

function lexAction(source: string): Token[] {
  const tokens: Token[] = []
  let rest = source
  const take = (text: string) => {
    rest = rest.slice(text.length)
    return text
  }
  for (rest = rest.trimStart(); rest !== ''; rest = rest.trimStart()) {
    const char = rest[0] as string
    const string = /^"(?:[^"\\]|\\.)*"/.exec(rest)?.[0]
    const raw = /^`[^`]*`/.exec(rest)?.[0]
    const variable = /^\$\w*/.exec(rest)?.[0]
    const path = PATH.exec(rest)?.[0]
    const number = NUMBER.exec(rest)?.[0]
    const word = /^[A-Za-z_]\w*/.exec(rest)?.[0]
    if (string) tokens.push({ kind: 'literal', value: unquote(take(string)) })
    else if (raw) tokens.push({ kind: 'literal', value: take(raw).slice(1, -1) })
    else if (variable !== undefined) {
      take(variable)
      const tail = take(PATH.exec(rest)?.[0] ?? '')
      tokens.push({ kind: 'variable', name: variable, path: segments(tail) })
    } else if (path) tokens.push({ kind: 'field', path: segments(take(path)) })
    else if (char === '.') {
      take('.')
      tokens.push({ kind: 'field', path: [] })
    } else if (number) tokens.push({ kind: 'literal', value: Number(take(number)) })
    else if (word) {
      take(word)
      if (Object.hasOwn(WORDS, word)) tokens.push({ kind: 'literal', value: WORDS[word] ?? null })
      else tokens.push({ kind: 'word', text: word })
    } else if (rest.startsWith(':=')) tokens.push({ kind: 'symbol', text: take(':=') as ':=' })
    else if ('|(),='.includes(char)) tokens.push({ kind: 'symbol', text: take(char) as '|' })
    else if (char === '"' || char === '`') throw templateError('unterminated quoted string')
    else throw templateError(`unexpected ${JSON.stringify(char)} in command`)
  }
  return tokens
}

function segments(path: string): string[] {
  return path === '' ? [] : path.slice(1).split('.')
}

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', '"': '"', '\\': '\\', "'": "'" }

function unquote(quoted: string): string {
  return quoted.slice(1, -1).replace(/\\(u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|.)/g, (_, sequence: string) => {
    if (sequence.length > 1) return String.fromCodePoint(Number.parseInt(sequence.slice(1), 16))
    const plain = ESCAPES[sequence]
    if (plain === undefined) throw templateError(`invalid escape \\${sequence} in string`)
    return plain
  })
}
