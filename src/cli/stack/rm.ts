// `stack rm`: removes stacks, and waits until nothing of them is left.
import { type ApiClient, ApiError } from '../../client/index.ts'
import { type Command, type Context, SOME_ARGS } from '../command.ts'
import { ExitError } from '../io.ts'
import { stackName } from './load.ts'
import type { Current } from './plan.ts'
import { currentStack, requireManager } from './wanted.ts'

const POLL_MS = 200
const DEFAULT_TIMEOUT_NS = 300e9
const NS_PER_MS = 1e6

export const stackRm: Command = {
  name: 'rm',
  aliases: ['remove', 'down'],
  usage: '[OPTIONS] STACK [STACK...]',
  short: 'Remove one or more stacks',
  flags: [
    { name: 'detach', short: 'd', kind: 'bool', help: 'Do not wait for tasks to stop; networks that they still use stay' },
    { name: 'timeout', kind: 'duration', help: 'How long to wait for tasks to stop', default: '5m0s' },
  ],
  args: SOME_ARGS,
  async run(context) {
    const { io, client, args } = context
    const stacks = args.map(stackName)
    await requireManager(client)
    const errors: string[] = []
    for (const stack of stacks) {
      const current = await currentStack(client, stack)
      const count = current.services.length + current.networks.length + current.secrets.length + current.configs.length
      if (count === 0) io.stderr.write(`Nothing found in stack: ${stack}\n`)
      else errors.push(...(await removeStack(context, current)).map((error) => `${stack}: ${error}`))
    }
    if (errors.length > 0) throw new ExitError(1, errors.join('\n'))
    return 0
  },
}

/** Removes services, then secrets and configs, then networks, each with its line; gives what could not be removed and why. */
async function removeStack({ io, client, flags }: Context, current: Current): Promise<string[]> {
  const errors: string[] = []
  const deadline = io.now() + (flags.number('timeout') ?? DEFAULT_TIMEOUT_NS) / NS_PER_MS
  const attempt = async (what: string, path: string) => {
    io.stdout.write(`Removing ${what}\n`)
    const refusal = await removed(client, path)
    if (refusal !== undefined) errors.push(`failed to remove ${what}: ${refusal}`)
  }
  const tasks = await tasksOf(client, current)
  for (const { ID, Spec } of current.services) await attempt(`service ${Spec.Name}`, `/services/${ID}`)
  for (const { ID, Spec } of current.secrets) await attempt(`secret ${Spec.Name}`, `/secrets/${ID}`)
  for (const { ID, Spec } of current.configs) await attempt(`config ${Spec.Name}`, `/configs/${ID}`)
  if (!flags.bool('detach')) {
    const left = await waitForTasks({ io, client }, tasks, deadline)
    if (left > 0) errors.push(`${left} tasks have not stopped yet\nSee shoal ps on their nodes, or shoal node ls for nodes that are down.`)
  }
  for (const { Id, Name } of current.networks) {
    io.stdout.write(`Removing network ${Name}\n`)
    const refusal = await removedWithRetries({ io, client }, `/networks/${Id}`, flags.bool('detach') ? io.now() : deadline)
    if (refusal !== undefined) errors.push(`failed to remove network ${Name}: ${refusal}`)
  }
  return errors
}

async function tasksOf(client: ApiClient, { services }: Current): Promise<string[]> {
  if (services.length === 0) return []
  return (await client.tasks({ service: services.map(({ ID }) => ID) })).map(({ ID }) => ID)
}

/** undefined when it is gone, also when somebody else has removed it; otherwise why not. */
async function removed(client: ApiClient, path: string): Promise<string | undefined> {
  try {
    await client.request('DELETE', path)
    return undefined
  } catch (error) {
    if (!(error instanceof ApiError)) throw error
    return error.status === 404 ? undefined : error.message
  }
}

async function removedWithRetries(
  { io, client }: Pick<Context, 'io' | 'client'>,
  path: string,
  deadline: number,
): Promise<string | undefined> {
  for (;;) {
    const refusal = await removed(client, path)
    if (refusal === undefined || io.now() >= deadline || io.interrupted.aborted) return refusal
    await pause(io)
  }
}

/** Waits until none of the tasks is known any more; how many still are. */
async function waitForTasks({ io, client }: Pick<Context, 'io' | 'client'>, ids: readonly string[], deadline: number): Promise<number> {
  for (const [i, id] of ids.entries()) {
    while (await isKnown(client, id)) {
      if (io.now() >= deadline || io.interrupted.aborted) return ids.length - i
      await pause(io)
    }
  }
  return 0
}

async function isKnown(client: ApiClient, id: string): Promise<boolean> {
  try {
    await client.task(id)
    return true
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return false
    throw error
  }
}

async function pause(io: Context['io']): Promise<void> {
  try {
    await io.sleep(POLL_MS, io.interrupted)
  } catch (error) {
    if (!io.interrupted.aborted) throw error
  }
}
