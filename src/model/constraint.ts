// Placement constraints: `node.labels.zone==a`, `node.ip!=10.0.0.0/8`, ... parsed once, matched many times.
import ipaddr from 'ipaddr.js'
import { ShoalError } from '../lib/index.ts'
import type { Node } from './objects.ts'

export interface Constraint {
  readonly key: string
  readonly operator: '==' | '!='
  readonly value: string
}

const OPERATORS = ['==', '!='] as const
const KEY = /^[a-z_][a-z0-9\-_.]+$/i
const VALUE = /^[a-z0-9:\-_\s.*()?+[\]\\^$|/]+$/i
const NODE_LABEL = 'node.labels.'
const ENGINE_LABEL = 'engine.labels.'

/** Throws a ShoalError 'unknown' with SwarmKit's sentence (the API answers 500 with it, docker-api.md 1.2) when one does not parse. */
export function parseConstraints(expressions: readonly string[]): readonly Constraint[] {
  return expressions.map(parseConstraint)
}

function parseConstraint(expression: string): Constraint {
  for (const operator of OPERATORS) {
    const at = expression.indexOf(operator)
    if (at < 0) continue
    const key = expression.slice(0, at).trim()
    const value = expression.slice(at + operator.length).trim()
    if (!KEY.test(key)) throw new ShoalError('unknown', `key '${key}' is invalid`)
    if (!VALUE.test(value)) throw new ShoalError('unknown', `value '${value}' is invalid`)
    return { key, operator, value }
  }
  throw new ShoalError('unknown', `constraint expected one operator from ${OPERATORS.join(', ')}`)
}

/** Whether the node satisfies all. Keys and values compare without case; label names with case; an unknown key matches nothing. */
export function nodeMatches(constraints: readonly Constraint[], node: Node): boolean {
  return constraints.every((constraint) => matches(constraint, node))
}

/** Like `nodeMatches` for expressions as they stand in a spec; one that does not parse fits nowhere. */
export function nodeMatchesExpressions(expressions: readonly string[] | undefined, node: Node): boolean {
  if (!expressions || expressions.length === 0) return true
  try {
    return nodeMatches(parseConstraints(expressions), node)
  } catch {
    return false // refused when the spec came in; an old spec that slipped through must not stop a loop
  }
}

function matches(constraint: Constraint, node: Node): boolean {
  const key = constraint.key.toLowerCase()
  if (key === 'node.ip') return matchesAddress(constraint, node.status.address)
  const found = attributeOf(node, constraint.key)
  if (found === undefined) return false
  return (found.toLowerCase() === constraint.value.toLowerCase()) === (constraint.operator === '==')
}

/** What a node says to `node.id`, `node.labels.zone`, ...: '' where it has nothing, undefined for a key that does not exist. */
export function attributeOf(node: Node, key: string): string | undefined {
  const lower = key.toLowerCase()
  if (lower.startsWith(NODE_LABEL) && key.length > NODE_LABEL.length) return node.spec.labels[key.slice(NODE_LABEL.length)] ?? ''
  if (lower.startsWith(ENGINE_LABEL) && key.length > ENGINE_LABEL.length)
    return node.description?.engineLabels[key.slice(ENGINE_LABEL.length)] ?? ''
  switch (lower) {
    case 'node.id':
      return node.id
    case 'node.hostname':
      return node.description?.hostname ?? ''
    case 'node.role':
      return node.role
    case 'node.platform.os':
      return node.description?.platform.os ?? ''
    case 'node.platform.arch':
      return node.description?.platform.architecture ?? ''
    case 'node.ip':
      return node.status.address
    default:
      return undefined
  }
}

/** An address or a CIDR; what is neither satisfies no constraint, whatever the operator (as in SwarmKit). */
function matchesAddress(constraint: Constraint, nodeAddress: string): boolean {
  const equal = constraint.operator === '=='
  const address = ipaddr.isValid(nodeAddress) ? ipaddr.process(nodeAddress) : undefined
  if (ipaddr.isValid(constraint.value)) return (address?.toString() === ipaddr.process(constraint.value).toString()) === equal
  if (!ipaddr.isValidCIDR(constraint.value)) return false
  const [range, bits] = ipaddr.parseCIDR(constraint.value)
  return (address !== undefined && address.kind() === range.kind() && address.match(range, bits)) === equal
}
