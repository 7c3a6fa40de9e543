// `shoal secret|config update` and `history`: content that changes in place, which Docker's clients cannot do.
import { type Command, ONE_ARG } from '../command.ts'
import { keyValues } from '../flags/index.ts'
import { ago, alignColumns } from '../format/index.ts'
import { ExitError } from '../io.ts'

type Kind = 'secret' | 'config'

interface History {
  Policy: string
  Versions: { ContentVersion: number; Current: boolean; ReplacedAt?: string; Bytes: number; Data?: string }[]
}

interface StoredSpec {
  Version: { Index: number }
  Spec: { Name: string; Labels?: Record<string, string> }
}

export function updateCommand(kind: Kind): Command {
  return {
    name: 'update',
    usage: `[OPTIONS] ${kind.toUpperCase()}`,
    short: `Change the content or the labels of a ${kind}`,
    flags: [
      { name: 'file', short: 'f', kind: 'string', help: 'Take the new content from this file ("-": standard input)' },
      { name: 'restore', kind: 'uint', help: `Take a former content again (see "shoal ${kind} history")` },
      {
        name: 'policy',
        kind: 'string',
        help: 'What users of it get to know: "none" (new tasks only), "signal" (files change, then SIGHUP or the signal in the label shoal.update.signal), "restart" (services replace their tasks); kept in the label shoal.update.policy',
      },
      { name: 'label-add', kind: 'list', help: 'Add or update a label' },
      { name: 'label-rm', kind: 'list', help: 'Remove a label' },
    ],
    args: ONE_ARG,
    async run({ io, client, flags, args }) {
      const name = args[0] as string
      const path = `${kind}s/${encodeURIComponent(name)}`
      const file = flags.string('file')
      const restore = flags.number('restore')
      const policy = flags.string('policy')
      if (flags.has('label-add') || flags.has('label-rm')) {
        const { Version, Spec } = await client.request<StoredSpec>('GET', `/${path}`)
        const labels = { ...Spec.Labels, ...keyValues(flags.list('label-add')) }
        for (const key of flags.list('label-rm')) delete labels[key]
        await client.request('POST', `/${path}/update`, { query: { version: Version.Index }, body: { ...Spec, Labels: labels } })
      } else if (file === undefined && restore === undefined && policy === undefined) {
        throw new ExitError(1, 'nothing to change: give --file, --restore, --policy, --label-add or --label-rm')
      }
      if (file !== undefined || restore !== undefined) {
        const data = file === undefined ? undefined : await (file === '-' ? io.readStdin() : io.readFile(file))
        await client.request('POST', `/shoal/${path}/content`, {
          body: { ...(data ? { Data: Buffer.from(data).toString('base64') } : {}), Restore: restore, Policy: policy },
        })
      } else if (policy !== undefined) {
        const { Version, Spec } = await client.request<StoredSpec>('GET', `/${path}`)
        const labels = { ...Spec.Labels, 'shoal.update.policy': policy }
        await client.request('POST', `/${path}/update`, { query: { version: Version.Index }, body: { ...Spec, Labels: labels } })
      }
      io.stdout.write(`${name}\n`)
      return 0
    },
  }
}

export function historyCommand(kind: Kind): Command {
  return {
    name: 'history',
    usage: `[OPTIONS] ${kind.toUpperCase()}`,
    short: `List the contents that a ${kind} has had`,
    flags: [
      { name: 'format', kind: 'string', help: "'table' (default) or 'json'" },
      ...(kind === 'config' ? [{ name: 'show', kind: 'uint' as const, help: 'Print the content of this version' }] : []),
    ],
    args: ONE_ARG,
    async run({ io, client, flags, args }) {
      const text = await client.requestText('GET', `/shoal/${kind}s/${encodeURIComponent(args[0] as string)}/history`)
      if (flags.string('format') === 'json') {
        io.stdout.write(text)
        return 0
      }
      const { Versions } = JSON.parse(text) as History
      const show = kind === 'config' ? flags.number('show') : undefined
      if (show !== undefined) {
        const wanted = Versions.find(({ ContentVersion }) => ContentVersion === show)
        if (!wanted) throw new ExitError(1, `version ${show} is not kept`)
        io.stdout.write(Buffer.from(wanted.Data ?? '', 'base64'))
        return 0
      }
      const rows = Versions.toReversed().map(({ ContentVersion, Current, ReplacedAt, Bytes }) =>
        [ContentVersion, `${Bytes} B`, Current ? 'current' : `replaced ${ago(ReplacedAt ?? '', io.now())}`].join('\t'),
      )
      io.stdout.write(alignColumns(`${['VERSION\tSIZE\tSTATE', ...rows].join('\n')}\n`))
      return 0
    },
  }
}
