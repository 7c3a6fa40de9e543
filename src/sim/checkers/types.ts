// What the always-on checkers see and how they complain.
import { isTerminal, type Task, TaskState } from '../../model/index.ts'
import type { ContainerState } from '../../ports/index.ts'
import type { Commit, View } from '../../store/index.ts'

/** The world as the checkers may ask about it: facts that no node of the swarm knows as a whole. */
export interface WorldFacts {
  readonly nowMs: number
  /** Since when nothing has been wrong with this host (faults, and the time to recover from them, are over), or undefined. */
  soundSinceMs(host: number): number | undefined
  readonly hosts: number
  /** What the engine of this host holds. */
  containers(host: number): readonly ContainerState[]
  /** A container of this task runs on a host that the manager can know about: sound for a while. */
  runsTask(taskId: string): boolean
  /** The kernel of this host sends new connections to this address. */
  routesTo(host: number, address: string): boolean
  hostOfNode(nodeId: string): number | undefined
  nodeOfHost(host: number): string | undefined
  /** The newest view; undefined while no manager runs. */
  view(): View | undefined
}

export interface Checker {
  readonly name: string
  /** After each durable commit of the leader. */
  onCommit?(commit: Commit, view: View): void
  /** A container of the swarm was started on a host, or has ended (die or destroy). */
  onContainer?(host: number, event: ContainerChange): void
  /** An engine was asked to stop the container of a task. */
  onStopSignal?(host: number, taskId: string): void
  /** A manager has loaded its store again after the death of the last one. `before` is what the last one had shown as durable. */
  onRestart?(before: View, after: View): void
  /** Every virtual second. */
  onSecond?(): void
  /** Faults have stopped and the swarm says it has converged. */
  atEnd?(view: View): void
}

export interface ContainerChange {
  readonly running: boolean
  readonly containerId: string
  readonly taskId: string
  readonly serviceId: string
  /** `web.3.<id>` */
  readonly taskName: string
}

/** Reports a broken rule. The run goes on to the end of the event and stops then. */
export type Complain = (rule: string, what: string) => void

/** It has ended, or was given up before it was placed: nothing will ever run for it. */
export function isOver(task: Task): boolean {
  return isTerminal(task.status.state) || (task.desiredState > TaskState.RUNNING && task.status.state < TaskState.ASSIGNED)
}
