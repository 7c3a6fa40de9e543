// Acknowledged change as the kernels of the world show it: nobody is told to stop while a live node still sends it new connections.
import type { TaskId } from '../../lib/index.ts'
import { TaskState } from '../../model/index.ts'
import type { Checker, Complain, WorldFacts } from './types.ts'

/** The bound of the manager's wait (ACK_LIMIT_MS), and a second for its way. */
const BOUND_MS = 21_000
/** A host counts when nothing has been wrong with it this long: by then it is known as live and has caught up. */
const TRUST_MS = 30_000

/** Not a stop that is the task's own fault (it is unhealthy, and its node stops it without being asked): then its desired state still is RUNNING. */
export function withdrawal(world: WorldFacts, complain: Complain): Checker {
  const orderedAtMs = new Map<string, number>()
  const trusted = (host: number): boolean => {
    const since = world.soundSinceMs(host)
    return since !== undefined && world.nowMs - since > TRUST_MS
  }
  return {
    name: 'withdrawal',
    onCommit(commit) {
      for (const change of commit.changes) {
        if (change.table !== 'task') continue
        if (!change.after) orderedAtMs.delete(change.id)
        else if (change.after.desiredState > TaskState.RUNNING && (change.before?.desiredState ?? 0) <= TaskState.RUNNING)
          orderedAtMs.set(change.id, world.nowMs)
      }
    },
    onStopSignal(host, taskId) {
      const view = world.view()
      const task = view?.tasks.get(taskId as TaskId)
      if (!view || !task || !trusted(0) || !trusted(host)) return
      if (task.desiredState <= TaskState.RUNNING || task.status.state !== TaskState.RUNNING) return
      const orderedMs = orderedAtMs.get(taskId)
      if (orderedMs === undefined || world.nowMs - orderedMs > BOUND_MS) return
      const addresses = task.attachments.flatMap((attachment) => attachment.addresses.map((cidr) => cidr.split('/', 1)[0]!))
      for (let other = 0; other < world.hosts; other += 1) {
        if (!trusted(other)) continue
        const address = addresses.find((candidate) => world.routesTo(other, candidate))
        if (address !== undefined)
          complain('withdrawn-before-stop', `task ${taskId} on host ${host} was told to stop while host ${other} sends to ${address}`)
      }
    },
  }
}
