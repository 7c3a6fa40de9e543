// Task states in the order in which they grow, and what follows from them.

/** Values are SwarmKit's wire numbers, so that comparing them is comparing progress. */
export const TaskState = {
  NEW: 0,
  PENDING: 64,
  ASSIGNED: 192,
  ACCEPTED: 256,
  PREPARING: 320,
  READY: 384,
  STARTING: 448,
  RUNNING: 512,
  COMPLETE: 576,
  SHUTDOWN: 640,
  FAILED: 704,
  REJECTED: 768,
  REMOVE: 800,
  ORPHANED: 832,
} as const
export type TaskState = (typeof TaskState)[keyof typeof TaskState]

const NAMES = new Map<TaskState, string>(Object.entries(TaskState).map(([name, value]) => [value, name.toLowerCase()]))

/** `running`, `shutdown`, ... as the API spells it. */
export function taskStateName(state: TaskState): string {
  return NAMES.get(state) ?? 'unknown'
}

export function taskStateOf(name: string): TaskState | undefined {
  for (const [state, known] of NAMES) if (known === name) return state
  return undefined
}

/** The task will never run (again). */
export function isTerminal(state: TaskState): boolean {
  return state > TaskState.RUNNING
}

export type NodeState = 'unknown' | 'down' | 'ready' | 'disconnected'
export type NodeRole = 'worker' | 'manager'
export type Availability = 'active' | 'pause' | 'drain'
