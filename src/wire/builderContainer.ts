// ContainerSpec of the domain to the wire and back.
import { create } from '@bufbuild/protobuf'
import type { ConfigId, SecretId } from '../lib/index.ts'
import { ShoalError } from '../lib/index.ts'
import type { ConfigReference, ContainerSpec, Healthcheck, Mount, Privileges, SecretReference } from '../model/index.ts'
import {
  ConfigReferenceSchema,
  ContainerSpec_Isolation,
  ContainerSpecSchema,
  type HealthConfig,
  HealthConfigSchema,
  Mount_BindOptions_Propagation,
  Mount_Consistency,
  Mount_Type,
  MountSchema,
  Privileges_AppArmorOpts_AppArmorMode,
  Privileges_SeccompOpts_SeccompMode,
  PrivilegesSchema,
  SecretReferenceSchema,
  type ConfigReference as WireConfigReference,
  type ContainerSpec as WireContainerSpec,
  type FileTarget as WireFileTarget,
  type Mount as WireMount,
  type Privileges as WirePrivileges,
  type SecretReference as WireSecretReference,
} from '../proto/index.ts'
import {
  base64,
  bytesOf,
  compact,
  duration,
  durationNs,
  enumTable,
  fromInt64,
  given,
  int32,
  int64,
  labels,
  list,
  mustSend,
  text,
} from './values.ts'

const isolations = enumTable('isolation', {
  default: ContainerSpec_Isolation.DEFAULT,
  process: ContainerSpec_Isolation.PROCESS,
  hyperv: ContainerSpec_Isolation.HYPERV,
})
/** `image` mounts have no number in SwarmKit: own agents only. */
const IMAGE_MOUNT = 10_000
const mountTypes = enumTable('mount type', {
  bind: Mount_Type.BIND,
  volume: Mount_Type.VOLUME,
  tmpfs: Mount_Type.TMPFS,
  npipe: Mount_Type.NPIPE,
  cluster: Mount_Type.CLUSTER,
  image: IMAGE_MOUNT,
})
const consistencies = enumTable('mount consistency', {
  default: Mount_Consistency.DEFAULT,
  consistent: Mount_Consistency.CONSISTENT,
  cached: Mount_Consistency.CACHED,
  delegated: Mount_Consistency.DELEGATED,
})
const propagations = enumTable('bind propagation', {
  rprivate: Mount_BindOptions_Propagation.RPRIVATE,
  private: Mount_BindOptions_Propagation.PRIVATE,
  rshared: Mount_BindOptions_Propagation.RSHARED,
  shared: Mount_BindOptions_Propagation.SHARED,
  rslave: Mount_BindOptions_Propagation.RSLAVE,
  slave: Mount_BindOptions_Propagation.SLAVE,
})
const seccompModes = enumTable('seccomp mode', {
  default: Privileges_SeccompOpts_SeccompMode.DEFAULT,
  unconfined: Privileges_SeccompOpts_SeccompMode.UNCONFINED,
  custom: Privileges_SeccompOpts_SeccompMode.CUSTOM,
})
const appArmorModes = enumTable('AppArmor mode', {
  default: Privileges_AppArmorOpts_AppArmorMode.DEFAULT,
  disabled: Privileges_AppArmorOpts_AppArmorMode.DISABLED,
})

