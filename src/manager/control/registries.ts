// Credentials of registries, kept once for the whole cluster: every task that brings none of its own gets them with its assignment.
import { ShoalError } from '../../lib/index.ts'
import { registryHost } from '../../model/index.ts'
import { type ControlDeps, invalid } from './context.ts'
import type { Control } from './types.ts'

const MOST_REGISTRIES = 100
const MOST_AUTH_CHARACTERS = 16 * 1024

export function registryControl({ store }: ControlDeps): Pick<Control, 'setRegistry' | 'removeRegistry'> {
  return {
    setRegistry: (server, auth) =>
      store.transact((tx) => {
        if (!tx.cluster) throw new ShoalError('unavailable', 'the swarm is not ready yet', { next: 'Try again in a moment' })
        if (auth === '' || auth.length > MOST_AUTH_CHARACTERS) throw invalid('the credentials are empty or too long')
        const registries = { ...tx.cluster.registries, [registryHost(server)]: auth }
        if (Object.keys(registries).length > MOST_REGISTRIES) throw invalid(`at most ${MOST_REGISTRIES} registries can be kept`)
        tx.setCluster({ ...tx.cluster, registries })
        return registryHost(server)
      }),
    removeRegistry: (server) =>
      store.transact((tx) => {
        const host = registryHost(server)
        const { [host]: present, ...registries } = tx.cluster?.registries ?? {}
        if (!tx.cluster || present === undefined) throw new ShoalError('not-found', `no credentials are kept for ${host}`)
        tx.setCluster({ ...tx.cluster, registries })
        return host
      }),
  }
}
