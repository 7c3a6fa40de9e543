// Turns arguments into flags and positional arguments, with the docker CLI's error texts.

import { type FlagDef, Flags, flagLabel } from './types.ts'
import { parseBytes, parseCpus, parseDurationNs } from './values.ts'

/** A wrong command line. It exits with status 125 for flags and 1 for arguments, as docker does, and shows the usage. */
export class UsageError extends Error {
  readonly status: number

  constructor(message: string, status = 125) {
    super(message)
    this.name = 'UsageError'
    this.status = status
  }
}

export interface Parsed {
  readonly flags: Flags
  readonly args: string[]
  readonly help: boolean
}

/**
 * Parses `argv`. With `interspersed` false, flags end at the first argument (docker's `service create`, where what follows the image belongs
 * to the container).
 */
export function parseFlags(defs: readonly FlagDef[], argv: readonly string[], interspersed = true): Parsed {
  const byName = new Map(defs.map((def) => [def.name, def]))
  const byShort = new Map(defs.flatMap((def) => (def.short ? [[def.short, def] as const] : [])))
  const values = new Map<string, unknown[]>()
  const args: string[] = []
  let help = false

  const set = (def: FlagDef, text: string) => {
    const parsed = parseValue(def, text)
    if (def.kind === 'list' || def.kind === 'strings') values.set(def.name, [...(values.get(def.name) ?? []), ...parsed])
    else values.set(def.name, parsed)
  }

  let i = 0
  const next = (message: string): string => {
    const text = argv[i]
    if (text === undefined) throw new UsageError(message)
    i += 1
    return text
  }

  while (i < argv.length) {
    const arg = argv[i] as string
    i += 1
    if (arg === '--') {
      args.push(...argv.slice(i))
      break
    }
    if (arg.startsWith('--')) {
      const equals = arg.indexOf('=')
      const name = arg.slice(2, equals < 0 ? undefined : equals)
      const def = byName.get(name)
      if (!def && name === 'help') help = true
      else if (!def) throw new UsageError(`unknown flag: --${name}`)
      else if (equals >= 0) set(def, arg.slice(equals + 1))
      else if (def.kind === 'bool') set(def, 'true')
      else set(def, next(`flag needs an argument: --${name}`))
    } else if (arg.startsWith('-') && arg.length > 1) {
      let rest = arg.slice(1)
      while (rest !== '') {
        const letter = rest[0] as string
        rest = rest.slice(1)
        const def = byShort.get(letter)
        if (!def && letter === 'h') {
          help = true
        } else if (!def) {
          throw new UsageError(`unknown shorthand flag: '${letter}' in ${arg}`)
        } else if (rest.startsWith('=')) {
          set(def, rest.slice(1))
          rest = ''
        } else if (def.kind === 'bool') {
          set(def, 'true')
        } else {
          set(def, rest === '' ? next(`flag needs an argument: '${letter}' in ${arg}`) : rest)
          rest = ''
        }
      }
    } else {
      args.push(arg)
      if (!interspersed) {
        args.push(...argv.slice(i))
        break
      }
    }
  }
  return { flags: new Flags(defs, values), args, help }
}

function parseValue(def: FlagDef, text: string): unknown[] {
  try {
    if (def.parse) return [def.parse(text)]
    switch (def.kind) {
      case 'bool':
        return [parseBool(text)]
      case 'int':
        return [parseInteger(text, /^[+-]?\d+$/, 'ParseInt')]
      case 'uint':
        return [parseInteger(text, /^\d+$/, 'ParseUint')]
      case 'float':
        return [parseFloatStrictly(text)]
      case 'duration':
        return [parseDurationNs(text)]
      case 'bytes':
        return [parseBytes(text)]
      case 'cpus':
        return [parseCpus(text)]
      case 'strings':
        return text === '' ? [] : text.split(',')
      default:
        return [text]
    }
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new UsageError(`invalid argument ${JSON.stringify(text)} for "${flagLabel(def)}" flag: ${reason}`)
  }
}

function parseBool(text: string): boolean {
  if (/^(?:1|t|T|true|TRUE|True)$/.test(text)) return true
  if (/^(?:0|f|F|false|FALSE|False)$/.test(text)) return false
  throw new Error(`strconv.ParseBool: parsing ${JSON.stringify(text)}: invalid syntax`)
}

/** A whole number in Go's words when it is none. */
export function parseInteger(text: string, pattern: RegExp, goName: string): number {
  if (!pattern.test(text)) throw new Error(`strconv.${goName}: parsing ${JSON.stringify(text)}: invalid syntax`)
  const value = Number(text)
  if (!Number.isSafeInteger(value)) throw new Error(`strconv.${goName}: parsing ${JSON.stringify(text)}: value out of range`)
  return value
}

function parseFloatStrictly(text: string): number {
  const value = Number(text)
  if (text.trim() === '' || !Number.isFinite(value)) throw new Error(`strconv.ParseFloat: parsing ${JSON.stringify(text)}: invalid syntax`)
  return value
}