/** `pids` is the process limit, which the domain keeps with the resources. Throws 'invalid-argument' for what the wire cannot say. */
export function buildContainer(spec: ContainerSpec, pids: number | undefined, ownAgent: boolean): WireContainerSpec {
  mustSend(spec.image !== '', 'a container without an image')
  return create(ContainerSpecSchema, {
    image: spec.image,
    labels: spec.labels,
    command: mutable(spec.command),
    args: mutable(spec.args),
    hostname: spec.hostname,
    env: mutable(spec.env),
    dir: spec.dir,
    user: spec.user,
    groups: mutable(spec.groups),
    privileges: spec.privileges && buildPrivileges(spec.privileges),
    init: spec.init,
    tty: spec.tty,
    openStdin: spec.openStdin,
    readOnly: spec.readOnly,
    stopSignal: spec.stopSignal,
    mounts: spec.mounts?.map((mount) => buildMount(mount, ownAgent)),
    stopGracePeriod: optional(spec.stopGracePeriodNs, (ns) => duration(ns, 'the stop grace period')),
    pullOptions: spec.registryAuth === undefined ? undefined : { registryAuth: spec.registryAuth },
    secrets: spec.secrets?.map(buildSecretReference),
    configs: spec.configs?.map(buildConfigReference),
    hosts: mutable(spec.hosts),
    dnsConfig: spec.dns && {
      nameservers: mutable(spec.dns.nameservers),
      search: mutable(spec.dns.search),
      options: mutable(spec.dns.options),
    },
    healthcheck: spec.healthcheck && buildHealthcheck(spec.healthcheck),
    isolation: spec.isolation === undefined ? ContainerSpec_Isolation.DEFAULT : isolations.toWire(spec.isolation as 'default'),
    pidsLimit: pids === undefined ? undefined : int64(pids, 'the process limit'),
    sysctls: spec.sysctls,
    capabilityAdd: mutable(spec.capabilityAdd),
    capabilityDrop: mutable(spec.capabilityDrop),
    ulimits: spec.ulimits?.map(({ name, soft, hard }) => ({ name, soft: int64(soft, 'a ulimit'), hard: int64(hard, 'a ulimit') })),
    oomScoreAdj: spec.oomScoreAdj === undefined ? undefined : int64(spec.oomScoreAdj, 'oom-score-adj'),
  })
}

/** The process limit is not in the answer: see `pidsOf`. */
export function parseContainer(spec: WireContainerSpec): ContainerSpec {
  return compact<ContainerSpec>({
    image: spec.image,
    labels: labels(spec.labels),
    command: list(spec.command),
    args: list(spec.args),
    hostname: text(spec.hostname),
    env: list(spec.env),
    dir: text(spec.dir),
    user: text(spec.user),
    groups: list(spec.groups),
    privileges: spec.privileges && parsePrivileges(spec.privileges),
    init: spec.init,
    tty: given(spec.tty),
    openStdin: given(spec.openStdin),
    readOnly: given(spec.readOnly),
    mounts: list(spec.mounts.map(parseMount)),
    stopSignal: text(spec.stopSignal),
    stopGracePeriodNs: durationNs(spec.stopGracePeriod),
    healthcheck: spec.healthcheck && parseHealthcheck(spec.healthcheck),
    hosts: list(spec.hosts),
    dns:
      spec.dnsConfig &&
      compact({
        nameservers: list(spec.dnsConfig.nameservers),
        search: list(spec.dnsConfig.search),
        options: list(spec.dnsConfig.options),
      }),
    secrets: list(spec.secrets.map(parseSecretReference)),
    configs: list(spec.configs.map(parseConfigReference)),
    isolation: spec.isolation === ContainerSpec_Isolation.DEFAULT ? undefined : isolations.fromWire(spec.isolation),
    sysctls: labels(spec.sysctls),
    capabilityAdd: list(spec.capabilityAdd),
    capabilityDrop: list(spec.capabilityDrop),
    ulimits: list(spec.ulimits.map(({ name, soft, hard }) => ({ name, soft: fromInt64(soft), hard: fromInt64(hard) }))),
    oomScoreAdj: given(fromInt64(spec.oomScoreAdj)),
    registryAuth: spec.pullOptions && text(spec.pullOptions.registryAuth),
  })
}

export function pidsOf(spec: WireContainerSpec): number | undefined {
  return given(fromInt64(spec.pidsLimit))
}

