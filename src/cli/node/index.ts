// `shoal node`: the computers of the swarm.
import { type Command, type Noun, SOME_ARGS } from '../command.ts'
import { forEachArgument } from '../each.ts'
import { nodeAdd } from './add.ts'
import { nodeInspect } from './inspect.ts'
import { nodeLs } from './ls.ts'
import { nodePs } from './ps.ts'
import { nodeDemote, nodePromote, nodeUpdate } from './update.ts'

const nodeRm: Command = {
  name: 'rm',
  aliases: ['remove'],
  usage: '[OPTIONS] NODE [NODE...]',
  short: 'Remove one or more nodes from the swarm',
  flags: [{ name: 'force', short: 'f', kind: 'bool', help: 'Force remove a node from the swarm' }],
  args: SOME_ARGS,
  run: (context) =>
    forEachArgument(context, async (name) => {
      const force = context.flags.bool('force') ? '1' : undefined
      await context.client.request('DELETE', `/nodes/${encodeURIComponent(name)}`, { query: { force } })
      return name
    }),
}

export const node: Noun = {
  name: 'node',
  short: 'Manage Swarm nodes',
  commands: [nodeAdd, nodeDemote, nodeInspect, nodeLs, nodePromote, nodePs, nodeRm, nodeUpdate],
}
