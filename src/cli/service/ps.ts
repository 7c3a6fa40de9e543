// `service ps`: the tasks of one or more services, with the history of each slot.
import type { ApiClient, Service } from '../../client/index.ts'
import { type Command, SOME_ARGS } from '../command.ts'
import { FILTER, filtersOf } from '../flags/index.ts'
import { nodeReference } from '../node/reference.ts'
import { printTasks, TASK_LIST_FLAGS } from '../task/print.ts'

export const servicePs: Command = {
  name: 'ps',
  usage: '[OPTIONS] SERVICE [SERVICE...]',
  short: 'List the tasks of one or more services',
  flags: [FILTER, ...TASK_LIST_FLAGS],
  args: SOME_ARGS,
  async run(context) {
    const { io, client, flags, args } = context
    const { ids, missing } = await findServices(client, args)
    if (ids.length > 0) {
      const filters = filtersOf(flags)
      if (filters.node) filters.node = await Promise.all(filters.node.map((name) => nodeReference(client, name)))
      await printTasks(context, await client.tasks({ ...filters, service: ids }), false)
    }
    for (const name of missing) io.stderr.write(`no such service: ${name}\n`)
    return missing.length > 0 ? 1 : 0
  },
}

/** The ids of the named services: by id, then by name, then by the beginning of an id. */
async function findServices(client: ApiClient, names: readonly string[]): Promise<{ ids: string[]; missing: string[] }> {
  const [byId, byName] = await Promise.all([client.services({ filters: { id: names } }), client.services({ filters: { name: names } })])
  const ids = new Set<string>()
  const missing: string[] = []
  for (const name of names) {
    const found: Service | undefined =
      byId.find(({ ID }) => ID === name) ??
      byName.find(({ Spec }) => Spec.Name === name) ??
      byId.find(({ ID }) => name !== '' && ID.startsWith(name))
    if (found) ids.add(found.ID)
    else missing.push(name)
  }
  return { ids: [...ids], missing }
}
