// The chain of filters: each says whether a node can take tasks of a group, and counts its refusals, so that the answer to "why not?" is at hand.
import { nodeMatches } from '../model/index.ts'
import type { Demand } from './demand.ts'
import type { NodeInfo } from './nodeInfo.ts'

export const FILTERS = ['ready', 'resources', 'plugin', 'constraint', 'platform', 'hostPort', 'maxReplicas', 'plane'] as const
export type FilterName = (typeof FILTERS)[number]

/** How many nodes each filter refused; a node counts for the first that refuses it. */
export type Refusals = Map<FilterName, number>

/** The first filter that refuses the node, or undefined when it fits. `tasksOfService`: active ones on this node. */
export function refusal(info: NodeInfo, demand: Demand, tasksOfService: number): FilterName | undefined {
  if (!info.ready) return 'ready'
  if (!info.fitsResources(demand)) return 'resources'
  if (demand.plugins.length > 0 && !hasPlugins(info, demand)) return 'plugin'
  if (demand.constraints === undefined || (demand.constraints.length > 0 && !nodeMatches(demand.constraints, info.node)))
    return 'constraint'
  if (demand.platforms.length > 0 && !fitsPlatform(info, demand)) return 'platform'
  for (const port of demand.hostPorts) if (info.hostPorts.has(port)) return 'hostPort'
  if (demand.maxReplicasPerNode > 0 && tasksOfService >= demand.maxReplicasPerNode) return 'maxReplicas'
  if (demand.plane !== 'none' && !servesPlane(info, demand)) return 'plane'
  return undefined
}

/** What does not depend on what runs there: only a change of the node changes the answer. */
export function fitsNode(info: NodeInfo, demand: Demand): boolean {
  return (
    (demand.plugins.length === 0 || hasPlugins(info, demand)) &&
    demand.constraints !== undefined &&
    nodeMatches(demand.constraints, info.node) &&
    (demand.platforms.length === 0 || fitsPlatform(info, demand)) &&
    (demand.plane === 'none' || servesPlane(info, demand))
  )
}

export function countRefusal(refusals: Refusals, filter: FilterName): void {
  refusals.set(filter, (refusals.get(filter) ?? 0) + 1)
}

export function hasPlugins(info: NodeInfo, demand: Demand): boolean {
  const plugins = info.node.description?.plugins ?? []
  return demand.plugins.every(({ type, name }) => {
    // Engines that report no log drivers at all are older than the report (as in SwarmKit).
    if (type === 'Log' && !plugins.some((plugin) => plugin.type === 'Log')) return true
    return plugins.some((plugin) => plugin.type === type && (plugin.name === name || plugin.name === `${name}:latest`))
  })
}

/** An empty part of a wanted platform means any. */
function fitsPlatform(info: NodeInfo, demand: Demand): boolean {
  return demand.platforms.some(
    (wanted) => (wanted.os === '' || wanted.os === info.os) && (wanted.architecture === '' || wanted.architecture === info.architecture),
  )
}

export function servesPlane(info: NodeInfo, demand: Demand): boolean {
  if (demand.plane === 'swarm') return info.node.agent === 'stock'
  return info.node.agent === 'shoal' && info.node.dataPlane.on
}

/** `no suitable node (insufficient resources on 2 nodes; 1 node not available for new tasks)`: the filter that refused most stands first. */
export function explain(refusals: ReadonlyMap<FilterName, number>): string {
  const parts = [...refusals]
    .sort((a, b) => b[1] - a[1] || FILTERS.indexOf(a[0]) - FILTERS.indexOf(b[0]))
    .map(([name, count]) => sentence(name, count))
  return parts.length === 0 ? 'no suitable node' : `no suitable node (${parts.join('; ')})`
}

/** Swarm's words (docker-api.md 1.2); the plane is ours. */
function sentence(filter: FilterName, count: number): string {
  const nodes = count === 1 ? '1 node' : `${count} nodes`
  switch (filter) {
    case 'ready':
      return `${nodes} not available for new tasks`
    case 'resources':
      return `insufficient resources on ${nodes}`
    case 'plugin':
      return `missing plugin on ${nodes}`
    case 'constraint':
      return `scheduling constraints not satisfied on ${nodes}`
    case 'platform':
      return `unsupported platform on ${nodes}`
    case 'hostPort':
      return `host-mode port already in use on ${nodes}`
    case 'maxReplicas':
      return 'max replicas per node limit exceed'
    case 'plane':
      return `no data plane for the task's networks on ${nodes}`
  }
}
