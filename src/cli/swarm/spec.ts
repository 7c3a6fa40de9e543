// The settings of the swarm that `init`, `update` and `ca` share.
import type { ApiClient, Cluster, ClusterSpec } from '../../client/index.ts'
import type { FlagDef, Flags } from '../flags/index.ts'
import { type ExternalCa, parseExternalCa } from './values.ts'

const DURATION = '(ns|us|ms|s|m|h)'

export const CERT_EXPIRY: FlagDef = {
  name: 'cert-expiry',
  kind: 'duration',
  help: `Validity period for node certificates ${DURATION}`,
  default: '2160h0m0s',
}

export const EXTERNAL_CA: FlagDef = {
  name: 'external-ca',
  kind: 'list',
  value: 'external-ca',
  help: 'Specifications of one or more certificate signing endpoints',
  parse: parseExternalCa,
}

export const SPEC_FLAGS: readonly FlagDef[] = [
  CERT_EXPIRY,
  { name: 'dispatcher-heartbeat', kind: 'duration', help: `Dispatcher heartbeat period ${DURATION}`, default: '5s' },
  EXTERNAL_CA,
  { name: 'max-snapshots', kind: 'uint', help: 'Number of additional Raft snapshots to retain' },
  { name: 'snapshot-interval', kind: 'uint', help: 'Number of log entries between Raft snapshots', default: '10000' },
  { name: 'task-history-limit', kind: 'int', help: 'Task history retention limit', default: '5' },
]

/** The spec with the given flags put in. */
export function changedClusterSpec(flags: Flags, before: ClusterSpec): ClusterSpec {
  const externalCas = flags.values<ExternalCa>('external-ca')
  return {
    ...before,
    Orchestration: {
      ...before.Orchestration,
      TaskHistoryRetentionLimit: flags.number('task-history-limit') ?? before.Orchestration?.TaskHistoryRetentionLimit,
    },
    Raft: {
      ...before.Raft,
      SnapshotInterval: flags.number('snapshot-interval') ?? before.Raft?.SnapshotInterval,
      KeepOldSnapshots: flags.number('max-snapshots') ?? before.Raft?.KeepOldSnapshots,
    },
    Dispatcher: { ...before.Dispatcher, HeartbeatPeriod: flags.number('dispatcher-heartbeat') ?? before.Dispatcher?.HeartbeatPeriod },
    CAConfig: {
      ...before.CAConfig,
      NodeCertExpiry: flags.number('cert-expiry') ?? before.CAConfig?.NodeCertExpiry,
      ExternalCAs: externalCas.length > 0 ? externalCas : before.CAConfig?.ExternalCAs,
    },
    EncryptionConfig: {
      ...before.EncryptionConfig,
      AutoLockManagers: flags.has('autolock') ? flags.bool('autolock') : before.EncryptionConfig?.AutoLockManagers,
    },
  }
}

export interface Rotations {
  readonly worker?: boolean
  readonly manager?: boolean
  readonly unlockKey?: boolean
}

export async function updateCluster(client: ApiClient, cluster: Cluster, spec: ClusterSpec, rotate: Rotations = {}): Promise<void> {
  await client.request('POST', '/swarm/update', {
    query: {
      version: cluster.Version.Index,
      rotateWorkerToken: rotate.worker === true,
      rotateManagerToken: rotate.manager === true,
      rotateManagerUnlockKey: rotate.unlockKey === true,
    },
    body: spec,
  })
}
