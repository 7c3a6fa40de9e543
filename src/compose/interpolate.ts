// Variables in values: $VAR, ${VAR}, ${VAR:-default} and its relatives, $$ for a dollar sign.
import type { Problems } from './problems.ts'
import type { Entry, Tree } from './tree.ts'

/** The value of a variable; undefined when it is not set. */
export type Lookup = (name: string) => string | undefined

export type Substitution =
  | { readonly kind: 'text'; readonly text: string; readonly unset: readonly string[] }
  | { readonly kind: 'wrong'; readonly reason: string; readonly missing: boolean }

const MAX_NESTING = 50

class WrongTemplate extends Error {
  readonly missing: boolean

  constructor(reason: string, missing = false) {
    super(reason)
    this.missing = missing
  }
}

/** Puts in the values of variables. Those that are not set and have no default become empty and are named in `unset`. */
export function substitute(template: string, lookup: Lookup): Substitution {
  if (!template.includes('$')) return { kind: 'text', text: template, unset: [] }
  const unset = new Set<string>()
  try {
    return { kind: 'text', text: expand(template, lookup, unset, 0), unset: [...unset] }
  } catch (error) {
    if (error instanceof WrongTemplate) return { kind: 'wrong', reason: error.message, missing: error.missing }
    throw error
  }
}

function expand(template: string, lookup: Lookup, unset: Set<string>, depth: number): string {
  if (depth > MAX_NESTING) throw new WrongTemplate('variables are nested too deeply')
  let out = ''
  let i = 0
  while (i < template.length) {
    const dollar = template.indexOf('$', i)
    if (dollar < 0) return out + template.slice(i)
    out += template.slice(i, dollar)
    const next = template[dollar + 1]
    if (next === '$') {
      out += '$'
      i = dollar + 2
    } else if (next === '{') {
      const end = closingBrace(template, dollar + 2)
      if (end < 0) throw new WrongTemplate(`"\${" without "}" in ${JSON.stringify(template)}`)
      out += braced(template.slice(dollar + 2, end), lookup, unset, depth)
      i = end + 1
    } else {
      const name = /^[_a-zA-Z][_a-zA-Z0-9]*/.exec(template.slice(dollar + 1))?.[0]
      out += name === undefined ? '$' : variableValue(name, lookup, unset)
      i = dollar + 1 + (name?.length ?? 0)
    }
  }
  return out
}

function closingBrace(template: string, from: number): number {
  let depth = 1
  for (let i = from; i < template.length; i += 1) {
    if (template[i] === '$' && template[i + 1] === '$') i += 1
    else if (template[i] === '$' && template[i + 1] === '{') {
      depth += 1
      i += 1
    } else if (template[i] === '}') {
      depth -= 1
      if (depth === 0) return i
    }
  }
  return -1
}

function braced(body: string, lookup: Lookup, unset: Set<string>, depth: number): string {
  const match = /^([_a-zA-Z][_a-zA-Z0-9]*)(?:(:?[-?+])([\s\S]*))?$/.exec(body)
  if (!match)
    throw new WrongTemplate(`"\${${body}}" is no variable: a name has letters, digits and _; after it may stand :- - :? ? :+ or +`)
  const [, name = '', operator, argument = ''] = match
  if (operator === undefined) return variableValue(name, lookup, unset)
  const value = lookup(name)
  const isThere = operator.startsWith(':') ? value !== undefined && value !== '' : value !== undefined
  const instead = () => expand(argument, lookup, unset, depth + 1)
  switch (operator.at(-1)) {
    case '-':
      return isThere ? (value as string) : instead()
    case '+':
      return isThere ? instead() : ''
    default:
      if (isThere) return value as string
      throw new WrongTemplate(`required variable ${name} is missing a value${argument ? `: ${instead()}` : ''}`, true)
  }
}

function variableValue(name: string, lookup: Lookup, unset: Set<string>): string {
  const value = lookup(name)
  if (value === undefined) unset.add(name)
  return value ?? ''
}

/** The tree with the variables in its values (never in keys) put in. */
export function interpolateTree(tree: Tree, lookup: Lookup, problems: Problems, name = ''): Tree {
  if (tree.kind === 'list') {
    return { ...tree, items: tree.items.map((item, i) => interpolateTree(item, lookup, problems, `${name}[${i}]`)) }
  }
  if (tree.kind === 'map') {
    const entries = new Map<string, Entry>()
    for (const [key, { at, value }] of tree.entries) {
      entries.set(key, { at, value: interpolateTree(value, lookup, problems, name ? `${name}.${key}` : key) })
    }
    return { ...tree, entries }
  }
  if (typeof tree.value !== 'string') return tree
  const result = substitute(tree.value, lookup)
  if (result.kind === 'wrong') {
    const advice = result.missing ? 'Set it in the environment or in the .env file' : 'Write $$ for a dollar sign'
    problems.error(tree.at, name, result.reason, advice)
    return tree
  }
  for (const variable of result.unset) {
    problems.warn(
      tree.at,
      name,
      `the variable ${variable} is not set; an empty text takes its place`,
      `Set it, or write \${${variable}:-default}`,
    )
  }
  return { ...tree, value: result.text }
}
