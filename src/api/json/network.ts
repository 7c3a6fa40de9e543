// Networks of the swarm: as /networks shows them, as /networks/create asks for them, and in the other form that tasks carry.
import { type NetworkId, rfc3339, ShoalError } from '../../lib/index.ts'
import { type Network, type NetworkSpec, TaskState, taskName } from '../../model/index.ts'
import type { View } from '../../store/index.ts'
import { array, asObject, boolean, type Codec, object, omitEmpty, optional, required, string, stringMap } from './codec.ts'
import { metaOf } from './node.ts'

export interface NetworkCreateRequest {
  readonly name: string
  readonly driver: string
  readonly scope: string
  readonly internal: boolean
  readonly attachable: boolean
  readonly ingress: boolean
  readonly configOnly: boolean
  readonly configFrom: string
  readonly ipv6: boolean
  readonly ipam?: IpamRequest
  readonly options: Readonly<Record<string, string>>
  readonly labels: Readonly<Record<string, string>>
}

interface IpamRequest {
  readonly driver: string
  readonly options: Readonly<Record<string, string>>
  readonly config?: readonly { readonly subnet?: string; readonly range?: string; readonly gateway?: string }[]
}

const ipam = object<IpamRequest>([
  required('Driver', 'driver', string, ''),
  required('Options', 'options', stringMap, {}),
  omitEmpty(
    'Config',
    'config',
    array(
      object<NonNullable<IpamRequest['config']>[number]>([
        omitEmpty('Subnet', 'subnet', string),
        omitEmpty('IPRange', 'range', string),
        omitEmpty('Gateway', 'gateway', string),
      ]),
    ),
  ),
])

const configFrom: Codec<string> = {
  parse: (json, path) => string.parse(asObject(json, path).get('Network') ?? '', `${path}.Network`),
  print: (value) => ({ Network: value }),
}

export const networkCreateRequest = object<NetworkCreateRequest>([
  required('Name', 'name', string, ''),
  required('Driver', 'driver', string, ''),
  required('Scope', 'scope', string, ''),
  required('Internal', 'internal', boolean, false),
  required('Attachable', 'attachable', boolean, false),
  required('Ingress', 'ingress', boolean, false),
  required('ConfigOnly', 'configOnly', boolean, false),
  required('ConfigFrom', 'configFrom', configFrom, ''),
  required('EnableIPv6', 'ipv6', boolean, false),
  optional('IPAM', 'ipam', ipam),
  required('Options', 'options', stringMap, {}),
  required('Labels', 'labels', stringMap, {}),
])

export function networkSpecOf(request: NetworkCreateRequest): NetworkSpec {
  if (request.configOnly || request.configFrom !== '') {
    throw new ShoalError(
      'invalid-argument',
      'configuration networks are not supported at swarm scope: give the options on the network itself',
    )
  }
  return {
    name: request.name,
    labels: request.labels,
    driver: request.driver,
    driverOptions: request.options,
    ipv6: request.ipv6,
    internal: request.internal,
    attachable: request.attachable,
    ingress: request.ingress,
    ipamDriver: request.ipam?.driver || 'default',
    ipamOptions: request.ipam?.options ?? {},
    ipam: (request.ipam?.config ?? []).map(({ subnet = '', range = '', gateway = '' }) => ({ subnet, range, gateway })),
  }
}

/** As GET /networks has it. The VXLAN id stands in the options, where tools look for it. */
export function printNetwork(network: Network): Record<string, unknown> {
  const { spec } = network
  const subnets = network.subnets.map(({ subnet, gateway }) => ({ Subnet: subnet, Gateway: gateway }))
  return {
    Name: spec.name,
    Id: network.id,
    Created: rfc3339(network.createdAt),
    Scope: 'swarm',
    Driver: spec.driver,
    EnableIPv6: spec.ipv6,
    IPAM: { Driver: spec.ipamDriver || 'default', Options: null, Config: subnets },
    Internal: spec.internal,
    Attachable: spec.attachable,
    Ingress: spec.ingress,
    ConfigFrom: { Network: spec.configFrom ?? '' },
    ConfigOnly: false,
    Containers: null,
    Options:
      network.vni > 0
        ? { 'com.docker.network.driver.overlay.vxlanid_list': String(network.vni), ...spec.driverOptions }
        : spec.driverOptions,
    Labels: Object.keys(spec.labels).length > 0 ? spec.labels : null,
  }
}

/** As a task's NetworksAttachments[].Network has it: the Swarm object (docker-api.md 1.3). */
export function printNetworkObject(network: Network): Record<string, unknown> {
  const { spec } = network
  const configs = network.subnets.map(({ subnet, gateway }) => ({ Subnet: subnet, Gateway: gateway }))
  return {
    ID: network.id,
    ...metaOf(network),
    Spec: {
      Name: spec.name,
      Labels: spec.labels,
      DriverConfiguration: spec.driver === 'overlay' ? {} : { Name: spec.driver },
      ...(spec.internal && { Internal: true }),
      ...(spec.attachable && { Attachable: true }),
      ...(spec.ingress && { Ingress: true }),
      IPAMOptions: { Driver: {}, ...(spec.ipam.length > 0 && { Configs: spec.ipam.map(printIpamConfig) }) },
      Scope: 'swarm',
    },
    DriverState: {
      Name: spec.driver,
      ...(network.vni > 0 && { Options: { 'com.docker.network.driver.overlay.vxlanid_list': String(network.vni) } }),
    },
    IPAMOptions: { Driver: { Name: spec.ipamDriver || 'default' }, ...(configs.length > 0 && { Configs: configs }) },
  }
}

function printIpamConfig({ subnet, range, gateway }: NetworkSpec['ipam'][number]): Record<string, string> {
  return { ...(subnet && { Subnet: subnet }), ...(range && { Range: range }), ...(gateway && { Gateway: gateway }) }
}

/** What `network inspect --verbose` adds: the services on the network with their tasks, and the nodes that serve it. */
export function printNetworkUse(view: View, id: NetworkId): Record<string, unknown> {
  const services: Record<string, unknown> = {}
  const peers = new Map<string, { Name: string; IP: string }>()
  for (const service of view.services.values()) {
    const tasks: Record<string, unknown>[] = []
    for (const task of view.tasks.byService(service.id)) {
      const address = task.attachments.find(({ networkId }) => networkId === id)?.addresses[0]?.split('/')[0]
      if (task.status.state !== TaskState.RUNNING || address === undefined) continue
      const node = task.nodeId && view.nodes.get(task.nodeId)
      const hostAddress = node ? node.status.address : ''
      if (node) peers.set(node.id, { Name: node.description?.hostname ?? node.id, IP: hostAddress })
      const name = taskName(service.spec.name, task)
      tasks.push({ Name: name, EndpointID: task.id, EndpointIP: address, Info: { 'Host IP': hostAddress } })
    }
    const vip = service.endpoint?.vips.find(({ networkId }) => networkId === id)?.address.split('/')[0]
    if (tasks.length === 0 && vip === undefined) continue
    const ports = (service.endpoint?.ports ?? []).map(({ targetPort, publishedPort }) => `Target: ${targetPort}, Publish: ${publishedPort}`)
    services[service.spec.name] = { VIP: vip ?? '<nil>', Ports: ports, LocalLBIndex: 0, Tasks: tasks }
  }
  return { Services: services, Peers: [...peers.values()] }
}
