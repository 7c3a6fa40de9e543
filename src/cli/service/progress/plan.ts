// What the progress of a service looks like at one moment: pure functions from the service, its up-to-date tasks and the nodes to lines.
import type { Node, Service, Task } from '../../../client/index.ts'

/** The life of a task in order; a task's bar is as long as its state is far. */
const STATES = [
  'new',
  'allocated',
  'pending',
  'assigned',
  'accepted',
  'preparing',
  'ready',
  'starting',
  'running',
  'complete',
  'shutdown',
  'failed',
  'rejected',
]
const ORDER: Readonly<Record<string, number>> = Object.fromEntries(STATES.map((state, index) => [state, index + 1]))
const RUNNING = ORDER.running as number

/** More tasks than this are counted, not shown line by line. */
const MAX_TASK_LINES = 20

export interface TaskLine {
  /** `1/5`, or a node's name for global services. */
  readonly label: string
  readonly state: string
  /** 0 to 9: how far the task is on its way to running. */
  readonly step: number
  /** Why the task does not run: its error or the scheduler's reason. */
  readonly reason: string
}

export interface Progress {
  readonly overall: readonly string[]
  readonly tasks: readonly TaskLine[]
  readonly converged: boolean
}

/** How far the service is. `tasks` are those of its present version. */
export function planProgress(service: Service, tasks: readonly Task[], nodes: readonly Node[]): Progress {
  const mode = service.Spec.Mode ?? {}
  const live = new Map(nodes.filter((node) => node.Status.State !== 'down').map((node) => [node.ID, node]))
  const rollingBack = service.UpdateStatus?.State?.startsWith('rollback') === true
  if (mode.ReplicatedJob ?? mode.GlobalJob) return jobProgress(service, tasks, live)
  if (mode.Global) return globalProgress(tasks, live, rollingBack)
  return replicatedProgress(mode.Replicated?.Replicas ?? 1, tasks, live, rollingBack)
}

function replicatedProgress(replicas: number, tasks: readonly Task[], live: ReadonlyMap<string, Node>, rollingBack: boolean): Progress {
  const bySlot = furthest(tasks, live, (task) => String(task.Slot ?? 0))
  const shown = [...bySlot.values()].sort((a, b) => (a.Slot ?? 0) - (b.Slot ?? 0))
  const running = shown.filter(isRunning).length
  const width = String(replicas).length
  return {
    overall: [`overall progress: ${rollingBack ? 'rolling back update: ' : ''}${running} out of ${replicas} tasks`],
    tasks: replicas > MAX_TASK_LINES ? [] : shown.map((task, i) => taskLine(`${String(i + 1).padStart(width)}/${replicas}`, task)),
    converged: running === replicas,
  }
}

function globalProgress(tasks: readonly Task[], live: ReadonlyMap<string, Node>, rollingBack: boolean): Progress {
  const byNode = furthest(
    tasks.filter((task) => task.NodeID),
    live,
    (task) => task.NodeID ?? '',
  )
  // Which nodes are eligible is the manager's knowledge; it makes their tasks together, so the tasks tell.
  if (byNode.size === 0) return { overall: ['overall progress: waiting for new tasks'], tasks: [], converged: false }
  const running = [...byNode.values()].filter(isRunning).length
  const nameOf = (id: string) => live.get(id)?.Description.Hostname || id.slice(0, 12)
  return {
    overall: [`overall progress: ${rollingBack ? 'rolling back update: ' : ''}${running} out of ${byNode.size} tasks`],
    tasks: byNode.size > MAX_TASK_LINES ? [] : [...byNode].map(([id, task]) => taskLine(nameOf(id), task)),
    converged: running === byNode.size,
  }
}

function jobProgress(service: Service, tasks: readonly Task[], live: ReadonlyMap<string, Node>): Progress {
  const iteration = service.JobStatus?.JobIteration.Index ?? 0
  const own = tasks.filter((task) => (task.JobIteration?.Index ?? 0) === iteration)
  const job = service.Spec.Mode?.ReplicatedJob
  const completedKeys = new Set(own.filter((task) => task.Status.State === 'complete').map((task) => (job ? task.Slot : task.NodeID)))
  const nodesWithTasks = new Set(own.map((task) => task.NodeID).filter(Boolean))
  const total = job ? (job.TotalCompletions ?? job.MaxConcurrent ?? 1) : nodesWithTasks.size
  const concurrent = job ? Math.min(job.MaxConcurrent ?? 1, total) : total
  const completed = completedKeys.size
  const active = own.filter((task) => task.Status.State === 'running').length
  if (!job && total === 0) return { overall: ['job progress: waiting for tasks'], tasks: [], converged: false }
  const unfinished = furthest(
    own.filter((task) => task.Status.State !== 'complete'),
    live,
    (task) => (job ? String(task.Slot ?? 0) : (task.NodeID ?? '')),
  )
  const lines = [...unfinished.values()].map((task) =>
    taskLine(job ? `${(task.Slot ?? 0) + 1}/${total}` : (task.NodeID ?? '').slice(0, 12), task),
  )
  return {
    overall: [
      `job progress: ${completed} out of ${total} complete`,
      `active tasks: ${active} out of ${Math.min(concurrent, total - completed || concurrent)} tasks`,
    ],
    tasks: total > MAX_TASK_LINES ? [] : lines,
    converged: completed >= total,
  }
}

function isRunning(task: Task): boolean {
  return (ORDER[task.DesiredState] ?? 0) <= RUNNING && task.Status.State === 'running'
}

function taskLine(label: string, task: Task): TaskLine {
  return {
    label,
    state: task.Status.State,
    step: Math.min(ORDER[task.Status.State] ?? 0, RUNNING),
    reason:
      task.Status.Err ||
      (task.Status.State === 'pending' && task.Status.Message !== 'pending task scheduling' ? (task.Status.Message ?? '') : ''),
  }
}

/**
 * One task for each key: the one that is wanted most (the lowest desired state), then the one that is furthest; start-first updates have two.
 * Tasks on nodes that are down do not count.
 */
function furthest(tasks: readonly Task[], live: ReadonlyMap<string, Node>, keyOf: (task: Task) => string): Map<string, Task> {
  const chosen = new Map<string, Task>()
  for (const task of tasks) {
    const desired = ORDER[task.DesiredState]
    const state = ORDER[task.Status.State]
    if (desired === undefined || state === undefined) continue
    if (task.NodeID && !live.has(task.NodeID)) continue
    const key = keyOf(task)
    const known = chosen.get(key)
    const knownDesired = ORDER[known?.DesiredState ?? ''] ?? Number.POSITIVE_INFINITY
    const knownState = ORDER[known?.Status.State ?? ''] ?? 0
    if (!known || desired < knownDesired || (desired === knownDesired && state > knownState)) chosen.set(key, task)
  }
  return chosen
}
