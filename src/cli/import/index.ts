// `shoal import`: a running Docker Swarm, read through its API, as a stack file for Shoal; what cannot be read (secrets) is named.
import { stringify } from 'yaml'
import type { Config, ContainerSpec, Network, Secret, Service, ServiceSpec } from '../../client/index.ts'
import { type Command, NO_ARGS } from '../command.ts'

type Yaml = Record<string, unknown>
const NAMESPACE = 'com.docker.stack.namespace'
const NS = 1e9

export const importSwarm: Command = {
  name: 'import',
  usage: '[OPTIONS]',
  short: 'Write a running Docker Swarm as a stack file (shoal -H unix:///var/run/docker.sock import)',
  flags: [{ name: 'stack', kind: 'string', help: 'Only the services, networks and configs of this stack' }],
  args: NO_ARGS,
  async run({ io, client, flags }) {
    const stack = flags.string('stack')
    const belongs = (labels: Record<string, string> | undefined) => stack === undefined || labels?.[NAMESPACE] === stack
    const services = (await client.services({})).filter(({ Spec }) => belongs(Spec.Labels))
    const networks = (await client.networks({ scope: ['swarm'] })).filter(({ Ingress }) => !Ingress)
    const wanted = { networks: new Set<string>(), configs: new Set<string>(), secrets: new Set<string>(), volumes: new Map<string, Yaml>() }
    const file: Yaml = {
      services: Object.fromEntries(services.map((service) => [service.Spec.Name, serviceOf(service, networks, wanted)])),
    }
    const named = networks.filter(
      ({ Id, Name, Labels }) => wanted.networks.has(Id) || (stack !== undefined && belongs(Labels) && Name !== ''),
    )
    if (named.length > 0) file.networks = Object.fromEntries(named.map((network) => [network.Name, networkOf(network)]))
    const configs = (await client.configs()).filter(({ Spec }) => wanted.configs.has(Spec.Name))
    if (configs.length > 0) file.configs = Object.fromEntries(configs.map(configOf))
    const secrets = (await client.secrets()).filter(({ Spec }) => wanted.secrets.has(Spec.Name))
    if (secrets.length > 0) file.secrets = Object.fromEntries(secrets.map(secretOf))
    if (wanted.volumes.size > 0) file.volumes = Object.fromEntries(wanted.volumes)
    io.stdout.write(`# Made by "shoal import" from ${client.host}. Deploy it with: shoal stack deploy -c THIS_FILE NAME\n`)
    if (secrets.length > 0) {
      io.stdout.write(`# Secrets cannot be read from a swarm. Enter each again before the first deploy:\n`)
      for (const { Spec } of secrets) io.stdout.write(`#   shoal secret create ${Spec.Name} -\n`)
      io.stderr.write(`secrets to enter again: ${secrets.map(({ Spec }) => Spec.Name).join(', ')}\n`)
    }
    io.stdout.write(stringify(clean(file), { lineWidth: 0 }))
    return 0
  },
}

interface Wanted {
  readonly networks: Set<string>
  readonly configs: Set<string>
  readonly secrets: Set<string>
  readonly volumes: Map<string, Yaml>
}

