// An assigned task as a container plan: templates filled in, secrets and configs at their places, networks resolved.
import type { Attachment, TaskNames } from '../dataplane/index.ts'
import { nsToMs, ShoalError } from '../lib/index.ts'
import {
  type AssignedConfig,
  type AssignedSecret,
  type AssignedTask,
  CONTAINER_LABELS,
  type ContainerSpec,
  DEFAULT_STOP_GRACE_NS,
  expandContainer,
  expandPayload,
  type FileTarget,
  type Mount,
  type TemplateNode,
  taskName,
  templateContext,
} from '../model/index.ts'
import type { ContainerPlan, FilePlan, MountPlan } from '../ports/index.ts'

/** What a task may use on this node. */
export interface Dependencies {
  secret(id: string): AssignedSecret | undefined
  config(id: string): AssignedConfig | undefined
}

const SECRETS_DIR = '/run/secrets'
const DEFAULT_MODE = 0o444
/** Networks that every engine has; a task on one of them has no address of ours. */
const PREDEFINED = new Set(['host', 'bridge', 'none'])

/** Throws ShoalError when the spec cannot work on this node; the task is then rejected with its text. */
export function planContainer(
  task: AssignedTask,
  node: TemplateNode,
  attachments: readonly Attachment[],
  dependencies: Dependencies,
): ContainerPlan {
  if (!task.spec.container) throw new ShoalError('invalid-argument', 'the task has no container')
  const context = templateContext(task, node)
  const spec = expandContainer(task.spec.container, context)
  const { limits, reservations } = task.spec.resources ?? {}
  return {
    name: taskName(task.serviceName, task),
    image: spec.image,
    labels: labels(task, spec),
    command: spec.command,
    args: spec.args,
    hostname: spec.hostname || undefined,
    env: [...(spec.env ?? []), ...resourceEnv(task)],
    workingDir: spec.dir,
    user: spec.user,
    groups: spec.groups ?? [],
    tty: spec.tty ?? false,
    openStdin: spec.openStdin ?? false,
    readOnlyRootfs: spec.readOnly ?? false,
    init: spec.init,
    stopSignal: spec.stopSignal || undefined,
    stopGraceMs: stopGraceMs(task),
    healthcheck: spec.healthcheck && {
      test: spec.healthcheck.test ?? [],
      intervalNs: spec.healthcheck.intervalNs ?? 0,
      timeoutNs: spec.healthcheck.timeoutNs ?? 0,
      retries: spec.healthcheck.retries ?? 0,
      startPeriodNs: spec.healthcheck.startPeriodNs ?? 0,
      startIntervalNs: spec.healthcheck.startIntervalNs ?? 0,
    },
    mounts: (spec.mounts ?? []).map(mountPlan),
    extraHosts: (spec.hosts ?? []).flatMap(extraHost),
    dns: resolvConf(spec, attachments) ? { nameservers: [], search: [], options: [] } : dns(spec, attachments),
    sysctls: spec.sysctls ?? {},
    capabilityAdd: spec.capabilityAdd ?? [],
    capabilityDrop: spec.capabilityDrop ?? [],
    ulimits: spec.ulimits ?? [],
    privileges: spec.privileges && {
      ...spec.privileges,
      seLinux: spec.privileges.seLinux && { disable: false, ...spec.privileges.seLinux },
    },
    isolation: spec.isolation,
    oomScoreAdj: spec.oomScoreAdj,
    limits: {
      nanoCpus: limits?.nanoCpus ?? 0,
      memoryBytes: limits?.memoryBytes ?? 0,
      pids: limits?.pids ?? 0,
      swapBytes: task.spec.resources?.swapBytes,
      memorySwappiness: task.spec.resources?.memorySwappiness,
    },
    reservations: { nanoCpus: reservations?.nanoCpus ?? 0, memoryBytes: reservations?.memoryBytes ?? 0 },
    logDriver: task.spec.logDriver && { name: task.spec.logDriver.name, options: task.spec.logDriver.options ?? {} },
    networks: attachments.map(({ networkId, engineNetwork, address, mac }) => ({
      engineName: engineNetwork.name,
      networkId,
      address,
      mac,
      aliases: [], // names are the data plane's; the engine's would hide them (data-plane.md E)
    })),
    networkMode: predefinedNetwork(task),
    hostPorts: task.ports
      .filter((port) => port.publishMode === 'host')
      .map(({ protocol, targetPort, publishedPort }) => ({ protocol, target: targetPort, published: publishedPort })),
    files: [...files(spec, context, dependencies), ...(resolvConf(spec, attachments) ?? [])],
  }
}

