// `shoal task`: single tasks, which the docker CLI only shows through `docker inspect`.
import { type Noun, SOME_ARGS } from '../command.ts'
import { INSPECT_FORMAT } from '../flags/index.ts'
import { inspectAll } from '../format/index.ts'
import { taskExplain } from '../service/explain.ts'
import { serviceLogs } from '../service/logs.ts'
import { taskCp } from './cp.ts'
import { taskExec } from './exec.ts'
import { taskPortForward } from './forward.ts'
import { taskStats } from './stats.ts'

export const task: Noun = {
  name: 'task',
  short: 'Manage Swarm tasks',
  commands: [
    taskCp,
    taskExec,
    taskExplain,
    { ...serviceLogs, usage: '[OPTIONS] TASK|SERVICE[.SLOT]', short: 'Fetch the logs of a task' },
    taskPortForward,
    taskStats,
    {
      name: 'inspect',
      usage: '[OPTIONS] TASK [TASK...]',
      short: 'Display detailed information on one or more tasks',
      flags: [INSPECT_FORMAT],
      args: SOME_ARGS,
      run: ({ io, client, flags, args }) =>
        inspectAll(io, args, flags.string('format'), (name) => client.requestText('GET', `/tasks/${encodeURIComponent(name)}`)),
    },
  ],
}
