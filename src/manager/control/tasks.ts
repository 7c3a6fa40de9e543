// Look-up and removal of tasks.
import { ShoalError, type TaskId } from '../../lib/index.ts'
import type { View } from '../../store/index.ts'
import { type ControlDeps, find } from './context.ts'
import type { Control } from './types.ts'

type TaskControl = Pick<Control, 'task' | 'removeTask'>

export function taskControl({ store }: ControlDeps): TaskControl {
  return {
    task: (text) => findTask(store.view(), text),
    removeTask: (text) =>
      store.transact((tx) => {
        const task = findTask(tx, text)
        if (task.serviceId !== undefined && tx.services.get(task.serviceId)) {
          throw new ShoalError('failed-precondition', `task ${task.id} belongs to a service and cannot be removed by itself`, {
            next: 'Scale or remove the service',
          })
        }
        tx.tasks.delete(task.id)
        return task.id
      }),
  }
}

/** A task's full name ends in its id. */
function findTask(view: View, text: string) {
  const id = /^.+\.([0-9a-z]{25})$/.exec(text)?.[1] as TaskId | undefined
  const named = id === undefined ? undefined : view.tasks.get(id)
  return named ?? find('task', view.tasks, text)
}
