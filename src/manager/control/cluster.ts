// The swarm's own settings and its join tokens.
import { newId, type RandomBytes, ShoalError } from '../../lib/index.ts'
import { type Cluster, type ClusterSpec, validateClusterSpec } from '../../model/index.ts'
import type { Fresh, View, WriteTx } from '../../store/index.ts'
import { type ControlDeps, requireVersion } from './context.ts'
import { createInitialNetworks } from './networks.ts'
import type { Control, UpdateClusterOptions } from './types.ts'

type ClusterControl = Pick<Control, 'cluster' | 'updateCluster'>

export function clusterControl({ store, random }: ControlDeps): ClusterControl {
  return {
    cluster: () => clusterOf(store.view()),
    updateCluster: (version, spec, options = {}) =>
      store.transact((tx) => {
        const cluster = clusterOf(tx)
        requireVersion(cluster, version)
        validateClusterSpec(spec)
        requireSupported(cluster.spec, spec)
        const unlockKey = nextUnlockKey(cluster, spec, options, random)
        return tx.setCluster({ ...cluster, spec, joinTokens: rotated(cluster, options, random), unlockKey }, version)
      }),
  }
}

/** What a swarm has from its first moment: the cluster object and the networks `ingress`, `bridge` and `host`. The caller adds the first node. */
export function createInitialObjects(tx: WriteTx, random: RandomBytes, cluster: Fresh<Cluster>): Cluster {
  validateClusterSpec(cluster.spec)
  const created = tx.setCluster(cluster)
  createInitialNetworks(tx, random)
  return created
}

function clusterOf(view: View): Cluster {
  if (!view.cluster) throw new ShoalError('unavailable', 'the swarm is not ready yet', { next: 'Try again in a moment' })
  return view.cluster
}

/** `SWMTKN-1-<digest of the root certificate>-<secret>`: only the secret is drawn anew. */
function rotated({ joinTokens }: Cluster, options: UpdateClusterOptions, random: RandomBytes): Cluster['joinTokens'] {
  const renew = (token: string) => token.replace(/[^-]*$/, newId(random))
  return {
    worker: options.rotateWorkerToken ? renew(joinTokens.worker) : joinTokens.worker,
    manager: options.rotateManagerToken ? renew(joinTokens.manager) : joinTokens.manager,
  }
}

/** `SWMKEY-1-` and 32 random bytes in base64 without padding. */
export function makeUnlockKey(random: RandomBytes): string {
  return `SWMKEY-1-${Buffer.from(random.bytes(32)).toString('base64').replace(/=+$/, '')}`
}

/** '' while managers are not locked. */
function nextUnlockKey(cluster: Cluster, spec: ClusterSpec, options: UpdateClusterOptions, random: RandomBytes): string {
  if (!spec.autoLockManagers) return ''
  return cluster.unlockKey && !options.rotateManagerUnlockKey ? cluster.unlockKey : makeUnlockKey(random)
}

function requireSupported(before: ClusterSpec, after: ClusterSpec): void {
  const later = (what: string) => new ShoalError('unimplemented', `${what} is not possible yet: it comes with a later version of Shoal`)
  if (after.caForceRotate !== before.caForceRotate) throw later("rotating the swarm's root certificate")
  if (after.externalCas.length > 0) throw later('an external certificate authority')
}
