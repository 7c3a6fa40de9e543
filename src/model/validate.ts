// Whether a spec can be accepted, in Swarm's words (docker-api.md 1.2). What needs the store (names taken, ports in use) is checked by manager/control.
import { ShoalError } from '../lib/index.ts'
import { parseConstraints } from './constraint.ts'
import { validateContentLabels } from './content.ts'
import { isImageReference } from './image.ts'
import { validateServiceLabels } from './labels.ts'
import type { ClusterSpec, ConfigSpec, NetworkSpec, SecretSpec } from './objects.ts'
import type {
  ContainerSpec,
  EndpointSpec,
  Healthcheck,
  Mount,
  Placement,
  ResourceRequirements,
  Resources,
  RestartPolicy,
  ServiceSpec,
  TaskSpec,
  UpdateConfig,
} from './spec.ts'

/** Swarm's bounds. */
export const MAX_NAME_LENGTH = 63
export const MAX_OBJECT_NAME_LENGTH = 64
export const MAX_SECRET_BYTES = 500 * 1024
export const MAX_CONFIG_BYTES = 1000 * 1024
const MIN_NANO_CPUS = 1_000_000
const MIN_MEMORY_BYTES = 4 * 1024 * 1024
const MIN_HEALTH_DURATION_NS = 1_000_000

/** Throws a ShoalError 'invalid-argument' that names the field; a bad constraint is 'unknown', as Swarm answers it. */
export function validateServiceSpec(spec: ServiceSpec): void {
  validateServiceName(spec.name)
  validateServiceLabels(spec.labels)
  validateTaskSpec(spec.task)
  validateMode(spec)
  if (spec.update) validateUpdateConfig(spec.update)
  if (spec.rollback) validateUpdateConfig(spec.rollback)
  if (spec.endpoint) validateEndpointSpec(spec.endpoint)
  const networks = [...(spec.task.networks ?? []), ...(spec.networks ?? [])]
  if (networks.some((network) => network.target === '')) refuse('network attachment: a network must be named')
}

export function validateServiceName(name: string): void {
  if (name === '') refuse('meta: name must be provided')
  if (name.length > MAX_NAME_LENGTH) refuse(`name must be ${MAX_NAME_LENGTH} characters or fewer`)
  if (!/^[a-zA-Z0-9]([a-zA-Z0-9-_]*[a-zA-Z0-9])?$/.test(name)) refuse('name must be valid as a DNS name component')
}

function validateMode({ mode, update, rollback, task }: ServiceSpec): void {
  if (mode.kind === 'replicated') requireCount(mode.replicas, 'Number of replicas must be non-negative')
  if (mode.kind === 'replicated-job') {
    requireCount(mode.maxConcurrent, 'Number of concurrent jobs must be non-negative')
    requireCount(mode.totalCompletions, 'Number of total completions must be non-negative')
  }
  if (mode.kind === 'replicated-job' || mode.kind === 'global-job') {
    if (update) refuse('Jobs may not have an update config')
    if (rollback) refuse('Jobs may not have a rollback config')
    if (task.restart?.condition === 'any') refuse('Jobs may not have a restart condition of "any": use "on-failure" or "none"')
  }
  if (mode.kind === 'global' && task.placement?.maxReplicas) refuse('max replicas per node can only be used with replicated mode')
}

export function validateTaskSpec(task: TaskSpec): void {
  if (task.runtime === 'plugin') {
    throw new ShoalError('unimplemented', 'plugin services are not supported: install the plugin on each node with `docker plugin install`')
  }
  if (!task.container) refuse('mismatched Runtime and *Spec fields')
  if (task.resources) validateResourceRequirements(task.resources)
  if (task.restart) validateRestartPolicy(task.restart)
  if (task.placement) validatePlacement(task.placement)
  if (task.logDriver && task.logDriver.name === '' && Object.keys(task.logDriver.options ?? {}).length > 0) {
    refuse('TaskSpec: a log driver must be named when it has options')
  }
  requireCount(task.forceUpdate, 'TaskSpec: force update counter must be non-negative')
  validateContainerSpec(task.container)
}

