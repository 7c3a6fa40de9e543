// `service explain`, `task explain`: why things are as they are; `service create|update --plan`: what a change would do. In calm sentences.
import type { ApiClient, ServiceSpec } from '../../client/index.ts'
import { type Command, ONE_ARG } from '../command.ts'
import type { FlagDef } from '../flags/index.ts'
import { alignColumns } from '../format/index.ts'

interface Placement {
  readonly fits: number
  readonly refusals: readonly { readonly filter: string; readonly nodes: number; readonly remedy: string }[]
  readonly nodes: readonly {
    readonly nodeId: string
    readonly hostname: string
    readonly objections: readonly { readonly filter: string; readonly text: string }[]
  }[]
}

interface TaskVerdict {
  readonly taskId: string
  readonly slot: number
  readonly nodeId?: string
  readonly state: string
  readonly desiredState: string
  readonly code: string
  readonly text: string
}

interface ServiceExplanation {
  readonly name: string
  readonly mode: string
  readonly wanted: number
  readonly serving: number
  readonly waiting: readonly TaskVerdict[]
  readonly replaced: readonly (TaskVerdict & { readonly at: string })[]
  readonly placement: Placement
  readonly update?: { readonly state: string; readonly text: string }
}

interface ServicePlan {
  readonly action: 'create' | 'update' | 'nothing'
  readonly name: string
  readonly version?: number
  readonly differences: readonly { readonly path: string; readonly before?: unknown; readonly after?: unknown }[]
  readonly replaces?: { readonly tasks: number; readonly order: string; readonly parallelism: number }
  readonly added: number
  readonly removed: number
  readonly placed: readonly { readonly hostname: string; readonly tasks: number }[]
  readonly waiting: readonly { readonly reason: string; readonly tasks: number }[]
}

const JSON_FLAG: FlagDef = { name: 'json', kind: 'bool', help: 'Print the answer as JSON' }
export const PLAN_FLAG: FlagDef = { name: 'plan', kind: 'bool', help: 'Show what would happen, and change nothing' }

/** So many replaced tasks are shown; the rest is in the JSON. */
const SHOWN_REPLACED = 5
const SHOWN_NODES = 10

export const serviceExplain: Command = {
  name: 'explain',
  usage: '[OPTIONS] SERVICE',
  short: 'Say what a service waits for, and why its tasks were replaced',
  flags: [JSON_FLAG],
  args: ONE_ARG,
  async run({ io, client, flags, args }) {
    const text = await client.requestText('GET', `/shoal/services/${encodeURIComponent(args[0] as string)}/explain`)
    io.stdout.write(flags.bool('json') ? text : serviceText(JSON.parse(text) as ServiceExplanation))
    return 0
  },
}

export const taskExplain: Command = {
  name: 'explain',
  usage: '[OPTIONS] TASK',
  short: 'Say why a task is in the state it is in',
  flags: [JSON_FLAG],
  args: ONE_ARG,
  async run({ io, client, flags, args }) {
    const text = await client.requestText('GET', `/shoal/tasks/${encodeURIComponent(args[0] as string)}/explain`)
    if (flags.bool('json')) io.stdout.write(text)
    else {
      const task = JSON.parse(text) as TaskVerdict & { serviceName?: string; successorId?: string; placement?: Placement }
      const of = task.serviceName ? ` of ${task.serviceName}${task.slot > 0 ? `.${task.slot}` : ''}` : ''
      const lines = [`Task ${task.taskId}${of} is ${task.state} (wanted: ${task.desiredState}).`, `It ${task.text}. [${task.code}]`]
      if (task.successorId) lines.push(`Its place was taken by task ${task.successorId}.`)
      if (task.placement) lines.push('', ...placementLines(task.placement))
      io.stdout.write(`${lines.join('\n')}\n`)
    }
    return 0
  },
}

