// Rules about the life of a task in the store.
import { type Task, TaskState, taskStateName } from '../../model/index.ts'
import { type Checker, type Complain, isOver, type WorldFacts } from './types.ts'

/** Observed and desired states only grow, a node once given stays, servedAt and releasedAt are set once, the object of a running task is not deleted. */
export function taskLife(world: Pick<WorldFacts, 'runsTask'>, complain: Complain): Checker {
  return {
    name: 'task-life',
    onCommit(commit) {
      for (const change of commit.changes) {
        if (change.table !== 'task') continue
        const { before, after } = change
        if (after && before) grows(before, after, complain)
        // The last report and the deletion may share a commit, so the engines are asked, not the store.
        else if (before && world.runsTask(before.id)) complain('task-life', `task ${before.id} was deleted while its container runs`)
      }
    },
  }
}

function grows(before: Task, after: Task, complain: Complain): void {
  const broken = (what: string) => complain('task-life', `task ${after.id}: ${what}`)
  if (after.status.state < before.status.state) {
    broken(`observed state went back from ${taskStateName(before.status.state)} to ${taskStateName(after.status.state)}`)
  }
  if (after.desiredState < before.desiredState) {
    broken(`desired state went back from ${taskStateName(before.desiredState)} to ${taskStateName(after.desiredState)}`)
  }
  if (before.nodeId !== undefined && after.nodeId !== before.nodeId) broken(`moved from ${before.nodeId} to ${after.nodeId}`)
  if (after.serviceId !== before.serviceId || after.slot !== before.slot) broken('changed its service or slot')
  if (after.specVersion !== before.specVersion) broken('changed its spec')
  if (before.servedAt !== undefined && after.servedAt !== before.servedAt) broken('servedAt changed')
  if (before.releasedAt !== undefined && after.releasedAt !== before.releasedAt) broken('releasedAt changed')
}

/** No task is assigned to a node that is drained, paused or down, as of the commit that assigns it. */
export function assignment(complain: Complain): Checker {
  return {
    name: 'assignment',
    onCommit(commit, view) {
      for (const change of commit.changes) {
        if (change.table !== 'task' || !change.after) continue
        const { before, after } = change
        if (after.nodeId === undefined || after.status.state < TaskState.ASSIGNED) continue
        if (before && before.status.state >= TaskState.ASSIGNED) continue
        const node = view.nodes.get(after.nodeId)
        // A node that changed in the very same commit was fit a transaction earlier.
        const changed = commit.changes.some((other) => other.table === 'node' && other.id === after.nodeId)
        if (changed) continue
        if (!node) complain('assignment', `task ${after.id} was assigned to node ${after.nodeId}, which is not there`)
        else if (node.spec.availability !== 'active') {
          complain('assignment', `task ${after.id} was assigned to ${after.nodeId}, which is ${node.spec.availability}`)
        } else if (node.status.state === 'down') complain('assignment', `task ${after.id} was assigned to ${after.nodeId}, which is down`)
      }
    },
  }
}

/** Dead tasks of a slot stay within the retention limit, given some time to reap. */
export function history(complain: Complain, slack = 12): Checker {
  return {
    name: 'history',
    onCommit(commit, view) {
      const limit = view.cluster?.spec.taskHistoryRetentionLimit ?? 5
      for (const change of commit.changes) {
        if (change.table !== 'task' || change.before || !change.after) continue
        const { serviceId, slot, nodeId } = change.after
        if (serviceId === undefined) continue
        const siblings =
          slot > 0 ? view.tasks.bySlot(serviceId, slot) : [...view.tasks.byService(serviceId)].filter((task) => task.nodeId === nodeId)
        let dead = 0
        for (const task of siblings) if (isOver(task)) dead += 1
        if (dead > limit + slack) complain('history', `slot ${slot} of ${serviceId} keeps ${dead} dead tasks; the limit is ${limit}`)
      }
    },
    atEnd(view) {
      const limit = view.cluster?.spec.taskHistoryRetentionLimit ?? 5
      const dead = new Map<string, number>()
      for (const task of view.tasks.values()) {
        if (!isOver(task)) continue
        const key = `${task.serviceId}/${task.slot || task.nodeId}`
        const count = (dead.get(key) ?? 0) + 1
        dead.set(key, count)
        if (count > limit + 1) complain('history', `${key} keeps ${count} dead tasks at rest; the limit is ${limit}`)
      }
    },
  }
}
