// Service specs and container behaviours for what a workload names.
import { type NetworkId, SECOND_NS } from '../lib/index.ts'
import type { NetworkSpec, ServiceMode, ServiceSpec, UpdateConfig } from '../model/index.ts'
import type { FakeBehaviour } from '../ports/fakes/index.ts'
import type { ContainerPlan } from '../ports/index.ts'
import type { ImageKind, ServiceShape } from './workload.ts'

export function specOf(name: string, shape: ServiceShape, networkId?: NetworkId): ServiceSpec {
  const job = shape.mode === 'job'
  const update: UpdateConfig = {
    parallelism: shape.parallelism,
    delayNs: shape.delaySeconds * SECOND_NS,
    monitorNs: shape.monitorSeconds * SECOND_NS,
    failureAction: shape.failureAction,
    maxFailureRatio: 0,
    order: shape.order,
  }
  return {
    name,
    labels: {},
    mode: modeOf(shape),
    ...(job ? {} : { update, rollback: { ...update, failureAction: shape.failureAction === 'rollback' ? 'pause' : shape.failureAction } }),
    task: {
      container: {
        image: shape.image,
        stopGracePeriodNs: shape.stopGraceSeconds * SECOND_NS,
        ...(shape.healthcheck ? { healthcheck: { test: ['CMD', 'true'], intervalNs: 2 * SECOND_NS, retries: 2 } } : {}),
      },
      restart: { condition: job ? 'on-failure' : 'any', delayNs: shape.restartDelaySeconds * SECOND_NS },
      placement: shape.zone === undefined ? {} : { constraints: [`node.labels.zone==${shape.zone}`] },
      resources: { reservations: { memoryBytes: 8 << 20 } },
      ...(networkId === undefined ? {} : { networks: [{ target: networkId }] }),
      forceUpdate: 0,
    },
    ...(shape.published === undefined
      ? {}
      : {
          endpoint: { mode: 'vip', ports: [{ protocol: 'tcp', targetPort: 80, publishedPort: shape.published, publishMode: 'ingress' }] },
        }),
  }
}

function modeOf({ mode, replicas, parallelism }: ServiceShape): ServiceMode {
  switch (mode) {
    case 'global':
      return { kind: 'global' }
    case 'job':
      return { kind: 'replicated-job', totalCompletions: replicas, maxConcurrent: parallelism }
    case 'replicated':
      return { kind: 'replicated', replicas }
  }
}

/** An overlay network as `docker network create -d overlay` asks for it. */
export function networkSpecOf(name: string): NetworkSpec {
  return {
    name,
    labels: {},
    driver: 'overlay',
    driverOptions: {},
    ipv6: false,
    internal: false,
    attachable: false,
    ingress: false,
    ipamDriver: 'default',
    ipamOptions: {},
    ipam: [],
  }
}

export function isGood(image: string): boolean {
  return image.startsWith('ok:') || image.startsWith('slow:') || image.startsWith('done:')
}

/** How containers of an image behave. Numbers vary with the task's name, so that two runs of a seed agree whatever order things come in. */
export function behaviourOf(plan: ContainerPlan): FakeBehaviour {
  const kind = plan.image.slice(0, plan.image.indexOf(':')) as ImageKind
  const vary = spread(plan.name)
  const stopMs = vary < 0.8 ? 20 + vary * 500 : vary * 40_000 // some ignore their stop signal until they are killed
  const startMs = 50 + vary * 400
  const checked = plan.healthcheck !== undefined
  switch (kind) {
    case 'slow':
      return { startMs: 500 + vary * 3_000, stopMs, ...(checked ? { health: { afterMs: 1_000 + vary * 10_000, outcome: 'healthy' } } : {}) }
    case 'crash':
      return { startMs, stopMs, exitAfterMs: 100 + vary * 12_000, exitCode: vary < 0.3 ? 0 : 1 }
    case 'done':
      return { startMs, stopMs, exitAfterMs: 500 + vary * 8_000, exitCode: vary < 0.7 ? 0 : 1 }
    case 'sick':
      return checked
        ? { startMs, stopMs, health: { afterMs: 3_000, outcome: 'unhealthy' } }
        : { startMs, stopMs, startError: 'no such command' }
    default:
      return { startMs, stopMs }
  }
}

/** 0 <= x < 1 from a text. */
function spread(text: string): number {
  let hash = 2166136261
  for (let i = 0; i < text.length; i += 1) hash = Math.imul(hash ^ text.charCodeAt(i), 16777619)
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d)
  return ((hash ^ (hash >>> 12)) >>> 0) / 2 ** 32
}
