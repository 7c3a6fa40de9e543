// What a change of a service's spec means for its tasks: when they must be replaced, and how a spec goes back.
import type { Instant } from '../lib/index.ts'
import { restartPolicyOf } from './defaults.ts'
import type { Meta, Service, SpecRevision } from './objects.ts'
import type { NetworkAttachmentConfig, ServiceSpec } from './spec.ts'

/** The networks of a service's tasks: those of the task spec, else those in the old place. */
export function networksOf(spec: Pick<ServiceSpec, 'task' | 'networks'>): readonly NetworkAttachmentConfig[] {
  return spec.task.networks && spec.task.networks.length > 0 ? spec.task.networks : (spec.networks ?? [])
}

/**
 * Whether tasks of the old spec must be replaced for the new one, that is, whether `specVersion` grows (for jobs: the iteration). Labels, replicas, update
 * configurations and a name do not count. Neither does placement: tasks whose node still fits stay, the enforcer moves the others.
 */
export function specNeedsNewTasks(before: ServiceSpec, after: ServiceSpec): boolean {
  return canonical(whatTasksCarry(before)) !== canonical(whatTasksCarry(after))
}

function whatTasksCarry(spec: ServiceSpec): unknown {
  const { placement: _placement, networks: _networks, restart, container, ...task } = spec.task
  return {
    task,
    // With other credentials the same image is pulled: what runs has it already.
    container: container && { ...container, registryAuth: undefined },
    restart: restartPolicyOf(restart),
    networks: networksOf(spec),
    endpointMode: spec.endpoint?.mode ?? 'vip',
    ports: spec.endpoint?.ports ?? [],
  }
}

/** JSON with sorted keys in which absent, undefined and empty are the same. */
function canonical(value: unknown): string {
  return JSON.stringify(bare(value)) ?? ''
}

function bare(value: unknown): unknown {
  if (Array.isArray(value)) return value.length === 0 ? undefined : value.map((item) => bare(item) ?? null)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value)
    .map(([key, inner]) => [key, bare(inner)] as const)
    .filter(([, inner]) => inner !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
  return entries.length === 0 ? undefined : Object.fromEntries(entries)
}

/** The row that the tasks of the service's present spec version share. Control writes it together with the service; writing it again is harmless. */
export function specRevisionOf(service: Service | Omit<Service, keyof Meta>): Omit<SpecRevision, keyof Meta> {
  return {
    id: `${service.id}.${service.specVersion}`,
    serviceId: service.id,
    specVersion: service.specVersion,
    serviceName: service.spec.name,
    serviceLabels: service.spec.labels,
    task: { ...service.spec.task, networks: networksOf(service.spec) },
    endpoint: service.spec.endpoint,
  }
}

/**
 * The service with its previous spec and that spec's version again; undefined when there is none. A rollback asked for by a person keeps the spec it
 * leaves as the previous one (so a second rollback toggles); one that a failed update caused does not.
 */
export function rolledBack(service: Service, now: Instant, message: string, by: 'person' | 'failure'): Service | undefined {
  if (!service.previousSpec) return undefined
  const { previousSpec, previousSpecVersion, ...rest } = service
  return {
    ...rest,
    spec: previousSpec,
    specVersion: previousSpecVersion ?? service.specVersion,
    ...(by === 'person' ? { previousSpec: service.spec, previousSpecVersion: service.specVersion } : {}),
    updateStatus: { state: 'rollback_started', startedAt: now, message },
  }
}

export const MANUAL_ROLLBACK_MESSAGE = 'manually requested rollback'
