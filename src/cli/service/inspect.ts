// `service inspect`: a service as JSON, through a template, or for people.
import { type ApiClient, ApiError, type Service } from '../../client/index.ts'
import { type Command, SOME_ARGS } from '../command.ts'
import { INSPECT_FORMAT, PRETTY } from '../flags/index.ts'
import { inspectAll } from '../format/index.ts'
import { ExitError } from '../io.ts'
import { prettyService } from './pretty.ts'

export const serviceInspect: Command = {
  name: 'inspect',
  usage: '[OPTIONS] SERVICE [SERVICE...]',
  short: 'Display detailed information on one or more services',
  flags: [INSPECT_FORMAT, PRETTY],
  args: SOME_ARGS,
  async run({ io, client, flags, args }) {
    const fetch = async (name: string) => {
      try {
        return await client.requestText('GET', `/services/${encodeURIComponent(name)}`, { query: { insertDefaults: true } })
      } catch (error) {
        if (error instanceof ApiError && error.status === 404) throw new ExitError(1, `Error: no such service: ${name}`)
        throw error
      }
    }
    if (!flags.bool('pretty')) return inspectAll(io, args, flags.string('format'), fetch)
    if (flags.string('format')) throw new ExitError(1, '--format is incompatible with human friendly format')
    for (const name of args) {
      const service = JSON.parse(await fetch(name)) as Service
      io.stdout.write(prettyService(service, await networkNames(client, service), io.now()))
    }
    return 0
  },
}

async function networkNames(client: ApiClient, service: Service): Promise<string[]> {
  const networks = service.Spec.TaskTemplate.Networks ?? service.Spec.Networks ?? []
  return Promise.all(
    networks.map(async ({ Target = '' }) => {
      try {
        return (await client.network(Target, { scope: 'swarm' })).Name
      } catch (error) {
        if (error instanceof ApiError && error.status === 404) return Target
        throw error
      }
    }),
  )
}
