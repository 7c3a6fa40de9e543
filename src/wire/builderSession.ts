// Session messages (manager to node) and node descriptions (node to manager), both ways.
import { create } from '@bufbuild/protobuf'
import { ShoalError } from '../lib/index.ts'
import type { Availability, NodeDescription, NodeRole } from '../model/index.ts'
import {
  EncryptionKey_Algorithm,
  IssuanceStatus_State,
  NodeDescriptionSchema,
  NodeSpec_Availability,
  NodeSpec_Membership,
  NodeStatus_State,
  type SessionMessage,
  SessionMessageSchema,
  type NodeDescription as WireNodeDescription,
  NodeRole as WireNodeRole,
} from '../proto/index.ts'
import { parseHostPort } from './address.ts'
import {
  buildGenericResource,
  buildNetworkAttachment,
  parseGenericResource,
  parseNetworkAttachment,
  type TaskAttachment,
} from './builderTask.ts'
import { base64, bytesOf, enumTable, fromInt64, int64, mustSend, uint64 } from './values.ts'

export const roles = enumTable('role', { worker: WireNodeRole.WORKER, manager: WireNodeRole.MANAGER })
export const availabilities = enumTable('availability', {
  active: NodeSpec_Availability.ACTIVE,
  pause: NodeSpec_Availability.PAUSE,
  drain: NodeSpec_Availability.DRAIN,
})

export const GOSSIP = 'networking:gossip'
export const IPSEC = 'networking:ipsec'
const KEYS_PER_SUBSYSTEM = 3
const PEER_WEIGHT = 10n
/** What engines of this protocol listen on for overlay traffic unless told otherwise. */
const DEFAULT_DATA_PATH_PORT = 4789

/** What a node is told about itself and its managers. */
export interface SessionUpdate {
  readonly sessionId: string
  readonly node: {
    readonly id: string
    readonly name: string
    readonly labels: Readonly<Record<string, string>>
    readonly availability: Availability
    readonly desiredRole: NodeRole
    readonly role: NodeRole
    /** The node is to renew its certificate now. */
    readonly rotateCertificate: boolean
    /** Its own address on each overlay in use there (stock engines only; ours have the mesh stream). */
    readonly attachments: readonly TaskAttachment[]
    readonly dataPathPort: number
  }
  /** Live managers, `host:port`. */
  readonly managers: readonly { readonly nodeId: string; readonly address: string }[]
  /** Keys in base64, 16 bytes each. */
  readonly networkKeys: readonly { readonly subsystem: string; readonly key: string; readonly lamportTime: number }[]
  /** The exact bytes that GetRootCACertificate answers with. */
  readonly rootCaPem: string
}

/** Throws 'internal' for what would strand or crash a stock engine (wire-protocol 6.1). */
export function buildSessionMessage(update: SessionUpdate): SessionMessage {
  const { node } = update
  mustSend(update.sessionId, 'a session without id')
  mustSend(update.managers.length > 0, 'an empty list of managers')
  mustSend(update.rootCaPem, 'an empty root certificate')
  mustSend(node.id, 'a node without id')
  mustSend(node.dataPathPort > 0 && node.dataPathPort < 65536, 'a data path port out of range')
  checkKeys(update.networkKeys)
  const role = roles.toWire(node.role)
  return create(SessionMessageSchema, {
    sessionId: update.sessionId,
    node: {
      id: node.id,
      meta: { version: { index: 0n } },
      spec: {
        annotations: { name: node.name, labels: node.labels },
        desiredRole: roles.toWire(node.desiredRole),
        membership: NodeSpec_Membership.ACCEPTED,
        availability: availabilities.toWire(node.availability),
      },
      status: { state: NodeStatus_State.READY },
      certificate: {
        role,
        cn: node.id,
        status: { state: node.rotateCertificate ? IssuanceStatus_State.ROTATE : IssuanceStatus_State.ISSUED },
      },
      role,
      attachments: node.attachments.map(buildNetworkAttachment),
      vxlanUdpPort: node.dataPathPort,
    },
    managers: update.managers.map(({ nodeId, address }) => {
      mustSend(parseHostPort(address).port > 0, `manager ${nodeId} without a port`)
      return { peer: { nodeId, addr: address }, weight: PEER_WEIGHT }
    }),
    networkBootstrapKeys: update.networkKeys.map(({ subsystem, key, lamportTime }) => ({
      subsystem,
      algorithm: EncryptionKey_Algorithm.AES_128_GCM,
      key: bytesOf(key),
      lamportTime: uint64(lamportTime, 'the time of a network key'),
    })),
    rootCa: new TextEncoder().encode(update.rootCaPem),
  })
}

