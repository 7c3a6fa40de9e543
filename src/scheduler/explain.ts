// Why a node cannot take a task, filter by filter and in figures, and what would have to change.
import { nodeMatches } from '../model/index.ts'
import type { Demand } from './demand.ts'
import { type FilterName, hasPlugins, servesPlane } from './filters.ts'
import type { NodeInfo } from './nodeInfo.ts'

/** One filter that refuses a node: in words, for this node. */
export interface Objection {
  readonly filter: FilterName
  readonly text: string
}

/** All filters that refuse the node, in the order of the chain; empty when it fits. `tasksOfService`: active ones there. */
export function objections(info: NodeInfo, demand: Demand, tasksOfService: number): readonly Objection[] {
  const found: Objection[] = []
  const object = (filter: FilterName, text: string) => found.push({ filter, text })
  const { node } = info
  if (!info.ready) object('ready', notReady(info))
  for (const text of shortOf(info, demand)) object('resources', text)
  if (demand.plugins.length > 0 && !hasPlugins(info, demand))
    object('plugin', `has not all of the plugins ${demand.plugins.map(({ type, name }) => `${type.toLowerCase()}/${name}`).join(', ')}`)
  if (demand.constraints === undefined) object('constraint', 'one of the constraints cannot be read')
  for (const constraint of demand.constraints ?? [])
    if (!nodeMatches([constraint], node)) object('constraint', `does not meet ${constraint.key}${constraint.operator}${constraint.value}`)
  if (demand.platforms.length > 0 && !demand.platforms.some((wanted) => isPlatform(info, wanted)))
    object(
      'platform',
      `is ${info.os}/${info.architecture}, wanted ${demand.platforms.map((p) => `${p.os}/${p.architecture}`).join(' or ')}`,
    )
  for (const port of demand.hostPorts) if (info.hostPorts.has(port)) object('hostPort', `port ${port} is taken`)
  if (demand.maxReplicasPerNode > 0 && tasksOfService >= demand.maxReplicasPerNode)
    object('maxReplicas', `runs ${tasksOfService} of at most ${demand.maxReplicasPerNode} tasks of the service`)
  if (demand.plane !== 'none' && !servesPlane(info, demand)) object('plane', noPlane(info, demand))
  return found
}

function notReady({ node }: NodeInfo): string {
  if (node.spec.membership !== 'accepted') return 'is not accepted yet'
  if (node.status.state !== 'ready') return node.status.state === 'unknown' ? 'has not reported yet' : `is ${node.status.state}`
  return node.spec.availability === 'drain' ? 'is drained' : 'is paused'
}

function* shortOf(info: NodeInfo, demand: Demand): Generator<string> {
  const has = info.node.description?.resources
  const cpus = (has?.nanoCpus ?? 0) - info.nanoCpusUsed
  const memory = (has?.memoryBytes ?? 0) - info.memoryBytesUsed
  if (demand.nanoCpus > cpus && demand.nanoCpus > 0)
    yield `${demand.nanoCpus / 1e9} CPUs wanted, ${Math.max(0, cpus) / 1e9} not reserved yet`
  if (demand.memoryBytes > memory && demand.memoryBytes > 0)
    yield `${mebibytes(demand.memoryBytes)} memory wanted, ${mebibytes(Math.max(0, memory))} not reserved yet`
  for (const { kind, count } of demand.generic) {
    const free = info.freeGeneric(kind)
    if (free < count) yield `${count} ${kind} wanted, ${free} free`
  }
}

function mebibytes(bytes: number): string {
  return `${Math.floor(bytes / 1_048_576)} MiB`
}

function isPlatform(info: NodeInfo, wanted: Demand['platforms'][number]): boolean {
  return (wanted.os === '' || wanted.os === info.os) && (wanted.architecture === '' || wanted.architecture === info.architecture)
}

function noPlane({ node }: NodeInfo, { plane }: Demand): string {
  if (plane === 'swarm') return 'is no stock engine, and the network is served by stock engines only'
  if (node.agent !== 'shoal') return 'is a stock engine, which does not serve this network'
  return node.dataPlane.reason ? `has no data plane: ${node.dataPlane.reason}` : 'has no data plane'
}

/** What a person can do about nodes that a filter refuses. */
export function remedy(filter: FilterName): string {
  switch (filter) {
    case 'ready':
      return 'set nodes active (node update --availability active), or bring those that are down back'
    case 'resources':
      return 'reserve less (service update --reserve-memory, --reserve-cpu), free reservations of others, or add nodes'
    case 'plugin':
      return 'install the plugin on more nodes'
    case 'constraint':
      return 'change the constraint (service update --constraint-rm) or label nodes (node update --label-add)'
    case 'platform':
      return 'use an image for these platforms, or add nodes of its platform'
    case 'hostPort':
      return 'publish another port, use ingress mode, or add nodes'
    case 'maxReplicas':
      return 'raise --replicas-max-per-node, ask for fewer replicas, or add nodes'
    case 'plane':
      return 'use nodes with a data plane (shoal node inspect says why one has none)'
  }
}
