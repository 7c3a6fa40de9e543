// What a node must remember over a restart: its place in the swarm, its certificate, where managers are.
import type { ClusterId, NodeId } from '../lib/index.ts'
import { ShoalError } from '../lib/index.ts'
import type { NodeRole } from '../model/index.ts'
import type { Disk, Identity } from '../ports/index.ts'

export interface SwarmState {
  readonly schema: 1
  readonly nodeId: NodeId
  readonly clusterId: ClusterId
  readonly role: NodeRole
  /** `host:port` where a manager on this node listens. */
  readonly listen: string
  /** `host:port` that others use. */
  readonly advertise: string
  readonly dataPathAddress: string
  readonly managers: readonly { readonly nodeId: string; readonly address: string }[]
  /** Where a manager's store lives: in a journal of its own (undefined), or in the group of managers. */
  readonly journal?: 'group'
}

const STATE = 'swarm.json'
const CERTIFICATES = 'certificates'
const ROOT = `${CERTIFICATES}/swarm-root-ca.crt`
const CERTIFICATE = `${CERTIFICATES}/swarm-node.crt`
const KEY = `${CERTIFICATES}/swarm-node.key`

/** The files of a node on its Disk. `swarm.json` is written last and removed first: it says that the rest is complete. */
export function createNodeFiles(disk: Disk) {
  const text = async (name: string) => {
    const data = await disk.read(name)
    return data && Buffer.from(data).toString()
  }
  const write = (name: string, content: string, mode = 0o600) => disk.write(name, Buffer.from(content), mode)

  return {
    async readState(): Promise<SwarmState | undefined> {
      const content = await text(STATE)
      if (content === undefined) return undefined
      const state = JSON.parse(content) as SwarmState
      if (state.schema !== 1)
        throw new ShoalError('failed-precondition', `the state of this node has schema ${state.schema}, which this version does not know`, {
          next: 'start the newer shoald that wrote it',
        })
      return state
    },
    writeState: (state: SwarmState) => write(STATE, `${JSON.stringify(state, undefined, 2)}\n`),

    async readIdentity(state: SwarmState): Promise<Identity> {
      const [rootCaPem, certificatePem, privateKeyPem] = await Promise.all([text(ROOT), text(CERTIFICATE), text(KEY)])
      if (!rootCaPem || !certificatePem || !privateKeyPem) {
        throw new ShoalError('failed-precondition', 'the certificate of this node is missing', {
          next: 'leave the swarm with "swarm leave --force" and join it again',
        })
      }
      return { nodeId: state.nodeId, clusterId: state.clusterId, role: state.role, certificatePem, privateKeyPem, rootCaPem }
    },
    async writeIdentity(identity: Identity): Promise<void> {
      await write(ROOT, identity.rootCaPem, 0o644)
      await write(KEY, identity.privateKeyPem)
      await write(CERTIFICATE, identity.certificatePem, 0o644)
    },
    async forget(): Promise<void> {
      await disk.remove(STATE)
      await disk.remove(CERTIFICATES)
      await disk.remove('agent')
    },
  }
}
export type NodeFiles = ReturnType<typeof createNodeFiles>
