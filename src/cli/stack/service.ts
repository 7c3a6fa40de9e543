// From a service of a Compose file to the spec of a swarm service, with the names, labels and order that docker stack deploy gives them.
import type {
  ContainerSpec,
  HealthConfig,
  Labels,
  NetworkAttachmentConfig,
  PortConfig,
  ServiceMode,
  ServiceSpec,
  TaskSpec,
  UpdateConfig,
} from '../../client/index.ts'
import { NODE_NETWORKS, type Project, type Service } from '../../compose/index.ts'
import { familiarImage } from '../service/image.ts'
import { effectiveCapabilities } from '../service/values.ts'
import { serviceMounts } from './mounts.ts'
import { compare, configReferences, IMAGE_LABEL, scopedName, secretReferences, stackLabels, textRecord } from './objects.ts'

const NANO = 1e9
export const DEPENDS_ON_LABEL = 'shoal.depends-on.'

/** The spec with names where ids belong: networks, secrets and configs may not exist yet. */
export function serviceSpec(stack: string, project: Project, name: string, service: Service): ServiceSpec {
  const labels: Labels = { ...stackLabels(stack, service.deploy?.labels), [IMAGE_LABEL]: service.image ?? '' }
  for (const [dependency, { condition }] of service.depends_on ?? [])
    labels[`${DEPENDS_ON_LABEL}${dependency}`] = condition ?? 'service_started'
  const networks = attachments(stack, project, name, service)
  return {
    Name: `${stack}_${name}`,
    Labels: labels,
    TaskTemplate: taskTemplate(stack, project, name, service, networks),
    Mode: serviceMode(service),
    UpdateConfig: rollout(service.deploy?.update_config),
    RollbackConfig: rollout(service.deploy?.rollback_config),
    EndpointSpec: endpoint(service),
  }
}

function taskTemplate(stack: string, project: Project, name: string, service: Service, networks: NetworkAttachmentConfig[]): TaskSpec {
  const { placement } = service.deploy ?? {}
  const preferences = placement?.preferences?.map(({ spread }) => ({ Spread: { SpreadDescriptor: spread ?? '' } }))
  return {
    ContainerSpec: containerSpec(stack, project, name, service),
    Resources: resources(service),
    RestartPolicy: restartPolicy(service),
    Placement: {
      Constraints: placement?.constraints?.length ? [...placement.constraints] : undefined,
      Preferences: preferences?.length ? preferences : undefined,
      MaxReplicas: placement?.max_replicas_per_node || undefined,
      ...(service.platform ? { Platforms: [platform(service.platform)] } : {}),
    },
    Networks: networks,
    LogDriver: service.logging ? { Name: service.logging.driver, Options: optional(textRecord(service.logging.options)) } : undefined,
    ForceUpdate: 0,
  }
}

function containerSpec(stack: string, project: Project, name: string, service: Service): ContainerSpec {
  const dns = { Nameservers: copy(service.dns), Search: copy(service.dns_search), Options: copy(service.dns_opt) }
  const credential = service.credential_spec
  const noNewPrivileges = (service.security_opt ?? []).some((option) => option.startsWith('no-new-privileges'))
  return {
    Image: familiarImage(service.image ?? ''),
    Labels: stackLabels(stack, service.labels),
    Command: copy(service.entrypoint),
    Args: copy(service.command),
    Hostname: service.hostname || undefined,
    Env: environment(service),
    Dir: service.working_dir || undefined,
    User: service.user || undefined,
    Groups: copy(service.group_add),
    Privileges: {
      ...(credential
        ? { CredentialSpec: { Config: credential.config ?? '', File: credential.file ?? '', Registry: credential.registry ?? '' } }
        : {}),
      ...(noNewPrivileges ? { NoNewPrivileges: true } : {}),
    },
    Init: service.init,
    StopSignal: service.stop_signal || undefined,
    TTY: service.tty || undefined,
    OpenStdin: service.stdin_open || undefined,
    ReadOnly: service.read_only || undefined,
    Mounts: orNone(serviceMounts(stack, project, name, service)),
    StopGracePeriod: service.stop_grace_period,
    Healthcheck: healthcheck(service),
    Hosts: hosts(service),
    DNSConfig: dns.Nameservers || dns.Search || dns.Options ? dns : undefined,
    Secrets: orNone(secretReferences(stack, project, service.secrets)),
    Configs: orNone(configReferences(stack, project, service.configs)),
    Isolation: service.isolation || undefined,
    Sysctls: optional(textRecord(service.sysctls)),
    ...effectiveCapabilities(service.cap_add ?? [], service.cap_drop ?? []),
    Ulimits: orNone(
      [...(service.ulimits ?? [])]
        .map(([ulimit, { soft = 0, hard = 0 }]) => ({ Name: ulimit, Hard: hard, Soft: soft }))
        .sort((a, b) => compare(a.Name, b.Name)),
    ),
    OomScoreAdj: service.oom_score_adj || undefined,
  }
}

/** NAME=VALUE, sorted; a bare NAME takes the variable away that the image has. */
function environment(service: Service): string[] | undefined {
  const lines = [...(service.environment ?? [])].map(([name, value]) => (value === null ? name : `${name}=${value}`))
  return orNone(lines.sort(compare))
}

/** `IP HOST`, in the order of the file. */
function hosts(service: Service): string[] | undefined {
  return orNone(
    (service.extra_hosts ?? []).map((line) => {
      const equals = line.indexOf('=')
      return `${line.slice(equals + 1)} ${line.slice(0, equals)}`
    }),
  )
}

