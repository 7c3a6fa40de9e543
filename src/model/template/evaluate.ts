// Runs a parsed template over plain data, with the functions of Go's text/template that make sense here.
import { errorText, isShoalError, ShoalError } from '../../lib/index.ts'
import { lex } from './lexer.ts'
import { type Command, type Node, type Operand, type Pipeline, parse } from './parser.ts'

export type Value = string | number | boolean | undefined | readonly Value[] | { readonly [key: string]: Value }
export type TemplateFunction = (...args: Value[]) => Value

/** What a template may write at most: templates come from users. */
const MAX_OUTPUT = 1 << 20

/** Throws ShoalError 'invalid-argument' for a template that cannot be read or run. */
export function runTemplate(source: string, data: Value, functions: Readonly<Record<string, TemplateFunction>> = {}): string {
  if (!source.includes('{{')) return source
  const run: Run = { root: data, functions: { ...BUILTINS, ...functions }, output: '' }
  write(run, parse(lex(source)), data)
  return run.output
}

interface Run {
  readonly root: Value
  readonly functions: Readonly<Record<string, TemplateFunction>>
  output: string
}

function failed(at: string, message: string): ShoalError {
  return new ShoalError('invalid-argument', `template: expansion:1: executing "expansion" at <${at}>: ${message}`)
}

function write(run: Run, nodes: readonly Node[], dot: Value): void {
  for (const node of nodes) {
    if (node.kind === 'text') append(run, node.text)
    else if (node.kind === 'print') append(run, show(evaluate(run, node.pipeline, dot)))
    else control(run, node, dot)
  }
}

function append(run: Run, text: string): void {
  run.output += text
  if (run.output.length > MAX_OUTPUT) throw new ShoalError('invalid-argument', 'the output of the template is too large')
}

function control(run: Run, node: Extract<Node, { kind: 'if' | 'with' | 'range' }>, dot: Value): void {
  const value = evaluate(run, node.pipeline, dot)
  if (!truth(value)) write(run, node.otherwise, dot)
  else if (node.kind !== 'range') write(run, node.body, node.kind === 'if' ? dot : value)
  else if (typeof value === 'object') for (const item of items(value)) write(run, node.body, item)
  else throw failed('range', `range can't iterate over ${show(value)}`)
}

/** Maps are walked in the order of their keys, as Go does. */
function items(value: readonly Value[] | { readonly [key: string]: Value }): readonly Value[] {
  if (isList(value)) return value
  return Object.keys(value)
    .sort()
    .map((key) => value[key])
}

function evaluate(run: Run, pipeline: Pipeline, dot: Value): Value {
  let result: Value
  pipeline.forEach((command, index) => {
    result = callCommand(run, command, dot, index === 0 ? [] : [result])
  })
  return result
}

function callCommand(run: Run, command: Command, dot: Value, piped: readonly Value[]): Value {
  const [head, ...rest] = command
  if (head?.kind === 'name' && !LITERALS.has(head.name)) {
    const call = Object.hasOwn(run.functions, head.name) ? run.functions[head.name] : undefined
    if (!call) throw new ShoalError('invalid-argument', `template: expansion:1: function "${head.name}" not defined`)
    const args = [...rest.map((operand) => operandValue(run, operand, dot)), ...piped]
    try {
      return call(...args)
    } catch (error) {
      if (isShoalError(error) && error.message.startsWith('template:')) throw error
      throw failed(head.name, `error calling ${head.name}: ${errorText(error)}`)
    }
  }
  if (rest.length > 0 || piped.length > 0) throw failed(head ? describe(head) : '', "can't give argument to non-function")
  return operandValue(run, head!, dot)
}

const LITERALS = new Map<string, Value>([
  ['true', true],
  ['false', false],
  ['nil', undefined],
])

function operandValue(run: Run, operand: Operand, dot: Value): Value {
  switch (operand.kind) {
    case 'string':
    case 'number':
      return operand.value
    case 'field':
      return operand.path.reduce<Value>((from, name) => field(from, name, describe(operand)), operand.root ? run.root : dot)
    case 'pipeline':
      return evaluate(run, operand.pipeline, dot)
    case 'name':
      return LITERALS.has(operand.name) ? LITERALS.get(operand.name) : callCommand(run, [operand], dot, [])
  }
}

function field(from: Value, name: string, at: string): Value {
  if (typeof from !== 'object' || isList(from)) throw failed(at, `can't evaluate field ${name} in type ${typeName(from)}`)
  if (!Object.hasOwn(from, name)) throw failed(at, `map has no entry for key "${name}"`)
  return from[name]
}