function buildMount(mount: Mount, ownAgent: boolean): WireMount {
  if (mount.type === 'image' && !ownAgent)
    throw new ShoalError('invalid-argument', 'mounts of type image run only on nodes with our own agent')
  return create(MountSchema, {
    type: mountTypes.toWire(mount.type),
    source: mount.source,
    target: mount.target,
    readonly: mount.readOnly,
    consistency: mount.consistency === undefined ? undefined : consistencies.toWire(mount.consistency as 'default'),
    bindOptions: mount.bind && {
      propagation: mount.bind.propagation === undefined ? undefined : propagations.toWire(mount.bind.propagation as 'rprivate'),
      nonrecursive: mount.bind.nonRecursive,
      createmountpoint: mount.bind.createMountpoint,
      readonlynonrecursive: mount.bind.readOnlyNonRecursive,
      readonlyforcerecursive: mount.bind.readOnlyForceRecursive,
    },
    volumeOptions: mount.volume && {
      nocopy: mount.volume.noCopy,
      labels: mount.volume.labels,
      driverConfig: mount.volume.driver && { name: mount.volume.driver.name, options: mount.volume.driver.options },
      subpath: mount.volume.subpath,
    },
    tmpfsOptions: mount.tmpfs && {
      sizeBytes: optional(mount.tmpfs.sizeBytes, (bytes) => int64(bytes, 'the size of a tmpfs')),
      mode: optional(mount.tmpfs.mode, (mode) => int32(mode, 'the mode of a tmpfs')),
      // The wire has one string for a list of lists; JSON in it, as newer engines do.
      options: mount.tmpfs.options === undefined ? undefined : JSON.stringify(mount.tmpfs.options),
    },
  })
}

function parseMount(mount: WireMount): Mount {
  const { bindOptions: bind, volumeOptions: volume, tmpfsOptions: tmpfs } = mount
  return compact<Mount>({
    type: mountTypes.fromWire(mount.type),
    source: text(mount.source),
    target: mount.target,
    readOnly: given(mount.readonly),
    consistency: mount.consistency === Mount_Consistency.DEFAULT ? undefined : consistencies.fromWire(mount.consistency),
    bind:
      bind &&
      compact({
        propagation: bind.propagation === Mount_BindOptions_Propagation.RPRIVATE ? undefined : propagations.fromWire(bind.propagation),
        nonRecursive: given(bind.nonrecursive),
        createMountpoint: given(bind.createmountpoint),
        readOnlyNonRecursive: given(bind.readonlynonrecursive),
        readOnlyForceRecursive: given(bind.readonlyforcerecursive),
      }),
    volume:
      volume &&
      compact({
        noCopy: given(volume.nocopy),
        labels: labels(volume.labels),
        driver: volume.driverConfig && compact({ name: volume.driverConfig.name, options: labels(volume.driverConfig.options) }),
        subpath: text(volume.subpath),
      }),
    tmpfs:
      tmpfs &&
      compact({
        sizeBytes: given(fromInt64(tmpfs.sizeBytes)),
        mode: given(tmpfs.mode),
        options: tmpfs.options === '' ? undefined : parseTmpfsOptions(tmpfs.options),
      }),
  })
}

function parseTmpfsOptions(options: string): readonly (readonly string[])[] {
  try {
    const parsed: unknown = JSON.parse(options)
    if (Array.isArray(parsed) && parsed.every((option) => Array.isArray(option) && option.every((part) => typeof part === 'string')))
      return parsed
  } catch {
    // not JSON: the comma-separated form below
  }
  return options.split(',').map((option) => option.split('='))
}

function buildHealthcheck(check: Healthcheck): HealthConfig {
  return create(HealthConfigSchema, {
    test: mutable(check.test),
    interval: optional(check.intervalNs, (ns) => duration(ns, 'the health interval')),
    timeout: optional(check.timeoutNs, (ns) => duration(ns, 'the health timeout')),
    retries: optional(check.retries, (retries) => int32(retries, 'health retries')),
    startPeriod: optional(check.startPeriodNs, (ns) => duration(ns, 'the health start period')),
    startInterval: optional(check.startIntervalNs, (ns) => duration(ns, 'the health start interval')),
  })
}

