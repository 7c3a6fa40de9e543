// The task as it travels: builder (manager side) and parser (agent side) of one contract, parse(build(x)) = x.
import { create } from '@bufbuild/protobuf'
import type { NetworkId, NodeId, ServiceId, TaskId } from '../lib/index.ts'
import { ShoalError } from '../lib/index.ts'
import {
  type AssignedNetwork,
  type AssignedTask,
  type Driver,
  type GenericResource,
  type Placement,
  type PortConfig,
  type Resources,
  type RestartPolicy,
  restartPolicyOf,
  type TaskSpec,
  type TaskState,
  TaskState as TaskStates,
} from '../model/index.ts'
import {
  EndpointSpec_ResolutionMode,
  GenericResourceSchema,
  IPAMConfig_AddressFamily,
  type Network,
  type NetworkAttachment,
  NetworkAttachmentSchema,
  NetworkSchema,
  PortConfig_Protocol,
  PortConfig_PublishMode,
  PortConfigSchema,
  ResourcesSchema,
  RestartPolicy_RestartCondition,
  type Task,
  TaskSchema,
  TaskSpecSchema,
  type GenericResource as WireGenericResource,
  type Placement as WirePlacement,
  type PortConfig as WirePortConfig,
  type Resources as WireResources,
  type RestartPolicy as WireRestartPolicy,
  type TaskSpec as WireTaskSpec,
} from '../proto/index.ts'
import { buildContainer, parseContainer, pidsOf } from './builderContainer.ts'
import {
  compact,
  compactOrNone,
  duration,
  durationNs,
  enumTable,
  fromInt64,
  given,
  instantOf,
  int32,
  int64,
  labels,
  list,
  mustSend,
  text,
  timestamp,
  uint64,
} from './values.ts'

const VNI_OPTION = 'com.docker.network.driver.overlay.vxlanid_list'
const MTU_OPTION = 'com.docker.network.driver.mtu'
const PREDEFINED_LABEL = 'com.docker.swarm.predefined'
const CIDR = /^[0-9a-fA-F.:]+\/\d{1,3}$/

export const protocols = enumTable('protocol', {
  tcp: PortConfig_Protocol.TCP,
  udp: PortConfig_Protocol.UDP,
  sctp: PortConfig_Protocol.SCTP,
})
const publishModes = enumTable('publish mode', { ingress: PortConfig_PublishMode.INGRESS, host: PortConfig_PublishMode.HOST })
const restartConditions = enumTable('restart condition', {
  none: RestartPolicy_RestartCondition.NONE,
  'on-failure': RestartPolicy_RestartCondition.ON_FAILURE,
  any: RestartPolicy_RestartCondition.ANY,
})
const resolutionModes = enumTable('endpoint mode', { vip: EndpointSpec_ResolutionMode.VIP, dnsrr: EndpointSpec_ResolutionMode.DNSRR })
const KNOWN_STATES: ReadonlySet<number> = new Set(Object.values(TaskStates))

export type TaskAttachment = AssignedTask['attachments'][number]

export interface BuildTaskOptions {
  /** Extension fields go to our own agents only. */
  readonly ownAgent: boolean
  /** What stock engines need for load balancing; our agents have it from the mesh stream. */
  readonly endpoint?: {
    readonly mode: 'vip' | 'dnsrr'
    /** CIDRs */
    readonly vips: readonly { readonly networkId: string; readonly address: string }[]
  }
}