function serviceOf({ Spec }: Service, networks: readonly Network[], wanted: Wanted): Yaml {
  const { TaskTemplate: task } = Spec
  const container = task.ContainerSpec ?? {}
  const attached = task.Networks ?? Spec.Networks ?? []
  return {
    image: container.Image?.replace(/@sha256:[0-9a-f]+$/, ''),
    entrypoint: container.Command,
    command: container.Args,
    hostname: container.Hostname,
    environment: container.Env,
    working_dir: container.Dir,
    user: container.User,
    group_add: container.Groups,
    tty: container.TTY || undefined,
    stdin_open: container.OpenStdin || undefined,
    read_only: container.ReadOnly || undefined,
    init: container.Init,
    stop_signal: container.StopSignal,
    stop_grace_period: seconds(container.StopGracePeriod),
    healthcheck: container.Healthcheck && {
      test: container.Healthcheck.Test,
      interval: seconds(container.Healthcheck.Interval),
      timeout: seconds(container.Healthcheck.Timeout),
      start_period: seconds(container.Healthcheck.StartPeriod),
      retries: container.Healthcheck.Retries,
    },
    extra_hosts: container.Hosts?.map((line) => line.split(/\s+/)).map(([address, host]) => `${host}:${address}`),
    dns: container.DNSConfig?.Nameservers,
    dns_search: container.DNSConfig?.Search,
    dns_opt: container.DNSConfig?.Options,
    sysctls: container.Sysctls,
    cap_add: container.CapabilityAdd,
    cap_drop: container.CapabilityDrop,
    ulimits: container.Ulimits && Object.fromEntries(container.Ulimits.map(({ Name, Soft, Hard }) => [Name, { soft: Soft, hard: Hard }])),
    labels: container.Labels,
    volumes: container.Mounts?.map((mount) => mountOf(mount, wanted)),
    logging: task.LogDriver && { driver: task.LogDriver.Name, options: task.LogDriver.Options },
    secrets: container.Secrets?.map(({ SecretName, File }) => {
      wanted.secrets.add(SecretName)
      return { source: SecretName, target: File?.Name, uid: File?.UID, gid: File?.GID, mode: File?.Mode }
    }),
    configs: container.Configs?.map(({ ConfigName, File }) => {
      wanted.configs.add(ConfigName)
      return { source: ConfigName, target: File?.Name, uid: File?.UID, gid: File?.GID, mode: File?.Mode }
    }),
    networks: networksOf(attached, networks, wanted),
    ports: Spec.EndpointSpec?.Ports?.map(({ TargetPort, PublishedPort, Protocol, PublishMode }) => ({
      target: TargetPort,
      published: PublishedPort,
      protocol: Protocol,
      mode: PublishMode,
    })),
    deploy: deployOf(Spec),
  }
}

type Mount = NonNullable<ContainerSpec['Mounts']>[number]

function mountOf({ Type, Source, Target, ReadOnly, BindOptions, VolumeOptions, TmpfsOptions }: Mount, wanted: Wanted): Yaml {
  if (Type === 'volume' && Source) {
    const driver = VolumeOptions?.DriverConfig
    wanted.volumes.set(Source, { name: Source, driver: driver?.Name, driver_opts: driver?.Options, labels: VolumeOptions?.Labels })
  }
  return {
    type: Type,
    source: Source,
    target: Target,
    read_only: ReadOnly || undefined,
    bind: BindOptions?.Propagation ? { propagation: BindOptions.Propagation } : undefined,
    volume: VolumeOptions?.NoCopy ? { nocopy: true } : undefined,
    tmpfs: TmpfsOptions?.SizeBytes ? { size: TmpfsOptions.SizeBytes } : undefined,
  }
}

function networksOf(attached: NonNullable<ServiceSpec['Networks']>, networks: readonly Network[], wanted: Wanted): Yaml | undefined {
  if (attached.length === 0) return undefined
  return Object.fromEntries(
    attached.map(({ Target = '', Aliases }) => {
      const network = networks.find(({ Id, Name }) => Id === Target || Name === Target)
      if (network) wanted.networks.add(network.Id)
      return [network?.Name ?? Target, Aliases && Aliases.length > 0 ? { aliases: Aliases } : {}]
    }),
  )
}

