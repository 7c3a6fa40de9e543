// `service update`: from flags to the changed spec of an existing service.
import type { ApiClient, ContainerSpec, PortConfig, SecretReference, ServiceSpec, TaskSpec } from '../../client/index.ts'
import { type Flags, keyValue, shellWords } from '../flags/index.ts'
import { ExitError } from '../io.ts'
import { familiarImage } from './image.ts'
import { healthCheck, restartPolicy, rolloutConfig } from './parts.ts'
import { networkId, resolveConfigs, resolveNetworks, resolveSecrets } from './references.ts'
import { genericResource, orUndefined, resourceKind, updatedCapabilities } from './values.ts'

/** The spec after the flags; what no flag names stays as it is. Looks up the secrets, configs and networks that flags name. */
export async function changedServiceSpec(client: ApiClient, flags: Flags, before: ServiceSpec): Promise<ServiceSpec> {
  const template = before.TaskTemplate
  const ports = changedPorts(flags, before.EndpointSpec?.Ports ?? [])
  return {
    ...before,
    Labels: changedMap(flags, 'label', before.Labels ?? {}),
    TaskTemplate: await changedTemplate(client, flags, template),
    Mode: changedMode(flags, before),
    UpdateConfig: rolloutConfig(flags, 'update', before.UpdateConfig),
    RollbackConfig: rolloutConfig(flags, 'rollback', before.RollbackConfig),
    EndpointSpec: { ...before.EndpointSpec, Mode: flags.string('endpoint-mode') ?? before.EndpointSpec?.Mode, Ports: orUndefined(ports) },
  }
}

function changedMode(flags: Flags, before: ServiceSpec): ServiceSpec['Mode'] {
  const mode = before.Mode
  const replicas = flags.number('replicas')
  const maxConcurrent = flags.number('max-concurrent')
  if (maxConcurrent !== undefined && !mode?.ReplicatedJob)
    throw new ExitError(1, 'max-concurrent can only be used with replicated-job mode')
  if (replicas === undefined && maxConcurrent === undefined) return mode
  if (mode?.ReplicatedJob) {
    return {
      ReplicatedJob: {
        MaxConcurrent: maxConcurrent ?? mode.ReplicatedJob.MaxConcurrent,
        TotalCompletions: replicas ?? mode.ReplicatedJob.TotalCompletions,
      },
    }
  }
  if (!mode?.Replicated) throw new ExitError(1, 'replicas can only be used with replicated mode')
  return { Replicated: { Replicas: replicas } }
}

async function changedTemplate(client: ApiClient, flags: Flags, before: TaskSpec): Promise<TaskSpec> {
  const placement = before.Placement ?? {}
  const limits = before.Resources?.Limits ?? {}
  const reservations = before.Resources?.Reservations ?? {}
  return {
    ...before,
    ContainerSpec: await changedContainer(client, flags, before.ContainerSpec ?? {}),
    Resources: {
      ...before.Resources,
      Limits: {
        ...limits,
        NanoCPUs: changedNumber(flags, 'limit-cpu', limits.NanoCPUs),
        MemoryBytes: changedNumber(flags, 'limit-memory', limits.MemoryBytes),
        Pids: changedNumber(flags, 'limit-pids', limits.Pids),
      },
      Reservations: {
        ...reservations,
        NanoCPUs: changedNumber(flags, 'reserve-cpu', reservations.NanoCPUs),
        MemoryBytes: changedNumber(flags, 'reserve-memory', reservations.MemoryBytes),
        GenericResources: changedResources(flags, reservations.GenericResources),
      },
    },
    RestartPolicy: restartPolicy(flags, before.RestartPolicy),
    Placement: {
      ...placement,
      Constraints: orUndefined(changedList(flags, 'constraint', placement.Constraints)),
      Preferences: changedPreferences(flags, placement.Preferences),
      MaxReplicas: changedNumber(flags, 'replicas-max-per-node', placement.MaxReplicas),
    },
    Networks: await changedNetworks(client, flags, before.Networks ?? []),
    LogDriver: flags.has('log-driver')
      ? { Name: flags.string('log-driver'), Options: orUndefined(Object.fromEntries(flags.list('log-opt').map(keyValue))) }
      : before.LogDriver,
    ForceUpdate: (before.ForceUpdate ?? 0) + (flags.bool('force') ? 1 : 0),
  }
}

