// How a node is drained: tasks go start-first where their service allows it, until a deadline; after it the old way, at once.
import type { Instant } from '../lib/index.ts'
import { updateConfigOf } from './defaults.ts'
import { DRAIN_DEADLINE_LABEL, DRAIN_ORDER_LABEL, parseDurationMs } from './labels.ts'
import type { Node, Service } from './objects.ts'

/** Long enough for large images; only tasks whose successors do not come up wait that long. */
export const DEFAULT_DRAIN_DEADLINE_MS = 600_000

/** When tasks of this service have to leave the drained node, come what may. */
export function drainDeadline(node: Node, service: Service): Instant {
  const since = node.drain?.since ?? node.updatedAt
  const asked = node.drain?.deadlineMs ?? deadlineOf(node.spec.labels) ?? deadlineOf(service.spec.labels)
  return since + (asked ?? DEFAULT_DRAIN_DEADLINE_MS)
}

function deadlineOf(labels: Node['spec']['labels']): number | undefined {
  const text = labels[DRAIN_DEADLINE_LABEL]
  return text === undefined ? undefined : parseDurationMs(text)
}

/**
 * Whether a successor may run beside the task that leaves. Two tasks of one slot are on two nodes then, so host ports and limits per node do not stand in the way;
 * what they write to may: a volume or a directory has one writer unless the service says otherwise.
 */
export function drainsStartFirst({ spec }: Service): boolean {
  const order = spec.labels[DRAIN_ORDER_LABEL]
  if (order === 'start-first' || order === 'stop-first') return order === 'start-first'
  return (spec.task.container?.mounts ?? []).every((mount) => mount.type === 'tmpfs' || mount.readOnly === true)
}

/** How many tasks of a service that cannot start first may be away from one drained node at the same time: as many as an update would take. */
export function drainParallelism({ spec }: Service): number {
  const { parallelism } = updateConfigOf(spec.update)
  return parallelism > 0 ? parallelism : Number.POSITIVE_INFINITY
}
