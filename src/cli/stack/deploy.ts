// `stack deploy`: brings the swarm to what the Compose files say, and changes nothing that is so already.
import { type ApiClient, ApiError, type ServiceSpec } from '../../client/index.ts'
import { type Command, type Context, ONE_ARG } from '../command.ts'
import type { FlagDef } from '../flags/index.ts'
import { ExitError } from '../io.ts'
import { pinImage, registryAuth } from '../service/image.ts'
import { followOrExplain } from '../service/progress/index.ts'
import { differenceText } from './canonical.ts'
import { COMPOSE_FLAGS, projectOf, stackName } from './load.ts'
import type { FileObjectSpec } from './objects.ts'
import {
  type Current,
  fileObjectDifferences,
  type Ids,
  networkDifferences,
  type ResolveImage,
  resolvedSpec,
  sameImage,
  serviceDifferences,
  type Wanted,
} from './plan.ts'
import { currentStack, referencedIds, requireManager, wantedStack } from './wanted.ts'

const DEPLOY_FLAGS: readonly FlagDef[] = [
  ...COMPOSE_FLAGS,
  {
    name: 'detach',
    short: 'd',
    kind: 'bool',
    help: 'Exit immediately instead of waiting for the stack services to converge',
    default: 'true',
  },
  { name: 'prune', kind: 'bool', help: 'Prune services that are no longer referenced' },
  { name: 'quiet', short: 'q', kind: 'bool', help: 'Suppress progress output' },
  {
    name: 'resolve-image',
    kind: 'string',
    help: 'Query the registry to resolve image digest and supported platforms ("always", "changed", "never")',
    default: '"always"',
    parse: (text) => {
      if (!['always', 'changed', 'never'].includes(text)) throw new Error('give always, changed or never')
      return text
    },
  },
  { name: 'with-registry-auth', kind: 'bool', help: 'Send registry authentication details to Swarm agents' },
]

export const stackDeploy: Command = {
  name: 'deploy',
  aliases: ['up'],
  usage: '[OPTIONS] STACK',
  short: 'Deploy a new stack or update an existing stack',
  flags: DEPLOY_FLAGS,
  args: ONE_ARG,
  async run(context) {
    const { io, client, flags, args } = context
    const stack = stackName(args[0])
    const project = await projectOf(io, flags)
    const wanted = await wantedStack(io, stack, project)
    await requireManager(client)
    const current = await currentStack(client, stack)
    await referencedIds(client, wanted) // refuses before anything is changed
    if (flags.bool('prune')) await prune(context, wanted, current)
    await createNetworks(context, wanted, current)
    await putFileObjects(context, 'secret', wanted.secrets, current)
    await putFileObjects(context, 'config', wanted.configs, current)
    const ids = await referencedIds(client, wanted)
    const changed = await putServices(context, wanted, current, ids)
    const detach = !flags.has('detach') || flags.bool('detach')
    return detach ? 0 : waitFor(context, changed)
  },
}

async function prune({ io, client }: Context, wanted: Wanted, current: Current): Promise<void> {
  const names = new Set(wanted.services.map(({ Name }) => Name))
  for (const { ID, Spec } of current.services) {
    if (names.has(Spec.Name)) continue
    io.stdout.write(`Removing service ${Spec.Name}\n`)
    await client.removeService(ID)
  }
}

async function createNetworks({ io, client }: Context, wanted: Wanted, current: Current): Promise<void> {
  for (const network of wanted.networks) {
    const existing = current.networks.find(({ Name }) => Name === network.Name)
    if (existing) {
      for (const difference of networkDifferences(existing, network)) {
        io.stderr.write(`network ${network.Name} stays as it is, it cannot be changed while it exists: ${differenceText(difference)}\n`)
      }
      continue
    }
    io.stdout.write(`Creating network ${network.Name}\n`)
    await orExplain(`failed to create network ${network.Name}`, () => client.request('POST', '/networks/create', { body: network }))
  }
}

async function putFileObjects(
  { io, client }: Context,
  kind: 'secret' | 'config',
  specs: readonly FileObjectSpec[],
  current: Current,
): Promise<void> {
  for (const spec of specs) {
    const existing = current[`${kind}s`].find(({ Spec }) => Spec.Name === spec.Name) ?? (await existingObject(client, kind, spec.Name))
    if (!existing) {
      io.stdout.write(`Creating ${kind} ${spec.Name}\n`)
      await orExplain(`failed to create ${kind} ${spec.Name}`, () => client.createObject(`${kind}s`, spec))
      continue
    }
    // What a secret holds can only be compared by the manager: it refuses other content.
    const isSame = kind === 'config' && fileObjectDifferences(existing, spec).length === 0
    if (isSame) continue
    const advice = `Its content cannot change under this name: give it another name in the file, or run shoal ${kind} update --file on it.`
    await orExplain(
      `failed to update ${kind} ${spec.Name}`,
      () => client.request('POST', `/${kind}s/${existing.ID}/update`, { query: { version: existing.Version.Index }, body: spec }),
      advice,
    )
  }
}

