// Acknowledged change: when a task counts as known everywhere, and when one that shall stop may be told so.
import type { MeshAcks } from '../dispatcher/index.ts'
import type { Logger, TaskId } from '../lib/index.ts'
import type { Acknowledged, Acknowledgements } from '../loops/index.ts'
import { drainTimeoutMs, isEndpoint, type Task } from '../model/index.ts'
import type { Clock } from '../ports/index.ts'
import type { View } from '../store/index.ts'

/** A node that lives but does not acknowledge (its kernel refuses) holds others up no longer than this. Dead ones are found after 5 s and left out. */
export const ACK_LIMIT_MS = 20_000

export interface AcknowledgeDeps {
  readonly mesh: MeshAcks
  readonly clock: Clock
  readonly log: Logger
  /** To be looked at again. */
  readonly wake: (loop: 'release' | 'holds', keys: readonly string[]) => void
}

/** How many of the last changes are remembered for their times. */
const TIMES = 1_000

/** One task that is waited for. Times are monotonic. */
interface Wait {
  readonly task: Task
  readonly phase: 'serve' | 'withdraw' | 'drain'
  readonly sinceMs: number
  drained: boolean
}

/**
 * Lives in the leader's memory. A new leader begins its waits anew: what nodes have acknowledged they announce again, and bounds count from its own start.
 */
export class MeshAcknowledgements implements Acknowledgements {
  readonly #deps: AcknowledgeDeps
  readonly #waits = new Map<TaskId, Wait>()
  /** Keys of holds and the commit that all nodes must have. */
  readonly #holds = new Map<string, number>()
  readonly #times: number[] = []
  #changes = 0
  readonly #unsubscribe: readonly (() => void)[]

  constructor(deps: AcknowledgeDeps) {
    this.#deps = deps
    this.#unsubscribe = [deps.mesh.onAcked((version) => this.#acked(version)), deps.mesh.onDrained((taskIds) => this.#drained(taskIds))]
  }

  stop(): void {
    for (const unsubscribe of this.#unsubscribe) unsubscribe()
    this.#waits.clear()
    this.#holds.clear()
  }

  /** Changes that every live node has acknowledged since this leader began, and how long the last ones took from their commit on. */
  times(): { readonly changes: number; readonly ms: readonly number[] } {
    return { changes: this.#changes, ms: this.#times }
  }

  #note(tookMs: number): void {
    this.#times[this.#changes % TIMES] = tookMs
    this.#changes += 1
  }

  served(task: Task): Acknowledged {
    if (!isEndpoint(task)) return 'yes'
    return this.#everywhere(task, 'serve')
  }

  released(task: Task, view: View): Acknowledged {
    // What never ran was never announced; what has ended was withdrawn by that.
    if (!isEndpoint(task)) return this.#done(task.id)
    const wait = this.#waits.get(task.id)
    if (wait?.phase !== 'drain') {
      const answer = this.#everywhere(task, 'withdraw')
      if (answer !== 'yes') return answer
    }
    return this.#drain(task, view)
  }

  everywhere(key: string, version: number): boolean {
    const reached = this.#deps.mesh.lowestAcked() >= version
    if (reached) this.#holds.delete(key)
    else this.#holds.set(key, version)
    return reached
  }

  forget(id: TaskId): void {
    const wait = this.#waits.get(id)
    if (wait?.phase === 'drain' && wait.task.nodeId) this.#deps.mesh.forget(wait.task.nodeId, id)
    this.#waits.delete(id)
  }

  /** All live nodes have the commit that made the task what it is. */
  #everywhere(task: Task, phase: 'serve' | 'withdraw'): Acknowledged {
    const { mesh, log, clock } = this.#deps
    const wait = this.#waits.get(task.id)
    if (mesh.lowestAcked() >= task.version) {
      if (wait?.phase === phase) this.#note(clock.monotonicMs() - wait.sinceMs)
      return this.#done(task.id)
    }
    const leftMs = this.#begin(task, phase).sinceMs + ACK_LIMIT_MS - clock.monotonicMs()
    if (leftMs > 0) return this.#later(leftMs)
    log.warn('not every node has acknowledged a change of the mesh; going on without', { task: task.id, change: phase })
    return this.#done(task.id)
  }

  /** Its connections go on for a while. A node that cannot be asked is not waited for. */
  #drain(task: Task, view: View): Acknowledged {
    const { mesh, clock } = this.#deps
    const service = task.serviceId && view.services.get(task.serviceId)
    const revision = task.serviceId && view.specRevisions.of(task.serviceId, task.specVersion)
    // Who removes a service does not ask for its connections to end in peace.
    if (!service || !revision || !task.nodeId || !mesh.isLive(task.nodeId)) return this.#done(task.id)
    const timeoutMs = drainTimeoutMs(service.spec.labels, revision.task.container)
    if (timeoutMs === 0) return this.#done(task.id)
    const wait = this.#begin(task, 'drain')
    const leftMs = wait.sinceMs + timeoutMs - clock.monotonicMs()
    if (wait.drained || leftMs <= 0) return this.#done(task.id)
    mesh.drain(task.nodeId, task.id)
    return this.#later(leftMs)
  }

  #begin(task: Task, phase: Wait['phase']): Wait {
    const present = this.#waits.get(task.id)
    const same = present?.phase === phase
    const wait: Wait = { task, phase, sinceMs: same ? present.sinceMs : this.#deps.clock.monotonicMs(), drained: same && present.drained }
    this.#waits.set(task.id, wait)
    return wait
  }

  #done(id: TaskId): 'yes' {
    this.forget(id)
    return 'yes'
  }

  #later(afterMs: number): Acknowledged {
    return { wakeAt: this.#deps.clock.now() + Math.ceil(afterMs) }
  }

  #acked(version: number): void {
    const ids: TaskId[] = []
    for (const [id, { task, phase }] of this.#waits) if (phase !== 'drain' && task.version <= version) ids.push(id)
    if (ids.length > 0) this.#deps.wake('release', ids)
    const keys: string[] = []
    for (const [key, wanted] of this.#holds) if (wanted <= version) keys.push(key)
    if (keys.length > 0) this.#deps.wake('holds', keys)
  }

  #drained(taskIds: readonly TaskId[]): void {
    const known = taskIds.filter((id) => {
      const wait = this.#waits.get(id)
      if (wait) wait.drained = true
      return wait !== undefined
    })
    if (known.length > 0) this.#deps.wake('release', known)
  }
}
