// A service for people, in the layout of `docker service inspect --pretty`, blanks and tabs included.
import type { ContainerSpec, HealthConfig, PortConfig, Service, ServiceSpec, TaskSpec, UpdateConfig } from '../../client/index.ts'
import { ago, bytesSize, goDuration, humanDuration } from '../format/index.ts'
import { displayImage } from '../task/rows.ts'

/** `networkNames` are the names of the networks of the spec, in its order. */
export function prettyService(service: Service, networkNames: readonly string[], nowMs: number): string {
  const { Spec: spec } = service
  const template = spec.TaskTemplate
  const container = template.ContainerSpec ?? {}
  const lines = [
    '',
    `ID:\t\t${service.ID}`,
    `Name:\t\t${spec.Name}`,
    ...section(
      'Labels:',
      sortedEntries(spec.Labels).map(([key, value]) => ` ${key}${value ? `=${value}` : ''}`),
    ),
    ...modeLines(spec),
    ...updateStatusLines(service, nowMs),
    'Placement:',
    ...placementLines(template),
    ...rolloutLines('UpdateConfig:', 'Update order:     ', spec.UpdateConfig),
    ...rolloutLines('RollbackConfig:', 'Rollback order:   ', spec.RollbackConfig),
    'ContainerSpec:',
    ...containerLines(container),
    ...section(
      'Configs:',
      (container.Configs ?? []).flatMap(({ File, ConfigName }) => [` Target:\t${File?.Name ?? ''}`, `  Source:\t${ConfigName}`]),
    ),
    ...section(
      'Secrets:',
      (container.Secrets ?? []).flatMap(({ File, SecretName }) => [` Target:\t${File?.Name ?? ''}`, `  Source:\t${SecretName}`]),
    ),
    ...logDriverLines(template),
    'Resources:',
    ...resourceLines(template),
    ...(networkNames.length > 0 ? [`Networks: ${networkNames.join(' ')} `] : []),
    `Endpoint Mode:\t${service.Endpoint?.Spec?.Mode ?? spec.EndpointSpec?.Mode ?? ''}`,
    ...portLines(service.Endpoint?.Ports ?? []),
    ...healthLines(container.Healthcheck),
  ]
  return `${lines.join('\n')}\n\n`
}

function section(title: string, lines: readonly string[]): string[] {
  return lines.length > 0 ? [title, ...lines] : []
}

function sortedEntries(map: Readonly<Record<string, string>> = {}): [string, string][] {
  return Object.entries(map).sort(([a], [b]) => (a < b ? -1 : 1))
}

function modeLines({ Mode }: ServiceSpec): string[] {
  if (Mode?.Replicated) {
    const replicas = Mode.Replicated.Replicas
    return ['Service Mode:\tReplicated', ...(replicas === undefined ? [] : [` Replicas:\t${replicas}`])]
  }
  if (Mode?.Global) return ['Service Mode:\tGlobal']
  if (Mode?.ReplicatedJob) {
    const { MaxConcurrent = 1, TotalCompletions = MaxConcurrent } = Mode.ReplicatedJob
    return ['Service Mode:\tReplicated Job', ` Max Concurrent:\t${MaxConcurrent}`, ` Total Completions:\t${TotalCompletions}`]
  }
  return ['Service Mode:\tGlobal Job']
}

function updateStatusLines({ UpdateStatus: status }: Service, nowMs: number): string[] {
  if (!status?.State) return []
  const lines = ['UpdateStatus:', ` State:\t\t${status.State}`]
  if (status.StartedAt) lines.push(` Started:\t${ago(status.StartedAt, nowMs)}`)
  if (status.State === 'completed' && status.CompletedAt) {
    lines.push(` Completed:\t${humanDuration(nowMs - Date.parse(status.CompletedAt))} ago`)
  }
  return [...lines, ` Message:\t${status.Message ?? ''}`]
}

function placementLines({ Placement: placement = {} }: TaskSpec): string[] {
  const lines: string[] = []
  if (placement.Constraints?.length) lines.push(` Constraints:\t[${placement.Constraints.join(' ')}]`)
  const preferences = (placement.Preferences ?? []).flatMap(({ Spread }) => (Spread ? [`spread=${Spread.SpreadDescriptor}`] : []))
  if (preferences.length > 0) lines.push(` Preferences:   [${preferences.join(' ')}]`)
  if (placement.MaxReplicas) lines.push(` Max Replicas Per Node:   ${placement.MaxReplicas}`)
  return lines
}

function rolloutLines(title: string, orderTitle: string, config: UpdateConfig | undefined): string[] {
  if (!config) return []
  const lines = [title, ` Parallelism:\t${config.Parallelism}`]
  if (config.Delay) lines.push(` Delay:\t\t${goDuration(config.Delay)}`)
  lines.push(` On failure:\t${config.FailureAction ?? ''}`)
  if (config.Monitor) lines.push(` Monitoring Period: ${goDuration(config.Monitor)}`)
  return [...lines, ` Max failure ratio: ${config.MaxFailureRatio ?? 0}`, ` ${orderTitle} ${config.Order ?? ''}`]
}

