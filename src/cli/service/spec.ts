// `service create`: from flags to the spec of a new service.
import type { ApiClient, ContainerSpec, PortConfig, ServiceMode, ServiceSpec, TaskSpec } from '../../client/index.ts'
import { type Flags, keyValues, shellWords } from '../flags/index.ts'
import { ExitError, type Io } from '../io.ts'
import { familiarImage } from './image.ts'
import { healthCheck, restartPolicy, rolloutConfig } from './parts.ts'
import { resolveConfigs, resolveNetworks, resolveSecrets } from './references.ts'
import { effectiveCapabilities, genericResource, orUndefined } from './values.ts'

/** The spec that the flags and arguments (image, then the container's arguments) ask for; looks up what they name. */
export async function newServiceSpec(io: Io, client: ApiClient, flags: Flags, args: readonly string[]): Promise<ServiceSpec> {
  const mode = serviceMode(flags)
  const isJob = Boolean(mode.ReplicatedJob ?? mode.GlobalJob)
  const update = rolloutConfig(flags, 'update', undefined)
  const rollback = rolloutConfig(flags, 'rollback', undefined)
  if (isJob && (update ?? rollback)) throw new ExitError(1, 'update and rollback configuration is not supported for jobs')
  return {
    Name: flags.string('name') ?? '',
    Labels: keyValues(flags.list('label')),
    TaskTemplate: await taskTemplate(io, client, flags, args),
    Mode: mode,
    UpdateConfig: update,
    RollbackConfig: rollback,
    EndpointSpec: { Mode: flags.string('endpoint-mode') ?? 'vip', Ports: orUndefined(flags.values<PortConfig[]>('publish').flat()) },
  }
}

function serviceMode(flags: Flags): ServiceMode {
  const mode = flags.string('mode') ?? 'replicated'
  const replicas = flags.number('replicas')
  const isReplicated = mode === 'replicated' || mode === 'replicated-job'
  const isKnown = isReplicated || mode === 'global' || mode === 'global-job'
  if (!isKnown) throw new ExitError(1, `Unknown mode: ${mode}; give replicated, global, replicated-job or global-job`)
  if (!isReplicated && replicas !== undefined) throw new ExitError(1, 'replicas can only be used with replicated or replicated-job mode')
  if (!isReplicated && flags.number('replicas-max-per-node')) {
    throw new ExitError(1, 'replicas-max-per-node can only be used with replicated or replicated-job mode')
  }
  if (mode !== 'replicated-job' && flags.has('max-concurrent')) {
    throw new ExitError(1, 'max-concurrent can only be used with replicated-job mode')
  }
  if (mode === 'global') return { Global: {} }
  if (mode === 'global-job') return { GlobalJob: {} }
  if (mode === 'replicated') return { Replicated: { Replicas: replicas } }
  return { ReplicatedJob: { MaxConcurrent: flags.number('max-concurrent') ?? replicas, TotalCompletions: replicas } }
}

async function taskTemplate(io: Io, client: ApiClient, flags: Flags, args: readonly string[]): Promise<TaskSpec> {
  return {
    ContainerSpec: await containerSpec(io, client, flags, args),
    Resources: {
      Limits: {
        NanoCPUs: flags.number('limit-cpu') || undefined,
        MemoryBytes: flags.number('limit-memory') || undefined,
        Pids: flags.number('limit-pids') || undefined,
      },
      Reservations: {
        NanoCPUs: flags.number('reserve-cpu') || undefined,
        MemoryBytes: flags.number('reserve-memory') || undefined,
        GenericResources: orUndefined(flags.list('generic-resource').map(genericResource)),
      },
    },
    RestartPolicy: restartPolicy(flags, undefined),
    Placement: {
      Constraints: orUndefined(flags.list('constraint')),
      Preferences: orUndefined(flags.values<string>('placement-pref').map((descriptor) => ({ Spread: { SpreadDescriptor: descriptor } }))),
      MaxReplicas: flags.number('replicas-max-per-node') || undefined,
    },
    Networks: orUndefined(await resolveNetworks(client, flags.values('network'))),
    LogDriver: flags.has('log-driver')
      ? { Name: flags.string('log-driver'), Options: orUndefined(keyValues(flags.list('log-opt'))) }
      : undefined,
    ForceUpdate: 0,
  }
}

async function containerSpec(io: Io, client: ApiClient, flags: Flags, args: readonly string[]): Promise<ContainerSpec> {
  const [image = '', ...containerArgs] = args
  const entrypoint = flags.string('entrypoint')
  const credentials = flags.values<{ Config: string; File: string; Registry: string }>('credential-spec').at(-1)
  return {
    Image: familiarImage(image) || undefined,
    Labels: orUndefined(keyValues(flags.list('container-label'))),
    Command: entrypoint === undefined ? undefined : orUndefined(shellWords(entrypoint)),
    Args: orUndefined(containerArgs),
    Hostname: flags.string('hostname') || undefined,
    Env: orUndefined([...(await environmentFiles(io, flags.list('env-file'))), ...flags.list('env')]),
    Dir: flags.string('workdir') || undefined,
    User: flags.string('user') || undefined,
    Groups: orUndefined(flags.list('group')),
    Privileges: credentials ? { CredentialSpec: credentials } : undefined,
    Init: flags.bool('init'),
    StopSignal: flags.string('stop-signal') || undefined,
    TTY: flags.bool('tty') || undefined,
    ReadOnly: flags.bool('read-only') || undefined,
    Mounts: orUndefined(flags.values('mount')),
    StopGracePeriod: flags.number('stop-grace-period'),
    Healthcheck: healthCheck(flags, undefined),
    Hosts: orUndefined(flags.values<string>('host')),
    DNSConfig: {
      Nameservers: orUndefined(flags.values<string>('dns')),
      Search: orUndefined(flags.list('dns-search')),
      Options: orUndefined(flags.list('dns-option')),
    },
    Secrets: orUndefined(await resolveSecrets(client, flags.values('secret'))),
    Configs: orUndefined(await resolveConfigs(client, flags.values('config'))),
    Isolation: flags.string('isolation') || undefined,
    Sysctls: orUndefined(keyValues(flags.list('sysctl'))),
    ...effectiveCapabilities(flags.list('cap-add'), flags.list('cap-drop')),
    Ulimits: orUndefined(flags.values<{ Name: string; Hard: number; Soft: number }>('ulimit').sort((a, b) => (a.Name < b.Name ? -1 : 1))),
    OomScoreAdj: flags.number('oom-score-adj') || undefined,
  }
}

/** --env-file: NAME=VALUE lines; a bare NAME takes the value from this process, if it has one; # begins a comment line. */
async function environmentFiles(io: Io, paths: readonly string[]): Promise<string[]> {
  const lines: string[] = []
  for (const path of paths) {
    for (const line of Buffer.from(await io.readFile(path))
      .toString('utf8')
      .split(/\r?\n/)) {
      const text = line.trimStart()
      if (text === '' || text.startsWith('#')) continue
      const name = text.split('=', 1)[0] as string
      if (/\s/.test(name) || name === '') throw new ExitError(1, `invalid env file (${path}): variable '${name}' contains whitespaces`)
      if (text.includes('=')) lines.push(text)
      else if (io.env[name] !== undefined) lines.push(`${name}=${io.env[name]}`)
    }
  }
  return lines
}