async function changedContainer(client: ApiClient, flags: Flags, before: ContainerSpec): Promise<ContainerSpec> {
  const entrypoint = flags.string('entrypoint')
  const args = flags.string('args')
  const image = flags.string('image')
  const dns = before.DNSConfig
  const dnsTouched = ['dns', 'dns-search', 'dns-option'].some((name) => flags.has(`${name}-add`) || flags.has(`${name}-rm`))
  const capabilities =
    flags.has('cap-add') || flags.has('cap-drop')
      ? updatedCapabilities(before, flags.list('cap-add'), flags.list('cap-drop'))
      : { CapabilityAdd: before.CapabilityAdd, CapabilityDrop: before.CapabilityDrop }
  return {
    ...before,
    Image: image === undefined ? before.Image : familiarImage(image),
    Labels: orUndefined(changedMap(flags, 'container-label', before.Labels ?? {})),
    Command: entrypoint === undefined ? before.Command : orUndefined(shellWords(entrypoint)),
    Args: args === undefined ? before.Args : orUndefined(shellWords(args)),
    Hostname: (flags.string('hostname') ?? before.Hostname) || undefined,
    Env: orUndefined(changedEnvironment(flags, before.Env ?? [])),
    Dir: (flags.string('workdir') ?? before.Dir) || undefined,
    User: (flags.string('user') ?? before.User) || undefined,
    Groups: orUndefined(changedList(flags, 'group', before.Groups)),
    Privileges: flags.has('credential-spec')
      ? { ...before.Privileges, CredentialSpec: flags.values<{ Config: string; File: string; Registry: string }>('credential-spec').at(-1) }
      : before.Privileges,
    Init: flags.has('init') ? flags.bool('init') : before.Init,
    StopSignal: (flags.string('stop-signal') ?? before.StopSignal) || undefined,
    TTY: (flags.has('tty') ? flags.bool('tty') : before.TTY) || undefined,
    ReadOnly: (flags.has('read-only') ? flags.bool('read-only') : before.ReadOnly) || undefined,
    Mounts: changedMounts(flags, before.Mounts),
    StopGracePeriod: flags.number('stop-grace-period') ?? before.StopGracePeriod,
    Healthcheck: healthCheck(flags, before.Healthcheck),
    Hosts: changedHosts(flags, before.Hosts),
    DNSConfig: dnsTouched
      ? {
          Nameservers: orUndefined(changedList(flags, 'dns', dns?.Nameservers)),
          Search: orUndefined(changedList(flags, 'dns-search', dns?.Search)),
          Options: orUndefined(changedList(flags, 'dns-option', dns?.Options)),
        }
      : dns,
    Secrets: await changedSecrets(client, flags, before.Secrets ?? []),
    Configs: await changedConfigs(client, flags, before.Configs ?? []),
    Isolation: flags.string('isolation') ?? before.Isolation,
    Sysctls: orUndefined(changedMap(flags, 'sysctl', before.Sysctls ?? {})),
    ...capabilities,
    Ulimits: changedUlimits(flags, before.Ulimits),
    OomScoreAdj: changedNumber(flags, 'oom-score-adj', before.OomScoreAdj),
  }
}

/** A number where 0 means none. */
function changedNumber(flags: Flags, name: string, before: number | undefined): number | undefined {
  return (flags.number(name) ?? before) || undefined
}

/** NAME-rm removes keys, NAME-add sets `key=value`. */
function changedMap(flags: Flags, name: string, before: Readonly<Record<string, string>>): Record<string, string> {
  const after = { ...before }
  for (const key of flags.list(`${name}-rm`)) delete after[key]
  for (const [key, value] of flags.list(`${name}-add`).map(keyValue)) after[key] = value
  return after
}

/** A list without order: NAME-rm removes, NAME-add adds what is not there; sorted as soon as it is touched. */
function changedList(flags: Flags, name: string, before: readonly string[] = []): string[] {
  if (!flags.has(`${name}-add`) && !flags.has(`${name}-rm`)) return [...before]
  const removed = new Set(flags.list(`${name}-rm`))
  const kept = before.filter((item) => !removed.has(item))
  return [...new Set([...kept, ...flags.list(`${name}-add`)])].sort()
}

function changedEnvironment(flags: Flags, before: readonly string[]): string[] {
  const nameOf = (line: string) => line.split('=', 1)[0] as string
  const removed = new Set(flags.list('env-rm'))
  const after = before.filter((line) => !removed.has(nameOf(line)))
  for (const line of flags.list('env-add')) {
    const index = after.findIndex((known) => nameOf(known) === nameOf(line))
    if (index < 0) after.push(line)
    else after[index] = line
  }
  return after
}

function changedMounts(flags: Flags, before: ContainerSpec['Mounts']): ContainerSpec['Mounts'] {
  const added = flags.values<NonNullable<ContainerSpec['Mounts']>[number]>('mount-add')
  const gone = new Set([...flags.list('mount-rm'), ...added.map((mount) => mount.Target)])
  return orUndefined([...(before ?? []).filter((mount) => !gone.has(mount.Target)), ...added])
}

