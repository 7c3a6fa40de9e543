// What groups of tasks ask of a node, worked out from the store and kept as long as it is the same.

import { networksOf, type Placement, type Service, type SpecRevision, type Task } from '../model/index.ts'
import { type Demand, demandOf } from '../scheduler/index.ts'
import type { View } from './types.ts'

/** Demands by `<serviceId>.<specVersion>`; attachment tasks have one of their own. */
export class Demands {
  readonly #known = new Map<
    string,
    { readonly revision: SpecRevision; readonly placement: Placement | undefined; readonly demand: Demand }
  >()

  /** Undefined when the task's spec is not in the store (it is on its way out). */
  of(view: View, task: Task): Demand | undefined {
    if (task.serviceId === undefined) return NOTHING
    const revision = view.specRevisions.of(task.serviceId, task.specVersion)
    if (!revision) return undefined
    const placement = placementOf(view.services.get(task.serviceId), revision)
    const key = revision.id
    const known = this.#known.get(key)
    if (known?.revision === revision && known.placement === placement) return known.demand
    const demand = demandOf({
      serviceId: task.serviceId,
      specVersion: task.specVersion,
      task: revision.task,
      placement,
      ports: revision.endpoint?.ports ?? [],
      plane: planeOf(view, task.attachments, revision.task.networks ?? []),
    })
    this.#known.set(key, { revision, placement, demand })
    return demand
  }

  /** What tasks of the service's present spec ask, whether there are any or not. */
  ofService(view: View, service: Service): Demand {
    return demandOf({
      serviceId: service.id,
      specVersion: service.specVersion,
      task: service.spec.task,
      placement: service.spec.task.placement,
      ports: service.spec.endpoint?.ports ?? [],
      plane: planeOf(view, [], networksOf(service.spec)),
    })
  }

  forget(serviceId: string, specVersion: number): void {
    this.#known.delete(`${serviceId}.${specVersion}`)
  }
}

const NOTHING: Demand = demandOf({
  serviceId: '',
  specVersion: 0,
  task: { forceUpdate: 0 },
  placement: undefined,
  ports: [],
  plane: 'none',
})

/** Placement does not make a new spec version, so the service's own word is the newer one. */
function placementOf(service: Service | undefined, revision: SpecRevision): Placement | undefined {
  return service ? service.spec.task.placement : revision.task.placement
}

/** Networks of nodes themselves (host, bridge) need no data plane; the ingress network is ours. */
function planeOf(view: View, attachments: Task['attachments'], networks: ReturnType<typeof networksOf>): Demand['plane'] {
  const ids = new Set([...networks.map(({ target }) => target), ...attachments.map(({ networkId }) => networkId)])
  let plane: Demand['plane'] = 'none'
  for (const id of ids) {
    const network = view.networks.get(id)
    if (network && !network.predefined && (plane === 'none' || network.plane === 'swarm')) plane = network.plane
  }
  return plane
}
