// Flag values of services that are more than a word: hosts, ulimits, capabilities, generic resources, preferences, credentials.
import { isIP } from 'node:net'
import type { ContainerSpec, GenericResource, Ulimit } from '../../client/index.ts'
import { ExitError } from '../io.ts'

/** --host NAME:IP as a line of /etc/hosts. */
export function parseHost(text: string): string {
  const colon = text.indexOf(':')
  const name = text.slice(0, colon)
  const address = text.slice(colon + 1).replace(/^\[|\]$/g, '')
  if (colon <= 0 || address === '') throw new Error(`bad format for add-host: ${JSON.stringify(text)}`)
  if (isIP(address) === 0) throw new Error(`invalid IP address in add-host: ${JSON.stringify(address)}`)
  return `${address} ${name}`
}

export function parseNameserver(text: string): string {
  if (isIP(text.trim()) === 0) throw new Error(`IP address is not correctly formatted: ${text}`)
  return text.trim()
}

/** --ulimit NAME=SOFT[:HARD]. */
export function parseUlimit(text: string): Ulimit {
  const match = /^(\w+)=(-?\d+)(?::(-?\d+))?$/.exec(text)
  if (!match) throw new Error(`invalid ulimit argument: ${text}`)
  const soft = Number(match[2])
  const hard = Number(match[3] ?? match[2])
  if (hard !== -1 && (soft > hard || soft === -1))
    throw new Error(`ulimit soft limit must be less than or equal to hard limit: ${soft} > ${hard}`)
  return { Name: match[1] as string, Hard: hard, Soft: soft }
}

/** --placement-pref spread=DESCRIPTOR; the descriptor. */
export function parsePreference(text: string): string {
  const equals = text.indexOf('=')
  if (equals < 0) throw new Error('placement preference must be of the format "<strategy>=<arg>"')
  const strategy = text.slice(0, equals).toLowerCase().trim()
  if (strategy !== 'spread') throw new Error(`unsupported placement preference ${strategy} (only spread is supported)`)
  return text.slice(equals + 1).trim()
}

/** --generic-resource KIND=COUNT. */
export function genericResource(text: string): GenericResource {
  const match = /^([^=]+)=(\d+)$/.exec(text)
  if (match) return { DiscreteResourceSpec: { Kind: match[1] as string, Value: Number(match[2]) } }
  if (!/^[^=]+=[^=]+$/.test(text)) throw new ExitError(1, `invalid generic-resource request \`${text}\`: give KIND=COUNT`)
  throw new ExitError(
    1,
    `invalid generic-resource request \`${text}\`, Named Generic Resources is not supported for service create or update`,
  )
}

export function resourceKind(resource: GenericResource): string {
  return resource.DiscreteResourceSpec?.Kind ?? resource.NamedResourceSpec?.Kind ?? ''
}

/** Capabilities as the engine names them: upper case with CAP_, except ALL and RESET. */
export function capabilityNames(texts: readonly string[]): string[] {
  return texts.map((text) => {
    const upper = text.trim().toUpperCase()
    return upper === 'ALL' || upper === 'RESET' || upper.startsWith('CAP_') ? upper : `CAP_${upper}`
  })
}

/** What a new service adds and drops: adding wins over dropping, ALL stands for all. */
export function effectiveCapabilities(
  add: readonly string[],
  drop: readonly string[],
): Pick<ContainerSpec, 'CapabilityAdd' | 'CapabilityDrop'> {
  const added = new Set(capabilityNames(add).filter((name) => name !== 'RESET'))
  const dropped = new Set(capabilityNames(drop).filter((name) => name !== 'RESET' && !added.has(name)))
  return {
    CapabilityAdd: orUndefined(added.has('ALL') ? ['ALL'] : [...added].sort()),
    CapabilityDrop: orUndefined(dropped.has('ALL') ? ['ALL'] : [...dropped].sort()),
  }
}

/**
 * --cap-add and --cap-drop of `service update`: each first undoes the other's earlier word, so that a capability that was dropped and is added
 * is the default again. RESET forgets what was set before.
 */
export function updatedCapabilities(
  spec: ContainerSpec,
  add: readonly string[],
  drop: readonly string[],
): Pick<ContainerSpec, 'CapabilityAdd' | 'CapabilityDrop'> {
  const toAdd = capabilityNames(add)
  const toDrop = capabilityNames(drop)
  const added = new Set(toAdd.includes('RESET') ? [] : spec.CapabilityAdd)
  const dropped = new Set(toDrop.includes('RESET') ? [] : spec.CapabilityDrop)
  for (const name of toDrop) if (name !== 'RESET' && !toAdd.includes(name) && !added.delete(name)) dropped.add(name)
  for (const name of toAdd) if (name !== 'RESET' && !dropped.delete(name)) added.add(name)
  return effectiveCapabilities([...added], [...dropped])
}

/** --credential-spec file://, registry:// or config://. */
export function parseCredentialSpec(text: string): { Config: string; File: string; Registry: string } {
  const match = /^(config|file|registry):\/\/(.*)$/.exec(text)
  if (text !== '' && !match)
    throw new Error('invalid credential spec: value must be prefixed with "config://", "file://", or "registry://"')
  const value = (kind: string) => (match?.[1] === kind ? (match[2] as string) : '')
  return { Config: value('config'), File: value('file'), Registry: value('registry') }
}

/** Empty lists and maps are left out of a spec. */
export function orUndefined<T extends readonly unknown[] | Readonly<Record<string, unknown>>>(value: T): T | undefined {
  return (Array.isArray(value) ? value.length : Object.keys(value).length) > 0 ? value : undefined
}
