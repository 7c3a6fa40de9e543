// What a service names must be there: networks, secrets, configs. And who uses them.
import { type NetworkId, ShoalError } from '../../lib/index.ts'
import type { NetworkAttachmentConfig, Service, ServiceSpec } from '../../model/index.ts'
import type { View } from '../../store/index.ts'
import { find, invalid } from './context.ts'

/** Network names become ids. */
export function resolveNetworks(view: View, spec: ServiceSpec): ServiceSpec {
  const resolve = (networks: readonly NetworkAttachmentConfig[]) =>
    networks.map((network) => ({ ...network, target: networkId(view, network.target) }))
  const { networks } = spec.task
  if (networks) unique(resolve(networks))
  return {
    ...spec,
    ...(spec.networks && { networks: resolve(spec.networks) }),
    ...(networks && { task: { ...spec.task, networks: resolve(networks) } }),
  }
}

function networkId(view: View, text: string): NetworkId {
  const network = find('network', view.networks, text)
  if (network.spec.ingress)
    throw invalid(`service cannot be explicitly attached to the ingress network ${JSON.stringify(network.spec.name)}`)
  return network.id
}

function unique(networks: readonly NetworkAttachmentConfig[]): void {
  const seen = new Set<string>()
  for (const { target } of networks) {
    if (seen.has(target)) throw invalid(`network ${target} is attached twice`)
    seen.add(target)
  }
}

/** Names and ids must both fit, because files are named by the one and found by the other. */
export function checkReferences(view: View, { task }: ServiceSpec): void {
  for (const { secretId, secretName } of task.container?.secrets ?? []) {
    if (view.secrets.get(secretId)?.spec.name !== secretName) throw invalid(`secret not found: ${secretName}`)
  }
  for (const { configId, configName } of task.container?.configs ?? []) {
    if (view.configs.get(configId)?.spec.name !== configName) throw invalid(`config not found: ${configName}`)
  }
}

export function servicesOnNetwork(view: View, id: NetworkId): Service[] {
  return [...view.services.values()].filter(({ spec }) =>
    [...(spec.task.networks ?? []), ...(spec.networks ?? [])].some(({ target }) => target === id),
  )
}

/** Refuses with Swarm's text when a service uses the object. */
export function requireUnused(kind: 'secret' | 'config', name: string, users: readonly Service[]): void {
  if (users.length === 0) return
  const names = users.map(({ spec }) => spec.name).sort()
  throw new ShoalError(
    'invalid-argument',
    `${kind} '${name}' is in use by the following service${names.length > 1 ? 's' : ''}: ${names.join(', ')}`,
  )
}
