// `stack ls`, `stack services` and `stack ps`.
import { type Command, NO_ARGS, ONE_ARG } from '../command.ts'
import { FILTER, filtersOf, LIST_FORMAT, QUIET_IDS } from '../flags/index.ts'
import { type ListLayout, naturalCompare, shortId, writeRows } from '../format/index.ts'
import { ExitError } from '../io.ts'
import { nodeReference } from '../node/reference.ts'
import { SERVICE_LAYOUT, serviceRow } from '../service/ls.ts'
import { printTasks, TASK_LIST_FLAGS } from '../task/print.ts'
import { stackName } from './load.ts'
import { NAMESPACE_LABEL } from './objects.ts'
import { stackFilter } from './wanted.ts'

const STACKS: ListLayout = { headers: { Name: 'NAME', Services: 'SERVICES' }, table: '{{.Name}}\t{{.Services}}' }

export const stackLs: Command = {
  name: 'ls',
  aliases: ['list'],
  usage: '[OPTIONS]',
  short: 'List stacks',
  flags: [LIST_FORMAT],
  args: NO_ARGS,
  async run({ io, client, flags }) {
    const counts = new Map<string, number>()
    for (const { Spec } of await client.services({ filters: { label: [NAMESPACE_LABEL] } })) {
      const stack = Spec.Labels?.[NAMESPACE_LABEL] ?? ''
      counts.set(stack, (counts.get(stack) ?? 0) + 1)
    }
    const rows = [...counts]
      .sort(([a], [b]) => naturalCompare(a, b))
      .map(([name, services]) => ({ Name: name, Services: String(services) }))
    writeRows(io.stdout, STACKS, rows, flags.string('format'))
    return 0
  },
}

export const stackServices: Command = {
  name: 'services',
  usage: '[OPTIONS] STACK',
  short: 'List the services in the stack',
  flags: [FILTER, LIST_FORMAT, QUIET_IDS],
  args: ONE_ARG,
  async run({ io, client, flags, args }) {
    const stack = stackName(args[0])
    const given = filtersOf(flags)
    const filters = { ...given, label: [...stackFilter(stack).label, ...(given.label ?? [])] }
    const quiet = flags.bool('quiet') && !flags.has('format')
    const services = await client.services({ filters, status: !quiet })
    if (services.length === 0) {
      io.stderr.write(`Nothing found in stack: ${stack}\n`)
      return 0
    }
    services.sort((a, b) => naturalCompare(a.Spec.Name, b.Spec.Name))
    if (quiet) for (const { ID } of services) io.stdout.write(`${shortId(ID)}\n`)
    else writeRows(io.stdout, SERVICE_LAYOUT, services.map(serviceRow), flags.string('format'))
    return 0
  },
}

export const stackPs: Command = {
  name: 'ps',
  usage: '[OPTIONS] STACK',
  short: 'List the tasks in the stack',
  flags: [FILTER, ...TASK_LIST_FLAGS],
  args: ONE_ARG,
  async run(context) {
    const { client, flags, args } = context
    const stack = stackName(args[0])
    const filters = filtersOf(flags)
    if (filters.node) filters.node = await Promise.all(filters.node.map((name) => nodeReference(client, name)))
    const tasks = await client.tasks({ ...filters, label: [...stackFilter(stack).label, ...(filters.label ?? [])] })
    if (tasks.length === 0) throw new ExitError(1, `nothing found in stack: ${stack}`)
    await printTasks(context, tasks, false)
    return 0
  },
}
