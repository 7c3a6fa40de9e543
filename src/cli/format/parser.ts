// The tree of a Go template: text, pipelines, if, range, with, variables.
import { lexTemplate, type Piece, type Token, templateError } from './lexer.ts'

export type Expression =
  | Extract<Token, { kind: 'field' | 'variable' | 'literal' }>
  | { readonly kind: 'call'; readonly name: string; readonly args: readonly Expression[] }
  | { readonly kind: 'nested'; readonly pipeline: Pipeline; readonly path: readonly string[] }

/** Commands joined by `|`; the value of each becomes the last argument of the next. */
export interface Pipeline {
  readonly declares: readonly string[]
  readonly assigns: boolean
  readonly commands: readonly Expression[]
}

export type Statement =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'output'; readonly pipeline: Pipeline }
  | {
      readonly kind: 'if' | 'with' | 'range'
      readonly pipeline: Pipeline
      readonly body: readonly Statement[]
      readonly otherwise: readonly Statement[]
    }
  | { readonly kind: 'break' | 'continue' }

const BLOCKS = new Set(['if', 'with', 'range'])

export function parseTemplate(source: string): Statement[] {
  const pieces = lexTemplate(source)
  const state = { pieces, position: 0 }
  const { statements, end } = parseList(state)
  if (end) throw templateError(`unexpected {{${end.word}}}`)
  return statements
}

interface State {
  readonly pieces: readonly Piece[]
  position: number
}

interface End {
  readonly word: 'end' | 'else'
  readonly rest: readonly Token[]
}

/** Statements up to the next `end` or `else` of the enclosing block. */
function parseList(state: State): { statements: Statement[]; end: End | undefined } {
  const statements: Statement[] = []
  while (state.position < state.pieces.length) {
    const piece = state.pieces[state.position] as Piece
    state.position += 1
    if (piece.kind === 'text') {
      statements.push(piece)
      continue
    }
    const [first, ...rest] = piece.tokens
    const word = first?.kind === 'word' ? first.text : undefined
    if (word === 'end' || word === 'else') return { statements, end: { word, rest } }
    if (word === 'break' || word === 'continue') statements.push({ kind: word })
    else if (word !== undefined && BLOCKS.has(word)) statements.push(parseBlock(state, word as 'if', rest))
    else statements.push({ kind: 'output', pipeline: parsePipeline(piece.tokens) })
  }
  return { statements, end: undefined }
}

function parseBlock(state: State, kind: 'if' | 'with' | 'range', header: readonly Token[]): Statement {
  const pipeline = parsePipeline(header)
  const { statements: body, end } = parseList(state)
  if (!end) throw templateError('unexpected EOF')
  if (end.word === 'end') return { kind, pipeline, body, otherwise: [] }
  const [chained, ...rest] = end.rest
  if (chained?.kind === 'word' && (chained.text === 'if' || chained.text === 'with')) {
    return { kind, pipeline, body, otherwise: [parseBlock(state, chained.text, rest)] }
  }
  const { statements: otherwise, end: last } = parseList(state)
  if (last?.word !== 'end') throw templateError(last ? 'expected end; found {{else}}' : 'unexpected EOF')
  return { kind, pipeline, body, otherwise }
}

function parsePipeline(tokens: readonly Token[]): Pipeline {
  const { names, assigns, rest } = splitDeclaration(tokens)
  const cursor = { tokens: rest, position: 0 }
  const pipeline = parseCommands(cursor)
  if (cursor.position < rest.length) throw templateError('unexpected right paren')
  return { ...pipeline, declares: names, assigns }
}

/** `$x :=`, `$i, $x :=` and `$x =` in front of a pipeline. */
function splitDeclaration(tokens: readonly Token[]): { names: string[]; assigns: boolean; rest: readonly Token[] } {
  const names: string[] = []
  for (let i = 0; i < tokens.length; i += 2) {
    const variable = tokens[i]
    const symbol = tokens[i + 1]
    if (variable?.kind !== 'variable' || variable.path.length > 0 || symbol?.kind !== 'symbol') break
    names.push(variable.name)
    if (symbol.text === ':=' || symbol.text === '=') return { names, assigns: symbol.text === '=', rest: tokens.slice(i + 2) }
    if (symbol.text !== ',') break
  }
  return { names: [], assigns: false, rest: tokens }
}

interface Cursor {
  readonly tokens: readonly Token[]
  position: number
}

function parseCommands(cursor: Cursor): Pipeline {
  const commands = [parseCommand(cursor)]
  while (isSymbol(cursor.tokens[cursor.position], '|')) {
    cursor.position += 1
    commands.push(parseCommand(cursor))
  }
  return { declares: [], assigns: false, commands }
}

function parseCommand(cursor: Cursor): Expression {
  const operands: Expression[] = []
  for (let operand = parseOperand(cursor); operand; operand = parseOperand(cursor)) operands.push(operand)
  const [first, ...args] = operands
  if (!first) throw templateError('missing value for command')
  if (first.kind === 'call') return { ...first, args }
  if (args.length > 0) throw templateError("can't give argument to non-function")
  return first
}

function parseOperand(cursor: Cursor): Expression | undefined {
  const token = cursor.tokens[cursor.position]
  if (!token) return undefined
  if (token.kind === 'symbol') {
    if (token.text !== '(') return undefined
    cursor.position += 1
    const pipeline = parseCommands(cursor)
    if (!isSymbol(cursor.tokens[cursor.position], ')')) throw templateError('unclosed left paren')
    cursor.position += 1
    const after = cursor.tokens[cursor.position]
    const chained = after?.kind === 'field' && after.path.length > 0 ? after.path : []
    if (chained.length > 0) cursor.position += 1
    return { kind: 'nested', pipeline, path: chained }
  }
  cursor.position += 1
  return token.kind === 'word' ? { kind: 'call', name: token.text, args: [] } : token
}

function isSymbol(token: Token | undefined, text: string): boolean {
  return token?.kind === 'symbol' && token.text === text
}
