// Which tasks the mesh announces, and what of them has to rest when they end.
import type { NodeId } from '../lib/index.ts'
import type { AddressHold, Task } from './objects.ts'
import { TaskState } from './states.ts'

/** Nodes know its addresses: it runs on networks, for a service or as a single container on an attachable one. */
export function isEndpoint(task: Task | undefined): task is Task & { nodeId: NodeId } {
  return task?.nodeId !== undefined && task.status.state === TaskState.RUNNING && task.attachments.length > 0
}

/** Nobody is held up by a node that lives and never acknowledges for longer than this. */
const HOLD_LIMIT_MS = 3_600_000

/** What may not be given to another task until all nodes have forgotten this one. To be written with the end of the task, so that there is no moment between. */
export function holdsOf(task: Task, now: number): Pick<AddressHold, 'id' | 'networkId' | 'address' | 'until'>[] {
  if (!isEndpoint(task)) return []
  return task.attachments.flatMap(({ networkId, addresses }) =>
    addresses.map((address) => ({ id: `${networkId}/${address.split('/', 1)[0]}`, networkId, address, until: now + HOLD_LIMIT_MS })),
  )
}
