// The swarm itself (GET /swarm, the Cluster of /info) and its spec. What a request leaves out or sets to zero keeps its value, as Swarm merges it.
import { ShoalError } from '../../lib/index.ts'
import type { Cluster, ClusterSpec } from '../../model/index.ts'
import {
  array,
  asObject,
  boolean,
  type Codec,
  integer,
  object,
  omitEmpty,
  oneOf,
  optional,
  required,
  string,
  stringMap,
  unsigned,
} from './codec.ts'
import { metaOf } from './node.ts'
import { driver } from './spec.ts'

export interface TlsFacts {
  readonly trustRoot: string
  /** base64 */
  readonly issuerSubject: string
  readonly issuerPublicKey: string
}

type Draft = {
  name?: string
  labels?: Readonly<Record<string, string>>
  taskHistoryRetentionLimit?: number
  raft: Partial<ClusterSpec['raft']>
  heartbeatPeriodNs?: number
  nodeCertExpiryNs?: number
  externalCas?: ClusterSpec['externalCas']
  caForceRotate?: number
  taskLogDriver?: ClusterSpec['taskLogDriver']
  autoLockManagers?: boolean
}

const externalCa = object<ClusterSpec['externalCas'][number]>([
  required('Protocol', 'protocol', oneOf(['cfssl'], 'cfssl'), 'cfssl'),
  required('URL', 'url', string, ''),
  required('Options', 'options', stringMap, {}),
  required('CACert', 'caCert', string, ''),
])

const orchestration = object<Draft>([optional('TaskHistoryRetentionLimit', 'taskHistoryRetentionLimit', integer)])
const raft = object<Draft['raft']>([
  omitEmpty('SnapshotInterval', 'snapshotInterval', unsigned),
  optional('KeepOldSnapshots', 'keepOldSnapshots', unsigned),
  omitEmpty('LogEntriesForSlowFollowers', 'logEntriesForSlowFollowers', unsigned),
  omitEmpty('ElectionTick', 'electionTick', integer),
  omitEmpty('HeartbeatTick', 'heartbeatTick', integer),
])
const dispatcher = object<Draft>([omitEmpty('HeartbeatPeriod', 'heartbeatPeriodNs', integer)])
const ca = object<Draft>([
  omitEmpty('NodeCertExpiry', 'nodeCertExpiryNs', integer),
  omitEmpty('ExternalCAs', 'externalCas', array(externalCa)),
  optional('ForceRotate', 'caForceRotate', unsigned),
])
const taskDefaults = object<Draft>([optional('LogDriver', 'taskLogDriver', driver)])
const encryption = object<Draft>([optional('AutoLockManagers', 'autoLockManagers', boolean)])
const annotations = object<Draft>([omitEmpty('Name', 'name', string), optional('Labels', 'labels', stringMap)])

/** The parts of a cluster spec that a request names. */
export function parseClusterSpec(json: unknown, path: string): Draft {
  const source = asObject(json, path)
  const part = (codec: Codec<Draft>, name: string) => {
    const value = source.get(name)
    return value === undefined ? undefined : codec.parse(value, path === '' ? name : `${path}.${name}`)
  }
  const caConfig = source.get('CAConfig')
  if (caConfig !== undefined) {
    const inner = asObject(caConfig, 'CAConfig')
    for (const key of ['SigningCACert', 'SigningCAKey']) {
      if ((inner.get(key) ?? '') !== '') {
        throw new ShoalError('unimplemented', `CAConfig.${key}: bringing a root certificate of your own is not supported yet`)
      }
    }
  }
  return {
    ...annotations.parse(json, path),
    ...part(orchestration, 'Orchestration'),
    ...part(dispatcher, 'Dispatcher'),
    ...part(ca, 'CAConfig'),
    ...part(taskDefaults, 'TaskDefaults'),
    ...part(encryption, 'EncryptionConfig'),
    raft: source.get('Raft') === undefined ? {} : raft.parse(source.get('Raft'), 'Raft'),
  }
}

/** The spec with the named parts put in. */
export function mergeClusterSpec(spec: ClusterSpec, { raft: raftDraft, ...rest }: Draft): ClusterSpec {
  return { ...spec, ...rest, raft: { ...spec.raft, ...raftDraft } }
}

export function printClusterSpec(spec: ClusterSpec): Record<string, unknown> {
  return {
    Name: spec.name,
    Labels: spec.labels,
    Orchestration: { TaskHistoryRetentionLimit: spec.taskHistoryRetentionLimit },
    Raft: {
      SnapshotInterval: spec.raft.snapshotInterval,
      KeepOldSnapshots: spec.raft.keepOldSnapshots,
      LogEntriesForSlowFollowers: spec.raft.logEntriesForSlowFollowers,
      ElectionTick: spec.raft.electionTick,
      HeartbeatTick: spec.raft.heartbeatTick,
    },
    Dispatcher: { HeartbeatPeriod: spec.heartbeatPeriodNs },
    CAConfig: {
      NodeCertExpiry: spec.nodeCertExpiryNs,
      ...(spec.externalCas.length > 0 && { ExternalCAs: spec.externalCas.map((one) => externalCa.print(one)) }),
      ...(spec.caForceRotate > 0 && { ForceRotate: spec.caForceRotate }),
    },
    TaskDefaults: { ...(spec.taskLogDriver && { LogDriver: driver.print(spec.taskLogDriver) }) },
    EncryptionConfig: { AutoLockManagers: spec.autoLockManagers },
  }
}

/** What /info shows: everything but the join tokens. */
export function printCluster(cluster: Cluster, tls: TlsFacts): Record<string, unknown> {
  return {
    ID: cluster.id,
    ...metaOf(cluster),
    Spec: printClusterSpec(cluster.spec),
    TLSInfo: { TrustRoot: tls.trustRoot, CertIssuerSubject: tls.issuerSubject, CertIssuerPublicKey: tls.issuerPublicKey },
    RootRotationInProgress: cluster.rootRotation !== undefined,
    DefaultAddrPool: cluster.defaultAddressPools.length > 0 ? cluster.defaultAddressPools : null,
    SubnetSize: cluster.subnetSize,
    DataPathPort: cluster.dataPathPort,
  }
}