/** Shows what creating (or, with `service`, updating) would do. */
export async function showPlan(client: ApiClient, spec: ServiceSpec, service?: string): Promise<string> {
  const plan = await client.request<ServicePlan>('POST', '/shoal/services/plan', { body: spec, query: { service } })
  return planText(plan)
}

function serviceText(service: ServiceExplanation): string {
  const lines = [`${service.name} (${service.mode}): ${service.serving} of ${service.wanted} serve.`]
  if (service.update) lines.push(`Update: ${service.update.state}, ${service.update.text}.`)
  if (service.waiting.length > 0) {
    lines.push('', 'Waiting:', ...taskLines(service.waiting))
  }
  const unplaced = service.waiting.some(({ code }) => code === 'no-suitable-node')
  if (unplaced || service.placement.fits === 0) lines.push('', ...placementLines(service.placement))
  if (service.replaced.length > 0) {
    lines.push('', 'Replaced lately:', ...taskLines(service.replaced.slice(0, SHOWN_REPLACED)))
    if (service.replaced.length > SHOWN_REPLACED) lines.push(`  and ${service.replaced.length - SHOWN_REPLACED} more (--json shows them)`)
  }
  if (service.waiting.length === 0 && !service.update) lines.push('Nothing is waited for.')
  return `${lines.join('\n')}\n`
}

function taskLines(tasks: readonly TaskVerdict[]): string[] {
  const rows = tasks.map((task) => `  ${task.slot > 0 ? `slot ${task.slot}` : '-'}\t${task.taskId}\t${task.state}\t${task.text}`)
  return alignColumns(rows.join('\n'), 0, 2).split('\n')
}

function placementLines({ fits, refusals, nodes }: Placement): string[] {
  const lines = [
    `${fits} of ${fits + nodes.filter(({ objections }) => objections.length > 0).length} nodes can take a task of this service.`,
  ]
  for (const { nodes: count, remedy } of refusals) lines.push(`  ${count} refuse${count === 1 ? 's' : ''}: ${remedy}`)
  const refusing = nodes.filter(({ objections }) => objections.length > 0)
  const rows = refusing.slice(0, SHOWN_NODES).map((node) => `  ${node.hostname}\t${node.objections.map(({ text }) => text).join('; ')}`)
  if (rows.length > 0) lines.push(...alignColumns(rows.join('\n'), 0, 2).split('\n'))
  if (refusing.length > SHOWN_NODES) lines.push(`  and ${refusing.length - SHOWN_NODES} more`)
  return lines
}

function planText(plan: ServicePlan): string {
  if (plan.action === 'nothing') return `${plan.name}: nothing would change.\n`
  const lines = [`${plan.name} would be ${plan.action === 'create' ? 'created' : 'updated'}; nothing has been changed yet.`]
  for (const { path, before, after } of plan.differences) lines.push(`  ${path}: ${valueText(before)} -> ${valueText(after)}`)
  if (plan.replaces) {
    const { tasks, order, parallelism } = plan.replaces
    lines.push(`Replaces ${counted(tasks)}, ${order}, ${parallelism === 0 ? 'all at once' : `${parallelism} at a time`}.`)
  } else if (plan.action === 'update') lines.push('Replaces no task.')
  if (plan.added > 0) lines.push(`Adds ${counted(plan.added)}.`)
  if (plan.removed > 0) lines.push(`Removes ${counted(plan.removed)}.`)
  for (const { hostname, tasks } of plan.placed) lines.push(`  ${counted(tasks)} on ${hostname}`)
  for (const { reason, tasks } of plan.waiting) lines.push(`  ${counted(tasks)} would wait: ${reason}`)
  if (plan.version !== undefined)
    lines.push(`To carry out exactly this: the same command with --version ${plan.version} instead of --plan.`)
  return `${lines.join('\n')}\n`
}

function counted(tasks: number): string {
  return tasks === 1 ? '1 task' : `${tasks} tasks`
}

function valueText(value: unknown): string {
  return value === undefined ? '(not set)' : JSON.stringify(value)
}