function changedUlimits(flags: Flags, before: ContainerSpec['Ulimits']): ContainerSpec['Ulimits'] {
  if (!flags.has('ulimit-add') && !flags.has('ulimit-rm')) return before
  const added = flags.values<NonNullable<ContainerSpec['Ulimits']>[number]>('ulimit-add')
  const gone = new Set([...flags.list('ulimit-rm'), ...added.map(({ Name }) => Name)])
  return orUndefined([...(before ?? []).filter(({ Name }) => !gone.has(Name)), ...added].sort((a, b) => (a.Name < b.Name ? -1 : 1)))
}

/** --host-rm takes HOST or HOST:IP; entries read `IP HOST`. */
function changedHosts(flags: Flags, before: readonly string[] = []): string[] | undefined {
  const isRemoved = (line: string) => {
    const [address, ...names] = line.split(/\s+/)
    return flags.list('host-rm').some((text) => {
      const colon = text.indexOf(':')
      return names.includes(colon < 0 ? text : text.slice(0, colon)) && (colon < 0 || text.slice(colon + 1) === address)
    })
  }
  return orUndefined([...new Set([...before.filter((line) => !isRemoved(line)), ...flags.values<string>('host-add')])])
}

function changedPreferences(flags: Flags, before: NonNullable<TaskSpec['Placement']>['Preferences'] = []): typeof before | undefined {
  const removed = new Set(flags.values<string>('placement-pref-rm'))
  const kept = before.filter(({ Spread }) => !Spread || !removed.has(Spread.SpreadDescriptor))
  const added = flags.values<string>('placement-pref-add').map((descriptor) => ({ Spread: { SpreadDescriptor: descriptor } }))
  return orUndefined([...kept, ...added])
}

function changedResources(
  flags: Flags,
  before: NonNullable<NonNullable<TaskSpec['Resources']>['Reservations']>['GenericResources'] = [],
): typeof before | undefined {
  const kinds = new Set(before.map(resourceKind))
  for (const kind of flags.list('generic-resource-rm')) {
    if (!kinds.has(kind)) throw new ExitError(1, `could not find generic-resource \`${kind}\` to remove it`)
  }
  const added = flags.list('generic-resource-add').map(genericResource)
  const gone = new Set([...flags.list('generic-resource-rm'), ...added.map(resourceKind)])
  return orUndefined([...before.filter((resource) => !gone.has(resourceKind(resource))), ...added])
}

function changedPorts(flags: Flags, before: readonly PortConfig[]): PortConfig[] {
  const removals = flags.values<(port: PortConfig) => boolean>('publish-rm')
  const added = flags.values<PortConfig[]>('publish-add').flat()
  const same = (a: PortConfig, b: PortConfig) =>
    a.PublishedPort === b.PublishedPort && a.TargetPort === b.TargetPort && a.Protocol === b.Protocol && a.PublishMode === b.PublishMode
  const kept = before.filter((port) => !removals.some((matches) => matches(port)))
  return [...kept, ...added.filter((port) => !kept.some((known) => same(known, port)))]
}

async function changedNetworks(client: ApiClient, flags: Flags, before: TaskSpec['Networks'] = []): Promise<TaskSpec['Networks']> {
  const removed = new Set<string>()
  for (const name of flags.list('network-rm')) removed.add(await networkId(client, name))
  const requests = flags.values<{ Target?: string }>('network-add')
  const added = await resolveNetworks(client, requests)
  const kept = before.filter(({ Target }) => !removed.has(Target ?? ''))
  for (const [i, { Target }] of added.entries()) {
    if (kept.some((known) => known.Target === Target))
      throw new ExitError(1, `service is already attached to network ${requests[i]?.Target}`)
  }
  return orUndefined([...kept, ...added])
}

async function changedSecrets(client: ApiClient, flags: Flags, before: readonly SecretReference[]): Promise<SecretReference[] | undefined> {
  const removed = new Set(flags.list('secret-rm'))
  const added = await resolveSecrets(client, flags.values('secret-add'))
  return orUndefined([...before.filter(({ SecretName }) => !removed.has(SecretName)), ...added])
}

async function changedConfigs(
  client: ApiClient,
  flags: Flags,
  before: NonNullable<ContainerSpec['Configs']>,
): Promise<ContainerSpec['Configs']> {
  const removed = new Set(flags.list('config-rm'))
  const added = await resolveConfigs(client, flags.values('config-add'))
  return orUndefined([...before.filter(({ ConfigName }) => !removed.has(ConfigName)), ...added])
}
