// Services as the API shows them, with Swarm's defaults put in when asked.
import { rfc3339 } from '../../lib/index.ts'
import {
  DEFAULT_RESTART,
  DEFAULT_STOP_GRACE_NS,
  type Service,
  type ServiceSpec,
  type UpdateStatus,
  updateConfigOf,
} from '../../model/index.ts'
import { metaOf } from './node.ts'
import { endpointSpec, portConfig, serviceSpec } from './spec.ts'

export interface ServiceStatus {
  readonly runningTasks: number
  readonly desiredTasks: number
  readonly completedTasks: number
}

/** `withDefaults` is the query insertDefaults=true. */
export function printService(service: Service, withDefaults: boolean): Record<string, unknown> {
  const { endpoint } = service
  return {
    ID: service.id,
    ...metaOf(service),
    Spec: serviceSpec.print(withDefaults ? insertDefaults(service.spec) : service.spec),
    ...(service.previousSpec && { PreviousSpec: serviceSpec.print(service.previousSpec) }),
    Endpoint: {
      Spec: endpoint ? endpointSpec.print({ mode: 'vip', ...endpoint.spec }) : {},
      ...(endpoint && endpoint.ports.length > 0 && { Ports: endpoint.ports.map((port) => portConfig.print(port)) }),
      ...(endpoint &&
        endpoint.vips.length > 0 && { VirtualIPs: endpoint.vips.map((vip) => ({ NetworkID: vip.networkId, Addr: vip.address })) }),
    },
    ...(service.updateStatus && { UpdateStatus: printUpdateStatus(service.updateStatus) }),
    ...(service.job && {
      JobStatus: { JobIteration: { Index: service.job.iteration }, LastExecution: rfc3339(service.job.lastExecution) },
    }),
  }
}

export function printServiceStatus(status: ServiceStatus): Record<string, unknown> {
  return { RunningTasks: status.runningTasks, DesiredTasks: status.desiredTasks, CompletedTasks: status.completedTasks }
}

function printUpdateStatus(status: UpdateStatus): Record<string, unknown> {
  return {
    State: status.state,
    ...(status.startedAt !== undefined && { StartedAt: rfc3339(status.startedAt) }),
    ...(status.completedAt !== undefined && { CompletedAt: rfc3339(status.completedAt) }),
    ...(status.message && { Message: status.message }),
  }
}

function insertDefaults(spec: ServiceSpec): ServiceSpec {
  const isJob = spec.mode.kind === 'replicated-job' || spec.mode.kind === 'global-job'
  const { container, restart } = spec.task
  const task = {
    ...spec.task,
    ...(container && { container: { stopGracePeriodNs: DEFAULT_STOP_GRACE_NS, dns: {}, ...container } }),
    resources: { limits: {}, reservations: {}, ...spec.task.resources },
    restart: {
      condition: isJob ? ('on-failure' as const) : DEFAULT_RESTART.condition,
      delayNs: DEFAULT_RESTART.delayNs,
      maxAttempts: DEFAULT_RESTART.maxAttempts,
      ...restart,
    },
    placement: spec.task.placement ?? {},
  }
  if (isJob) return { ...spec, task, endpoint: { mode: 'vip', ...spec.endpoint } }
  return {
    ...spec,
    task,
    update: updateConfigOf(spec.update),
    rollback: updateConfigOf(spec.rollback),
    endpoint: { mode: 'vip', ...spec.endpoint },
  }
}
