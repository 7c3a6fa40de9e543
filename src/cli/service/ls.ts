// `service ls`: the services of the swarm.
import type { Service } from '../../client/index.ts'
import { type Command, NO_ARGS } from '../command.ts'
import { FILTER, filtersOf, LIST_FORMAT, QUIET_IDS } from '../flags/index.ts'
import { type ListLayout, naturalCompare, type Row, shortId, writeRows } from '../format/index.ts'
import { displayImage } from '../task/rows.ts'
import { portSummary } from './ports.ts'

export const SERVICE_LAYOUT: ListLayout = {
  headers: { ID: 'ID', Name: 'NAME', Mode: 'MODE', Replicas: 'REPLICAS', Image: 'IMAGE', Ports: 'PORTS' },
  table: '{{.ID}}\t{{.Name}}\t{{.Mode}}\t{{.Replicas}}\t{{.Image}}\t{{.Ports}}',
}

export const serviceLs: Command = {
  name: 'ls',
  aliases: ['list'],
  usage: '[OPTIONS]',
  short: 'List services',
  flags: [FILTER, LIST_FORMAT, QUIET_IDS],
  args: NO_ARGS,
  async run({ io, client, flags }) {
    const quiet = flags.bool('quiet') && !flags.has('format')
    const services = await client.services({ filters: filtersOf(flags), status: !quiet })
    services.sort((a, b) => naturalCompare(a.Spec.Name, b.Spec.Name))
    if (quiet) for (const service of services) io.stdout.write(`${shortId(service.ID)}\n`)
    else writeRows(io.stdout, SERVICE_LAYOUT, services.map(serviceRow), flags.string('format'))
    return 0
  },
}

export function serviceRow(service: Service): Row {
  return {
    ID: shortId(service.ID),
    Name: service.Spec.Name,
    Mode: modeName(service),
    Replicas: replicas(service),
    Image: displayImage(service.Spec.TaskTemplate.ContainerSpec?.Image ?? ''),
    Ports: portSummary(service.Endpoint?.Ports ?? []),
  }
}

function modeName({ Spec: { Mode } }: Service): string {
  if (Mode?.Global) return 'global'
  if (Mode?.ReplicatedJob) return 'replicated job'
  return Mode?.GlobalJob ? 'global job' : 'replicated'
}

/** `3/5`, with what a job has completed or the bound per node behind it. */
function replicas(service: Service): string {
  const { RunningTasks = 0, DesiredTasks = 0, CompletedTasks = 0 } = service.ServiceStatus ?? {}
  const counts = `${RunningTasks}/${DesiredTasks}`
  const { Mode, TaskTemplate } = service.Spec
  if (Mode?.ReplicatedJob) return `${counts} (${CompletedTasks}/${Mode.ReplicatedJob.TotalCompletions ?? 1} completed)`
  if (Mode?.GlobalJob) return `${counts} (${CompletedTasks}/${DesiredTasks + CompletedTasks} completed)`
  const maxPerNode = TaskTemplate.Placement?.MaxReplicas
  return maxPerNode && Mode?.Replicated ? `${counts} (max ${maxPerNode} per node)` : counts
}
