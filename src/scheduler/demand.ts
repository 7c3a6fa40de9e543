// What the tasks of one group (same service, same spec version) ask of a node, worked out once for all of them.
import { type Constraint, type GenericResource, type Placement, type PortConfig, parseConstraints, type TaskSpec } from '../model/index.ts'

export interface Demand {
  /** Whose tasks spread over nodes; '' for tasks without a service. */
  readonly serviceId: string
  /** Service and spec version: what recent failures are counted by. */
  readonly groupKey: string
  readonly nanoCpus: number
  readonly memoryBytes: number
  readonly generic: readonly { readonly kind: string; readonly count: number }[]
  /** `tcp/8080` of ports published in host mode with a fixed number. */
  readonly hostPorts: readonly string[]
  /** Undefined: one of them does not parse, so no node fits. */
  readonly constraints: readonly Constraint[] | undefined
  /** Spread descriptors, outermost first. */
  readonly spreadOver: readonly string[]
  /** 0 = no limit. */
  readonly maxReplicasPerNode: number
  readonly platforms: readonly { readonly os: string; readonly architecture: string }[]
  readonly plugins: readonly { readonly type: string; readonly name: string }[]
  /** Whose data plane the task's networks need. */
  readonly plane: 'none' | 'shoal' | 'swarm'
  /** Equal for demands that ask the same of what a node is (not of what runs there); '' when they ask for nothing. */
  readonly fitKey: string
}

export interface DemandInput {
  readonly serviceId: string
  readonly specVersion: number
  readonly task: TaskSpec
  /** The service's placement now: it may be newer than the one in the task's own spec. */
  readonly placement: Placement | undefined
  readonly ports: readonly PortConfig[]
  readonly plane: Demand['plane']
}

export function demandOf(input: DemandInput): Demand {
  const reserved = input.task.resources?.reservations
  const platforms = (input.placement?.platforms ?? []).map(normalPlatform)
  const plugins = pluginsOf(input.task)
  return {
    serviceId: input.serviceId,
    groupKey: `${input.serviceId}.${input.specVersion}`,
    nanoCpus: reserved?.nanoCpus ?? 0,
    memoryBytes: reserved?.memoryBytes ?? 0,
    generic: countGeneric(reserved?.generic ?? []),
    hostPorts: input.ports
      .filter((port) => port.publishMode === 'host' && port.publishedPort !== 0)
      .map((port) => `${port.protocol}/${port.publishedPort}`),
    constraints: parsedOrNothing(input.placement?.constraints ?? []),
    spreadOver: (input.placement?.preferences ?? []).map((preference) => preference.spread),
    maxReplicasPerNode: input.placement?.maxReplicas ?? 0,
    platforms,
    plugins,
    plane: input.plane,
    fitKey: fitKeyOf(input.placement?.constraints ?? [], platforms, plugins, input.plane),
  }
}

function fitKeyOf(
  constraints: readonly string[],
  platforms: Demand['platforms'],
  plugins: Demand['plugins'],
  plane: Demand['plane'],
): string {
  if (constraints.length === 0 && platforms.length === 0 && plugins.length === 0 && plane === 'none') return ''
  return JSON.stringify([constraints, platforms, plugins, plane])
}

function parsedOrNothing(expressions: readonly string[]): readonly Constraint[] | undefined {
  try {
    return parseConstraints(expressions)
  } catch {
    return undefined // control refuses such a spec; one that slipped through fits nowhere and says so
  }
}

function countGeneric(resources: readonly GenericResource[]): { kind: string; count: number }[] {
  const counts = new Map<string, number>()
  for (const resource of resources) {
    const count = 'discrete' in resource ? resource.discrete : 1
    counts.set(resource.kind, (counts.get(resource.kind) ?? 0) + count)
  }
  return [...counts].map(([kind, count]) => ({ kind, count }))
}

const ARCHITECTURES: Readonly<Record<string, string>> = {
  x86_64: 'amd64',
  aarch64: 'arm64',
  armv7l: 'arm',
  armhf: 'arm',
  i386: '386',
  i686: '386',
}

/** Engines report the kernel's name (x86_64), images Go's (amd64). */
export function normalPlatform(platform: { readonly os: string; readonly architecture: string }): { os: string; architecture: string } {
  const architecture = platform.architecture.toLowerCase()
  return { os: platform.os.toLowerCase(), architecture: ARCHITECTURES[architecture] ?? architecture }
}

/** Only what an engine may lack: its built-in drivers need no plugin. */
function pluginsOf(task: TaskSpec): { type: string; name: string }[] {
  const plugins: { type: string; name: string }[] = []
  for (const mount of task.container?.mounts ?? []) {
    const name = mount.volume?.driver?.name
    if (mount.type === 'volume' && name && name !== 'local') plugins.push({ type: 'Volume', name })
  }
  const log = task.logDriver?.name
  if (log && log !== 'none') plugins.push({ type: 'Log', name: log })
  return plugins
}
