// `shoal secret` and `shoal config`: two nouns with the same verbs.
import type { Config, Secret } from '../../client/index.ts'
import { type Command, NO_ARGS, type Noun, SOME_ARGS } from '../command.ts'
import { forEachArgument } from '../each.ts'
import { FILTER, type FlagDef, filtersOf, INSPECT_FORMAT, keyValues, LIST_FORMAT, PRETTY, QUIET_IDS } from '../flags/index.ts'
import { ago, inspectAll, type ListLayout, naturalCompare, prettyInstant, type Row, writeRows } from '../format/index.ts'
import { ExitError, type Io } from '../io.ts'
import { historyCommand, updateCommand } from './content.ts'

type Kind = 'secret' | 'config'
type Stored = Secret | Config

export const secret: Noun = { name: 'secret', short: 'Manage Swarm secrets', commands: commandsOf('secret') }
export const config: Noun = { name: 'config', short: 'Manage Swarm configs', commands: commandsOf('config') }

function commandsOf(kind: Kind): Command[] {
  const upper = kind.toUpperCase()
  return [
    createCommand(kind),
    historyCommand(kind),
    updateCommand(kind),
    {
      name: 'inspect',
      usage: `[OPTIONS] ${upper} [${upper}...]`,
      short: `Display detailed information on one or more ${kind}s`,
      flags: [INSPECT_FORMAT, PRETTY],
      args: SOME_ARGS,
      async run({ io, client, flags, args }) {
        const fetch = (name: string) => client.requestText('GET', `/${kind}s/${encodeURIComponent(name)}`)
        if (!flags.bool('pretty')) return inspectAll(io, args, flags.string('format'), fetch)
        if (flags.string('format')) throw new ExitError(1, '--format is incompatible with human friendly format')
        for (const name of args) io.stdout.write(pretty(kind, JSON.parse(await fetch(name)) as Stored))
        return 0
      },
    },
    {
      name: 'ls',
      aliases: ['list'],
      usage: '[OPTIONS]',
      short: `List ${kind}s`,
      flags: [FILTER, LIST_FORMAT, QUIET_IDS],
      args: NO_ARGS,
      async run({ io, client, flags }) {
        const objects: Stored[] = await (kind === 'secret' ? client.secrets(filtersOf(flags)) : client.configs(filtersOf(flags)))
        objects.sort((a, b) => naturalCompare(a.Spec.Name, b.Spec.Name))
        if (flags.bool('quiet') && !flags.has('format')) for (const { ID } of objects) io.stdout.write(`${ID}\n`)
        else
          writeRows(
            io.stdout,
            kind === 'secret' ? SECRETS : CONFIGS,
            objects.map((object) => row(kind, object, io.now())),
            flags.string('format'),
          )
        return 0
      },
    },
    {
      name: 'rm',
      aliases: ['remove'],
      usage: `${upper} [${upper}...]`,
      short: `Remove one or more ${kind}s`,
      flags: [],
      args: SOME_ARGS,
      run: (context) =>
        forEachArgument(context, async (name) => {
          await context.client.request('DELETE', `/${kind}s/${encodeURIComponent(name)}`)
          return name
        }),
    },
  ]
}

const HEADERS = { ID: 'ID', Name: 'NAME', CreatedAt: 'CREATED', UpdatedAt: 'UPDATED', Labels: 'LABELS' }
const CONFIGS: ListLayout = { headers: HEADERS, table: '{{.ID}}\t{{.Name}}\t{{.CreatedAt}}\t{{.UpdatedAt}}' }
const SECRETS: ListLayout = {
  headers: { ...HEADERS, Driver: 'DRIVER' },
  table: '{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.CreatedAt}}\t{{.UpdatedAt}}',
}

function row(kind: Kind, object: Stored, nowMs: number): Row {
  return {
    ID: object.ID,
    Name: object.Spec.Name,
    ...(kind === 'secret' ? { Driver: driverName(object) } : {}),
    CreatedAt: ago(object.CreatedAt, nowMs),
    UpdatedAt: ago(object.UpdatedAt, nowMs),
    Labels: sortedLabels(object).join(','),
  }
}

function driverName({ Spec }: Stored): string {
  return 'Driver' in Spec ? (Spec.Driver?.Name ?? '') : ''
}

function sortedLabels({ Spec }: Stored): string[] {
  return Object.entries(Spec.Labels ?? {})
    .map(([key, value]) => `${key}=${value}`)
    .sort()
}

/** In docker's two layouts: secrets align with blanks, configs with tabs and show their data. */
function pretty(kind: Kind, object: Stored): string {
  const labels = Object.entries(object.Spec.Labels ?? {})
    .sort()
    .map(([key, value]) => ` - ${key}${value ? `=${value}` : ''}`)
  const labelLines = labels.length > 0 ? ['Labels:', ...labels] : []
  const created = prettyInstant(object.CreatedAt)
  const updated = prettyInstant(object.UpdatedAt)
  if (kind === 'secret') {
    const lines = [
      `ID:              ${object.ID}`,
      `Name:              ${object.Spec.Name}`,
      ...labelLines,
      `Driver:            ${driverName(object)}`,
    ]
    return `${[...lines, `Created at:        ${created}`, `Updated at:        ${updated}`].join('\n')}\n`
  }
  const data = Buffer.from(object.Spec.Data ?? '', 'base64').toString('utf8')
  const lines = [`ID:\t\t\t${object.ID}`, `Name:\t\t\t${object.Spec.Name}`, ...labelLines]
  return `${[...lines, `Created at:            \t${created}`, `Updated at:            \t${updated}`, 'Data:', data].join('\n')}\n`
}

function createCommand(kind: Kind): Command {
  const driver: FlagDef = { name: 'driver', short: 'd', kind: 'string', help: 'Secret driver' }
  return {
    name: 'create',
    usage: kind === 'secret' ? '[OPTIONS] SECRET [file|-]' : '[OPTIONS] CONFIG file|-',
    short: `Create a ${kind} from a file or STDIN as content`,
    flags: [
      ...(kind === 'secret' ? [driver] : []),
      { name: 'label', short: 'l', kind: 'list', help: `${kind === 'secret' ? 'Secret' : 'Config'} labels` },
      { name: 'template-driver', kind: 'string', help: 'Template driver' },
    ],
    args: kind === 'secret' ? { min: 1, max: 2 } : { min: 2, max: 2 },
    async run({ io, client, flags, args }) {
      const [name, file] = args
      const driverName = kind === 'secret' ? flags.string('driver') : undefined
      if (driverName && file !== undefined) throw new ExitError(1, 'when using secret driver secret data must be empty')
      if (!driverName && file === undefined) throw new ExitError(1, 'secret file is required')
      const templating = flags.string('template-driver')
      const { ID } = await client.createObject(kind === 'secret' ? 'secrets' : 'configs', {
        Name: name,
        Labels: keyValues(flags.list('label')),
        ...(driverName
          ? { Driver: { Name: driverName } }
          : { Data: Buffer.from(await readContent(io, file as string)).toString('base64') }),
        ...(templating ? { Templating: { Name: templating } } : {}),
      })
      io.stdout.write(`${ID}\n`)
      return 0
    },
  }
}

function readContent(io: Io, file: string): Promise<Uint8Array> {
  return file === '-' ? io.readStdin() : io.readFile(file)
}
