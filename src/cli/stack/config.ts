// `stack config`: the files as one, in the long form, with variables put in.
import { formatYaml, type Plain, toPlain } from '../../compose/index.ts'
import { type Command, NO_ARGS } from '../command.ts'
import { COMPOSE_FLAGS, projectOf } from './load.ts'

export const stackConfig: Command = {
  name: 'config',
  usage: '[OPTIONS]',
  short: 'Outputs the final config file, after doing merges and interpolations',
  flags: [...COMPOSE_FLAGS, { name: 'format', kind: 'string', help: 'Format of the output: yaml (default) or json' }],
  args: NO_ARGS,
  async run({ io, flags }) {
    const project = await projectOf(io, flags)
    const plain = sorted(toPlain(project.tree))
    io.stdout.write(flags.string('format') === 'json' ? `${JSON.stringify(plain, undefined, 2)}\n` : formatYaml(escaped(plain)))
    return 0
  },
}

/** Keys in the order of the alphabet, so that two outputs can be compared. */
function sorted(plain: Plain): Plain {
  if (Array.isArray(plain)) return plain.map(sorted)
  if (typeof plain !== 'object' || plain === null) return plain
  const result = Object.create(null) as { [key: string]: Plain }
  for (const key of Object.keys(plain).sort()) result[key] = sorted(plain[key] as Plain)
  return result
}

/** The output can be deployed again: a dollar sign in a value is no variable. */
function escaped(plain: Plain): Plain {
  if (typeof plain === 'string') return plain.replaceAll('$', '$$$$')
  if (Array.isArray(plain)) return plain.map(escaped)
  if (typeof plain !== 'object' || plain === null) return plain
  const result = Object.create(null) as { [key: string]: Plain }
  for (const [key, value] of Object.entries(plain)) result[key] = escaped(value)
  return result
}
