// Single containers on attachable networks: asks the managers for a place, waits until its network is there, gives it back.
import { isShoalError, newId, ShoalError, type TaskId } from '../lib/index.ts'
import { TaskState } from '../model/index.ts'
import type { Channel, Clock, Random } from '../ports/index.ts'
import { ResourceAllocator } from '../proto/index.ts'
import type { Tasks } from './tasks.ts'
import type { AttachRequest, NetworkAttachment } from './types.ts'

/** As long as an engine waits for its attachment. */
const ATTACH_MS = 20_000

export interface AttachmentsDeps {
  readonly clock: Clock
  readonly random: Random
  readonly tasks: Tasks
  /** To the manager of the present session; throws 'unavailable' when there is none. */
  readonly channel: () => Channel
}

export class Attachments {
  readonly #deps: AttachmentsDeps

  constructor(deps: AttachmentsDeps) {
    this.#deps = deps
  }

  async attach({ target, containerId, aliases, address }: AttachRequest): Promise<NetworkAttachment> {
    const { channel, random } = this.#deps
    const { attachmentId } = await channel().unary(ResourceAllocator.method.attachNetwork, {
      config: { target, aliases: [...aliases], addresses: address === undefined ? [] : [address] },
      // of a container that is only to be made; the attachment is known by its own id then
      containerId: containerId ?? `new-${newId(random)}`,
    })
    try {
      return await this.#made(attachmentId as TaskId)
    } catch (error) {
      await this.detach(attachmentId).catch(() => {}) // what went wrong first counts
      throw error
    }
  }

  /** No error when it is gone already. */
  async detach(attachmentId: string): Promise<void> {
    try {
      await this.#deps.channel().unary(ResourceAllocator.method.detachNetwork, { attachmentId })
    } catch (error) {
      if (!isShoalError(error, 'not-found')) throw error
    }
  }

  list(): readonly NetworkAttachment[] {
    return this.#deps.tasks.all().flatMap(({ id, removed, task, attachments }) => {
      const containerId = task.spec.attachment?.containerId
      const attachment = attachments?.[0]
      if (removed || containerId === undefined || !attachment) return []
      return [{ ...attachment, id, containerId }]
    })
  }

  /** Waits for the attachment's task; rejects with its reason when it is refused here, 'deadline-exceeded' when it does not come. */
  #made(id: TaskId): Promise<NetworkAttachment> {
    const { clock, tasks } = this.#deps
    return new Promise((resolve, reject) => {
      const settle = (finish: () => void) => {
        timer.cancel()
        forget()
        finish()
      }
      const look = () => {
        const found = this.list().find((one) => one.id === id)
        if (found) settle(() => resolve(found))
        const report = tasks.all().find((one) => one.id === id)?.report
        if (report && report.state > TaskState.RUNNING)
          settle(() => reject(new ShoalError('failed-precondition', report.error || 'the attachment ended')))
      }
      const timer = clock.setTimer(ATTACH_MS, () => {
        settle(() => reject(new ShoalError('deadline-exceeded', `the network was not ready within ${ATTACH_MS / 1000} s`)))
      })
      const forget = tasks.onReport(look)
      look()
    })
  }
}
