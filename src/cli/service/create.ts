// `service create`.
import { type Command, SOME_ARGS } from '../command.ts'
import { PLAN_FLAG, showPlan } from './explain.ts'
import { CREATE_FLAGS } from './flags.ts'
import { pinImage, registryAuth } from './image.ts'
import { followOrExplain } from './progress/index.ts'
import { newServiceSpec } from './spec.ts'

export const serviceCreate: Command = {
  name: 'create',
  usage: '[OPTIONS] IMAGE [COMMAND] [ARG...]',
  short: 'Create a new service',
  flags: [...CREATE_FLAGS, PLAN_FLAG],
  args: SOME_ARGS,
  interspersed: false,
  async run({ io, client, flags, args }) {
    const spec = await newServiceSpec(io, client, flags, args)
    const auth = flags.bool('with-registry-auth') ? await registryAuth(io, spec.TaskTemplate.ContainerSpec?.Image ?? '') : undefined
    if (!flags.bool('no-resolve-image')) await pinImage(client, io, spec.TaskTemplate, auth)
    if (flags.bool('plan')) {
      io.stdout.write(await showPlan(client, spec))
      return 0
    }
    const { ID, Warnings } = await client.createService(spec, auth ? { 'X-Registry-Auth': auth } : {})
    for (const warning of Warnings ?? []) io.stderr.write(`${warning}\n`)
    io.stdout.write(`${ID}\n`)
    if (flags.bool('detach')) return 0
    return followOrExplain(io, client, ID, { quiet: flags.bool('quiet'), label: ID })
  },
}
