// Fields that a client of an older API version cannot mean: they are dropped, as dockerd does it (docker-api.md 1.3, read).
import type { ContainerSpec, Mount, ServiceSpec } from '../../model/index.ts'

export interface ApiVersion {
  readonly major: number
  readonly minor: number
}

export function isBefore(version: ApiVersion, minor: number): boolean {
  return version.major < 1 || (version.major === 1 && version.minor < minor)
}

/** The spec as a client of this version can have meant it. */
export function gateServiceSpec(spec: ServiceSpec, version: ApiVersion): ServiceSpec {
  const { container, placement, resources } = spec.task
  const task = { ...spec.task }
  if (container) task.container = gateContainer(container, version)
  if (placement && isBefore(version, 40)) task.placement = without(placement, 'maxReplicas')
  if (resources?.limits && isBefore(version, 41)) task.resources = { ...resources, limits: without(resources.limits, 'pids') }
  if (resources && isBefore(version, 52)) task.resources = without(task.resources ?? resources, 'swapBytes', 'memorySwappiness')
  const isJob = spec.mode.kind === 'replicated-job' || spec.mode.kind === 'global-job'
  return { ...spec, task, mode: isJob && isBefore(version, 41) ? { kind: 'replicated', replicas: 1 } : spec.mode }
}

function gateContainer(container: ContainerSpec, version: ApiVersion): ContainerSpec {
  let gated = container
  if (isBefore(version, 40)) {
    gated = without(gated, 'sysctls')
    if (gated.privileges?.credentialSpec) {
      gated = { ...gated, privileges: { ...gated.privileges, credentialSpec: without(gated.privileges.credentialSpec, 'config') } }
    }
    if (gated.configs) gated = { ...gated, configs: gated.configs.map((config) => without(config, 'runtime')) }
  }
  if (isBefore(version, 41)) gated = without(gated, 'capabilityAdd', 'capabilityDrop', 'ulimits')
  if (isBefore(version, 44)) {
    if (gated.privileges) gated = { ...gated, privileges: without(gated.privileges, 'seccomp', 'appArmor', 'noNewPrivileges') }
    if (gated.healthcheck) gated = { ...gated, healthcheck: without(gated.healthcheck, 'startIntervalNs') }
  }
  if (isBefore(version, 46)) {
    gated = without(gated, 'oomScoreAdj')
    if (gated.mounts) gated = { ...gated, mounts: gated.mounts.map(gateMount) }
  }
  return gated
}

function gateMount(mount: Mount): Mount {
  return mount.tmpfs ? { ...mount, tmpfs: without(mount.tmpfs, 'options') } : mount
}

function without<T extends object, K extends keyof T>(value: T, ...keys: K[]): Omit<T, K> & T {
  const copy = { ...value }
  for (const key of keys) delete copy[key]
  return copy
}
