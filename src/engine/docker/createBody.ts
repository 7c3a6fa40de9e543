// A container plan as the body of POST /containers/create, field for field as swarm mode of Docker 20.10 makes it.
import type { ContainerPlan, MountPlan, PrivilegesPlan } from '../../ports/index.ts'

export interface CreateBodyOptions {
  readonly macPerNetwork: boolean
  /** The source of a bind mount as this node has it (the engine's socket is replaced by ours). */
  readonly rewriteMountSource: (source: string) => string
  /** Files that were placed for this container: bind mounts from memory-backed storage. */
  readonly files: readonly { readonly source: string; readonly target: string }[]
}

/** Older engines take one network at create; the others are connected before the start. */
export function createBody(plan: ContainerPlan, options: CreateBodyOptions): Record<string, unknown> {
  return { ...config(plan, options), HostConfig: hostConfig(plan, options), NetworkingConfig: networkingConfig(plan, options) }
}

function config(plan: ContainerPlan, options: CreateBodyOptions): Record<string, unknown> {
  const first = plan.networks[0]
  return {
    Image: plan.image,
    Labels: plan.labels,
    Hostname: plan.hostname,
    Env: plan.env,
    WorkingDir: plan.workingDir,
    User: plan.user,
    Tty: plan.tty,
    OpenStdin: plan.openStdin,
    StopSignal: plan.stopSignal,
    ...command(plan),
    Healthcheck: plan.healthcheck && {
      Test: plan.healthcheck.test,
      Interval: plan.healthcheck.intervalNs,
      Timeout: plan.healthcheck.timeoutNs,
      Retries: plan.healthcheck.retries,
      StartPeriod: plan.healthcheck.startPeriodNs,
      StartInterval: plan.healthcheck.startIntervalNs || undefined,
    },
    ExposedPorts: Object.fromEntries(plan.hostPorts.map((port) => [`${port.target}/${port.protocol}`, {}])),
    MacAddress: options.macPerNetwork ? undefined : first?.mac,
  }
}

/** A command replaces entrypoint and arguments; arguments alone go to the image's entrypoint. */
function command(plan: ContainerPlan): Record<string, unknown> {
  if (plan.command && plan.command.length > 0) return { Entrypoint: plan.command, Cmd: plan.args ?? [] }
  return plan.args && plan.args.length > 0 ? { Cmd: plan.args } : {}
}

function hostConfig(plan: ContainerPlan, options: CreateBodyOptions): Record<string, unknown> {
  const { limits } = plan
  return {
    NetworkMode: plan.networkMode ?? plan.networks[0]?.engineName,
    PortBindings: portBindings(plan),
    Mounts: [
      ...plan.mounts.map((mount) => mountOf(mount, options)),
      ...options.files.map(({ source, target }) => ({ Type: 'bind', Source: source, Target: target, ReadOnly: true })),
    ],
    GroupAdd: plan.groups,
    ReadonlyRootfs: plan.readOnlyRootfs,
    Isolation: plan.isolation,
    Init: plan.init,
    Sysctls: plan.sysctls,
    CapAdd: plan.capabilityAdd,
    CapDrop: plan.capabilityDrop,
    Ulimits: plan.ulimits.map(({ name, soft, hard }) => ({ Name: name, Soft: soft, Hard: hard })),
    OomScoreAdj: plan.oomScoreAdj,
    ExtraHosts: plan.extraHosts,
    Dns: plan.dns.nameservers,
    DnsSearch: plan.dns.search,
    DnsOptions: plan.dns.options,
    LogConfig: plan.logDriver && { Type: plan.logDriver.name, Config: plan.logDriver.options },
    NanoCpus: limits.nanoCpus || undefined,
    Memory: limits.memoryBytes || undefined,
    MemorySwap: swapOf(limits),
    MemorySwappiness: limits.memorySwappiness,
    PidsLimit: limits.pids || undefined,
    RestartPolicy: { Name: 'no' }, // the managers restart, not the engine
    ...privileges(plan.privileges),
  }
}

/** The engine counts memory and swap together; Swarm gives the swap alone, -1 = without limit. */
function swapOf({ memoryBytes, swapBytes }: ContainerPlan['limits']): number | undefined {
  if (swapBytes === undefined) return undefined
  return swapBytes < 0 ? -1 : memoryBytes + swapBytes
}

function portBindings(plan: ContainerPlan): Record<string, { HostPort: string }[]> {
  const bindings: Record<string, { HostPort: string }[]> = {}
  for (const { protocol, target, published } of plan.hostPorts) {
    const key = `${target}/${protocol}`
    bindings[key] ??= []
    bindings[key].push({ HostPort: published === 0 ? '' : String(published) })
  }
  return bindings
}

function mountOf(mount: MountPlan, options: CreateBodyOptions): Record<string, unknown> {
  const { bind, volume, tmpfs } = mount
  return {
    Type: mount.type,
    Source: (mount.type === 'bind' ? options.rewriteMountSource(mount.source) : mount.source) || undefined,
    Target: mount.target,
    ReadOnly: mount.readOnly,
    Consistency: mount.consistency,
    BindOptions: bind && {
      Propagation: bind.propagation,
      NonRecursive: bind.nonRecursive,
      CreateMountpoint: bind.createMountpoint,
      ReadOnlyNonRecursive: bind.readOnlyNonRecursive,
      ReadOnlyForceRecursive: bind.readOnlyForceRecursive,
    },
    VolumeOptions: volume && {
      NoCopy: volume.noCopy,
      Labels: volume.labels,
      DriverConfig: volume.driver && { Name: volume.driver.name, Options: volume.driver.options },
      Subpath: volume.subpath,
    },
    TmpfsOptions: tmpfs && { SizeBytes: tmpfs.sizeBytes, Mode: tmpfs.mode, Options: tmpfs.options },
  }
}

/** Security options in the engine's words. */
function privileges(plan: PrivilegesPlan | undefined): Record<string, unknown> {
  if (!plan) return {}
  const options: string[] = []
  const { credentialSpec, seLinux, seccomp, appArmor } = plan
  if (credentialSpec?.file) options.push(`credentialspec=file://${credentialSpec.file}`)
  if (credentialSpec?.registry) options.push(`credentialspec=registry://${credentialSpec.registry}`)
  if (credentialSpec?.config) options.push(`credentialspec=config://${credentialSpec.config}`)
  if (seLinux?.disable) options.push('label=disable')
  for (const key of ['user', 'role', 'type', 'level'] as const) if (seLinux?.[key]) options.push(`label=${key}:${seLinux[key]}`)
  if (seccomp?.mode === 'unconfined') options.push('seccomp=unconfined')
  if (seccomp?.mode === 'custom' && seccomp.profile) options.push(`seccomp=${seccomp.profile}`)
  if (appArmor?.mode === 'disabled') options.push('apparmor=unconfined')
  if (plan.noNewPrivileges) options.push('no-new-privileges=true')
  return { SecurityOpt: options }
}

function networkingConfig(plan: ContainerPlan, options: CreateBodyOptions): Record<string, unknown> {
  const atCreate = options.macPerNetwork ? plan.networks : plan.networks.slice(0, 1)
  return { EndpointsConfig: Object.fromEntries(atCreate.map((network) => [network.engineName, endpointConfig(network, options)])) }
}

export function endpointConfig(
  network: ContainerPlan['networks'][number],
  options: { readonly macPerNetwork: boolean },
): Record<string, unknown> {
  return {
    IPAMConfig: { IPv4Address: network.address },
    Aliases: network.aliases,
    MacAddress: options.macPerNetwork ? network.mac : undefined,
  }
}