export function validateContainerSpec(container: ContainerSpec): void {
  if (container.image === '') refuse('ContainerSpec: image reference must be provided')
  if (!isImageReference(container.image)) refuse(`ContainerSpec: ${JSON.stringify(container.image)} is not a valid repository/tag`)
  if ((container.stopGracePeriodNs ?? 0) < 0) refuse('ContainerSpec: stop grace period cannot be negative')
  validateMounts(container.mounts ?? [])
  if (container.healthcheck) validateHealthcheck(container.healthcheck)
  validateTargets(
    'secret',
    (container.secrets ?? []).map(({ secretName, secretId, file }) => ({ name: secretName, id: secretId, file })),
  )
  validateTargets(
    'config',
    (container.configs ?? []).map(({ configName, configId, file, runtime }) => ({ name: configName, id: configId, file, runtime })),
  )
  for (const { name, soft, hard } of container.ulimits ?? []) {
    if (hard >= 0 && soft > hard)
      refuse(`ContainerSpec: ulimit ${name}: soft limit must be less than or equal to hard limit: ${soft} > ${hard}`)
  }
  for (const text of container.env ?? [])
    if (text === '' || text.startsWith('=')) refuse(`ContainerSpec: invalid environment variable: ${text}`)
}

function validateMounts(mounts: readonly Mount[]): void {
  const targets = new Set<string>()
  for (const mount of mounts) {
    if (mount.target === '') refuse('ContainerSpec: mount target must be provided')
    if (targets.has(mount.target)) refuse(`ContainerSpec: duplicate mount point: ${mount.target}`)
    targets.add(mount.target)
    if (mount.type === 'bind' && !mount.source) refuse(`ContainerSpec: mount ${mount.target}: a bind mount needs a source`)
    if (mount.type === 'bind' && mount.source && !mount.source.startsWith('/') && !mount.source.includes('{{')) {
      refuse(`ContainerSpec: invalid bind mount source, must be an absolute path: ${mount.source}`)
    }
    if (mount.type === 'tmpfs' && mount.source) refuse('ContainerSpec: invalid tmpfs source, source must be empty')
    if ((mount.tmpfs?.sizeBytes ?? 0) < 0) refuse(`ContainerSpec: mount ${mount.target}: tmpfs size cannot be negative`)
    if (mount.type === 'npipe') refuse('ContainerSpec: named pipes are for Windows nodes only')
    if (mount.type === 'cluster') throw new ShoalError('unimplemented', 'cluster volumes (CSI) are not supported: use a volume driver')
  }
}

function validateHealthcheck(health: Healthcheck): void {
  const durations = {
    Interval: health.intervalNs,
    Timeout: health.timeoutNs,
    StartPeriod: health.startPeriodNs,
    StartInterval: health.startIntervalNs,
  }
  for (const [name, ns] of Object.entries(durations)) {
    // 0 = inherit from the image
    if (ns !== undefined && ns !== 0 && ns < MIN_HEALTH_DURATION_NS)
      refuse(`ContainerSpec: ${name} in HealthConfig cannot be less than 1ms`)
  }
  if ((health.retries ?? 0) < 0) refuse('ContainerSpec: Retries in HealthConfig cannot be negative')
}

function validateTargets(
  kind: 'secret' | 'config',
  references: readonly {
    readonly name: string
    readonly id: string
    readonly file?: { readonly name: string }
    readonly runtime?: boolean
  }[],
): void {
  const taken = new Map<string, string>()
  for (const { name, id, file, runtime } of references) {
    if (name === '' || id === '' || (kind === 'secret' && !file)) refuse(`malformed ${kind} reference`)
    if (kind === 'config' && !file && !runtime) refuse('malformed config reference')
    if (!file) continue
    if (file.name === '') refuse(`malformed file ${kind} reference, invalid target file name provided`)
    const other = taken.get(file.name)
    if (other !== undefined) refuse(`${kind} references '${other}' and '${name}' have a conflicting target: '${file.name}'`)
    taken.set(file.name, name)
  }
}

function validateResourceRequirements({ limits, reservations, memorySwappiness }: ResourceRequirements): void {
  if (limits) validateResources(limits)
  if (reservations) validateResources(reservations)
  if (memorySwappiness !== undefined && (memorySwappiness < -1 || memorySwappiness > 100)) {
    refuse(`invalid memory swappiness ${memorySwappiness}: must be between 0 and 100, or -1`)
  }
}

function validateResources({ nanoCpus, memoryBytes, pids, generic }: Resources): void {
  if (nanoCpus !== undefined && nanoCpus !== 0 && nanoCpus < MIN_NANO_CPUS)
    refuse(`invalid cpu value ${nanoCpus / 1e9}: Must be at least 0.001`)
  if (memoryBytes !== undefined && memoryBytes !== 0 && memoryBytes < MIN_MEMORY_BYTES) {
    refuse(`invalid memory value ${memoryBytes}: Must be at least 4MiB`)
  }
  if ((pids ?? 0) < 0) refuse(`invalid pids limit ${pids}: must not be negative`)
  for (const resource of generic ?? []) {
    if (resource.kind === '') refuse('generic resource: a kind must be given')
    if ('discrete' in resource && resource.discrete < 0) refuse(`generic resource ${resource.kind}: must not be negative`)
  }
}

