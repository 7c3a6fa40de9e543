// The swarm's own settings and its join tokens.
import { newId, type RandomBytes, ShoalError } from '../../lib/index.ts'
import { type Cluster, type ClusterSpec, validateClusterSpec } from '../../model/index.ts'
import type { Fresh, View, WriteTx } from '../../store/index.ts'
import { type ControlDeps, requireVersion } from './context.ts'
import { createInitialNetworks } from './networks.ts'
import type { Control, UpdateClusterOptions } from './types.ts'

type ClusterControl = Pick<Control, 'cluster' | 'updateCluster'>

export function clusterControl({ store, random, newRoot }: ControlDeps): ClusterControl {
  return {
    cluster: () => clusterOf(store.view()),
    async updateCluster(version, spec, options = {}) {
      const rootRotation = await beginRotation(clusterOf(store.view()), spec, newRoot)
      return store.transact((tx) => {
        const cluster = clusterOf(tx)
        requireVersion(cluster, version)
        validateClusterSpec(spec)
        requireSupported(spec)
        const unlockKey = nextUnlockKey(cluster, spec, options, random)
        if (rootRotation)
          for (const node of [...tx.nodes.values()]) tx.nodes.update({ ...node, certificate: { ...node.certificate, state: 'rotate' } })
        return tx.setCluster(
          { ...cluster, ...(rootRotation && { rootRotation }), spec, joinTokens: rotated(cluster, options, random), unlockKey },
          version,
        )
      })
    },
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

/** A new root when the caller forces one; every node then gets a certificate of it before it takes over (members.ts). */
async function beginRotation(cluster: Cluster, spec: ClusterSpec, newRoot: ControlDeps['newRoot']): Promise<Cluster['rootRotation']> {
  if (spec.caForceRotate === cluster.spec.caForceRotate) return undefined
  if (!newRoot) throw new ShoalError('unimplemented', 'this manager cannot make a new root certificate')
  if (cluster.rootRotation)
    throw new ShoalError('failed-precondition', 'the root certificate is being rotated already', {
      next: 'wait until all nodes are up and have taken it',
    })
  return newRoot({ certificatePem: cluster.rootCaPem, privateKeyPem: cluster.rootCaKeyPem })
}

function requireSupported(spec: ClusterSpec): void {
  if (spec.externalCas.length > 0)
    throw new ShoalError('unimplemented', 'an external certificate authority is not possible yet: it comes with a later version of Shoal')
}
