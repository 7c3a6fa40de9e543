// `service scale`: the number of tasks of one or more services.
import { type ApiClient, ApiError, type Service, type ServiceMode } from '../../client/index.ts'
import { errorText } from '../../lib/index.ts'
import { type Command, SOME_ARGS } from '../command.ts'
import { DETACH, parseInteger, UsageError } from '../flags/index.ts'
import { followOrExplain } from './progress/index.ts'

export const serviceScale: Command = {
  name: 'scale',
  usage: 'SERVICE=REPLICAS [SERVICE=REPLICAS...]',
  short: 'Scale one or multiple replicated services',
  flags: [DETACH],
  args: SOME_ARGS,
  async run({ io, client, flags, args }) {
    const wishes = args.map(splitSpecifier)
    const errors: string[] = []
    const scaled: { id: string; name: string }[] = []
    for (const { name, replicas } of wishes) {
      try {
        scaled.push({ id: await scaleService(client, name, replicas), name })
        io.stdout.write(`${name} scaled to ${replicas}\n`)
      } catch (error) {
        errors.push(`${name}: ${error instanceof ApiError ? 'Error response from daemon: ' : ''}${errorText(error)}`)
      }
    }
    if (!flags.bool('detach')) {
      for (const { id, name } of scaled) {
        try {
          await followOrExplain(io, client, id, { quiet: false, label: name })
        } catch (error) {
          errors.push(`${name}: ${errorText(error)}`)
        }
      }
    }
    for (const error of errors) io.stderr.write(`${error}\n`)
    return errors.length > 0 ? 1 : 0
  },
}

function splitSpecifier(text: string): { name: string; replicas: string } {
  const equals = text.indexOf('=')
  if (equals <= 0 || equals === text.length - 1)
    throw new UsageError(`invalid scale specifier '${text}'.\nSee 'shoal service scale --help'.`, 1)
  return { name: text.slice(0, equals), replicas: text.slice(equals + 1) }
}

async function scaleService(client: ApiClient, name: string, text: string): Promise<string> {
  let replicas: number
  try {
    replicas = parseInteger(text, /^\d+$/, 'ParseUint')
  } catch (error) {
    throw new Error(`invalid replicas value ${text}: ${errorText(error)}`)
  }
  const service = await client.service(name)
  const spec = { ...service.Spec, Mode: scaledMode(service, replicas) }
  await client.updateService(service.ID, { version: service.Version.Index }, spec)
  return service.ID
}

function scaledMode(service: Service, replicas: number): ServiceMode {
  const mode = service.Spec.Mode
  if (mode?.Replicated) return { Replicated: { Replicas: replicas } }
  if (mode?.ReplicatedJob) return { ReplicatedJob: { ...mode.ReplicatedJob, TotalCompletions: replicas } }
  throw new Error('scale can only be used with replicated or replicated-job mode')
}
