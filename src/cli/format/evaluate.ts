// Runs a parsed Go template over JSON-like data: fields, variables, pipelines, blocks, and the functions that docker's --format knows.
import { templateError } from './lexer.ts'
import { type Expression, type Pipeline, parseTemplate, type Statement } from './parser.ts'

export interface TemplateOptions {
  /** true: a field that is not there is an error (rows of tables, whose fields are known); false: it prints as <no value>. */
  readonly strict?: boolean
}

export type Template = (data: unknown) => string

/** Compiles a template. Throws invalid-argument with the reason, when compiled or when run. */
export function compileTemplate(source: string, options: TemplateOptions = {}): Template {
  const statements = parseTemplate(source)
  checkFunctions(statements)
  return (data) => {
    const run = new Run(data, options.strict === true)
    run.statements(statements, data)
    return run.text
  }
}

class StopLoop {
  readonly kind: 'break' | 'continue'
  constructor(kind: 'break' | 'continue') {
    this.kind = kind
  }
}

class Run {
  text = ''
  readonly #strict: boolean
  readonly #variables: [string, unknown][]

  constructor(root: unknown, strict: boolean) {
    this.#strict = strict
    this.#variables = [['$', root]]
  }

  statements(list: readonly Statement[], dot: unknown): void {
    const scope = this.#variables.length
    try {
      for (const statement of list) this.#statement(statement, dot)
    } finally {
      this.#variables.length = scope
    }
  }

  #statement(statement: Statement, dot: unknown): void {
    switch (statement.kind) {
      case 'text':
        this.text += statement.text
        return
      case 'break':
      case 'continue':
        throw new StopLoop(statement.kind)
      case 'output': {
        const value = this.#pipeline(statement.pipeline, dot)
        if (statement.pipeline.declares.length === 0) this.text += show(value)
        return
      }
      case 'range':
        this.#range(statement, dot)
        return
      default: {
        const scope = this.#variables.length
        const value = this.#pipeline(statement.pipeline, dot)
        if (truth(value)) this.statements(statement.body, statement.kind === 'with' ? value : dot)
        else this.statements(statement.otherwise, dot)
        this.#variables.length = scope
      }
    }
  }

  #range(statement: Extract<Statement, { pipeline: Pipeline; body: readonly Statement[] }>, dot: unknown): void {
    const { declares, ...pipeline } = statement.pipeline
    const items = entries(this.#pipeline({ ...pipeline, declares: [] }, dot))
    if (items.length === 0) this.statements(statement.otherwise, dot)
    const scope = this.#variables.length
    for (const [key, value] of items) {
      const [first, second] = declares
      if (first && second) this.#variables.push([first, key], [second, value])
      else if (first) this.#variables.push([first, value])
      try {
        this.statements(statement.body, value)
      } catch (stop) {
        if (!(stop instanceof StopLoop)) throw stop
        if (stop.kind === 'break') break
      } finally {
        this.#variables.length = scope
      }
    }
  }

  #pipeline(pipeline: Pipeline, dot: unknown): unknown {
    let value: unknown
    for (const [index, command] of pipeline.commands.entries()) {
      if (index > 0 && command.kind !== 'call') throw templateError('non executable command in pipeline')
      value = this.#expression(command, dot, index > 0 ? [value] : [])
    }
    const [name] = pipeline.declares
    if (name) {
      const found = pipeline.assigns ? this.#variables.findLast(([known]) => known === name) : undefined
      if (found) found[1] = value
      else this.#variables.push([name, value])
    }
    return value
  }

  #expression(expression: Expression, dot: unknown, piped: readonly unknown[]): unknown {
    switch (expression.kind) {
      case 'literal':
        return expression.value
      case 'field':
        return this.#path(dot, expression.path)
      case 'variable': {
        const found = this.#variables.findLast(([name]) => name === expression.name)
        if (!found) throw templateError(`undefined variable "${expression.name}"`)
        return this.#path(found[1], expression.path)
      }
      case 'nested':
        return this.#path(this.#pipeline(expression.pipeline, dot), expression.path)
      case 'call': {
        const args = expression.args.map((argument) => this.#expression(argument, dot, []))
        return (FUNCTIONS[expression.name] as TemplateFunction)(...args, ...piped)
      }
    }
  }

  #path(start: unknown, path: readonly string[]): unknown {
    let value = start
    for (const name of path) {
      const found = field(value, name)
      if (found === MISSING) {
        if (!this.#strict) return undefined
        const known = isObject(value)
          ? `; the fields are ${Object.keys(value)
              .map((key) => `.${key}`)
              .join(' ')}`
          : ''
        throw templateError(`executing "" at <.${path.join('.')}>: can't evaluate field ${name}${known}`)
      }
      value = found
    }
    return value
  }
}

const MISSING = Symbol('missing')

