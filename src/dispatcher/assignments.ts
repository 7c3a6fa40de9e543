// One node's assignments: what it was told, what has changed since, and the next message of the chain.
import { type ConfigId, errorText, type NodeId, type SecretId, type TaskId } from '../lib/index.ts'
import { isTerminal, type Task, TaskState } from '../model/index.ts'
import type { AssignmentsMessage } from '../proto/index.ts'
import type { View } from '../store/index.ts'
import { type AssignmentChange, type Assignments, buildAssignments } from '../wire/index.ts'
import { assignedConfig, assignedSecret, assignedTask, concernsNode, isAssigned, referencesOf } from './assigned.ts'
import { Bell } from './bell.ts'

/** A task that cannot be sent as it stands: somebody has to tell the user. */
export type Refuse = (taskId: TaskId, sentence: string) => void

interface Sent {
  readonly desired: TaskState
  readonly specVersion: number
  readonly notBefore: number | undefined
  readonly attachments: Task['attachments']
  readonly secrets: readonly SecretId[]
  readonly configs: readonly ConfigId[]
}

/** Lives as long as one Assignments stream. Cost is bounded by what changed, apart from the first message. */
export class AssignmentTracker {
  readonly bell = new Bell()
  readonly #nodeId: NodeId
  readonly #ownAgent: boolean
  readonly #refuse: Refuse
  readonly #sent = new Map<TaskId, Sent>()
  readonly #secretUsers = new Users<SecretId>()
  readonly #configUsers = new Users<ConfigId>()
  readonly #dirty = new Set<TaskId>()
  /** Secrets and configs of this node's tasks with new content. */
  readonly #dirtyObjects = new Map<string, 'secret' | 'config'>()
  #sequence = 0

  constructor(nodeId: NodeId, ownAgent: boolean, refuse: Refuse) {
    this.#nodeId = nodeId
    this.#ownAgent = ownAgent
    this.#refuse = refuse
  }

  get dirtyCount(): number {
    return this.#dirty.size
  }

  /** A task that is or was this node's has changed. */
  changed(before: Task | undefined, after: Task | undefined): void {
    if (before && after && !concernsNode(before, after)) return
    this.#dirty.add((after ?? before)!.id)
    this.bell.ring()
  }

  /** A secret or config has new content; only a node whose tasks use it is told. */
  contentChanged(kind: 'secret' | 'config', id: string): void {
    const users = kind === 'secret' ? this.#secretUsers : this.#configUsers
    if (!users.has(id)) return
    this.#dirtyObjects.set(id, kind)
    this.bell.ring()
  }

