// Placeholders in a container's env, hostname and mounts, and templated configs and secrets, filled in for one task (SwarmKit's rules).
import { errorText, ShoalError } from '../../lib/index.ts'
import type { AssignedTask } from '../assignment.ts'
import { taskName } from '../naming.ts'
import type { ContainerSpec, Mount } from '../spec.ts'
import { runTemplate, type TemplateFunction, type Value } from './evaluate.ts'

/** The node as templates see it. */
export interface TemplateNode {
  readonly hostname: string
  readonly os: string
  readonly architecture: string
}

/** What `.Service`, `.Node` and `.Task` stand for. */
export function templateContext(task: AssignedTask, node: TemplateNode): Value {
  return {
    Service: { ID: task.serviceId ?? '', Name: task.serviceName, Labels: { ...task.serviceLabels } },
    Node: { ID: task.nodeId, Hostname: node.hostname, Platform: { Architecture: node.architecture, OS: node.os } },
    Task: { ID: task.id, Name: taskName(task.serviceName, task), Slot: slotText(task) },
  }
}

/** The slot of a global service's task is its node. */
function slotText(task: AssignedTask): string {
  return task.slot > 0 ? String(task.slot) : task.nodeId
}

/** Throws ShoalError 'invalid-argument' with SwarmKit's text; the task is then rejected. */
export function expandContainer(spec: ContainerSpec, context: Value): ContainerSpec {
  const expand = (text: string) => runTemplate(text, context)
  return {
    ...spec,
    env: wrapped('expanding env failed', () =>
      spec.env?.map((value) => wrapped(`expanding ${JSON.stringify(value)}`, () => expand(value))),
    ),
    mounts: wrapped('expanding mounts failed', () => spec.mounts?.map((mount) => expandMount(mount, expand))),
    hostname: wrapped('expanding hostname failed', () => spec.hostname && expand(spec.hostname)),
  }
}

function expandMount(mount: Mount, expand: (text: string) => string): Mount {
  const { volume } = mount
  const all = (labels: Readonly<Record<string, string>>, what: string) =>
    Object.fromEntries(
      Object.entries(labels).map(([key, value]) => [key, wrapped(`expanding ${what} ${JSON.stringify(key)}`, () => expand(value))]),
    )
  return {
    ...mount,
    source: mount.source && wrapped(`expanding mount source ${JSON.stringify(mount.source)}`, () => expand(mount.source ?? '')),
    target: wrapped(`expanding mount target ${JSON.stringify(mount.target)}`, () => expand(mount.target)),
    volume: volume && {
      ...volume,
      labels: volume.labels && all(volume.labels, 'volume label'),
      driver: volume.driver && { ...volume.driver, options: volume.driver.options && all(volume.driver.options, 'volume driver option') },
    },
  }
}

/** What a templated config or secret may read besides the context; names are the targets of the container's own references. */
export interface PayloadSources {
  /** The container's environment, expanded: `KEY=value`. */
  readonly env: readonly string[]
  readonly secret: (target: string) => string | undefined
  readonly config: (target: string) => string | undefined
}

/** The data of a config or secret with templating driver `golang`. */
export function expandPayload(data: Uint8Array, context: Value, sources: PayloadSources): Uint8Array {
  const text = new TextDecoder().decode(data)
  return new TextEncoder().encode(runTemplate(text, context, payloadFunctions(sources)))
}

function payloadFunctions({ env, secret, config }: PayloadSources): Readonly<Record<string, TemplateFunction>> {
  const lookUp = (kind: string, find: (target: string) => string | undefined) => (target: Value) => {
    const found = find(String(target))
    if (found === undefined) throw new ShoalError('invalid-argument', `${kind} target ${target} not found`)
    return found
  }
  return {
    env: (name) => env.find((entry) => entry.startsWith(`${name}=`))?.slice(String(name).length + 1) ?? '',
    secret: lookUp('secret', secret),
    config: lookUp('config', config),
  }
}

function wrapped<T>(what: string, work: () => T): T {
  try {
    return work()
  } catch (error) {
    throw new ShoalError('invalid-argument', `${what}: ${errorText(error)}`, { cause: error })
  }
}
