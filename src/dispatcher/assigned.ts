// What the store knows of a task, as what a node is given to do.
import { type ConfigId, type NodeId, type SecretId, ShoalError } from '../lib/index.ts'
import {
  type AssignedConfig,
  type AssignedNetwork,
  type AssignedSecret,
  type AssignedTask,
  CONTENT_POLICY_LABEL,
  CONTENT_SIGNAL_LABEL,
  type Config,
  isTerminal,
  type Labels,
  type Network,
  registryAuthFor,
  type Secret,
  type Task,
  type TaskSpec,
  TaskState,
} from '../model/index.ts'
import type { View } from '../store/index.ts'
import { type BuildTaskOptions, bytesOf } from '../wire/index.ts'

const MTU_OPTION = 'com.docker.network.driver.mtu'

/** Whether the task is its node's business: assigned, and not given up. */
export function isAssigned(task: Task, nodeId: NodeId): boolean {
  return task.nodeId === nodeId && task.status.state >= TaskState.ASSIGNED && task.status.state !== TaskState.ORPHANED
}

/**
 * The desired state to send. A running task that is to stop (SHUTDOWN, REMOVE) goes on until every node has withdrawn it (architecture 5); one that never
 * ran has no connections and stops at once.
 */
export function desiredToSend(task: Task): TaskState {
  const held = task.desiredState > TaskState.COMPLETE && task.status.state === TaskState.RUNNING && task.releasedAt === undefined
  return held ? TaskState.RUNNING : task.desiredState
}

/** Whether a change of the stored task changes what its node was told. Reports of the node itself do not. */
export function concernsNode(before: Task, after: Task): boolean {
  return (
    desiredToSend(before) !== desiredToSend(after) ||
    before.specVersion !== after.specVersion ||
    before.nodeId !== after.nodeId ||
    before.notBefore !== after.notBefore ||
    before.attachments !== after.attachments ||
    before.status.state < TaskState.ASSIGNED !== after.status.state < TaskState.ASSIGNED ||
    isTerminal(before.status.state) !== isTerminal(after.status.state)
  )
}

/** Throws 'not-found' when the spec of the task is not in the store. */
export function taskSpecOf(view: View, task: Task): TaskSpec {
  const spec = task.serviceId === undefined ? task.attachmentSpec : view.specRevisions.of(task.serviceId, task.specVersion)?.task
  if (!spec) throw new ShoalError('not-found', `the spec of task ${task.id} is not in the store`)
  return spec
}

export interface Assignable {
  readonly task: AssignedTask
  readonly endpoint: BuildTaskOptions['endpoint']
}

/** Throws 'not-found' like `taskSpecOf`. */
export function assignedTask(view: View, task: Task, nodeId: NodeId): Assignable {
  const revision = task.serviceId === undefined ? undefined : view.specRevisions.of(task.serviceId, task.specVersion)
  const service = task.serviceId === undefined ? undefined : view.services.get(task.serviceId)
  const spec = taskSpecOf(view, task)
  const logDriver = spec.logDriver ?? view.cluster?.spec.taskLogDriver
  // The allocated endpoint is that of the newest spec; a task of an older one has what its own revision asked for.
  const current = service?.endpoint && service.specVersion === task.specVersion ? service.endpoint : undefined
  return {
    task: {
      id: task.id,
      serviceId: task.serviceId,
      serviceName: revision?.serviceName ?? '',
      serviceLabels: revision?.serviceLabels ?? {},
      slot: task.slot,
      nodeId,
      specVersion: task.specVersion,
      spec: withRegistryAuth(view, logDriver === spec.logDriver ? spec : { ...spec, logDriver }),
      desiredState: desiredToSend(task),
      knownState: task.status.state,
      attachments: task.attachments.flatMap(({ networkId, addresses, aliases }) => {
        const network = view.networks.get(networkId)
        return network ? [{ network: assignedNetwork(network), addresses, aliases: aliases ?? [] }] : []
      }),
      ports: current?.ports ?? revision?.endpoint?.ports ?? [],
      genericResources: task.genericResources ?? [],
      ...(task.notBefore === undefined ? {} : { notBefore: task.notBefore }),
      ...(task.jobIteration === undefined ? {} : { jobIteration: task.jobIteration }),
    },
    endpoint: service?.endpoint && { mode: service.endpoint.spec.mode ?? 'vip', vips: service.endpoint.vips },
  }
}

/** The credentials of the task's own spec count; without any, those that the cluster keeps for the image's registry. */
function withRegistryAuth(view: View, spec: TaskSpec): TaskSpec {
  const { container } = spec
  if (!container || container.registryAuth) return spec
  const registryAuth = registryAuthFor(view.cluster?.registries, container.image)
  return registryAuth === undefined ? spec : { ...spec, container: { ...container, registryAuth } }
}

export function assignedNetwork(network: Network): AssignedNetwork {
  const { spec } = network
  const first = network.subnets[0]
  return {
    id: network.id,
    name: spec.name,
    labels: spec.labels,
    driver: network.predefined ?? spec.driver,
    vni: network.vni,
    subnet: first?.subnet ?? '',
    gateway: first?.gateway ?? '',
    mtu: Number.parseInt(spec.driverOptions[MTU_OPTION] ?? '0', 10) || 0,
    internal: spec.internal,
    attachable: spec.attachable,
    ingress: spec.ingress,
  }
}

/** The secrets and configs that a task needs while it is not over. */
export function referencesOf(spec: TaskSpec): { readonly secrets: readonly SecretId[]; readonly configs: readonly ConfigId[] } {
  return {
    secrets: spec.container?.secrets?.map((reference) => reference.secretId) ?? [],
    configs: spec.container?.configs?.map((reference) => reference.configId) ?? [],
  }
}

export function assignedSecret(secret: Secret): AssignedSecret {
  const { id, spec } = secret
  return {
    id,
    name: spec.name,
    ...ownLabels(spec.labels),
    data: bytesOf(spec.data),
    ...(spec.templating ? { templating: spec.templating } : {}),
  }
}

export function assignedConfig(config: Config): AssignedConfig {
  const { id, spec } = config
  return {
    id,
    name: spec.name,
    ...ownLabels(spec.labels),
    data: bytesOf(spec.data),
    ...(spec.templating ? { templating: spec.templating } : {}),
  }
}

/** What a node has to know: how content that changes is told to those who use it. */
function ownLabels(all: Labels): { readonly labels?: Labels } {
  const labels = Object.fromEntries(Object.entries(all).filter(([key]) => key === CONTENT_POLICY_LABEL || key === CONTENT_SIGNAL_LABEL))
  return Object.keys(labels).length > 0 ? { labels } : {}
}
