// A command of shoal: what it is called, its flags, and how it is run; parsing, help and error texts are the same for all of them.
import type { ApiClient } from '../client/index.ts'
import { type FlagDef, type Flags, flagLabel, parseFlags, UsageError } from './flags/index.ts'
import type { Io } from './io.ts'

export interface Context {
  readonly io: Io
  readonly client: ApiClient
  readonly flags: Flags
  readonly args: readonly string[]
}

export interface ArgumentCount {
  readonly min: number
  readonly max: number
}

export interface Command {
  /** The name without the nouns before it, such as `ls`. */
  readonly name: string
  readonly aliases?: readonly string[]
  /** What follows the name in the usage line, such as `[OPTIONS] SERVICE [SERVICE...]`. */
  readonly usage: string
  readonly short: string
  readonly flags: readonly FlagDef[]
  readonly args: ArgumentCount
  /** false: flags end at the first argument. */
  readonly interspersed?: boolean
  /** Runs the command; the result is the exit status. Errors that it throws are shown with status 1. */
  run(context: Context): Promise<number>
}

/** A noun with its verbs. */
export interface Noun {
  readonly name: string
  readonly short: string
  readonly commands: readonly Command[]
}

export const NO_ARGS: ArgumentCount = { min: 0, max: 0 }
export const ONE_ARG: ArgumentCount = { min: 1, max: 1 }
export const SOME_ARGS: ArgumentCount = { min: 1, max: Number.POSITIVE_INFINITY }
export const ANY_ARGS: ArgumentCount = { min: 0, max: Number.POSITIVE_INFINITY }

/** Parses the command line of one command and runs it. `path` is the full name, such as `shoal service ls`. */
export async function runCommand(
  command: Command,
  path: string,
  argv: readonly string[],
  io: Io,
  connect: () => ApiClient,
): Promise<number> {
  try {
    const parsed = parseFlags(command.flags, argv, command.interspersed ?? true)
    if (parsed.help) {
      io.stdout.write(commandHelp(command, path))
      return 0
    }
    checkCount(command, path, parsed.args.length)
    const client = connect()
    try {
      return await command.run({ io, client, flags: parsed.flags, args: parsed.args })
    } finally {
      client.close()
    }
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    // docker words the last line differently when arguments are missing.
    const hint = error.message.includes('requires at least') ? 'See' : 'Run'
    io.stderr.write(`${error.message}\n\nUsage:  ${path} ${command.usage}\n\n${hint} '${path} --help' for more information\n`)
    return error.status
  }
}

function checkCount(command: Command, path: string, count: number): void {
  const { min, max } = command.args
  if (count >= min && count <= max) return
  const noun = (n: number) => `${n} argument${n === 1 ? '' : 's'}`
  const problem =
    max === 0
      ? 'accepts no arguments'
      : min === max
        ? `requires ${noun(min)}`
        : count < min
          ? `requires at least ${noun(min)}`
          : `requires at most ${noun(max)}`
  throw new UsageError(`${path.split(' ')[0]}: '${path}' ${problem}`, 1)
}

const HELP_COLUMNS = 80

/** The help text of one command, in the layout of the docker CLI. */
export function commandHelp(command: Command, path: string): string {
  const parts = [`Usage:  ${path} ${command.usage}`, command.short]
  if (command.aliases?.length) {
    const parent = path.split(' ').slice(0, -1).join(' ')
    parts.push(`Aliases:\n  ${[path, ...command.aliases.map((alias) => `${parent} ${alias}`)].join(', ')}`)
  }
  const shown = command.flags.filter((def) => !def.hidden)
  if (shown.length > 0) parts.push(`Options:\n${flagsHelp(shown)}`)
  return `${parts.join('\n\n')}\n`
}

const VALUE_WORDS: Readonly<Record<string, string>> = { bool: '', strings: 'strings', cpus: 'decimal', list: 'list' }

function flagsHelp(defs: readonly FlagDef[]): string {
  const anyShort = defs.some((def) => def.short)
  const rows = [...defs]
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map((def) => {
      const word = def.value ?? VALUE_WORDS[def.kind] ?? def.kind
      const label = def.short || !anyShort ? `  ${flagLabel(def)}` : `      ${flagLabel(def)}`
      const text = def.default === undefined ? def.help : `${def.help} (default ${def.default})`
      return { label: word ? `${label} ${word}` : label, text }
    })
  const width = Math.max(...rows.map(({ label }) => label.length)) + 3
  return rows.map(({ label, text }) => label.padEnd(width) + wrap(text, HELP_COLUMNS - width).join(`\n${' '.repeat(width)}`)).join('\n')
}

function wrap(text: string, columns: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line && line.length + 1 + word.length > Math.max(columns, 24)) {
      lines.push(line)
      line = word
    } else {
      line = line ? `${line} ${word}` : word
    }
  }
  return [...lines, line]
}

/** The help text of a noun: its verbs. */
export function nounHelp(noun: Noun, path: string): string {
  const commands = [...noun.commands].sort((a, b) => (a.name < b.name ? -1 : 1))
  const width = Math.max(...commands.map(({ name }) => name.length)) + 2
  const lines = commands.map(({ name, short }) => `  ${name.padEnd(Math.max(width, 12))}${short}`)
  return `Usage:  ${path} COMMAND\n\n${noun.short}\n\nCommands:\n${lines.join('\n')}\n\nRun '${path} COMMAND --help' for more information on a command.\n`
}
