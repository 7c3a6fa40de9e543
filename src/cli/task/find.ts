// Which task a person means: an id, SERVICE.SLOT, SERVICE.NODE for global services, or a service, whose first running task is taken.
import { type ApiClient, ApiError, type Task } from '../../client/index.ts'
import { ExitError } from '../io.ts'

/** Throws with a sentence when there is none, or it does not run. */
export async function findTask(client: ApiClient, text: string): Promise<Task> {
  const byService = await tasksOf(client, text)
  if (byService) return running(byService, text)
  const dot = text.lastIndexOf('.')
  if (dot > 0) {
    const place = text.slice(dot + 1)
    const tasks = await tasksOf(client, text.slice(0, dot))
    if (tasks) {
      const nodeIds = /^\d+$/.test(place)
        ? []
        : (await client.nodes()).filter((node) => node.ID.startsWith(place) || node.Description.Hostname === place)
      return running(
        tasks.filter((task) => String(task.Slot ?? 0) === place || nodeIds.some(({ ID }) => ID === task.NodeID)),
        text,
      )
    }
  }
  try {
    return await client.task(text)
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) throw new ExitError(1, `no such task or service: ${text}`)
    throw error
  }
}

/** The tasks of a service; undefined when there is no such service. */
async function tasksOf(client: ApiClient, service: string): Promise<Task[] | undefined> {
  try {
    const { ID } = await client.service(service)
    return await client.tasks({ service: [ID] })
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return undefined
    throw error
  }
}

function running(tasks: readonly Task[], text: string): Task {
  const found = tasks.filter(({ Status }) => Status.State === 'running').sort((a, b) => (a.Slot ?? 0) - (b.Slot ?? 0))[0]
  if (!found) throw new ExitError(1, `no task of ${text} is running`)
  return found
}
