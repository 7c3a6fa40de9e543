// Prints tasks for `service ps` and `node ps`.
import type { Task } from '../../client/index.ts'
import type { Context } from '../command.ts'
import { type FlagDef, NO_RESOLVE, NO_TRUNC } from '../flags/index.ts'
import { shortId, writeRows } from '../format/index.ts'
import { nameResolver, nameTasks, TASK_LAYOUT, taskRows } from './rows.ts'

export const TASK_LIST_FLAGS: readonly FlagDef[] = [
  { name: 'format', kind: 'string', help: 'Pretty-print tasks using a Go template' },
  NO_RESOLVE,
  NO_TRUNC,
  { name: 'quiet', short: 'q', kind: 'bool', help: 'Only display task IDs' },
]

/** `shortQuietIds`: docker shortens the ids of `node ps -q`, but not those of `service ps -q`. */
export async function printTasks(context: Context, tasks: readonly Task[], shortQuietIds: boolean): Promise<void> {
  const { io, client, flags } = context
  const truncate = !flags.bool('no-trunc')
  const names = nameResolver(client, !flags.bool('no-resolve'))
  const named = await nameTasks(tasks, names)
  if (flags.bool('quiet')) {
    for (const { task } of named) io.stdout.write(`${truncate && shortQuietIds ? shortId(task.ID) : task.ID}\n`)
    return
  }
  const format = flags.string('format')
  const indentHistory = !format || /^table\b/.test(format.trim())
  const rows = await taskRows(named, names, { truncate, resolve: !flags.bool('no-resolve'), indentHistory, nowMs: io.now() })
  writeRows(io.stdout, TASK_LAYOUT, rows, format)
}