function parseHealthcheck(check: HealthConfig): Healthcheck {
  return compact({
    test: list(check.test),
    intervalNs: durationNs(check.interval),
    timeoutNs: durationNs(check.timeout),
    retries: given(check.retries),
    startPeriodNs: durationNs(check.startPeriod),
    startIntervalNs: durationNs(check.startInterval),
  })
}

function buildPrivileges(privileges: Privileges): WirePrivileges {
  const { credentialSpec: credential, seLinux, seccomp, appArmor } = privileges
  return create(PrivilegesSchema, {
    credentialSpec: credential && {
      source:
        credential.config !== undefined
          ? { case: 'config', value: credential.config }
          : credential.file !== undefined
            ? { case: 'file', value: credential.file }
            : credential.registry !== undefined
              ? { case: 'registry', value: credential.registry }
              : undefined,
    },
    selinuxContext: seLinux && { ...seLinux },
    seccomp: seccomp && {
      mode: seccompModes.toWire(seccomp.mode),
      profile: seccomp.profile === undefined ? undefined : bytesOf(seccomp.profile),
    },
    apparmor: appArmor && { mode: appArmorModes.toWire(appArmor.mode) },
    noNewPrivileges: privileges.noNewPrivileges,
  })
}

function parsePrivileges(privileges: WirePrivileges): Privileges {
  const { credentialSpec: credential, selinuxContext: seLinux, seccomp, apparmor } = privileges
  return compact<Privileges>({
    credentialSpec: credential && (credential.source.case === undefined ? {} : { [credential.source.case]: credential.source.value }),
    seLinux:
      seLinux &&
      compact({
        disable: given(seLinux.disable),
        user: text(seLinux.user),
        role: text(seLinux.role),
        type: text(seLinux.type),
        level: text(seLinux.level),
      }),
    seccomp: seccomp && compact({ mode: seccompModes.fromWire(seccomp.mode), profile: text(base64(seccomp.profile)) }),
    appArmor: apparmor && { mode: appArmorModes.fromWire(apparmor.mode) },
    noNewPrivileges: given(privileges.noNewPrivileges),
  })
}

/** An engine reads the file target of a reference unchecked: it is always there. */
function buildSecretReference(reference: SecretReference): WireSecretReference {
  mustSend(reference.file, `secret ${reference.secretName} without a file to put it in`)
  return create(SecretReferenceSchema, {
    secretId: reference.secretId,
    secretName: reference.secretName,
    target: { case: 'file', value: { ...reference.file } },
  })
}

function parseSecretReference(reference: WireSecretReference): SecretReference {
  return compact<SecretReference>({
    secretId: reference.secretId as SecretId,
    secretName: reference.secretName,
    file: reference.target.case === 'file' ? parseFileTarget(reference.target.value) : undefined,
  })
}

function buildConfigReference(reference: ConfigReference): WireConfigReference {
  mustSend(reference.runtime || reference.file, `config ${reference.configName} without a file to put it in`)
  return create(ConfigReferenceSchema, {
    configId: reference.configId,
    configName: reference.configName,
    target: reference.runtime ? { case: 'runtime', value: {} } : { case: 'file', value: { ...reference.file! } },
  })
}

function parseConfigReference(reference: WireConfigReference): ConfigReference {
  return compact<ConfigReference>({
    configId: reference.configId as ConfigId,
    configName: reference.configName,
    file: reference.target.case === 'file' ? parseFileTarget(reference.target.value) : undefined,
    runtime: reference.target.case === 'runtime' ? true : undefined,
  })
}

function parseFileTarget({ name, uid, gid, mode }: WireFileTarget) {
  return { name, uid, gid, mode }
}

function mutable<T>(values: readonly T[] | undefined): T[] | undefined {
  return values as T[] | undefined // protobuf's types ask for mutable arrays; nobody writes to them
}

function optional<T, R>(value: T | undefined, convert: (value: T) => R): R | undefined {
  return value === undefined ? undefined : convert(value)
}
