// `node ps`: the tasks of one or more nodes.
import type { Task } from '../../client/index.ts'
import { ApiError } from '../../client/index.ts'
import { ANY_ARGS, type Command } from '../command.ts'
import { FILTER, filtersOf } from '../flags/index.ts'
import { printTasks, TASK_LIST_FLAGS } from '../task/print.ts'
import { nodeReference } from './reference.ts'

export const nodePs: Command = {
  name: 'ps',
  usage: '[OPTIONS] [NODE...]',
  short: 'List tasks running on one or more nodes, defaults to current node',
  flags: [FILTER, ...TASK_LIST_FLAGS],
  args: ANY_ARGS,
  async run(context) {
    const { io, client, flags } = context
    const tasks = new Map<string, Task>()
    const errors: string[] = []
    const wanted = context.args.length > 0 ? context.args : ['self']
    for (const name of wanted) {
      try {
        const node = await client.node(await nodeReference(client, name))
        for (const task of await client.tasks({ ...filtersOf(flags), node: [node.ID] })) tasks.set(task.ID, task)
      } catch (error) {
        if (!(error instanceof ApiError)) throw error
        errors.push(`Error response from daemon: ${error.message}`)
      }
    }
    if (errors.length < wanted.length) await printTasks(context, [...tasks.values()], true)
    for (const error of errors) io.stderr.write(`${error}\n`)
    return errors.length > 0 ? 1 : 0
  },
}
