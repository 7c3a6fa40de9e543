// `service logs`: the output of a service's tasks from all nodes, or of one task.
import { type ApiClient, ApiError, demultiplex, type LogFrame, rawFrames, type Task } from '../../client/index.ts'
import { type Command, ONE_ARG } from '../command.ts'
import { type Flags, parseDurationNs } from '../flags/index.ts'
import { shortId } from '../format/index.ts'
import { ExitError, type Io } from '../io.ts'
import { findTask } from '../task/find.ts'
import { type NameResolver, nameResolver } from '../task/rows.ts'

export const serviceLogs: Command = {
  name: 'logs',
  usage: '[OPTIONS] SERVICE|TASK',
  short: 'Fetch the logs of a service or task',
  flags: [
    { name: 'details', kind: 'bool', help: 'Show extra details provided to logs' },
    { name: 'follow', short: 'f', kind: 'bool', help: 'Follow log output' },
    { name: 'no-resolve', kind: 'bool', help: 'Do not map IDs to Names in output' },
    { name: 'no-task-ids', kind: 'bool', help: 'Do not include task IDs in output' },
    { name: 'no-trunc', kind: 'bool', help: 'Do not truncate output' },
    { name: 'raw', kind: 'bool', help: 'Do not neatly format logs' },
    {
      name: 'since',
      kind: 'string',
      help: 'Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)',
    },
    { name: 'tail', short: 'n', kind: 'string', help: 'Number of lines to show from the end of the logs', default: '"all"' },
    { name: 'timestamps', short: 't', kind: 'bool', help: 'Show timestamps' },
  ],
  args: ONE_ARG,
  async run({ io, client, flags, args }) {
    const name = args[0] as string
    const { path, terminal, nameWidth } = await findSource(client, name)
    const query = {
      stdout: 1,
      stderr: 1,
      follow: flags.bool('follow') ? 1 : undefined,
      timestamps: flags.bool('timestamps') ? 1 : undefined,
      details: 1,
      tail: flags.string('tail') ?? 'all',
      since: sinceValue(flags.string('since'), io.now()),
    }
    const { body } = await client.stream('GET', path, { query, signal: io.interrupted })
    try {
      if (terminal) await writeRaw(io, rawFrames(body), flags)
      else await writeLines(io, client, demultiplex(body), flags, nameWidth)
    } catch (error) {
      if (!io.interrupted.aborted) throw error
    }
    return 0
  },
}

interface Source {
  readonly path: string
  readonly terminal: boolean
  /** Digits of the largest slot, so that the bars stand below each other. */
  readonly nameWidth: number
}

async function findSource(client: ApiClient, name: string): Promise<Source> {
  try {
    const { ID, Spec } = await client.service(name)
    const replicas = Spec.Mode?.Replicated?.Replicas ?? 1
    return { path: `/services/${ID}/logs`, terminal: Spec.TaskTemplate.ContainerSpec?.TTY === true, nameWidth: String(replicas).length }
  } catch (error) {
    if (!(error instanceof ApiError && error.status === 404)) throw error
  }
  try {
    const { ID, Spec, Slot } = await client.task(name).catch((error) => {
      // SERVICE.SLOT stands for the task that runs there
      if (error instanceof ApiError && error.status === 404 && name.includes('.')) return findTask(client, name)
      throw error
    })
    return { path: `/tasks/${ID}/logs`, terminal: Spec.ContainerSpec?.TTY === true, nameWidth: String(Slot ?? 1).length }
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) throw new ExitError(1, `no such task or service: ${name}`)
    throw error
  }
}

/** --since as unix seconds: an instant, a length of time before now, or unix seconds already. */
function sinceValue(text: string | undefined, nowMs: number): string | undefined {
  if (text === undefined || text === '') return undefined
  if (/^\d+(?:\.\d+)?$/.test(text)) return text
  if (/^\d{4}-/.test(text)) {
    const instant = Date.parse(text)
    if (Number.isNaN(instant))
      throw new ExitError(1, `invalid value for "since": ${text}; give an instant such as 2013-01-02T13:23:37Z or a duration`)
    return String(instant / 1000)
  }
  return String(nowMs / 1000 - parseDurationNs(text) / 1e9)
}

