// One form for all specs that mean the same, so that deploying twice changes nothing, and the differences between two specs in words.
import type { ServiceMode, ServiceSpec } from '../../client/index.ts'

/** Where nothing is not the same as zero or false. */
const MEANINGFUL_ZEROS = new Set(['Init', 'StopGracePeriod', 'MaxAttempts', 'Window', 'Replicas', 'TotalCompletions', 'MaxConcurrent'])
/** Maps of the user's own: every entry counts, empty ones too. */
const USER_MAPS = new Set(['Labels', 'Options', 'DriverOpts', 'Sysctls'])
/** What the API puts in where nothing was said. */
const DEFAULTS: Readonly<Record<string, unknown>> = {
  Order: 'stop-first',
  Protocol: 'tcp',
  PublishMode: 'ingress',
  Runtime: 'container',
  Mode: 'vip',
}

type Json = unknown

/** A service spec without what says nothing and without what the API puts in by itself. */
export function canonicalSpec(spec: ServiceSpec): Json {
  return { ...(canonical({ ...spec, Mode: undefined }) as object), Mode: canonicalMode(spec.Mode) }
}

/** The same for any other object of the API. */
export function canonical(value: Json, key = ''): Json {
  if (Array.isArray(value))
    return value.length > 0 ? value.map((item) => (typeof item === 'object' ? (canonical(item) ?? {}) : item)) : undefined
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value)
      .map(
        ([name, each]) =>
          [
            name,
            USER_MAPS.has(key) ? String(each ?? '') : canonical(each, name === 'Delay' && key !== 'RestartPolicy' ? 'delay' : name),
          ] as const,
      )
      .filter(([, each]) => each !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1))
    return entries.length > 0 ? Object.fromEntries(entries) : undefined
  }
  if (value === null || value === undefined || value === '') return undefined
  if ((value === 0 || value === false) && !MEANINGFUL_ZEROS.has(key) && key !== 'Delay') return undefined
  return DEFAULTS[key] === value ? undefined : value
}

function canonicalMode(mode: ServiceMode | undefined): Json {
  if (mode?.Global) return 'global'
  if (mode?.GlobalJob) return 'global-job'
  if (mode?.ReplicatedJob) {
    const concurrent = mode.ReplicatedJob.MaxConcurrent ?? 1
    return { Kind: 'replicated-job', MaxConcurrent: concurrent, TotalCompletions: mode.ReplicatedJob.TotalCompletions ?? concurrent }
  }
  return { Replicas: mode?.Replicated?.Replicas ?? 1 }
}

export interface Difference {
  /** Such as `TaskTemplate.ContainerSpec.Image`. */
  readonly path: string
  readonly before: Json
  readonly after: Json
}

/** Where two canonical values differ, by path. */
export function differences(before: Json, after: Json, path = ''): Difference[] {
  if (JSON.stringify(before) === JSON.stringify(after)) return []
  if (isMap(before) && isMap(after)) {
    const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort()
    return keys.flatMap((key) => differences(before[key], after[key], path ? `${path}.${key}` : key))
  }
  return [{ path, before, after }]
}

function isMap(value: Json): value is Record<string, Json> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** `Image: "nginx:1" -> "nginx:2"`. */
export function differenceText({ path, before, after }: Difference): string {
  return `${path}: ${before === undefined ? '(none)' : JSON.stringify(before)} -> ${after === undefined ? '(none)' : JSON.stringify(after)}`
}
