// `stack diff`: what deploying the files would change, without changing it.
import { type Command, type Context, ONE_ARG } from '../command.ts'
import { differenceText } from './canonical.ts'
import { COMPOSE_FLAGS, projectOf, stackName } from './load.ts'
import { fileObjectDifferences, networkDifferences, resolvedSpec, sameImage, serviceDifferences } from './plan.ts'
import { currentStack, referencedIds, requireManager, wantedStack } from './wanted.ts'

const CHANGED_STATUS = 2

export const stackDiff: Command = {
  name: 'diff',
  usage: '[OPTIONS] STACK',
  short: 'Show what deploying the stack would change',
  flags: [
    ...COMPOSE_FLAGS,
    { name: 'exit-code', kind: 'bool', help: `Exit with ${CHANGED_STATUS} when there are changes` },
    { name: 'prune', kind: 'bool', help: 'Show the services that --prune would remove' },
  ],
  args: ONE_ARG,
  async run(context) {
    const lines = await diffLines(context)
    for (const line of lines) context.io.stdout.write(`${line}\n`)
    if (lines.length === 0) context.io.stderr.write(`Stack ${context.args[0]} is as the files say\n`)
    return lines.length > 0 && context.flags.bool('exit-code') ? CHANGED_STATUS : 0
  },
}

/** `+ what` would be created, `~ what` changed (with the changes below), `- what` is not in the files. */
async function diffLines({ io, client, flags, args }: Context): Promise<string[]> {
  const stack = stackName(args[0])
  const wanted = await wantedStack(io, stack, await projectOf(io, flags))
  await requireManager(client)
  const current = await currentStack(client, stack)
  const ids = await referencedIds(client, wanted)
  const lines: string[] = []
  const changed = (title: string, changes: readonly string[]) => {
    if (changes.length > 0) lines.push(`~ ${title}`, ...changes.map((change) => `    ${change}`))
  }

  for (const network of wanted.networks) {
    const existing = current.networks.find(({ Name }) => Name === network.Name)
    if (!existing) lines.push(`+ network ${network.Name}`)
    else changed(`network ${network.Name} (cannot be changed while it exists)`, networkDifferences(existing, network).map(differenceText))
  }
  for (const kind of ['secret', 'config'] as const) {
    for (const spec of wanted[`${kind}s`]) {
      const existing = current[`${kind}s`].find(({ Spec }) => Spec.Name === spec.Name)
      if (!existing) lines.push(`+ ${kind} ${spec.Name}`)
      // Content may be confidential in configs, too: that it differs is enough.
      else
        changed(
          `${kind} ${spec.Name}`,
          fileObjectDifferences(existing, spec).map((each) => (each.path === 'Data' ? 'other content' : differenceText(each))),
        )
    }
  }
  for (const spec of wanted.services) {
    const existing = current.services.find(({ Spec }) => Spec.Name === spec.Name)
    if (!existing) lines.push(`+ service ${spec.Name}`)
    else {
      const final = resolvedSpec(spec, ids, existing.Spec, sameImage(spec, existing.Spec))
      changed(`service ${spec.Name}`, serviceDifferences(existing.Spec, final).map(differenceText))
    }
  }
  const names = new Set(wanted.services.map(({ Name }) => Name))
  for (const { Spec } of current.services) {
    if (!names.has(Spec.Name)) lines.push(`- service ${Spec.Name}${flags.bool('prune') ? '' : ' (stays; --prune removes it)'}`)
  }
  return lines
}