function containerLines(container: ContainerSpec): string[] {
  const lines = [` Image:\t\t${displayImage(container.Image ?? '', false)}`]
  if (container.Command?.length) lines.push(` Command:\t${container.Command.join(' ')} `)
  if (container.Args?.length) lines.push(` Args:\t\t${container.Args.join(' ')} `)
  if (container.Env?.length) lines.push(` Env:\t\t${container.Env.join(' ')} `)
  if (container.Dir) lines.push(` Dir:\t\t${container.Dir}`)
  if (container.Init !== undefined) lines.push(` Init:\t\t${container.Init}`)
  if (container.User) lines.push(` User: ${container.User}`)
  if (container.CapabilityAdd?.length || container.CapabilityDrop?.length) {
    lines.push('Capabilities:')
    if (container.CapabilityAdd?.length) lines.push(` Add: ${container.CapabilityAdd.join(', ')}`)
    if (container.CapabilityDrop?.length) lines.push(` Drop: ${container.CapabilityDrop.join(', ')}`)
  }
  lines.push(
    ...section(
      'SysCtls:',
      sortedEntries(container.Sysctls).map(([key, value]) => ` ${key}: ${value}`),
    ),
  )
  lines.push(
    ...section(
      'Ulimits:',
      (container.Ulimits ?? []).map(({ Name, Soft, Hard }) => ` ${Name}: ${Soft}:${Hard}`),
    ),
  )
  const mounts = (container.Mounts ?? []).flatMap((mount) => [
    ` Target:\t${mount.Target ?? ''}`,
    `  Source:\t${mount.Source ?? ''}`,
    `  ReadOnly:\t${mount.ReadOnly === true}`,
    `  Type:\t\t${mount.Type ?? ''}`,
  ])
  return [...lines, ...section('Mounts:', mounts)]
}

function logDriverLines({ LogDriver: driver }: TaskSpec): string[] {
  if (!driver?.Name) return []
  const options = sortedEntries(driver.Options).map(([key, value]) => `  ${`${key}:`.padEnd(16)} ${value}`)
  return ['Log Driver:', ` Name:\t\t${driver.Name}`, ...(options.length > 0 ? [' LogOpts:', ...options, ''] : [])]
}

function resourceLines({ Resources: resources }: TaskSpec): string[] {
  const lines: string[] = []
  const { NanoCPUs: reservedCpus, MemoryBytes: reservedMemory } = resources?.Reservations ?? {}
  if (reservedCpus || reservedMemory) {
    lines.push(' Reservations:')
    if (reservedCpus) lines.push(`  CPU:\t\t${reservedCpus / 1e9}`)
    if (reservedMemory) lines.push(`  Memory:\t${bytesSize(reservedMemory)}`)
  }
  const { NanoCPUs: cpus, MemoryBytes: memory, Pids: pids } = resources?.Limits ?? {}
  if (cpus || memory || pids) {
    lines.push(' Limits:')
    if (cpus) lines.push(`  CPU:\t\t${cpus / 1e9}`)
    if (memory) lines.push(`  Memory:\t${bytesSize(memory)}`)
    if (pids) lines.push(`  PIDs:\t\t${pids}`)
  }
  return lines
}

function portLines(ports: readonly PortConfig[]): string[] {
  if (ports.length === 0) return []
  const lines = ports.flatMap((port) => [
    ` PublishedPort = ${port.PublishedPort ?? 0}`,
    `  Protocol = ${port.Protocol ?? 'tcp'}`,
    `  TargetPort = ${port.TargetPort ?? 0}`,
    `  PublishMode = ${port.PublishMode ?? 'ingress'}`,
  ])
  // docker leaves a blank behind the last one; scripts compare.
  return ['Ports:', ...lines.slice(0, -1), `${lines.at(-1)} `]
}

function healthLines(check: HealthConfig | undefined): string[] {
  if (!check) return []
  const lines = [' Healthcheck:']
  if (check.Interval) lines.push(`  Interval = ${goDuration(check.Interval)}`)
  if (check.Retries) lines.push(`  Retries = ${check.Retries}`)
  if (check.StartPeriod) lines.push(`  StartPeriod =\t${goDuration(check.StartPeriod)}`)
  if (check.Timeout) lines.push(`  Timeout =\t${goDuration(check.Timeout)}`)
  if (check.Test?.length) {
    const tests = check.Test.map((test) => `\t Test = ${test}`)
    lines.push('  Tests:', ...tests.slice(0, -1), `${tests.at(-1)} `)
  }
  return lines
}