function validateRestartPolicy({ delayNs, windowNs, maxAttempts }: RestartPolicy): void {
  if ((delayNs ?? 0) < 0) refuse('TaskSpec: restart-delay cannot be negative')
  if ((windowNs ?? 0) < 0) refuse('TaskSpec: restart-window cannot be negative')
  if ((maxAttempts ?? 0) < 0) refuse('TaskSpec: restart-max-attempts cannot be negative')
}

function validatePlacement(placement: Placement): void {
  parseConstraints(placement.constraints ?? [])
  if ((placement.maxReplicas ?? 0) < 0) refuse('TaskSpec: max replicas per node cannot be negative')
  for (const { spread } of placement.preferences ?? []) if (spread === '') refuse('TaskSpec: a spread preference needs a descriptor')
}

function validateUpdateConfig({ delayNs, monitorNs, maxFailureRatio, parallelism }: UpdateConfig): void {
  if (parallelism < 0) refuse('TaskSpec: update-parallelism cannot be negative')
  if ((delayNs ?? 0) < 0) refuse('TaskSpec: update-delay cannot be negative')
  if ((monitorNs ?? 0) < 0) refuse('TaskSpec: update-monitor cannot be negative')
  const ratio = maxFailureRatio ?? 0
  if (!(ratio >= 0 && ratio <= 1)) refuse('TaskSpec: update-maxfailureratio cannot be less than 0 or bigger than 1')
}

function validateEndpointSpec(endpoint: EndpointSpec): void {
  const taken = new Set<string>()
  for (const port of endpoint.ports ?? []) {
    if (endpoint.mode === 'dnsrr' && port.publishMode === 'ingress') {
      refuse("EndpointSpec: port published with ingress mode can't be used with dnsrr mode")
    }
    if (!isPort(port.targetPort) || port.targetPort === 0)
      refuse(`EndpointSpec: invalid target port ${port.targetPort}: must be between 1 and 65535`)
    if (!isPort(port.publishedPort)) refuse(`EndpointSpec: invalid published port ${port.publishedPort}: must be between 0 and 65535`)
    if (port.publishedPort === 0) continue
    const key = `${port.protocol}/${port.publishedPort}`
    if (taken.has(key)) refuse('EndpointSpec: duplicate published ports provided')
    taken.add(key)
  }
}

const ENCRYPTED_OPTION = 'encrypted'
/** Network, broadcast, gateway and one for a task. */
const MOST_SUBNET_BITS = 30

/** Networks: only overlays are objects of the swarm; `host` and `bridge` stand there from the start. */
export function validateNetworkSpec(spec: NetworkSpec): void {
  if (spec.name === '') refuse('meta: name must be provided')
  if (!/^[a-zA-Z0-9]([a-zA-Z0-9_.-]*[a-zA-Z0-9])?$/.test(spec.name)) {
    refuse(`invalid name ${JSON.stringify(spec.name)}: only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`)
  }
  if (spec.driver !== 'overlay') refuse(`network driver ${JSON.stringify(spec.driver)} is not available at swarm scope: use "overlay"`)
  if (spec.ingress && spec.attachable) refuse('ingress network can not be attachable')
  if (spec.ipamDriver !== '' && spec.ipamDriver !== 'default')
    refuse(`IPAM driver ${JSON.stringify(spec.ipamDriver)} is not available: use "default"`)
  const encrypted = spec.driverOptions[ENCRYPTED_OPTION]
  if (encrypted !== undefined && !['false', '0'].includes(encrypted)) {
    throw new ShoalError(
      'failed-precondition',
      `network ${spec.name} cannot be encrypted: that needs a WireGuard mesh between all nodes, which this version does not set up, and plaintext instead would be worse`,
      { next: 'Encrypt in the application, or connect the nodes by a VPN and give its addresses with --data-path-addr' },
    )
  }
  if (spec.ipam.length > 1) refuse('ipam configuration: a network of the swarm has one subnet; make it as large as you need')
  for (const { subnet, gateway, range } of spec.ipam) {
    if (subnet !== '' && !isCidr(subnet)) refuse(`ipam configuration: invalid subnet ${subnet}: use a form like 10.77.0.0/24`)
    if (range !== '' && !isCidr(range)) refuse(`ipam configuration: invalid ip-range ${range}: use a form like 10.77.0.128/25`)
    if (gateway !== '' && !isAddress(gateway)) refuse(`ipam configuration: invalid gateway ${gateway}`)
    if (subnet === '' && (gateway !== '' || range !== '')) refuse('ipam configuration: a gateway or ip-range needs its subnet')
    if (Number(subnet.split('/')[1] ?? 0) > MOST_SUBNET_BITS) refuse(`ipam configuration: subnet ${subnet} has no room for addresses`)
    if (gateway !== '' && !isInside(gateway, subnet)) refuse(`no matching subnet for gateway ${gateway}`)
    if (range !== '' && (!isInside(range, subnet) || Number(range.split('/')[1]) < Number(subnet.split('/')[1])))
      refuse(`no matching subnet for range ${range}`)
  }
  const mtu = spec.driverOptions['com.docker.network.driver.mtu']
  if (mtu !== undefined && !(/^\d{2,5}$/.test(mtu) && Number(mtu) <= 65535))
    refuse(`invalid MTU ${JSON.stringify(mtu)}: use a number of bytes`)
}