async function writeRaw(io: Io, frames: AsyncIterable<LogFrame>, flags: Flags): Promise<void> {
  for await (const { data } of frames) io.stdout.write(flags.bool('details') ? data : withoutDetails(data.toString('utf8')))
}

/** The text behind the details that we asked for. */
function withoutDetails(line: string): string {
  const blank = line.indexOf(' ')
  return line.startsWith('com.docker.swarm.') && blank >= 0 ? line.slice(blank + 1) : line
}

async function writeLines(io: Io, client: ApiClient, frames: AsyncIterable<LogFrame>, flags: Flags, nameWidth: number): Promise<void> {
  const names = nameResolver(client, !flags.bool('no-resolve'))
  const prefixes = new Map<string, string>()
  for await (const { stream, data } of frames) {
    const out = stream === 'stdout' ? io.stdout : io.stderr
    const { timestamp, details, text } = splitLine(data.toString('utf8'), flags.bool('timestamps'))
    const key = details['com.docker.swarm.task.id'] ?? ''
    let shown = ''
    if (key && !flags.bool('raw')) {
      let prefix = prefixes.get(key)
      if (prefix === undefined) {
        prefix = await taskPrefix(client, names, details, flags, nameWidth)
        prefixes.set(key, prefix)
      }
      shown = `${prefix}    | `
    }
    out.write(`${timestamp ? `${timestamp} ` : ''}${shown}${flags.bool('details') ? `${extraDetails(details)} ` : ''}${text}`)
  }
}

function splitLine(line: string, timestamps: boolean): { timestamp: string; details: Record<string, string>; text: string } {
  let rest = line
  let timestamp = ''
  if (timestamps) {
    const blank = rest.indexOf(' ')
    timestamp = rest.slice(0, blank)
    rest = rest.slice(blank + 1)
  }
  const blank = rest.indexOf(' ')
  const head = blank < 0 ? '' : rest.slice(0, blank)
  if (!head.includes('com.docker.swarm.')) return { timestamp, details: {}, text: rest }
  const details = Object.fromEntries(
    head.split(',').map((pair) => {
      const [key = '', value = ''] = pair.split('=', 2)
      return [decodeURIComponent(key), decodeURIComponent(value)]
    }),
  )
  return { timestamp, details, text: rest.slice(blank + 1) }
}

function extraDetails(details: Readonly<Record<string, string>>): string {
  return Object.entries(details)
    .filter(([key]) => !key.startsWith('com.docker.swarm.'))
    .map(([key, value]) => `${key}=${value}`)
    .join(',')
}

/** `web.1.0123456789ab@m1`. */
async function taskPrefix(
  client: ApiClient,
  names: NameResolver,
  details: Readonly<Record<string, string>>,
  flags: Flags,
  nameWidth: number,
): Promise<string> {
  const taskId = details['com.docker.swarm.task.id'] ?? ''
  const nodeId = details['com.docker.swarm.node.id'] ?? ''
  const slot = await taskSlot(client, taskId)
  const service = await names.service(details['com.docker.swarm.service.id'] ?? '')
  const id = flags.bool('no-task-ids') ? '' : `.${flags.bool('no-trunc') ? taskId : shortId(taskId)}`
  const padding = ' '.repeat(Math.max(0, nameWidth - String(slot).length))
  return `${service}.${slot}${id}@${await names.node(nodeId)}${padding}`
}

async function taskSlot(client: ApiClient, taskId: string): Promise<number | string> {
  try {
    const task: Task = await client.task(taskId)
    return task.Slot || task.NodeID || 0
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return '?'
    throw error
  }
}