/** An object of that name which does not belong to the stack, as docker takes it over. */
async function existingObject(client: ApiClient, kind: 'secret' | 'config', name: string) {
  const found = await (kind === 'secret' ? client.secrets({ name: [name] }) : client.configs({ name: [name] }))
  return found.find(({ Spec }) => Spec.Name === name)
}

interface Changed {
  readonly id: string
  readonly name: string
}

async function putServices(context: Context, wanted: Wanted, current: Current, ids: Ids): Promise<Changed[]> {
  const { io, client, flags } = context
  const resolve = (flags.string('resolve-image') ?? 'always') as ResolveImage
  const changed: Changed[] = []
  for (const spec of wanted.services) {
    const auth = flags.bool('with-registry-auth') ? await registryAuth(io, spec.TaskTemplate.ContainerSpec?.Image ?? '') : undefined
    const headers: Record<string, string> = auth ? { 'X-Registry-Auth': auth } : {}
    const existing = current.services.find(({ Spec }) => Spec.Name === spec.Name)
    const final = await withImage(context, spec, existing?.Spec, ids, resolve, auth)
    if (!existing) {
      io.stdout.write(`Creating service ${spec.Name}\n`)
      const created = await orExplain(`failed to create service ${spec.Name}`, () => client.createService(final, headers))
      for (const warning of created.Warnings ?? []) io.stderr.write(`${warning}\n`)
      changed.push({ id: created.ID, name: spec.Name })
    } else if (serviceDifferences(existing.Spec, final).length === 0) {
      io.stdout.write(`Unchanged service ${spec.Name} (id: ${existing.ID})\n`)
    } else {
      io.stdout.write(`Updating service ${spec.Name} (id: ${existing.ID})\n`)
      const { Warnings } = await orExplain(`failed to update service ${spec.Name}`, () =>
        client.updateService(existing.ID, { version: existing.Version.Index, registryAuthFrom: 'spec' }, final, headers),
      )
      for (const warning of Warnings ?? []) io.stderr.write(`${warning}\n`)
      changed.push({ id: existing.ID, name: spec.Name })
    }
  }
  return changed
}

/** The spec with ids, and with the digest of its image as far as it is to be asked for and the registry knows it. */
async function withImage(
  { io, client }: Context,
  spec: ServiceSpec,
  current: ServiceSpec | undefined,
  ids: Ids,
  resolve: ResolveImage,
  auth: string | undefined,
): Promise<ServiceSpec> {
  const isSame = current !== undefined && sameImage(spec, current)
  if (isSame && resolve !== 'always') return resolvedSpec(spec, ids, current, true)
  const final = resolvedSpec(spec, ids, current, false)
  const platforms = final.TaskTemplate.Placement?.Platforms
  if (resolve === 'never') return final
  const before = final.TaskTemplate.ContainerSpec?.Image
  await pinImage(client, io, final.TaskTemplate, auth)
  const isUnknown = final.TaskTemplate.ContainerSpec?.Image === before && !before?.includes('@')
  // A registry that cannot be asked is no reason to forget the digest that runs.
  if (isSame && isUnknown) return resolvedSpec(spec, ids, current, true)
  if (platforms && final.TaskTemplate.Placement) final.TaskTemplate.Placement.Platforms = platforms
  return final
}

async function waitFor({ io, client, flags }: Context, changed: readonly Changed[]): Promise<number> {
  const errors: string[] = []
  for (const { id, name } of changed) {
    if (io.interrupted.aborted) break
    try {
      await followOrExplain(io, client, id, { quiet: flags.bool('quiet'), label: name })
    } catch (error) {
      if (!(error instanceof ExitError)) throw error
      errors.push(`${name}: ${error.message}`)
    }
  }
  if (errors.length > 0) throw new ExitError(1, errors.join('\n'))
  return 0
}

/** What failed comes before the daemon's reason, as docker puts it. */
async function orExplain<T>(what: string, act: () => Promise<T>, advice?: string): Promise<T> {
  try {
    return await act()
  } catch (error) {
    if (!(error instanceof ApiError)) throw error
    const isContent = advice !== undefined && error.message.includes('only updates to Labels')
    throw new ExitError(1, `${what}: Error response from daemon: ${error.message}${isContent ? `\n${advice}` : ''}`)
  }
}