function deployOf({ Mode, UpdateConfig, RollbackConfig, TaskTemplate, EndpointSpec, Labels }: ServiceSpec): Yaml {
  const { Resources, RestartPolicy, Placement } = TaskTemplate
  const update = (config: ServiceSpec['UpdateConfig']) =>
    config && {
      parallelism: config.Parallelism,
      delay: seconds(config.Delay),
      failure_action: config.FailureAction,
      monitor: seconds(config.Monitor),
      max_failure_ratio: config.MaxFailureRatio,
      order: config.Order,
    }
  const mode = Mode?.Global ? 'global' : Mode?.ReplicatedJob ? 'replicated-job' : Mode?.GlobalJob ? 'global-job' : 'replicated'
  const { [NAMESPACE]: _stack, 'com.docker.stack.image': _image, ...labels } = Labels ?? {}
  return {
    mode,
    replicas: Mode?.Replicated?.Replicas ?? Mode?.ReplicatedJob?.TotalCompletions,
    endpoint_mode: EndpointSpec?.Mode,
    labels,
    update_config: update(UpdateConfig),
    rollback_config: update(RollbackConfig),
    restart_policy: RestartPolicy && {
      condition: RestartPolicy.Condition,
      delay: seconds(RestartPolicy.Delay),
      max_attempts: RestartPolicy.MaxAttempts || undefined,
      window: seconds(RestartPolicy.Window),
    },
    placement: {
      constraints: Placement?.Constraints,
      preferences: Placement?.Preferences?.map(({ Spread }) => ({ spread: Spread?.SpreadDescriptor })),
      max_replicas_per_node: Placement?.MaxReplicas || undefined,
    },
    resources: {
      limits: {
        cpus: cpus(Resources?.Limits?.NanoCPUs),
        memory: Resources?.Limits?.MemoryBytes || undefined,
        pids: Resources?.Limits?.Pids || undefined,
      },
      reservations: { cpus: cpus(Resources?.Reservations?.NanoCPUs), memory: Resources?.Reservations?.MemoryBytes || undefined },
    },
  }
}

function networkOf(network: Network): Yaml {
  const ipam = network.IPAM as { Config?: { Subnet?: string; Gateway?: string }[] } | undefined
  const options = { ...(network.Options as Record<string, string> | undefined) }
  delete options['com.docker.network.driver.overlay.vxlanid_list'] // given by the swarm
  return {
    name: network.Name,
    driver: network.Driver,
    attachable: network.Attachable || undefined,
    internal: network.Internal || undefined,
    driver_opts: options,
    ipam: { config: ipam?.Config?.map(({ Subnet, Gateway }) => ({ subnet: Subnet, gateway: Gateway })) },
    labels: withoutStack(network.Labels),
  }
}

function configOf({ Spec }: Config): [string, Yaml] {
  const content = Buffer.from(Spec.Data ?? '', 'base64').toString('utf8')
  return [
    Spec.Name,
    // dollars would be taken for variables
    {
      name: Spec.Name,
      content,
      template_driver: Spec.Templating?.Name,
      labels: withoutStack(Spec.Labels),
    },
  ]
}

function secretOf({ Spec }: Secret): [string, Yaml] {
  return [Spec.Name, { name: Spec.Name, external: true }]
}

function withoutStack(labels: Record<string, string> | undefined): Record<string, string> {
  const { [NAMESPACE]: _, ...rest } = labels ?? {}
  return rest
}

function seconds(nanoseconds: number | undefined): string | undefined {
  if (!nanoseconds) return undefined
  return nanoseconds % NS === 0 ? `${nanoseconds / NS}s` : `${Math.round(nanoseconds / 1e6)}ms`
}

function cpus(nano: number | undefined): string | undefined {
  return nano ? String(nano / NS) : undefined
}

/** Without what says nothing: undefined, empty lists, empty maps. Networks of a service may be empty maps: there they mean "with no options". */
function clean(value: unknown, key = ''): unknown {
  if (Array.isArray(value)) return value.length > 0 ? value.map((item) => clean(item)) : undefined
  // dollars would be taken for variables
  if (typeof value === 'string') return value === '' ? undefined : value.replaceAll('$', '$$$$')
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).flatMap(([name, item]) => {
    const cleaned = clean(item, name)
    return cleaned === undefined && key !== 'networks' ? [] : [[name, cleaned ?? {}] as const]
  })
  return entries.length > 0 ? Object.fromEntries(entries) : undefined
}