/** Throws 'internal' for what would crash an engine, 'invalid-argument' for what the wire cannot say. */
export function buildTask(task: AssignedTask, options: BuildTaskOptions): Task {
  mustSend(task.id && task.nodeId, 'a task without id or node')
  mustSend(task.knownState >= TaskStates.ASSIGNED, `task ${task.id} that is not assigned yet`)
  mustSend(task.spec.container !== undefined || task.spec.attachment !== undefined, `task ${task.id} without a container`)
  const ports = task.ports.map(buildPort)
  const mode = resolutionModes.toWire(options.endpoint?.mode ?? 'vip')
  return create(TaskSchema, {
    id: task.id,
    meta: { version: { index: 0n }, createdAt: timestamp(0), updatedAt: timestamp(0) },
    spec: buildTaskSpec(task.spec, options.ownAgent),
    specVersion: { index: uint64(task.specVersion, 'the spec version') },
    serviceId: task.serviceId ?? '',
    slot: uint64(task.slot, 'the slot'),
    nodeId: task.nodeId,
    annotations: {},
    serviceAnnotations: { name: task.serviceName, labels: task.serviceLabels },
    status: { state: task.knownState, timestamp: timestamp(0) },
    desiredState: task.desiredState,
    networks: task.attachments.map(buildNetworkAttachment),
    endpoint: {
      spec: { mode, ports },
      ports,
      virtualIps: options.endpoint?.vips.map(({ networkId, address }) => {
        mustSend(CIDR.test(address), `virtual IP ${address} of ${task.serviceName} without a prefix length`)
        return { networkId, addr: address }
      }),
    },
    logDriver: task.spec.logDriver && { name: task.spec.logDriver.name, options: task.spec.logDriver.options },
    assignedGenericResources: task.genericResources.map(buildGenericResource),
    jobIteration: task.jobIteration === undefined ? undefined : { index: uint64(task.jobIteration, 'the job iteration') },
    shoalNotBefore: options.ownAgent && task.notBefore !== undefined ? timestamp(task.notBefore) : undefined,
  })
}

/** Throws 'invalid-argument' for a message that lacks what every task has. */
export function parseTask(task: Task): AssignedTask {
  if (!task.id || !task.spec || !task.status) throw new ShoalError('invalid-argument', `task "${task.id}" came without its spec or status`)
  return compact<AssignedTask>({
    id: task.id as TaskId,
    serviceId: text(task.serviceId) as ServiceId | undefined,
    serviceName: task.serviceAnnotations?.name ?? '',
    serviceLabels: task.serviceAnnotations?.labels ?? {},
    slot: fromInt64(task.slot),
    nodeId: task.nodeId as NodeId,
    specVersion: fromInt64(task.specVersion?.index ?? 0n),
    spec: parseTaskSpec(task.spec, task.logDriver),
    desiredState: parseTaskState(task.desiredState),
    knownState: parseTaskState(task.status.state),
    attachments: task.networks.map(parseNetworkAttachment),
    ports: (task.endpoint?.ports ?? []).map(parsePort),
    genericResources: task.assignedGenericResources.map(parseGenericResource),
    notBefore: instantOf(task.shoalNotBefore),
    jobIteration: task.jobIteration && fromInt64(task.jobIteration.index),
  })
}

export function parseTaskState(state: number): TaskState {
  if (!KNOWN_STATES.has(state)) throw new ShoalError('invalid-argument', `unknown task state: ${state}`)
  return state as TaskState
}

export function buildTaskSpec(spec: TaskSpec, ownAgent: boolean): WireTaskSpec {
  return create(TaskSpecSchema, {
    runtime: spec.container
      ? { case: 'container', value: buildContainer(spec.container, spec.resources?.limits?.pids, ownAgent) }
      : { case: 'attachment', value: { containerId: spec.attachment?.containerId ?? '' } },
    resources: {
      limits: buildResources(spec.resources?.limits),
      reservations: buildResources(spec.resources?.reservations),
      swapBytes: optionalInt64(spec.resources?.swapBytes, 'swap'),
      memorySwappiness: optionalInt64(spec.resources?.memorySwappiness, 'memory swappiness'),
    },
    restart: buildRestart(spec.restart),
    placement: {
      constraints: spec.placement?.constraints?.slice(),
      preferences: spec.placement?.preferences?.map(({ spread }) => ({
        preference: { case: 'spread' as const, value: { spreadDescriptor: spread } },
      })),
      platforms: spec.placement?.platforms?.map(({ architecture, os }) => ({ architecture, os })),
      maxReplicas: uint64(spec.placement?.maxReplicas ?? 0, 'max replicas per node'),
    },
    logDriver: spec.logDriver && { name: spec.logDriver.name, options: spec.logDriver.options },
    networks: spec.networks?.map(({ target, aliases, driverOpts }) => ({
      target,
      aliases: aliases?.slice(),
      driverAttachmentOpts: driverOpts,
    })),
    forceUpdate: uint64(spec.forceUpdate, 'the force-update counter'),
  })
}

