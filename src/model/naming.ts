// Names that Swarm gives to tasks and containers.
import type { NodeId, TaskId } from '../lib/index.ts'

/** `web.3`; `web.<nodeId>` for tasks of global services and global jobs (and slot 0 of them). */
export function slotName(
  serviceName: string,
  task: { readonly slot: number; readonly nodeId: NodeId | undefined },
  perNode: boolean,
): string {
  return `${serviceName}.${perNode ? (task.nodeId ?? '') : task.slot}`
}

/** `web.3.<taskId>`, `web.<nodeId>.<taskId>`: the task's full name and its container's. Slot 0 means one per node, as stock engines read it. */
export function taskName(
  serviceName: string,
  task: { readonly id: TaskId; readonly slot: number; readonly nodeId: NodeId | undefined },
): string {
  return `${serviceName}.${task.slot > 0 ? task.slot : (task.nodeId ?? '')}.${task.id}`
}

/** Labels by which tools find the containers of a task (docker-api.md 1.6). */
export const CONTAINER_LABELS = {
  nodeId: 'com.docker.swarm.node.id',
  serviceId: 'com.docker.swarm.service.id',
  serviceName: 'com.docker.swarm.service.name',
  task: 'com.docker.swarm.task',
  taskId: 'com.docker.swarm.task.id',
  taskName: 'com.docker.swarm.task.name',
} as const