function describe(operand: Operand): string {
  if (operand.kind === 'field') return `${operand.root ? '$' : ''}.${operand.path.join('.')}`
  return operand.kind === 'name' ? operand.name : operand.kind === 'pipeline' ? 'pipeline' : JSON.stringify(operand.value)
}

function isList(value: Value): value is readonly Value[] {
  return Array.isArray(value)
}

function typeName(value: Value): string {
  if (value === undefined) return 'nil'
  if (isList(value)) return '[]interface {}'
  return typeof value === 'object' ? 'map' : typeof value === 'number' ? 'int' : typeof value === 'boolean' ? 'bool' : 'string'
}

function truth(value: Value): boolean {
  if (typeof value === 'object') return isList(value) ? value.length > 0 : Object.keys(value).length > 0
  return Boolean(value)
}

/** As Go prints it. */
export function show(value: Value): string {
  if (value === undefined) return '<no value>'
  if (isList(value)) return `[${value.map(show).join(' ')}]`
  if (typeof value === 'object') {
    const keys = Object.keys(value).sort()
    return `map[${keys.map((key) => `${key}:${show(value[key])}`).join(' ')}]`
  }
  return String(value)
}

function compare(a: Value, b: Value): number {
  if (typeof a !== typeof b) throw new Error('incompatible types for comparison')
  if (typeof a === 'number' && typeof b === 'number') return a - b
  if (typeof a === 'string' && typeof b === 'string') return a < b ? -1 : a > b ? 1 : 0
  if (typeof a === 'boolean') return a === b ? 0 : 1
  throw new Error('invalid type for comparison')
}

function printf(format: Value, args: readonly Value[]): string {
  if (typeof format !== 'string') throw new Error('wrong type for value; expected string')
  let next = 0
  const text = format.replace(/%(-?0?\d*)([svdqt%])/g, (whole, width: string, verb: string) => {
    if (verb === '%') return '%'
    if (next >= args.length) return `%!${verb}(MISSING)`
    const value = args[next++]
    const shown = verb === 'q' ? JSON.stringify(show(value)) : show(value)
    if (verb === 'd' && typeof value !== 'number') return `%!d(${typeName(value)}=${shown})`
    const size = Number(width.replace(/^-/, '')) || 0
    if (size > 10_000) return whole
    if (width.startsWith('-')) return shown.padEnd(size)
    return shown.padStart(size, width.startsWith('0') ? '0' : ' ')
  })
  return next < args.length
    ? `${text}%!(EXTRA ${args
        .slice(next)
        .map((arg) => `${typeName(arg)}=${show(arg)}`)
        .join(', ')})`
    : text
}

function index(from: Value, ...keys: Value[]): Value {
  let value = from
  for (const key of keys) {
    if (isList(value)) {
      if (typeof key !== 'number' || key < 0 || key >= value.length) throw new Error(`index out of range: ${show(key)}`)
      value = value[key]
    } else if (typeof value === 'object') {
      if (typeof key !== 'string') throw new Error(`value has type ${typeName(key)}; should be string`)
      value = Object.hasOwn(value, key) ? value[key] : '' // Go: the zero value of the map's element
    } else throw new Error(`can't index item of type ${typeName(value)}`)
  }
  return value
}

const BUILTINS: Readonly<Record<string, TemplateFunction>> = {
  // SwarmKit's own join takes the separator first and the strings after it
  join: (separator = '', ...parts) => parts.map(show).join(show(separator)),
  upper: (text) => show(text).toUpperCase(),
  lower: (text) => show(text).toLowerCase(),
  index,
  len: (value) => {
    if (typeof value === 'string') return Buffer.byteLength(value)
    if (typeof value === 'object') return isList(value) ? value.length : Object.keys(value).length
    throw new Error(`len of type ${typeName(value)}`)
  },
  print: (...args) => args.map(show).join(' '),
  println: (...args) => `${args.map(show).join(' ')}\n`,
  printf: (format, ...args) => printf(format, args),
  and: (...args) => args.find((value) => !truth(value)) ?? args.at(-1),
  or: (...args) => args.find(truth) ?? args.at(-1),
  not: (value) => !truth(value),
  eq: (first, ...rest) => rest.some((value) => compare(first, value) === 0),
  ne: (a, b) => compare(a, b) !== 0,
  lt: (a, b) => compare(a, b) < 0,
  le: (a, b) => compare(a, b) <= 0,
  gt: (a, b) => compare(a, b) > 0,
  ge: (a, b) => compare(a, b) >= 0,
}