/** The generic resources that the task was given, as Swarm tells containers: `DOCKER_RESOURCE_GPU=uuid1,uuid2`, `DOCKER_RESOURCE_SSD=2`. */
function resourceEnv({ genericResources }: AssignedTask): string[] {
  const values = new Map<string, string[]>()
  for (const resource of genericResources) {
    const kind = resource.kind.toUpperCase()
    const given = 'named' in resource ? resource.named : String(resource.discrete)
    values.set(kind, [...(values.get(kind) ?? []), given])
  }
  return [...values].map(([kind, given]) => `DOCKER_RESOURCE_${kind}=${given.join(',')}`)
}

/** How the task wants names looked up that the swarm does not know. */
export function taskNames(task: AssignedTask): TaskNames {
  const { nameservers = [], search = [] } = task.spec.container?.dns ?? {}
  return { nameservers, search }
}

export function stopGraceMs(task: AssignedTask): number {
  return nsToMs(task.spec.container?.stopGracePeriodNs ?? DEFAULT_STOP_GRACE_NS)
}

/** The networks of a task that the data plane has to make, with the task's address there. */
export function planeNetworks(task: AssignedTask): readonly { readonly networkId: string; readonly address: string }[] {
  return task.attachments.flatMap(({ network, addresses }) => {
    if (PREDEFINED.has(network.driver)) return []
    const [address] = addresses
    if (!address) throw new ShoalError('failed-precondition', 'node is missing network attachments, ip addresses may be exhausted')
    return [{ networkId: network.id, address }]
  })
}

function predefinedNetwork(task: AssignedTask): string | undefined {
  return task.attachments.find(({ network }) => PREDEFINED.has(network.driver))?.network.driver
}

function labels(task: AssignedTask, spec: ContainerSpec): Record<string, string> {
  return {
    ...spec.labels,
    [CONTAINER_LABELS.task]: '',
    [CONTAINER_LABELS.taskId]: task.id,
    [CONTAINER_LABELS.taskName]: taskName(task.serviceName, task),
    [CONTAINER_LABELS.nodeId]: task.nodeId,
    [CONTAINER_LABELS.serviceId]: task.serviceId ?? '',
    [CONTAINER_LABELS.serviceName]: task.serviceName,
  }
}

/** `address host alias...` as the engine wants it; aliases are lost, as in Swarm. */
function extraHost(line: string): readonly string[] {
  const [address, host] = line.trim().split(/\s+/)
  return address && host ? [`${host}:${address}`] : []
}

/** On networks of ours the name server of the data plane comes first: it knows the services and asks others for the rest. */
function dns(spec: ContainerSpec, attachments: readonly Attachment[]): ContainerPlan['dns'] {
  const server = attachments.find((attachment) => attachment.dns !== undefined)?.dns
  return {
    nameservers: [...(server ? [server] : []), ...(spec.dns?.nameservers ?? [])],
    search: spec.dns?.search ?? [],
    options: spec.dns?.options ?? [],
  }
}

/**
 * A resolv.conf of our own where the engine's resolver would be in the way: with `ndots` above 0 it does not forward single names at all, and with search domains
 * it sets `ndots:0`, by which some C libraries never search (data-plane.md E). Undefined where the engine's is right.
 */