/** Three keys for gossip without three for IPsec make dockerd 20.10 panic, at every start. */
function checkKeys(keys: SessionUpdate['networkKeys']): void {
  if (keys.length === 0) return
  for (const subsystem of [GOSSIP, IPSEC]) {
    mustSend(keys.filter((key) => key.subsystem === subsystem).length === KEYS_PER_SUBSYSTEM, `not exactly 3 network keys for ${subsystem}`)
  }
  mustSend(keys.length === 2 * KEYS_PER_SUBSYSTEM, 'network keys for an unknown subsystem')
  mustSend(new Set(keys.map((key) => key.lamportTime)).size === keys.length, 'two network keys of one time')
  for (const { key } of keys) mustSend(bytesOf(key).length === 16, 'a network key that is not 16 bytes long')
}

/** Throws 'invalid-argument' for a message without node or managers. */
export function parseSessionMessage(message: SessionMessage): SessionUpdate {
  const { node } = message
  if (!message.sessionId || !node) throw new ShoalError('invalid-argument', 'the session message has no session or node')
  return {
    sessionId: message.sessionId,
    node: {
      id: node.id,
      name: node.spec?.annotations?.name ?? '',
      labels: node.spec?.annotations?.labels ?? {},
      availability: availabilities.fromWire(node.spec?.availability ?? NodeSpec_Availability.ACTIVE),
      desiredRole: roles.fromWire(node.spec?.desiredRole ?? WireNodeRole.WORKER),
      role: roles.fromWire(node.role),
      rotateCertificate: node.certificate?.status?.state === IssuanceStatus_State.ROTATE,
      attachments: node.attachments.map(parseNetworkAttachment),
      dataPathPort: node.vxlanUdpPort || DEFAULT_DATA_PATH_PORT,
    },
    managers: message.managers.flatMap(({ peer }) => (peer ? [{ nodeId: peer.nodeId, address: peer.addr }] : [])),
    networkKeys: message.networkBootstrapKeys.map(({ subsystem, key, lamportTime }) => ({
      subsystem,
      key: base64(key),
      lamportTime: fromInt64(lamportTime),
    })),
    rootCaPem: new TextDecoder().decode(message.rootCa),
  }
}

/** What an agent of ours says beyond what a stock engine does. */
export interface AgentInfo {
  readonly daemonVersion: string
  readonly dataPlane: { readonly on: boolean; readonly reason: string }
}

export function buildNodeDescription(description: NodeDescription, agent: AgentInfo): WireNodeDescription {
  const { resources, tls } = description
  return create(NodeDescriptionSchema, {
    hostname: description.hostname,
    platform: { ...description.platform },
    resources: {
      nanoCpus: int64(resources.nanoCpus, 'CPUs'),
      memoryBytes: int64(resources.memoryBytes, 'memory'),
      generic: resources.generic.map(buildGenericResource),
    },
    engine: {
      engineVersion: description.engineVersion,
      labels: description.engineLabels,
      plugins: description.plugins.map(({ type, name }) => ({ type, name })),
    },
    tlsInfo: {
      trustRoot: new TextEncoder().encode(tls.trustRoot),
      certIssuerSubject: bytesOf(tls.issuerSubject),
      certIssuerPublicKey: bytesOf(tls.issuerPublicKey),
    },
    shoalAgent: {
      daemonVersion: agent.daemonVersion,
      dataPlane: agent.dataPlane.on,
      dataPlaneOffReason: agent.dataPlane.reason,
    },
  })
}

/** `agent` is undefined for a stock engine. */
export function parseNodeDescription(wire: WireNodeDescription): {
  readonly description: NodeDescription
  readonly agent: AgentInfo | undefined
} {
  const { resources, engine, tlsInfo, shoalAgent } = wire
  return {
    description: {
      hostname: wire.hostname,
      platform: { architecture: wire.platform?.architecture ?? '', os: wire.platform?.os ?? '' },
      resources: {
        nanoCpus: fromInt64(resources?.nanoCpus ?? 0n),
        memoryBytes: fromInt64(resources?.memoryBytes ?? 0n),
        generic: (resources?.generic ?? []).map(parseGenericResource),
      },
      engineVersion: engine?.engineVersion ?? '',
      engineLabels: engine?.labels ?? {},
      plugins: (engine?.plugins ?? []).map(({ type, name }) => ({ type, name })),
      tls: {
        trustRoot: new TextDecoder().decode(tlsInfo?.trustRoot),
        issuerSubject: tlsInfo ? base64(tlsInfo.certIssuerSubject) : '',
        issuerPublicKey: tlsInfo ? base64(tlsInfo.certIssuerPublicKey) : '',
      },
    },
    agent: shoalAgent && {
      daemonVersion: shoalAgent.daemonVersion,
      dataPlane: { on: shoalAgent.dataPlane, reason: shoalAgent.dataPlaneOffReason },
    },
  }
}
