// `node update`, `promote` and `demote`: changes of a node's spec.
import type { ApiClient, Node, NodeSpec } from '../../client/index.ts'
import { type Command, type Context, ONE_ARG, SOME_ARGS } from '../command.ts'
import { keyValue } from '../flags/index.ts'
import { ExitError } from '../io.ts'
import { nodeReference } from './reference.ts'

export const nodeUpdate: Command = {
  name: 'update',
  usage: '[OPTIONS] NODE',
  short: 'Update a node',
  flags: [
    { name: 'availability', kind: 'string', help: 'Availability of the node ("active", "pause", "drain")' },
    { name: 'drain-deadline', kind: 'string', help: 'With "drain": how long tasks may wait for their successors (default 10m)' },
    { name: 'label-add', kind: 'list', help: 'Add or update a node label ("key=value")' },
    { name: 'label-rm', kind: 'list', help: 'Remove a node label if exists' },
    { name: 'now', kind: 'bool', help: 'With "drain": stop all tasks at once, do not wait for their successors' },
    { name: 'role', kind: 'string', help: 'Role of the node ("worker", "manager")' },
  ],
  args: ONE_ARG,
  async run({ io, client, flags, args }) {
    const name = args[0] as string
    const drainDeadline = flags.bool('now') ? '0' : flags.string('drain-deadline')
    const change = (node: Node) => {
      const labels = { ...node.Spec.Labels }
      for (const key of flags.list('label-rm')) {
        if (!Object.hasOwn(labels, key)) throw new ExitError(1, `key ${key} doesn't exist in node's labels`)
        delete labels[key]
      }
      for (const text of flags.list('label-add')) {
        const [key, value] = keyValue(text)
        labels[key] = value
      }
      return {
        ...node.Spec,
        Labels: labels,
        Role: flags.string('role') ?? node.Spec.Role,
        Availability: flags.string('availability') ?? node.Spec.Availability,
      }
    }
    await changeNode(client, name, change, drainDeadline)
    io.stdout.write(`${name}\n`)
    return 0
  },
}

export const nodePromote: Command = {
  name: 'promote',
  usage: 'NODE [NODE...]',
  short: 'Promote one or more nodes to manager in the swarm',
  flags: [],
  args: SOME_ARGS,
  run: (context) => changeRoles(context, 'manager', (name) => `Node ${name} promoted to a manager in the swarm.`),
}

export const nodeDemote: Command = {
  name: 'demote',
  usage: 'NODE [NODE...]',
  short: 'Demote one or more nodes from manager in the swarm',
  flags: [],
  args: SOME_ARGS,
  run: (context) => changeRoles(context, 'worker', (name) => `Manager ${name} demoted in the swarm.`),
}

async function changeRoles({ io, client, args }: Context, role: 'manager' | 'worker', done: (name: string) => string): Promise<number> {
  for (const name of args) {
    const changed = await changeNode(client, name, (node) => {
      if (node.Spec.Role !== role) return { ...node.Spec, Role: role }
      io.stdout.write(`Node ${node.ID} is already a ${role}.\n`)
      return undefined
    })
    if (changed) io.stdout.write(`${done(name)}\n`)
  }
  return 0
}

/** Reads the node, lets `change` make the new spec (undefined: nothing to do) and writes it; tells whether it was written. */
async function changeNode(
  client: ApiClient,
  name: string,
  change: (node: Node) => NodeSpec | undefined,
  drainDeadline?: string,
): Promise<boolean> {
  const node = await client.node(await nodeReference(client, name))
  const spec = change(node)
  if (!spec) return false
  await client.updateNode(node.ID, node.Version.Index, spec, drainDeadline)
  return true
}
