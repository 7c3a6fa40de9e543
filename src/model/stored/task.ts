// Tasks as they lie in the heap, a million of them: one class with few fields, and every text that repeats there once.
import type { Instant, NetworkId, NodeId, ServiceId, TaskId } from '../../lib/index.ts'
import type { ContainerStatus, Meta, Task, TaskAttachment, TaskStatus } from '../objects.ts'
import type { TaskState } from '../states.ts'

/** Texts that are kept for sharing. Beyond it all are forgotten: what is in use stays shared, new ones start again. */
const MOST_TEXTS = 200_000

/** The same text is the same string. */
export class SharedTexts {
  readonly #texts = new Map<string, string>()

  of<T extends string>(text: T): T {
    const known = this.#texts.get(text)
    if (known !== undefined) return known as T
    if (this.#texts.size >= MOST_TEXTS) this.#texts.clear()
    this.#texts.set(text, text)
    return text
  }
}

const NO_ATTACHMENTS: Task['attachments'] = []

/** All fields are own properties, so that `{ ...task, … }` copies them; those that few tasks have exist only there. */
class TaskRecord implements Task {
  readonly id: TaskId
  readonly version: number
  readonly createdAt: Instant
  readonly updatedAt: Instant
  readonly serviceId: ServiceId | undefined
  readonly slot: number
  readonly nodeId: NodeId | undefined
  readonly specVersion: number
  readonly desiredState: TaskState
  readonly status: TaskStatus
  readonly attachments: readonly TaskAttachment[]
  readonly servedAt: Instant | undefined
  declare readonly genericResources?: Task['genericResources']
  declare readonly jobIteration?: number
  declare readonly releasedAt?: Instant
  declare readonly notBefore?: Instant
  declare readonly restart?: Task['restart']
  declare readonly endReason?: Task['endReason']
  declare readonly attachmentSpec?: Task['attachmentSpec']

  constructor(task: Omit<Task, keyof Meta>, meta: Meta, before: Task | undefined, texts: SharedTexts) {
    this.id = before ? before.id : task.id
    this.version = meta.version
    this.createdAt = meta.createdAt
    this.updatedAt = meta.updatedAt
    this.serviceId = shared(task.serviceId, before?.serviceId, texts)
    this.slot = task.slot
    this.nodeId = shared(task.nodeId, before?.nodeId, texts)
    this.specVersion = task.specVersion
    this.desiredState = task.desiredState
    this.status = before?.status === task.status ? before.status : new StatusRecord(task.status, before?.status, texts)
    this.attachments = before?.attachments === task.attachments ? before.attachments : attachmentsOf(task.attachments, texts)
    this.servedAt = task.servedAt
    if (task.genericResources !== undefined) this.genericResources = task.genericResources
    if (task.jobIteration !== undefined) this.jobIteration = task.jobIteration
    if (task.releasedAt !== undefined) this.releasedAt = task.releasedAt
    if (task.notBefore !== undefined) this.notBefore = task.notBefore
    if (task.restart !== undefined) this.restart = task.restart
    if (task.endReason !== undefined) this.endReason = task.endReason
    if (task.attachmentSpec !== undefined) this.attachmentSpec = task.attachmentSpec
  }
}

class StatusRecord implements TaskStatus {
  readonly state: TaskState
  readonly at: Instant
  readonly message: string
  readonly error: string
  readonly container: ContainerStatus | undefined
  declare readonly reason?: string
  declare readonly ports?: TaskStatus['ports']

  constructor(status: TaskStatus, before: TaskStatus | undefined, texts: SharedTexts) {
    this.state = status.state
    this.at = status.at
    this.message = texts.of(status.message)
    this.error = texts.of(status.error)
    this.container = sameContainer(status.container, before?.container) ? before?.container : status.container
    if (status.reason !== undefined) this.reason = texts.of(status.reason)
    if (status.ports && status.ports.length > 0) this.ports = status.ports
  }
}

/**
 * The task as the store keeps it: equal to the one given with this meta, apart from fields that were absent and now are undefined, and empty lists of ports.
 * What has not changed is shared with `before`.
 */
export function compactTask(task: Omit<Task, keyof Meta>, meta: Meta, before: Task | undefined, texts: SharedTexts): Task {
  return new TaskRecord(task, meta, before, texts)
}

function shared<T extends string>(text: T | undefined, before: T | undefined, texts: SharedTexts): T | undefined {
  if (text === undefined) return undefined
  return text === before ? before : texts.of(text)
}

function attachmentsOf(attachments: readonly TaskAttachment[], texts: SharedTexts): readonly TaskAttachment[] {
  if (attachments.length === 0) return NO_ATTACHMENTS
  return attachments.map(({ networkId, addresses, aliases }) => {
    const id: NetworkId = texts.of(networkId)
    return aliases ? { networkId: id, addresses, aliases } : { networkId: id, addresses }
  })
}

function sameContainer(a: ContainerStatus | undefined, b: ContainerStatus | undefined): boolean {
  return a === b || (a?.containerId === b?.containerId && a?.pid === b?.pid && a?.exitCode === b?.exitCode)
}