  /** The first message: everything, and nothing else stays on the node. */
  complete(view: View): AssignmentsMessage {
    const changes: AssignmentChange[] = []
    for (const task of view.tasks.byNode(this.#nodeId)) if (isAssigned(task, this.#nodeId)) this.#update(view, task, changes)
    this.#dirty.clear()
    this.#dirtyObjects.clear()
    return this.#message(changes)
  }

  /** The next changes, undefined when there are none. `limit` bounds tasks; the secrets and configs that they bring come along. */
  incremental(view: View, limit: number): AssignmentsMessage | undefined {
    const changes: AssignmentChange[] = []
    for (const [id, kind] of this.#dirtyObjects) this.#content(view, kind, id, changes)
    this.#dirtyObjects.clear()
    let tasks = 0
    for (const id of this.#dirty) {
      if (tasks >= limit) break
      tasks += 1
      this.#dirty.delete(id)
      const task = view.tasks.get(id)
      if (task && isAssigned(task, this.#nodeId)) this.#update(view, task, changes)
      else this.#remove(id, changes)
    }
    if (this.#dirty.size > 0) this.bell.ring()
    return changes.length === 0 ? undefined : this.#message(changes)
  }

  #content(view: View, kind: 'secret' | 'config', id: string, changes: AssignmentChange[]): void {
    const secret = kind === 'secret' ? view.secrets.get(id as SecretId) : undefined
    const config = kind === 'config' ? view.configs.get(id as ConfigId) : undefined
    if (secret && this.#secretUsers.has(id)) changes.push({ action: 'update', kind: 'secret', secret: assignedSecret(secret) })
    if (config && this.#configUsers.has(id)) changes.push({ action: 'update', kind: 'config', config: assignedConfig(config) })
  }

  #update(view: View, task: Task, changes: AssignmentChange[]): void {
    try {
      const before = this.#sent.get(task.id)
      const { task: assigned, endpoint } = assignedTask(view, task, this.#nodeId)
      // What was told to stop is never told to go on: its report of RUNNING may have crossed our order.
      const desired =
        before && before.desired > TaskState.RUNNING
          ? (Math.max(before.desired, assigned.desiredState) as TaskState)
          : assigned.desiredState
      const change: AssignmentChange = { action: 'update', kind: 'task', task: { ...assigned, desiredState: desired }, endpoint }
      buildAssignments({ complete: true, appliesTo: '', resultsIn: '1', changes: [change] }, this.#ownAgent) // refuses what would break the node
      const references = isTerminal(task.status.state) ? { secrets: [], configs: [] } : referencesOf(assigned.spec)
      // Objects before the task that needs them; what nobody needs any more goes last.
      for (const id of references.secrets) {
        const secret = this.#secretUsers.add(id, task.id) ? view.secrets.get(id) : undefined
        if (secret) changes.push({ action: 'update', kind: 'secret', secret: assignedSecret(secret) })
      }
      for (const id of references.configs) {
        const config = this.#configUsers.add(id, task.id) ? view.configs.get(id) : undefined
        if (config) changes.push({ action: 'update', kind: 'config', config: assignedConfig(config) })
      }
      const { specVersion, notBefore, attachments } = task
      const same =
        before?.desired === desired &&
        before.specVersion === specVersion &&
        before.notBefore === notBefore &&
        before.attachments === attachments
      if (!same) changes.push(change) // a task that ended only gives back what it needed
      this.#sent.set(task.id, { desired, specVersion, notBefore, attachments, ...references })
      if (before) this.#drop(task.id, before, references, changes)
    } catch (error) {
      this.#refuse(task.id, errorText(error))
    }
  }

  #remove(id: TaskId, changes: AssignmentChange[]): void {
    const before = this.#sent.get(id)
    if (!before) return
    this.#sent.delete(id)
    changes.push({ action: 'remove', kind: 'task', id })
    this.#drop(id, before, { secrets: [], configs: [] }, changes)
  }

  #drop(id: TaskId, before: Sent, now: Pick<Sent, 'secrets' | 'configs'>, changes: AssignmentChange[]): void {
    for (const secret of before.secrets) {
      if (!now.secrets.includes(secret) && this.#secretUsers.remove(secret, id))
        changes.push({ action: 'remove', kind: 'secret', id: secret })
    }
    for (const config of before.configs) {
      if (!now.configs.includes(config) && this.#configUsers.remove(config, id))
        changes.push({ action: 'remove', kind: 'config', id: config })
    }
  }

  #message(changes: readonly AssignmentChange[]): AssignmentsMessage {
    const appliesTo = this.#sequence === 0 ? '' : String(this.#sequence)
    this.#sequence += 1
    const assignments: Assignments = { complete: appliesTo === '', appliesTo, resultsIn: String(this.#sequence), changes }
    return buildAssignments(assignments, this.#ownAgent)
  }
}

/** Which tasks need an object. */
class Users<Id extends string> {
  readonly #users = new Map<Id, Set<TaskId>>()

  has(id: string): boolean {
    return this.#users.has(id as Id)
  }

  /** True when it is the first one. */
  add(id: Id, task: TaskId): boolean {
    const users = this.#users.get(id)
    if (users) {
      users.add(task)
      return false
    }
    this.#users.set(id, new Set([task]))
    return true
  }

  /** True when it was the last one. */
  remove(id: Id, task: TaskId): boolean {
    const users = this.#users.get(id)
    if (!users?.delete(task) || users.size > 0) return false
    this.#users.delete(id)
    return true
  }
}
