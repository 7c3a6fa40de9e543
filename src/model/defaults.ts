// Swarm's defaults for what a spec leaves out.
import { SECOND_NS } from '../lib/index.ts'
import type { ClusterSpec } from './objects.ts'
import type { RestartPolicy, UpdateConfig } from './spec.ts'

export const DEFAULT_STOP_GRACE_NS = 10 * SECOND_NS
/**
 * An agent that has heard of no manager for this long drops what it knows of other nodes: their addresses may have new owners. Managers wait as long, and a bit,
 * before they reuse an address that a lost node knew. Longer than a manager needs to boot: a cluster without managers goes on serving meanwhile.
 */
export const MESH_LEASE_MS = 300_000
export const MESH_LEASE_MARGIN_MS = 30_000
export const DEFAULT_UPDATE: Required<UpdateConfig> = {
  parallelism: 1,
  delayNs: 0,
  failureAction: 'pause',
  monitorNs: 5 * SECOND_NS,
  maxFailureRatio: 0,
  order: 'stop-first',
}
export const DEFAULT_RESTART: Required<RestartPolicy> = { condition: 'any', delayNs: 5 * SECOND_NS, maxAttempts: 0, windowNs: 0 }

/** Parallelism of a missing config is 1; of a present one it is what it says (0 = all at once). */
export function updateConfigOf(config: UpdateConfig | undefined): Required<UpdateConfig> {
  return { ...DEFAULT_UPDATE, ...withoutUndefined(config) }
}

export function restartPolicyOf(policy: RestartPolicy | undefined): Required<RestartPolicy> {
  return { ...DEFAULT_RESTART, ...withoutUndefined(policy) }
}

export const DEFAULT_CLUSTER_SPEC: ClusterSpec = {
  name: 'default',
  labels: {},
  taskHistoryRetentionLimit: 5,
  raft: { snapshotInterval: 10_000, keepOldSnapshots: 0, logEntriesForSlowFollowers: 500, electionTick: 10, heartbeatTick: 1 },
  heartbeatPeriodNs: 5 * SECOND_NS,
  nodeCertExpiryNs: 90 * 24 * 3600 * SECOND_NS,
  externalCas: [],
  caForceRotate: 0,
  autoLockManagers: false,
}

function withoutUndefined<T extends object>(value: T | undefined): Partial<T> {
  return Object.fromEntries(Object.entries(value ?? {}).filter(([, v]) => v !== undefined)) as Partial<T>
}
