// What an agent is given to do: the parsed form of the wire's Task, Secret and Config (see wire/: builder and parser stand there).
import type { ConfigId, Instant, NetworkId, NodeId, SecretId, ServiceId, TaskId } from '../lib/index.ts'
import type { Driver, GenericResource, Labels, PortConfig, TaskSpec } from './spec.ts'
import type { TaskState } from './states.ts'

export interface AssignedNetwork {
  readonly id: NetworkId
  readonly name: string
  readonly labels: Labels
  readonly driver: string // `overlay`, `host`, `bridge`
  readonly vni: number
  readonly subnet: string // CIDR, '' for predefined networks
  readonly gateway: string // plain address
  readonly mtu: number // 0 = default
  readonly internal: boolean
  readonly attachable: boolean
  readonly ingress: boolean
}

export interface AssignedTask {
  readonly id: TaskId
  readonly serviceId: ServiceId | undefined
  readonly serviceName: string
  readonly serviceLabels: Labels
  readonly slot: number
  readonly nodeId: NodeId
  readonly specVersion: number
  readonly spec: TaskSpec
  readonly desiredState: TaskState
  /** The state that the manager knows; ASSIGNED for a new one. */
  readonly knownState: TaskState
  readonly attachments: readonly {
    readonly network: AssignedNetwork
    readonly addresses: readonly string[]
    readonly aliases: readonly string[]
  }[]
  /** Ports of the service's endpoint, host and ingress mode. */
  readonly ports: readonly PortConfig[]
  readonly genericResources: readonly GenericResource[]
  readonly notBefore?: Instant
  readonly jobIteration?: number
}

export interface AssignedSecret {
  readonly id: SecretId
  readonly name: string
  /** Labels of ours (`shoal.…`) only. */
  readonly labels?: Labels
  readonly data: Uint8Array
  readonly templating?: Driver
}

export interface AssignedConfig {
  readonly id: ConfigId
  readonly name: string
  readonly labels?: Labels
  readonly data: Uint8Array
  readonly templating?: Driver
}

/** A task's report to the manager. */
export interface TaskReport {
  readonly taskId: TaskId
  readonly state: TaskState
  readonly at: Instant
  readonly message: string
  readonly error: string
  readonly container?: { readonly containerId: string; readonly pid: number; readonly exitCode: number }
  readonly ports?: readonly { readonly protocol: 'tcp' | 'udp' | 'sctp'; readonly targetPort: number; readonly publishedPort: number }[]
}
