// A project as the objects of a stack, and what the swarm has of it.
import type { ApiClient } from '../../client/index.ts'
import { NODE_NETWORKS, type Project } from '../../compose/index.ts'
import { ExitError, type Io } from '../io.ts'
import { NAMESPACE_LABEL, stackFileObjects, stackNetworks } from './objects.ts'
import { type Current, type Ids, inDependencyOrder, type Wanted } from './plan.ts'
import { serviceSpec } from './service.ts'

export async function wantedStack(io: Io, stack: string, project: Project): Promise<Wanted> {
  const networks = stackNetworks(stack, project)
  const readFile = (path: string) => io.readFile(path)
  return {
    networks: networks.create,
    externalNetworks: networks.external,
    secrets: await stackFileObjects(stack, 'secrets', project, readFile),
    configs: await stackFileObjects(stack, 'configs', project, readFile),
    services: inDependencyOrder(project.services, (service) => service.depends_on?.keys() ?? []).map(([name, service]) =>
      serviceSpec(stack, project, name, service),
    ),
  }
}

export function stackFilter(stack: string): { label: string[] } {
  return { label: [`${NAMESPACE_LABEL}=${stack}`] }
}

export async function currentStack(client: ApiClient, stack: string): Promise<Current> {
  const filter = stackFilter(stack)
  const [services, networks, secrets, configs] = await Promise.all([
    client.services({ filters: filter }),
    client.networks(filter),
    client.secrets(filter),
    client.configs(filter),
  ])
  return { services, networks: networks.filter(({ Scope }) => Scope === 'swarm' || Scope === 'global'), secrets, configs }
}

export async function requireManager(client: ApiClient): Promise<void> {
  const { Swarm } = await client.info()
  if (Swarm?.ControlAvailable) return
  throw new ExitError(
    1,
    'this node is not a swarm manager. Use "shoal swarm init" or "shoal swarm join" to connect this node to swarm and try again',
  )
}

/** Ids of what services refer to. A reference that neither the stack nor the swarm has is an error; `created` are the names that the stack brings. */
export async function referencedIds(client: ApiClient, wanted: Wanted): Promise<Ids> {
  const own = {
    networks: new Set(wanted.networks.map(({ Name }) => Name)),
    secrets: new Set(wanted.secrets.map(({ Name }) => Name)),
    configs: new Set(wanted.configs.map(({ Name }) => Name)),
  }
  const tasks = wanted.services.map(({ TaskTemplate }) => TaskTemplate)
  const secretNames = new Set(tasks.flatMap(({ ContainerSpec }) => ContainerSpec?.Secrets?.map(({ SecretName }) => SecretName) ?? []))
  const configNames = new Set(
    tasks.flatMap(({ ContainerSpec }) => [
      ...(ContainerSpec?.Configs?.map(({ ConfigName }) => ConfigName) ?? []),
      ...(ContainerSpec?.Privileges?.CredentialSpec?.Config ? [ContainerSpec.Privileges.CredentialSpec.Config] : []),
    ]),
  )
  const [networks, secrets, configs] = await Promise.all([
    client.networks(),
    secretNames.size > 0 ? client.secrets({ name: [...secretNames] }) : [],
    configNames.size > 0 ? client.configs({ name: [...configNames] }) : [],
  ])
  const ids = {
    networks: new Map(networks.filter(({ Scope }) => Scope === 'swarm').map(({ Name, Id }) => [Name, Id])),
    secrets: new Map(secrets.map(({ ID, Spec }) => [Spec.Name, ID])),
    configs: new Map(configs.map(({ ID, Spec }) => [Spec.Name, ID])),
  }
  // Lists do not show the networks that every node has by itself.
  for (const name of NODE_NETWORKS) {
    const isUsed = tasks.some(({ Networks }) => Networks?.some(({ Target }) => Target === name))
    if (isUsed) ids.networks.set(name, (await client.network(name, { scope: 'swarm' })).Id)
  }
  for (const name of wanted.externalNetworks) {
    if (NODE_NETWORKS.has(name) || ids.networks.has(name)) continue
    const local = networks.find((network) => network.Name === name)
    throw new ExitError(
      1,
      local
        ? `network ${JSON.stringify(name)} is declared as external, but it is not in the right scope: ${JSON.stringify(local.Scope)} instead of "swarm"`
        : `network ${JSON.stringify(name)} is declared as external, but could not be found. You need to create a swarm-scoped network before the stack is deployed`,
    )
  }
  for (const [kind, names] of [['secret', secretNames] as const, ['config', configNames] as const]) {
    const missing = [...names].find((name) => !ids[`${kind}s`].has(name) && !own[`${kind}s`].has(name))
    if (missing !== undefined)
      throw new ExitError(1, `${kind} not found: ${missing}\nIt is declared as external: create it with shoal ${kind} create.`)
  }
  return ids
}