export function validateSecretSpec(spec: SecretSpec): void {
  validateObjectName(spec.name)
  validateContentLabels(spec.labels)
  if (spec.driver) return // the data comes from a plugin
  const bytes = dataBytes(spec.data)
  if (bytes === 0 || bytes >= MAX_SECRET_BYTES) refuse(`secret data must be larger than 0 and less than ${MAX_SECRET_BYTES} bytes`)
}

export function validateConfigSpec(spec: ConfigSpec): void {
  validateObjectName(spec.name)
  validateContentLabels(spec.labels)
  const bytes = dataBytes(spec.data)
  if (bytes === 0 || bytes > MAX_CONFIG_BYTES) refuse(`config data must be larger than 0 and less than ${MAX_CONFIG_BYTES} bytes`)
}

function validateObjectName(name: string): void {
  if (name === '') refuse('name must be provided')
  if (name.length > MAX_OBJECT_NAME_LENGTH || !/^[a-zA-Z0-9]([a-zA-Z0-9-_.]*[a-zA-Z0-9])?$/.test(name)) {
    refuse('invalid name, only 64 [a-zA-Z0-9-_.] characters allowed, and the start and end character must be [a-zA-Z0-9]')
  }
}

export function validateClusterSpec(spec: ClusterSpec): void {
  if (spec.name !== 'default' && spec.name !== '') refuse('swarm name cannot be changed: it is "default"')
  if (spec.nodeCertExpiryNs !== 0 && spec.nodeCertExpiryNs < 3_600_000_000_000) refuse('minimum certificate expiry time is 1h0m0s')
  if (spec.heartbeatPeriodNs < 0) refuse('heartbeat time period cannot be a negative duration')
  for (const value of Object.values(spec.raft)) requireCount(value, 'invalid raft settings: values must be non-negative whole numbers')
  if (spec.raft.electionTick !== 0 && spec.raft.heartbeatTick !== 0 && spec.raft.electionTick <= spec.raft.heartbeatTick) {
    refuse('invalid raft settings: election tick must be greater than heartbeat tick')
  }
  if (spec.taskHistoryRetentionLimit < 0) refuse('task history retention limit cannot be negative')
}

/** Bytes of base64 text; the codecs have already refused what is no base64. */
function dataBytes(base64: string): number {
  return Buffer.byteLength(base64, 'base64')
}

function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= 0 && port <= 65535
}

function isAddress(text: string): boolean {
  const parts = text.split('.')
  return parts.length === 4 && parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) <= 255)
}

function isCidr(text: string): boolean {
  const [address = '', bits = '', ...rest] = text.split('/')
  return rest.length === 0 && isAddress(address) && /^\d{1,2}$/.test(bits) && Number(bits) <= 32
}

/** Whether an address, or the first one of a CIDR, lies in a subnet; both are well-formed. */
function isInside(text: string, subnet: string): boolean {
  const [base = '', bits = '32'] = subnet.split('/')
  const size = 2 ** (32 - Number(bits))
  const number = (address: string) => address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0)
  return Math.floor(number(text.split('/')[0]!) / size) === Math.floor(number(base) / size)
}

function requireCount(value: number, message: string): void {
  if (!Number.isSafeInteger(value) || value < 0) refuse(message)
}

function refuse(message: string): never {
  throw new ShoalError('invalid-argument', message)
}
