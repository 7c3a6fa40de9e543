// `shoal service`: what runs on the swarm.
import { type Command, type Noun, SOME_ARGS } from '../command.ts'
import { forEachArgument } from '../each.ts'
import { taskExec } from '../task/exec.ts'
import { serviceCreate } from './create.ts'
import { serviceExplain } from './explain.ts'
import { serviceInspect } from './inspect.ts'
import { serviceLogs } from './logs.ts'
import { serviceLs } from './ls.ts'
import { servicePs } from './ps.ts'
import { serviceScale } from './scale.ts'
import { serviceRollback, serviceUpdate } from './update.ts'

const serviceRm: Command = {
  name: 'rm',
  aliases: ['remove'],
  usage: 'SERVICE [SERVICE...]',
  short: 'Remove one or more services',
  flags: [],
  args: SOME_ARGS,
  run: (context) =>
    forEachArgument(context, async (name) => {
      await context.client.removeService(name)
      return name
    }),
}

export const service: Noun = {
  name: 'service',
  short: 'Manage Swarm services',
  commands: [
    serviceCreate,
    { ...taskExec, usage: '[OPTIONS] SERVICE[.SLOT] COMMAND [ARG...]' },
    serviceExplain,
    serviceInspect,
    serviceLogs,
    serviceLs,
    servicePs,
    serviceRm,
    serviceRollback,
    serviceScale,
    serviceUpdate,
  ],
}