export function parseTaskSpec(spec: WireTaskSpec, logDriver = spec.logDriver): TaskSpec {
  if (spec.runtime.case !== 'container' && spec.runtime.case !== 'attachment') {
    throw new ShoalError('invalid-argument', 'only containers can be run here, no plugins')
  }
  const container = spec.runtime.case === 'container' ? spec.runtime.value : undefined
  return compact<TaskSpec>({
    container: container && parseContainer(container),
    attachment: spec.runtime.case === 'attachment' ? { containerId: spec.runtime.value.containerId } : undefined,
    resources: compactOrNone({
      limits: parseResources(spec.resources?.limits, container && pidsOf(container)),
      reservations: parseResources(spec.resources?.reservations, undefined),
      swapBytes: spec.resources?.swapBytes === undefined ? undefined : fromInt64(spec.resources.swapBytes),
      memorySwappiness: spec.resources?.memorySwappiness === undefined ? undefined : fromInt64(spec.resources.memorySwappiness),
    }),
    restart: spec.restart && parseRestart(spec.restart),
    placement: spec.placement && parsePlacement(spec.placement),
    logDriver: logDriver && parseDriver(logDriver),
    networks: list(
      spec.networks.map(({ target, aliases, driverAttachmentOpts }) =>
        compact({ target: target as NetworkId, aliases: list(aliases), driverOpts: labels(driverAttachmentOpts) }),
      ),
    ),
    forceUpdate: fromInt64(spec.forceUpdate),
  })
}

/** A missing policy means "any" in Swarm, but 0 on the wire means "none": always say it. */
function buildRestart(policy: RestartPolicy | undefined) {
  const { condition, delayNs, maxAttempts, windowNs } = restartPolicyOf(policy)
  return {
    condition: restartConditions.toWire(condition),
    delay: duration(delayNs, 'the restart delay'),
    maxAttempts: uint64(maxAttempts, 'restart attempts'),
    window: duration(windowNs, 'the restart window'),
  }
}

function parseRestart(policy: WireRestartPolicy): RestartPolicy {
  return compact<RestartPolicy>({
    condition: restartConditions.fromWire(policy.condition),
    delayNs: durationNs(policy.delay),
    maxAttempts: fromInt64(policy.maxAttempts),
    windowNs: durationNs(policy.window),
  })
}

function parsePlacement(placement: WirePlacement): Placement | undefined {
  return compactOrNone<Placement>({
    constraints: list(placement.constraints),
    preferences: list(
      placement.preferences.flatMap(({ preference }) =>
        preference.case === 'spread' ? [{ spread: preference.value.spreadDescriptor }] : [],
      ),
    ),
    maxReplicas: given(fromInt64(placement.maxReplicas)),
    platforms: list(placement.platforms.map(({ architecture, os }) => ({ architecture, os }))),
  })
}

export function buildResources(resources: Resources | undefined): WireResources | undefined {
  return (
    resources &&
    create(ResourcesSchema, {
      nanoCpus: int64(resources.nanoCpus ?? 0, 'CPUs'),
      memoryBytes: int64(resources.memoryBytes ?? 0, 'memory'),
      generic: resources.generic?.map(buildGenericResource),
    })
  )
}

export function parseResources(resources: WireResources | undefined, pids: number | undefined): Resources | undefined {
  const parsed = compact<Resources>({
    nanoCpus: resources && given(fromInt64(resources.nanoCpus)),
    memoryBytes: resources && given(fromInt64(resources.memoryBytes)),
    pids,
    generic: resources && list(resources.generic.map(parseGenericResource)),
  })
  return Object.keys(parsed).length === 0 ? undefined : parsed
}

export function buildGenericResource(resource: GenericResource): WireGenericResource {
  return create(GenericResourceSchema, {
    resource:
      'named' in resource
        ? { case: 'namedResourceSpec', value: { kind: resource.kind, value: resource.named } }
        : { case: 'discreteResourceSpec', value: { kind: resource.kind, value: int64(resource.discrete, `resource ${resource.kind}`) } },
  })
}

export function parseGenericResource({ resource }: WireGenericResource): GenericResource {
  switch (resource.case) {
    case 'namedResourceSpec':
      return { kind: resource.value.kind, named: resource.value.value }
    case 'discreteResourceSpec':
      return { kind: resource.value.kind, discrete: fromInt64(resource.value.value) }
    default:
      throw new ShoalError('invalid-argument', 'a generic resource is neither named nor counted')
  }
}