function resolvConf(spec: ContainerSpec, attachments: readonly Attachment[]): readonly FilePlan[] | undefined {
  const server = attachments.find((attachment) => attachment.dns !== undefined)?.dns
  const { search = [], options = [] } = spec.dns ?? {}
  const dots = options.some((option) => /^ndots:[1-9]/.test(option))
  if (server === undefined || (search.length === 0 && !dots)) return undefined
  const lines = [
    `nameserver ${server}`,
    ...(search.length > 0 ? [`search ${search.join(' ')}`] : []),
    ...(options.length > 0 ? [`options ${options.join(' ')}`] : []),
  ]
  const data = new TextEncoder().encode(`${lines.join('\n')}\n`)
  return [{ target: '/etc/resolv.conf', data, uid: 0, gid: 0, mode: 0o644 }]
}

function mountPlan(mount: Mount): MountPlan {
  return {
    type: mount.type,
    source: mount.source ?? '',
    target: mount.target,
    readOnly: mount.readOnly ?? false,
    consistency: mount.consistency,
    bind: mount.bind,
    volume: mount.volume && {
      ...mount.volume,
      driver: mount.volume.driver && { name: mount.volume.driver.name, options: mount.volume.driver.options ?? {} },
    },
    tmpfs: mount.tmpfs,
  }
}

/** The files of secrets and configs alone, in the order of the container's plan. */
export function planFiles(task: AssignedTask, node: TemplateNode, dependencies: Dependencies): readonly FilePlan[] {
  if (!task.spec.container) return []
  const context = templateContext(task, node)
  return files(expandContainer(task.spec.container, context), context, dependencies)
}

/** Secrets lie under /run/secrets, configs under the root, unless their target is absolute. */
function files(spec: ContainerSpec, context: ReturnType<typeof templateContext>, dependencies: Dependencies): readonly FilePlan[] {
  const raw = {
    secret: (target: string) => textOf(dependencies.secret(spec.secrets?.find((ref) => ref.file?.name === target)?.secretId ?? '')),
    config: (target: string) => textOf(dependencies.config(spec.configs?.find((ref) => ref.file?.name === target)?.configId ?? '')),
  }
  const content = (object: AssignedSecret | AssignedConfig): Uint8Array => {
    if (!object.templating?.name) return object.data
    if (object.templating.name !== 'golang') {
      throw new ShoalError('invalid-argument', `unrecognized template type: ${object.templating.name}`)
    }
    return expandPayload(object.data, context, { env: spec.env ?? [], ...raw })
  }
  const secrets = (spec.secrets ?? []).map(({ secretId, secretName, file }) => {
    const secret = dependencies.secret(secretId)
    if (!secret) throw new ShoalError('not-found', `secret ${secretName} (${secretId}) not found`)
    return filePlan(file ?? { name: secretName, uid: '0', gid: '0', mode: DEFAULT_MODE }, SECRETS_DIR, content(secret))
  })
  const configs = (spec.configs ?? []).flatMap(({ configId, configName, file, runtime }) => {
    const config = dependencies.config(configId)
    if (!config) throw new ShoalError('not-found', `config ${configName} (${configId}) not found`)
    return runtime ? [] : [filePlan(file ?? { name: configName, uid: '0', gid: '0', mode: DEFAULT_MODE }, '', content(config))]
  })
  return [...secrets, ...configs]
}

function filePlan(target: FileTarget, folder: string, data: Uint8Array): FilePlan {
  return {
    target: target.name.startsWith('/') ? target.name : `${folder}/${target.name}`,
    data,
    uid: numericId(target.uid, 'uid'),
    gid: numericId(target.gid, 'gid'),
    mode: target.mode,
  }
}

function numericId(text: string, what: string): number {
  if (text === '') return 0
  if (!/^\d{1,10}$/.test(text))
    throw new ShoalError('invalid-argument', `${what} of a secret or config must be a number, not ${JSON.stringify(text)}`)
  return Number(text)
}

function textOf(object: AssignedSecret | AssignedConfig | undefined): string | undefined {
  return object && new TextDecoder().decode(object.data)
}
