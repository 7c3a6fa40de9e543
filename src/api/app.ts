// What all routes share: this node, its engine, events, and the rule that cluster calls need a working manager.

import type { Agent } from '../agent/index.ts'
import type { Logger } from '../lib/index.ts'
import { ShoalError } from '../lib/index.ts'
import type { ManagerFace } from '../manager/index.ts'
import type { LocalNode } from '../node/index.ts'
import type { Clock } from '../ports/index.ts'
import type { EngineClient } from '../proxy/index.ts'
import type { EngineFacts } from './engineFacts.ts'
import type { EventFile } from './events/eventFile.ts'
import type { EventHub } from './events/hub.ts'

/** A network of the swarm as this node's data plane knows it; workers have nothing else. */
export interface LocalNetwork {
  readonly id: string
  readonly name: string
  readonly vni: number
  /** CIDR. */
  readonly subnet: string
  readonly gateway: string
  readonly internal: boolean
  readonly ingress: boolean
  readonly attachable?: boolean
}

export interface ApiDeps {
  readonly node: LocalNode
  /** Path of the container engine's unix socket. */
  readonly engineSocket: string
  readonly clock: Clock
  readonly log: Logger
  /** /_ping answers 200 only when this is true. */
  readonly ready: () => boolean
  /** Keeps events beyond a restart. */
  readonly eventFile?: EventFile
  /** Figures of this process for /metrics: name and value. */
  readonly processFigures?: () => Readonly<Record<string, number>>
  /** Version of this daemon. */
  readonly version: string
  /** Path of our unix socket, given to containers in the place of the engine's; undefined when we listen on none. */
  readonly ownSocket?: string
  /** Looks at this node and what it needs; the report goes out as it is. */
  readonly doctor?: () => Promise<object>
  /** Networks of the swarm that this node serves. */
  readonly localNetworks?: () => readonly LocalNetwork[]
  /** All networks of the swarm, those included that this node does not serve now. */
  readonly knownNetworks?: () => readonly LocalNetwork[]
  /** Places for single containers on networks of the swarm; undefined while this node is in no swarm. */
  readonly attachments?: () => NetworkAttachments | undefined
}

export type NetworkAttachments = Pick<Agent, 'attachNetwork' | 'detachNetwork' | 'attachments' | 'setContainers'>

export interface App {
  readonly deps: ApiDeps
  readonly engine: EngineClient
  readonly facts: EngineFacts
  readonly events: EventHub
}

const NOT_MEMBER =
  'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.'
const NOT_MANAGER =
  "This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state. Please run this command on a manager node or promote the current node to a manager."
const LOCKED = 'Swarm is encrypted and needs to be unlocked before it can be used. Please use "docker swarm unlock" to unlock it.'
const NO_LEADER =
  "The swarm does not have a leader. It's possible that too few managers are online. Make sure more than half of the managers are online."

/** The manager on this node, or 'unavailable' with Swarm's sentence why there is none. */
export function managerOf({ node }: ApiDeps): ManagerFace {
  const manager = node.manager()
  if (manager) return manager
  const { state, role } = node.status()
  if (state === 'locked') throw new ShoalError('unavailable', LOCKED)
  if (role === undefined) throw new ShoalError('unavailable', NOT_MEMBER)
  throw new ShoalError('unavailable', role === 'manager' ? NO_LEADER : NOT_MANAGER)
}