export function buildPort(port: PortConfig): WirePortConfig {
  return create(PortConfigSchema, {
    name: port.name,
    protocol: protocols.toWire(port.protocol),
    targetPort: int32(port.targetPort, 'the target port'),
    publishedPort: int32(port.publishedPort, 'the published port'),
    publishMode: publishModes.toWire(port.publishMode),
  })
}

export function parsePort(port: WirePortConfig): PortConfig {
  return compact<PortConfig>({
    name: text(port.name),
    protocol: protocols.fromWire(port.protocol),
    targetPort: port.targetPort,
    publishedPort: port.publishedPort,
    publishMode: publishModes.fromWire(port.publishMode),
  })
}

export function parseDriver(driver: { name: string; options: Record<string, string> }): Driver {
  return compact<Driver>({ name: driver.name, options: labels(driver.options) })
}

export function buildNetworkAttachment(attachment: TaskAttachment): NetworkAttachment {
  for (const address of attachment.addresses) mustSend(CIDR.test(address), `address ${address} without a prefix length`)
  mustSend(
    attachment.network.driver !== 'overlay' || attachment.addresses.length > 0,
    `an attachment to ${attachment.network.name} without an address`,
  )
  return create(NetworkAttachmentSchema, {
    network: buildNetwork(attachment.network),
    addresses: attachment.addresses.slice(),
    aliases: attachment.aliases.slice(),
  })
}

export function parseNetworkAttachment(attachment: NetworkAttachment): TaskAttachment {
  if (!attachment.network) throw new ShoalError('invalid-argument', 'a network attachment came without its network')
  return { network: parseNetwork(attachment.network), addresses: attachment.addresses, aliases: attachment.aliases }
}

/** The network as an engine needs it; a missing driver state kills a stock engine for good, so it is always there (wire-protocol 6.3, 7). */
export function buildNetwork(network: AssignedNetwork): Network {
  const overlay = network.driver === 'overlay'
  mustSend(network.id && network.name, 'a network without id or name')
  mustSend(!overlay || (network.vni > 0 && network.vni < 1 << 24), `overlay ${network.name} without a VXLAN id`)
  mustSend(!overlay || (CIDR.test(network.subnet) && network.gateway !== ''), `overlay ${network.name} without a subnet`)
  const options: Record<string, string> = {}
  if (overlay) options[VNI_OPTION] = String(network.vni)
  if (network.mtu > 0) options[MTU_OPTION] = String(network.mtu)
  return create(NetworkSchema, {
    id: network.id,
    meta: { version: { index: 0n } },
    spec: {
      annotations: { name: network.name, labels: overlay ? network.labels : { ...network.labels, [PREDEFINED_LABEL]: 'true' } },
      driverConfig: { name: network.driver },
      internal: network.internal,
      attachable: network.attachable,
      ingress: network.ingress,
    },
    driverState: { name: network.driver, options },
    ipam: {
      driver: { name: overlay ? 'default' : '' },
      configs: overlay ? [{ family: IPAMConfig_AddressFamily.IPV4, subnet: network.subnet, gateway: network.gateway }] : [],
    },
  })
}

export function parseNetwork(network: Network): AssignedNetwork {
  const options = network.driverState?.options ?? {}
  const { [PREDEFINED_LABEL]: _, ...ownLabels } = network.spec?.annotations?.labels ?? {}
  const ipam = network.ipam?.configs[0]
  return {
    id: network.id as NetworkId,
    name: network.spec?.annotations?.name ?? '',
    labels: ownLabels,
    driver: network.driverState?.name || network.spec?.driverConfig?.name || 'overlay',
    vni: Number.parseInt(options[VNI_OPTION] ?? '0', 10) || 0,
    subnet: ipam?.subnet ?? '',
    gateway: ipam?.gateway ?? '',
    mtu: Number.parseInt(options[MTU_OPTION] ?? '0', 10) || 0,
    internal: network.spec?.internal ?? false,
    attachable: network.spec?.attachable ?? false,
    ingress: network.spec?.ingress ?? false,
  }
}

function optionalInt64(value: number | undefined, what: string): bigint | undefined {
  return value === undefined ? undefined : int64(value, what)
}