function healthcheck(service: Service): HealthConfig | undefined {
  const check = service.healthcheck
  if (!check) return undefined
  if (check.disable) return { Test: ['NONE'] }
  return {
    Test: copy(check.test),
    Interval: check.interval,
    Timeout: check.timeout,
    StartPeriod: check.start_period,
    StartInterval: check.start_interval,
    Retries: check.retries,
  }
}

function resources(service: Service): TaskSpec['Resources'] {
  const { limits, reservations } = service.deploy?.resources ?? {}
  const cpus = limits?.cpus ?? service.cpus
  const memory = limits?.memory ?? service.mem_limit
  const pids = limits?.pids ?? service.pids_limit
  const reservedMemory = reservations?.memory ?? service.mem_reservation
  const generic = reservations?.generic_resources?.flatMap(({ discrete_resource_spec: spec }) =>
    spec ? [{ DiscreteResourceSpec: { Kind: spec.kind ?? '', Value: spec.value ?? 0 } }] : [],
  )
  const isLimited = cpus !== undefined || memory !== undefined || pids !== undefined
  const isReserved = reservations?.cpus !== undefined || reservedMemory !== undefined || generic?.length
  return {
    ...(isLimited ? { Limits: { NanoCPUs: nano(cpus), MemoryBytes: memory || undefined, Pids: pids && pids > 0 ? pids : undefined } } : {}),
    ...(isReserved
      ? {
          Reservations: {
            NanoCPUs: nano(reservations?.cpus),
            MemoryBytes: reservedMemory || undefined,
            GenericResources: orNone(generic ?? []),
          },
        }
      : {}),
  }
}

function nano(cpus: number | undefined): number | undefined {
  return cpus ? Math.round(cpus * NANO) : undefined
}

/** `restart` in the words of `docker run`, where `deploy` says nothing. */
function restartPolicy(service: Service): TaskSpec['RestartPolicy'] {
  const policy = service.deploy?.restart_policy
  if (policy) {
    return {
      Condition: policy.condition === undefined ? undefined : (CONDITIONS[policy.condition] ?? policy.condition),
      Delay: policy.delay,
      MaxAttempts: policy.max_attempts,
      Window: policy.window,
    }
  }
  const [condition = '', attempts] = (service.restart ?? '').split(':', 2)
  if (condition === '') return undefined
  return { Condition: CONDITIONS[condition] ?? condition, ...(attempts ? { MaxAttempts: Number(attempts) } : {}) }
}

const CONDITIONS: Readonly<Record<string, string>> = { no: 'none', always: 'any', 'unless-stopped': 'any' }

function platform(text: string): { Architecture?: string; OS?: string } {
  const [os, architecture] = text.split('/')
  return { ...(architecture ? { Architecture: architecture } : {}), OS: os }
}

function serviceMode(service: Service): ServiceMode {
  const replicas = service.deploy?.replicas ?? service.scale
  const mode = service.deploy?.mode ?? 'replicated'
  if (mode === 'global') return { Global: {} }
  if (mode === 'global-job') return { GlobalJob: {} }
  if (mode === 'replicated-job') return { ReplicatedJob: { MaxConcurrent: replicas, TotalCompletions: replicas } }
  return { Replicated: { Replicas: replicas } }
}

function rollout(config: NonNullable<Service['deploy']>['update_config']): UpdateConfig | undefined {
  if (!config) return undefined
  return {
    Parallelism: config.parallelism ?? 1,
    Delay: config.delay,
    FailureAction: config.failure_action,
    Monitor: config.monitor,
    MaxFailureRatio: config.max_failure_ratio ?? 0,
    Order: config.order,
  }
}

function endpoint(service: Service): ServiceSpec['EndpointSpec'] {
  const ports = (service.ports ?? []).map(
    (port): PortConfig => ({
      ...(port.name ? { Name: port.name } : {}),
      Protocol: port.protocol ?? 'tcp',
      TargetPort: port.target,
      ...(port.published ? { PublishedPort: port.published } : {}),
      PublishMode: port.mode ?? 'ingress',
    }),
  )
  ports.sort((a, b) => (a.PublishedPort ?? 0) - (b.PublishedPort ?? 0))
  return { ...(service.deploy?.endpoint_mode ? { Mode: service.deploy.endpoint_mode } : {}), ...(ports.length > 0 ? { Ports: ports } : {}) }
}

/** The networks of a service by name, sorted; on each it has its own name as an alias. */
function attachments(stack: string, project: Project, name: string, service: Service): NetworkAttachmentConfig[] {
  if (service.network_mode) return [{ Target: service.network_mode }]
  const wanted = service.networks?.size ? [...service.networks] : [['default', undefined] as const]
  return wanted
    .map(([key, attachment]): NetworkAttachmentConfig => {
      const target = scopedName(stack, key, project.networks.get(key))
      const options = textRecord(attachment?.driver_opts)
      return {
        Target: target,
        ...(NODE_NETWORKS.has(target) ? {} : { Aliases: [...(attachment?.aliases ?? []), name] }),
        ...(Object.keys(options).length > 0 ? { DriverOpts: options } : {}),
      }
    })
    .sort((a, b) => compare(a.Target ?? '', b.Target ?? ''))
}

function copy<T>(items: readonly T[] | undefined): T[] | undefined {
  return items?.length ? [...items] : undefined
}

function orNone<T>(items: T[]): T[] | undefined {
  return items.length > 0 ? items : undefined
}

function optional(record: Record<string, string>): Record<string, string> | undefined {
  return Object.keys(record).length > 0 ? record : undefined
}
