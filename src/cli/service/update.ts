// `service update` and `service rollback`.
import type { Service, ServiceSpec } from '../../client/index.ts'
import { type Command, type Context, ONE_ARG } from '../command.ts'
import { DETACH, type FlagDef, QUIET_PROGRESS } from '../flags/index.ts'
import { ExitError } from '../io.ts'
import { changedServiceSpec } from './change.ts'
import { PLAN_FLAG, showPlan } from './explain.ts'
import { UPDATE_FLAGS } from './flags.ts'
import { pinImage, registryAuth } from './image.ts'
import { followOrExplain } from './progress/index.ts'

const VERSION: FlagDef = { name: 'version', kind: 'string', help: 'Update only this version of the service (--plan tells it)' }

export const serviceUpdate: Command = {
  name: 'update',
  usage: '[OPTIONS] SERVICE',
  short: 'Update a service',
  flags: [...UPDATE_FLAGS, PLAN_FLAG, VERSION],
  args: ONE_ARG,
  async run(context) {
    const { flags } = context
    if (flags.bool('rollback')) {
      if (flags.bool('plan')) throw new ExitError(1, '--plan may not be combined with --rollback')
      const others = UPDATE_FLAGS.some(({ name }) => flags.has(name) && !['rollback', 'detach', 'quiet'].includes(name))
      if (others) throw new ExitError(1, 'other flags may not be combined with --rollback')
      return rollBack(context, 'spec')
    }
    return update(context)
  },
}

export const serviceRollback: Command = {
  name: 'rollback',
  usage: '[OPTIONS] SERVICE',
  short: "Revert changes to a service's configuration",
  flags: [DETACH, QUIET_PROGRESS],
  args: ONE_ARG,
  run: (context) => rollBack(context),
}

async function update(context: Context): Promise<number> {
  const { io, client, flags, args } = context
  const service = await readService(context)
  const spec = await changedServiceSpec(client, flags, service.Spec)
  const image = spec.TaskTemplate.ContainerSpec?.Image ?? ''
  const auth = flags.bool('with-registry-auth') ? await registryAuth(io, image) : undefined
  if (flags.has('image') && !flags.bool('no-resolve-image')) await pinImage(client, io, spec.TaskTemplate, auth)
  if (flags.bool('plan')) {
    io.stdout.write(await showPlan(client, spec, service.ID))
    return 0
  }
  const query = {
    version: wantedVersion(flags.string('version'), service),
    registryAuthFrom: flags.bool('with-registry-auth') ? undefined : ('spec' as const),
  }
  const { Warnings } = await client.updateService(service.ID, query, spec, auth ? { 'X-Registry-Auth': auth } : {})
  return finish(context, service, Warnings ?? [], args[0] as string)
}

/** A plan is carried out on the service that it was made for, or not at all. */
function wantedVersion(text: string | undefined, service: Service): number {
  const present = service.Version.Index
  if (text === undefined || Number(text) === present) return present
  throw new ExitError(
    1,
    `service ${service.Spec.Name} has changed since: it is at version ${present}, not ${text}. Run the command with --plan again.`,
  )
}

async function rollBack(context: Context, registryAuthFrom?: 'spec'): Promise<number> {
  const { client, args } = context
  const service = await readService(context)
  const spec: ServiceSpec = service.Spec
  const { Warnings } = await client.updateService(
    service.ID,
    { version: service.Version.Index, registryAuthFrom, rollback: 'previous' },
    spec,
  )
  return finish(context, service, Warnings ?? [], args[0] as string)
}

async function readService({ client, args }: Context): Promise<Service> {
  const name = args[0] as string
  if (name === '') throw new ExitError(1, 'invalid service name or ID: value is empty')
  return client.service(name)
}

async function finish({ io, client, flags }: Context, service: Service, warnings: readonly string[], label: string): Promise<number> {
  for (const warning of warnings) io.stderr.write(`${warning}\n`)
  io.stdout.write(`${label}\n`)
  if (flags.bool('detach')) return 0
  return followOrExplain(io, client, service.ID, { quiet: flags.bool('quiet'), label })
}
