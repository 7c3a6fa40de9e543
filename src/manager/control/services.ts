// Create, update, roll back and remove services.
import { type Instant, newId, type ServiceId, ShoalError } from '../../lib/index.ts'
import { planChange, type ServicePlan } from '../../loops/index.ts'
import {
  MANUAL_ROLLBACK_MESSAGE,
  rolledBack,
  type Service,
  type ServiceSpec,
  specNeedsNewTasks,
  specRevisionOf,
  validateServiceSpec,
} from '../../model/index.ts'
import type { Fresh, WriteTx } from '../../store/index.ts'
import { type ControlDeps, find, precondition, requireVersion } from './context.ts'
import { checkPorts } from './ports.ts'
import { checkReferences, resolveNetworks } from './references.ts'
import type { Control, CreateServiceOptions, UpdateServiceOptions } from './types.ts'

type ServiceControl = Pick<Control, 'service' | 'createService' | 'updateService' | 'planService' | 'removeService'>

export function serviceControl({ store, random }: ControlDeps): ServiceControl {
  return {
    service: (text) => find('service', store.view().services, text),
    createService(spec, options = {}) {
      return store.transact((tx) => create(tx, newId<ServiceId>(random), spec, options))
    },
    updateService(text, version, spec, options = {}) {
      return store.transact((tx) => {
        const service = find('service', tx.services, text)
        requireVersion(service, version)
        if (options.rollback === 'previous') return rollBack(tx, service)
        if (spec === undefined) throw new ShoalError('invalid-argument', 'a service spec must be provided')
        return update(tx, service, spec, options)
      })
    },
    async planService(spec, text) {
      try {
        await store.transact((tx) => {
          const before = text === undefined ? undefined : find('service', tx.services, text)
          const after = before ? update(tx, before, spec, {}) : create(tx, newId<ServiceId>(random), spec, {})
          throw new Planned(planChange(tx, before, after, tx.now))
        })
      } catch (error) {
        if (error instanceof Planned) return error.plan
        throw error
      }
      throw new ShoalError('internal', 'a plan always ends before it is carried out')
    },
    removeService(text) {
      return store.transact((tx) => {
        const { id } = find('service', tx.services, text)
        // Its tasks are the removal loop's; their revisions stay as long as they do.
        tx.services.delete(id)
        tx.rollouts.delete(id)
        return id
      })
    },
  }
}

/** Undoes the transaction in which the change was tried out, and carries what it would do. */
class Planned extends Error {
  readonly plan: ServicePlan

  constructor(plan: ServicePlan) {
    super('planned')
    this.plan = plan
  }
}

function create(tx: WriteTx, id: ServiceId, given: ServiceSpec, { registryAuth }: CreateServiceOptions): Service {
  const spec = accept(tx, withRegistryAuth(given, registryAuth), undefined)
  if (tx.services.byName(spec.name)) {
    throw new ShoalError('already-exists', `name conflicts with an existing object: service ${spec.name} already exists`)
  }
  const service: Fresh<Service> = {
    id,
    spec,
    specVersion: 1,
    ...(isJob(spec) && { job: { iteration: 0, lastExecution: tx.now } }),
  }
  const created = tx.services.create(service)
  tx.specRevisions.create(specRevisionOf(created))
  return created
}

function update(tx: WriteTx, service: Service, given: ServiceSpec, options: UpdateServiceOptions): Service {
  if (given.name !== service.spec.name) throw new ShoalError('unimplemented', 'renaming services is not supported')
  if (given.mode.kind !== service.spec.mode.kind) throw new ShoalError('unimplemented', 'service mode change is not allowed')
  const spec = accept(tx, withRegistryAuth(given, options.registryAuth ?? storedAuth(service, options)), service.id)
  return replaceSpec(tx, service, spec)
}

/** The previous spec becomes the present one and the other way round, so a second rollback undoes the first. Tasks that still carry it are kept. */
function rollBack(tx: WriteTx, service: Service): Service {
  const back = rolledBack(service, tx.now, MANUAL_ROLLBACK_MESSAGE, 'person')
  if (!back) throw precondition(`service ${service.id} does not have a previous spec`)
  const spec = accept(tx, back.spec, service.id)
  if (!service.job) return save(tx, { ...back, spec })
  // A job runs anew with each iteration, so an old revision is never taken up again.
  const { updateStatus: _, ...job } = { ...back, spec, specVersion: nextSpecVersion(tx, service), job: nextIteration(service.job, tx.now) }
  return save(tx, job)
}

function replaceSpec(tx: WriteTx, service: Service, spec: ServiceSpec): Service {
  const { updateStatus: _, ...kept } = service
  const next = { ...kept, spec, previousSpec: service.spec, previousSpecVersion: service.specVersion }
  if (!specNeedsNewTasks(service.spec, spec)) return save(tx, next)
  const specVersion = nextSpecVersion(tx, service)
  if (service.job) return save(tx, { ...next, specVersion, job: nextIteration(service.job, tx.now) })
  return save(tx, { ...next, specVersion, updateStatus: { state: 'updating', startedAt: tx.now, message: 'update in progress' } })
}

/** Replaces the tasks of a service as `service update --force` does. A job has run with what it had. */
export function restartTasks(tx: WriteTx, service: Service): void {
  if (service.job) return
  const { spec } = service
  replaceSpec(tx, service, { ...spec, task: { ...spec.task, forceUpdate: spec.task.forceUpdate + 1 } })
}

function nextIteration({ iteration }: NonNullable<Service['job']>, now: Instant): NonNullable<Service['job']> {
  return { iteration: iteration + 1, lastExecution: now }
}

/** Never a number that a revision still has, so that no task is taken for one of another spec. */
function nextSpecVersion(tx: WriteTx, service: Service): number {
  let highest = Math.max(service.specVersion, service.previousSpecVersion ?? 0)
  for (const revision of tx.specRevisions.byService(service.id)) highest = Math.max(highest, revision.specVersion)
  return highest + 1
}

/** The service and the revision that its tasks carry. Parts that replace no task (placement, labels) follow the service on the same revision. */
function save(tx: WriteTx, service: Service): Service {
  const updated = tx.services.update(service)
  const revision = tx.specRevisions.of(service.id, service.specVersion)
  if (revision) tx.specRevisions.update({ ...revision, ...specRevisionOf(updated) })
  else tx.specRevisions.create(specRevisionOf(updated))
  return updated
}

/** The spec as it is stored: valid, networks by id, everything it names present, its ports free. */
function accept(tx: WriteTx, given: ServiceSpec, self: ServiceId | undefined): ServiceSpec {
  validateServiceSpec(given)
  const spec = resolveNetworks(tx, given)
  checkReferences(tx, spec)
  checkPorts(tx, spec, self)
  return spec
}

function storedAuth(service: Service, { registryAuthFrom = 'spec' }: UpdateServiceOptions): string | undefined {
  if (registryAuthFrom === 'spec') return service.spec.task.container?.registryAuth
  if (!service.previousSpec) throw precondition(`service ${service.id} does not have a previous spec`)
  return service.previousSpec.task.container?.registryAuth
}

function withRegistryAuth(spec: ServiceSpec, registryAuth: string | undefined): ServiceSpec {
  const { container } = spec.task
  if (!container || registryAuth === undefined || registryAuth === '') return spec
  return { ...spec, task: { ...spec.task, container: { ...container, registryAuth } } }
}

function isJob(spec: ServiceSpec): boolean {
  return spec.mode.kind === 'replicated-job' || spec.mode.kind === 'global-job'
}
