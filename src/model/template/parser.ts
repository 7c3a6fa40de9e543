// The words of a template as a tree.
import { type Piece, templateError, type Word } from './lexer.ts'

export type Node =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'print'; readonly pipeline: Pipeline }
  | {
      readonly kind: 'if' | 'with' | 'range'
      readonly pipeline: Pipeline
      readonly body: readonly Node[]
      readonly otherwise: readonly Node[]
    }

/** Commands from left to right; the result of one is the last argument of the next. */
export type Pipeline = readonly Command[]
export type Command = readonly Operand[]
export type Operand = Exclude<Word, { kind: 'symbol' }> | { readonly kind: 'pipeline'; readonly pipeline: Pipeline }

const KEYWORDS = new Set(['if', 'with', 'range', 'else', 'end', 'define', 'template', 'block', 'break', 'continue'])
const MAX_DEPTH = 50

export function parse(pieces: readonly Piece[]): readonly Node[] {
  const reader = { pieces, at: 0 }
  const { nodes, ended } = parseList(reader, 0)
  if (ended) throw templateError(`unexpected {{${ended.keyword}}}`)
  return nodes
}

interface Reader {
  readonly pieces: readonly Piece[]
  at: number
}

interface End {
  readonly keyword: 'else' | 'end'
  readonly words: readonly Word[]
}

/** Up to the `else` or `end` that closes it, or the end of the template. */
function parseList(reader: Reader, depth: number): { readonly nodes: readonly Node[]; readonly ended: End | undefined } {
  if (depth > MAX_DEPTH) throw templateError('max depth exceeded')
  const nodes: Node[] = []
  while (reader.at < reader.pieces.length) {
    const piece = reader.pieces[reader.at]!
    reader.at += 1
    if (piece.kind === 'text') {
      nodes.push(piece)
      continue
    }
    const [first, ...rest] = piece.words
    if (!first) throw templateError('missing value for command')
    if (first.kind !== 'name' || !KEYWORDS.has(first.name)) {
      nodes.push({ kind: 'print', pipeline: parsePipeline(piece.words) })
      continue
    }
    const keyword = first.name
    if (keyword === 'else' || keyword === 'end') return { nodes, ended: { keyword, words: rest } }
    if (keyword !== 'if' && keyword !== 'with' && keyword !== 'range') throw templateError(`{{${keyword}}} is not supported`)
    nodes.push(parseControl(reader, keyword, rest, depth + 1))
  }
  return { nodes, ended: undefined }
}

function parseControl(reader: Reader, kind: 'if' | 'with' | 'range', words: readonly Word[], depth: number): Node {
  const pipeline = parsePipeline(words)
  const { nodes: body, ended } = parseList(reader, depth)
  if (!ended) throw templateError('unexpected EOF')
  if (ended.keyword === 'end') return { kind, pipeline, body, otherwise: [] }
  const [next, ...rest] = ended.words
  if (next) {
    // {{else if X}} is an if inside the else, closed by the same end
    if (next.kind !== 'name' || next.name !== kind || kind === 'range') throw templateError('unexpected words after else')
    return { kind, pipeline, body, otherwise: [parseControl(reader, kind, rest, depth + 1)] }
  }
  const { nodes: otherwise, ended: last } = parseList(reader, depth)
  if (last?.keyword !== 'end') throw templateError(last ? 'expected end; found {{else}}' : 'unexpected EOF')
  return { kind, pipeline, body, otherwise }
}

function parsePipeline(words: readonly Word[]): Pipeline {
  const reader = { words, at: 0 }
  const pipeline = readPipeline(reader, 0)
  if (reader.at < words.length) throw templateError('unexpected ")" in command')
  return pipeline
}

function readPipeline(reader: { readonly words: readonly Word[]; at: number }, depth: number): Pipeline {
  if (depth > MAX_DEPTH) throw templateError('max expression depth exceeded')
  const commands: Operand[][] = [[]]
  while (reader.at < reader.words.length) {
    const word = reader.words[reader.at]!
    if (word.kind === 'symbol' && word.symbol === ')') break
    reader.at += 1
    if (word.kind !== 'symbol') commands.at(-1)!.push(word)
    else if (word.symbol === '|') commands.push([])
    else {
      const pipeline = readPipeline(reader, depth + 1)
      if (reader.at >= reader.words.length) throw templateError('unclosed left paren')
      reader.at += 1
      commands.at(-1)!.push({ kind: 'pipeline', pipeline })
    }
  }
  if (commands.some((command) => command.length === 0)) throw templateError('missing value for command')
  return commands
}
