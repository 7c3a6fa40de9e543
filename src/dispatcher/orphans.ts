// Tasks of nodes that are gone for good: nobody will report on them any more.
import { errorText, type Logger, type NodeId } from '../lib/index.ts'
import { holdsOf, isTerminal, type Node, TaskState } from '../model/index.ts'
import type { Clock, Timer } from '../ports/index.ts'
import { type Change, putHold, type Store } from '../store/index.ts'
import type { DispatcherLimits } from './limits.ts'

/** Tasks in one transaction; a node with more gets several. */
const BATCH = 100

export class Orphans {
  readonly #store: Store
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #limits: DispatcherLimits
  readonly #timers = new Map<NodeId, Timer>()

  constructor(store: Store, clock: Clock, logger: Logger, limits: DispatcherLimits) {
    this.#store = store
    this.#clock = clock
    this.#logger = logger
    this.#limits = limits
  }

  /** Looks at what is: nodes that are down, and tasks whose node was removed while we were away. */
  start(): void {
    const view = this.#store.view()
    for (const node of view.nodes.values()) this.#watch(node)
    const lost = new Set<NodeId>()
    for (const task of view.tasks.values()) if (task.nodeId !== undefined && !view.nodes.get(task.nodeId)) lost.add(task.nodeId)
    for (const nodeId of lost) this.#orphan(nodeId)
  }

  stop(): void {
    for (const timer of this.#timers.values()) timer.cancel()
    this.#timers.clear()
  }

  changed(change: Change): void {
    if (change.table !== 'node' || change.before?.downSince === change.after?.downSince) {
      if (change.table === 'node' && !change.after) this.#gone(change.id)
      return
    }
    this.#timers.get(change.id)?.cancel()
    this.#timers.delete(change.id)
    if (change.after) this.#watch(change.after)
    else this.#gone(change.id)
  }

  #gone(nodeId: NodeId): void {
    this.#timers.get(nodeId)?.cancel()
    this.#timers.delete(nodeId)
    this.#orphan(nodeId)
  }

  #watch(node: Node): void {
    if (node.status.state !== 'down' || node.downSince === undefined) return
    const waitMs = Math.max(0, node.downSince + this.#limits.orphanAfterMs - this.#clock.now())
    this.#timers.set(
      node.id,
      this.#clock.setTimer(waitMs, () => {
        this.#timers.delete(node.id)
        this.#orphan(node.id)
      }),
    )
  }

  #orphan(nodeId: NodeId): void {
    this.#orphanAll(nodeId).catch((error: unknown) =>
      this.#logger.error('tasks of a lost node were not orphaned', { node: nodeId, error: errorText(error) }),
    )
  }

  async #orphanAll(nodeId: NodeId): Promise<void> {
    for (;;) {
      const more = await this.#store.transact((tx) => {
        const node = tx.nodes.get(nodeId)
        if (node && node.status.state !== 'down') return false
        let count = 0
        for (const task of [...tx.tasks.byNode(nodeId)]) {
          if (isTerminal(task.status.state) || task.status.state < TaskState.ASSIGNED) continue
          if (count >= BATCH) return true
          count += 1
          for (const hold of holdsOf(task, tx.now)) putHold(tx, hold)
          if (!node && task.attachmentSpec) {
            tx.tasks.delete(task.id) // a single container's place: there is no history to keep
            continue
          }
          const message = node ? 'Task belonged to a node that was down for too long' : 'Task belonged to a node that has been deleted'
          tx.tasks.update({ ...task, status: { ...task.status, state: TaskState.ORPHANED, at: tx.now, message } })
        }
        return false
      })
      if (!more) return
    }
  }
}
