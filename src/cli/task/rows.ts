// Tasks as `service ps` and `node ps` show them: newest first within a slot, older ones indented as history.
import type { ApiClient, PortConfig, Task } from '../../client/index.ts'
import { ApiError } from '../../client/index.ts'
import { ago, capitalized, type ListLayout, naturalCompare, type Row, shortId } from '../format/index.ts'

export const TASK_LAYOUT: ListLayout = {
  headers: {
    ID: 'ID',
    Name: 'NAME',
    Image: 'IMAGE',
    Node: 'NODE',
    DesiredState: 'DESIRED STATE',
    CurrentState: 'CURRENT STATE',
    Error: 'ERROR',
    Ports: 'PORTS',
  },
  table: '{{.ID}}\t{{.Name}}\t{{.Image}}\t{{.Node}}\t{{.DesiredState}}\t{{.CurrentState}}\t{{.Error}}\t{{.Ports}}',
}

const MAX_ERROR_LENGTH = 30

export interface TaskRowOptions {
  readonly truncate: boolean
  /** false: ids instead of the names of services and nodes. */
  readonly resolve: boolean
  /** true: older tasks of the same slot get ` \_ ` before their names. */
  readonly indentHistory: boolean
  readonly nowMs: number
}

export interface NamedTask {
  readonly task: Task
  readonly name: string
}

/** The tasks with their names (service.slot), in display order. */
export async function nameTasks(tasks: readonly Task[], names: NameResolver): Promise<NamedTask[]> {
  const named = await Promise.all(tasks.map(async (task) => ({ task, name: await taskName(task, names) })))
  return named.sort((a, b) => naturalCompare(a.name, b.name) || Date.parse(b.task.CreatedAt) - Date.parse(a.task.CreatedAt))
}

async function taskName(task: Task, names: NameResolver): Promise<string> {
  const service = await names.service(task.ServiceID)
  if (task.Slot) return `${service}.${task.Slot}`
  return task.NodeID ? `${service}.${task.NodeID}` : service || task.ID
}

export async function taskRows(named: readonly NamedTask[], names: NameResolver, options: TaskRowOptions): Promise<Row[]> {
  const rows: Row[] = []
  let previous: string | undefined
  for (const { task, name } of named) {
    const isHistory = name === previous
    previous = name
    rows.push({
      ID: options.truncate ? shortId(task.ID) : task.ID,
      Name: isHistory && options.indentHistory ? ` \\_ ${name}` : name,
      Image: displayImage(task.Spec.ContainerSpec?.Image ?? '', options.truncate),
      Node: task.NodeID ? await names.node(task.NodeID) : '',
      DesiredState: capitalized(task.DesiredState),
      CurrentState: `${capitalized(task.Status.State)} ${ago(task.Status.Timestamp, options.nowMs).toLowerCase()}`,
      Error: taskError(task, options.truncate),
      Ports: hostPorts(task.Status.PortStatus?.Ports ?? []),
    })
  }
  return rows
}

function taskError(task: Task, truncate: boolean): string {
  const text = task.Status.Err ?? ''
  if (text === '') return ''
  const characters = [...text]
  return truncate && characters.length > MAX_ERROR_LENGTH ? `"${characters.slice(0, MAX_ERROR_LENGTH - 1).join('')}…"` : `"${text}"`
}

function hostPorts(ports: readonly PortConfig[]): string {
  return ports.map((port) => `*:${port.PublishedPort}->${port.TargetPort}/${port.Protocol}`).join(',')
}

/** The image without the default registry, and without the digest where there is a tag and the output is short. */
export function displayImage(image: string, truncate = true): string {
  const short = image.replace(/^docker\.io\/(?:library\/)?/, '')
  const [name, digest] = short.split('@', 2) as [string, string?]
  return truncate && digest !== undefined && /:[^/]*$/.test(name) ? name : short
}

/** Names of services and nodes by id; each is asked for once, and an object that is gone shows its id. */
export interface NameResolver {
  service(id: string): Promise<string>
  node(id: string): Promise<string>
}

export function nameResolver(client: ApiClient, resolve: boolean): NameResolver {
  const services = new Map<string, Promise<string>>()
  const nodes = new Map<string, Promise<string>>()
  return {
    service: (id) => (resolve && id ? cached(services, id, async () => (await client.service(id)).Spec.Name) : Promise.resolve(id)),
    node: (id) =>
      resolve
        ? cached(nodes, id, async () => {
            const node = await client.node(id)
            return node.Spec.Name || node.Description.Hostname || id
          })
        : Promise.resolve(id),
  }
}

function cached(cache: Map<string, Promise<string>>, id: string, fetch: () => Promise<string>): Promise<string> {
  let found = cache.get(id)
  if (!found) {
    found = fetch().catch((error: unknown) => {
      if (error instanceof ApiError && error.status === 404) return id
      throw error
    })
    cache.set(id, found)
  }
  return found
}
