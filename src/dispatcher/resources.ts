// The resource allocator: containers that people make on a node come onto attachable networks as tasks of their own (wire-protocol.md 6.4).
import { parseAddress, parseBlock } from '../allocator/index.ts'
import { type Logger, type NetworkId, type NodeId, newId, ShoalError, type TaskId } from '../lib/index.ts'
import { holdsOf, isTerminal, type Network, TaskState } from '../model/index.ts'
import { handle, type Random, type Route, type RpcPeer } from '../ports/index.ts'
import { ResourceAllocator } from '../proto/index.ts'
import { putHold, type Store, type View } from '../store/index.ts'
import type { Sessions } from './sessions.ts'

const MAX_ALIASES = 64
/** Attachments of one node: each has an address and a row in the store. */
const MAX_PER_NODE = 2_000

export interface ResourcesDeps {
  readonly store: Store
  readonly random: Random
  readonly logger: Logger
  readonly sessions: Sessions
}

export function resourceRoutes(deps: ResourcesDeps): Route[] {
  const { store, random, logger, sessions } = deps
  return [
    handle(ResourceAllocator.method.attachNetwork, async ({ config, containerId }, { peer }) => {
      const node = sessions.requireNode(peer)
      if (!config || config.target === '' || containerId === '')
        throw new ShoalError('invalid-argument', 'an attachment needs a network and a container')
      const id = newId<TaskId>(random)
      await store.transact((tx) => {
        const network = attachable(tx, config.target)
        refuseTooMany(tx, node.id)
        const addresses = config.addresses.map(plain).filter((address) => address !== '')
        for (const address of addresses) refuseTaken(tx, network, address)
        tx.tasks.create({
          id,
          serviceId: undefined,
          slot: 0,
          nodeId: node.id,
          specVersion: 0,
          desiredState: TaskState.RUNNING,
          status: { state: TaskState.NEW, at: tx.now, message: 'created', error: '' },
          attachments: [],
          attachmentSpec: {
            attachment: { containerId },
            runtime: 'attachment',
            forceUpdate: 0,
            networks: [
              { target: network.id, aliases: config.aliases.slice(0, MAX_ALIASES), ...(addresses.length > 0 ? { addresses } : {}) },
            ],
          },
        })
      })
      logger.info('a container is attached to a network', { node: node.id, network: config.target, task: id })
      return { attachmentId: id }
    }),
    handle(ResourceAllocator.method.detachNetwork, async ({ attachmentId }, { peer }) => {
      await store.transact((tx) => {
        const task = tx.tasks.get(attachmentId as TaskId)
        if (!task?.attachmentSpec) throw new ShoalError('not-found', `attachment ${attachmentId} not found`)
        if (task.nodeId !== ownNode(sessions, peer)) throw new ShoalError('permission-denied', 'the attachment belongs to another node')
        for (const hold of holdsOf(task, tx.now)) putHold(tx, hold)
        tx.tasks.delete(task.id)
      })
      return {}
    }),
  ]
}

function ownNode(sessions: Sessions, peer: RpcPeer) {
  return sessions.requireNode(peer).id
}

/** By id, then by name, as it was typed. */
function attachable(view: View, target: string): Network {
  const network = view.networks.get(target as NetworkId) ?? view.networks.byName(target)
  if (!network || network.removing) throw new ShoalError('not-found', `network ${target} not found`)
  if (!network.spec.attachable) throw new ShoalError('permission-denied', `network ${network.spec.name} not manually attachable`)
  return network
}

function refuseTooMany(view: View, nodeId: NodeId): void {
  let count = 0
  for (const task of view.tasks.byNode(nodeId)) if (task.attachmentSpec && !isTerminal(task.status.state)) count += 1
  if (count >= MAX_PER_NODE) throw new ShoalError('resource-exhausted', `this node has ${count} containers on swarm networks already`)
}

function refuseTaken(view: View, network: Network, address: string): void {
  const isIt = (cidr: string) => plain(cidr) === address
  for (const task of view.tasks.values()) {
    if (isTerminal(task.status.state)) continue
    for (const one of task.attachments) if (one.networkId === network.id && one.addresses.some(isIt)) throw taken(address)
  }
  for (const service of view.services.values())
    for (const vip of service.endpoint?.vips ?? []) if (vip.networkId === network.id && isIt(vip.address)) throw taken(address)
  if (network.subnets.some(({ gateway }) => isIt(gateway))) throw taken(address)
  const value = parseAddress(address)
  const blocks = network.subnets.map(({ subnet }) => parseBlock(subnet))
  if (value === undefined || !blocks.some((block) => block && value >= block.first && value <= block.last))
    throw new ShoalError('invalid-argument', `address ${address} is not in the subnet of network ${network.spec.name}`)
}

function taken(address: string): ShoalError {
  return new ShoalError('failed-precondition', `Address ${address} is already in use`, { next: 'leave the address out, or choose another' })
}

/** `10.0.0.5/24` without its prefix length. */
function plain(cidr: string): string {
  return cidr.split('/', 1)[0]!
}
