// Rules about what runs: containers on all engines of the world, seen as nobody in the swarm can see them.

import type { ServiceId, TaskId } from '../../lib/index.ts'
import { drainsStartFirst, TaskState } from '../../model/index.ts'
import type { View } from '../../store/index.ts'
import type { Checker, Complain, ContainerChange, WorldFacts } from './types.ts'

/** A host counts as reachable when it has been without faults this long: by then its agent has been told what to stop, and has stopped it. */
const SETTLED_MS = 60_000
/** An order of update that was valid until a moment ago still explains an overlap. */
const ORDER_MEMORY_MS = 90_000

interface Running {
  readonly host: number
  readonly taskId: string
  readonly sinceMs: number
}

/** Running containers a slot: one, or two while the service updates start-first or leaves a drained node that way; and never two of one task. */
export function slots(world: WorldFacts, complain: Complain): Checker {
  const bySlot = new Map<string, Map<string, Running>>()
  const crowded = new Set<string>()
  const startFirst = new Map<string, number>()
  /** When a node was last seen drained: its tasks may have successors beside them, where their service allows it. */
  const drained = new Map<string, number>()

  const keyOf = (change: ContainerChange): string => {
    const rest = change.taskName.slice(0, change.taskName.length - change.taskId.length - 1)
    return `${change.serviceId}/${rest.slice(rest.lastIndexOf('.') + 1)}`
  }

  const limitOf = (serviceId: string, view: View): number => {
    const spec = view.services.get(serviceId as ServiceId)?.spec // gone when it was removed in the middle of an update
    const orders = [spec?.update?.order, spec?.rollback?.order]
    if (orders.includes('start-first')) startFirst.set(serviceId, world.nowMs)
    return recently(startFirst.get(serviceId)) ? 2 : 1
  }

  const recently = (atMs: number | undefined): boolean => atMs !== undefined && world.nowMs - atMs < ORDER_MEMORY_MS

  const settled = (host: number): boolean => {
    const since = world.soundSinceMs(host)
    return since !== undefined && world.nowMs - since >= SETTLED_MS
  }

  const check = (key: string): void => {
    const containers = bySlot.get(key)
    if (!containers || containers.size < 2) {
      crowded.delete(key)
      return
    }
    const view = world.view()
    if (!view || !settled(0)) return
    const serviceId = key.slice(0, key.indexOf('/'))
    const limit = limitOf(serviceId, view)
    const here = [...containers].filter(([, running]) => settled(running.host))
    // A task that was scaled away does not count for its old slot any more.
    const counted = here.filter(([, { taskId }]) => (view.tasks.get(taskId as TaskId)?.desiredState ?? TaskState.REMOVE) < TaskState.REMOVE)
    const isLeaving = ([, { host }]: (typeof counted)[number]) => recently(drained.get(world.nodeOfHost(host) ?? ''))
    const service = view.services.get(serviceId as ServiceId)
    const mayOverlap = limit < 2 && service !== undefined && counted.some(isLeaving) && drainsStartFirst(service)
    if (counted.length > (mayOverlap ? 2 : limit)) {
      const who = counted.map(([id, { host, taskId }]) => `task ${taskId} (container ${id.replace(/^0+/, '')}) on host ${host}`).join(', ')
      complain('slots', `${counted.length} containers run for slot ${key}, allowed ${limit}: ${who}`)
    }
  }

  return {
    name: 'slots',
    onCommit(commit, view) {
      for (const change of commit.changes) {
        if (change.table === 'node' && [change.before, change.after].some((node) => node?.spec.availability === 'drain')) {
          drained.set(change.id, world.nowMs)
        }
        if (change.table !== 'service') continue
        for (const service of [change.before, change.after]) {
          if (service && (service.spec.update?.order === 'start-first' || service.spec.rollback?.order === 'start-first')) {
            startFirst.set(change.id, world.nowMs)
          }
        }
        if (change.after) limitOf(change.id, view)
      }
    },
    onContainer(host, change) {
      const key = keyOf(change)
      const id = `${host}:${change.containerId}`
      let containers = bySlot.get(key)
      if (!change.running) {
        containers?.delete(id)
        if (containers?.size === 0) bySlot.delete(key)
        if (crowded.has(key)) check(key)
        return
      }
      if (!containers) {
        containers = new Map()
        bySlot.set(key, containers)
      }
      for (const [otherId, other] of containers) {
        if (other.taskId === change.taskId && otherId !== id) {
          complain('one-task-one-container', `task ${change.taskId} runs in two containers: on host ${other.host} and on host ${host}`)
        }
      }
      containers.set(id, { host, taskId: change.taskId, sinceMs: world.nowMs })
      if (containers.size > 1) {
        crowded.add(key)
        check(key)
      }
    },
    onSecond() {
      for (const node of world.view()?.nodes.values() ?? []) if (node.spec.availability === 'drain') drained.set(node.id, world.nowMs)
      for (const key of crowded) check(key)
    },
  }
}