/** A field by its name, or by the same name in other letter case (Healthcheck, HealthCheck), as Go's JSON matches them. */
function field(value: unknown, name: string): unknown {
  if (!isObject(value)) return MISSING
  if (Object.hasOwn(value, name)) return value[name]
  const lower = name.toLowerCase()
  const key = Object.keys(value).find((candidate) => candidate.toLowerCase() === lower)
  return key === undefined ? MISSING : value[key]
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function truth(value: unknown): boolean {
  if (Array.isArray(value)) return value.length > 0
  if (isObject(value)) return Object.keys(value).length > 0
  return Boolean(value)
}

function entries(value: unknown): [unknown, unknown][] {
  if (Array.isArray(value)) return value.map((item, index) => [index, item])
  if (isObject(value))
    return Object.keys(value)
      .sort()
      .map((key) => [key, value[key]])
  if (typeof value === 'number') return Array.from({ length: Math.max(0, value) }, (_, index) => [index, index])
  if (value === undefined || value === null) return []
  throw templateError(`range can't iterate over ${show(value)}`)
}

/** A value as Go's fmt prints it. */
export function show(value: unknown): string {
  if (value === undefined || value === null) return '<no value>'
  if (Array.isArray(value)) return `[${value.map(show).join(' ')}]`
  if (isObject(value))
    return `map[${Object.keys(value)
      .sort()
      .map((key) => `${key}:${show(value[key])}`)
      .join(' ')}]`
  return String(value)
}

/** JSON as Go's encoder writes it: <, > and & are escaped. */
export function goJson(value: unknown): string {
  return JSON.stringify(value ?? null).replace(/[<>&\u2028\u2029]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

type TemplateFunction = (...args: unknown[]) => unknown

function size(value: unknown): number {
  if (typeof value === 'string') return Buffer.byteLength(value)
  if (Array.isArray(value)) return value.length
  if (isObject(value)) return Object.keys(value).length
  if (value === undefined || value === null) return 0
  throw templateError(`len of type ${typeof value}`)
}

function compare(a: unknown, b: unknown): number {
  if (typeof a === 'number' && typeof b === 'number') return a - b
  if (typeof a === 'string' && typeof b === 'string') return a < b ? -1 : a > b ? 1 : 0
  throw templateError('incompatible types for comparison')
}

function index(value: unknown, ...keys: unknown[]): unknown {
  let current = value
  for (const key of keys) {
    if (Array.isArray(current) && typeof key === 'number') {
      if (key < 0 || key >= current.length) throw templateError(`error calling index: index out of range: ${key}`)
      current = current[key]
    } else current = isObject(current) ? current[String(key)] : undefined
  }
  return current
}

/** The verbs of Go's printf that make sense for JSON data. */
function printf(format: unknown, ...args: unknown[]): string {
  let next = 0
  return String(format).replace(
    /%(-?)(0?)(\d*)(?:\.(\d+))?([%vsdqtfxXgT])/g,
    (_, left: string, zero: string, width: string, digits: string | undefined, verb: string) => {
      if (verb === '%') return '%'
      const value = args[next]
      next += 1
      let text = show(value)
      if (verb === 'q') text = JSON.stringify(text)
      else if (verb === 'x' || verb === 'X') text = typeof value === 'number' ? value.toString(16) : Buffer.from(text).toString('hex')
      else if (verb === 'f') text = Number(value).toFixed(digits === undefined ? 6 : Number(digits))
      else if (verb === 's' && digits !== undefined) text = text.slice(0, Number(digits))
      if (verb === 'X') text = text.toUpperCase()
      const columns = Number(width || 0)
      return left ? text.padEnd(columns) : text.padStart(columns, zero ? '0' : ' ')
    },
  )
}

/** Go's print: a blank between operands when neither is a string. */
function print(...args: unknown[]): string {
  let text = ''
  for (const [i, value] of args.entries()) {
    if (i > 0 && typeof value !== 'string' && typeof args[i - 1] !== 'string') text += ' '
    text += show(value)
  }
  return text
}

const FUNCTIONS: Readonly<Record<string, TemplateFunction>> = {
  json: (value) => goJson(value),
  lower: (text) => show(text).toLowerCase(),
  upper: (text) => show(text).toUpperCase(),
  title: (text) => show(text).replace(/(^|\s)(\S)/g, (_, before: string, char: string) => before + char.toUpperCase()),
  split: (text, separator) => show(text).split(show(separator)),
  join: (list, separator) => (Array.isArray(list) ? list.map(show).join(show(separator)) : show(list)),
  pad: (text, left, right) => (text === '' ? '' : ' '.repeat(Number(left)) + show(text) + ' '.repeat(Number(right))),
  truncate: (text, length) => [...show(text)].slice(0, Number(length)).join(''),
  table: (text) => show(text),
  println: (...args) => `${args.map(show).join(' ')}\n`,
  print,
  printf: (format, ...args) => printf(format, ...args),
  len: size,
  index: (value, ...keys) => index(value, ...keys),
  slice: (value, from, to) =>
    typeof value === 'string' || Array.isArray(value) ? value.slice(Number(from ?? 0), to === undefined ? undefined : Number(to)) : value,
  eq: (first, ...rest) => rest.some((value) => value === first),
  ne: (a, b) => a !== b,
  lt: (a, b) => compare(a, b) < 0,
  le: (a, b) => compare(a, b) <= 0,
  gt: (a, b) => compare(a, b) > 0,
  ge: (a, b) => compare(a, b) >= 0,
  and: (...args) => args.find((value) => !truth(value)) ?? args.at(-1),
  or: (...args) => args.find(truth) ?? args.at(-1),
  not: (value) => !truth(value),
  urlquery: (value) => encodeURIComponent(show(value)),
  html: (value) => show(value).replace(/[<>&"']/g, (char) => `&#${char.charCodeAt(0)};`),
}

/** Unknown functions are found when the template is compiled, as Go does, not when a row happens to reach them. */
function checkFunctions(statements: readonly Statement[]): void {
  for (const statement of statements) {
    if (!('pipeline' in statement)) continue
    checkPipeline(statement.pipeline)
    if ('body' in statement) {
      checkFunctions(statement.body)
      checkFunctions(statement.otherwise)
    }
  }
}

function checkPipeline(pipeline: Pipeline): void {
  for (const command of pipeline.commands) checkExpression(command)
}

function checkExpression(expression: Expression): void {
  if (expression.kind === 'nested') checkPipeline(expression.pipeline)
  if (expression.kind !== 'call') return
  if (!Object.hasOwn(FUNCTIONS, expression.name)) throw templateError(`function "${expression.name}" not defined`)
  for (const argument of expression.args) checkExpression(argument)
}
