// `swarm init`, `join`, `join-token` and `leave`: how nodes come and go.
import type { ApiClient } from '../../client/index.ts'
import { type Command, NO_ARGS, ONE_ARG } from '../command.ts'
import type { FlagDef } from '../flags/index.ts'
import { ExitError, type Io } from '../io.ts'
import { changedClusterSpec, SPEC_FLAGS, updateCluster } from './spec.ts'
import { unlockKeyText } from './unlock.ts'
import { DEFAULT_LISTEN_ADDRESS, parseListenAddress, parsePool } from './values.ts'

const ADDRESS_FLAGS: readonly FlagDef[] = [
  { name: 'advertise-addr', kind: 'string', help: 'Advertised address (format: "<ip|interface>[:port]")' },
  { name: 'availability', kind: 'string', help: 'Availability of the node ("active", "pause", "drain")', default: '"active"' },
  { name: 'data-path-addr', kind: 'string', help: 'Address or interface to use for data path traffic (format: "<ip|interface>")' },
  {
    name: 'listen-addr',
    kind: 'string',
    value: 'node-addr',
    help: 'Listen address (format: "<ip|interface>[:port]")',
    default: DEFAULT_LISTEN_ADDRESS,
    parse: parseListenAddress,
  },
]

/** What the daemon fills in with its defaults. */
const NEW_CLUSTER = { Raft: { ElectionTick: 0, HeartbeatTick: 0 }, EncryptionConfig: { AutoLockManagers: false } }

export const swarmInit: Command = {
  name: 'init',
  usage: '[OPTIONS]',
  short: 'Initialize a swarm',
  flags: [
    ...ADDRESS_FLAGS,
    ...SPEC_FLAGS,
    { name: 'autolock', kind: 'bool', help: 'Enable manager autolocking (requiring an unlock key to start a stopped manager)' },
    {
      name: 'data-path-port',
      kind: 'uint',
      value: 'uint32',
      help: 'Port number to use for data path traffic (1024 - 49151). 0 or none: 4789',
    },
    {
      name: 'default-addr-pool',
      kind: 'list',
      value: 'ipNetSlice',
      help: 'default address pool in CIDR format',
      parse: (text) => text.split(',').map(parsePool),
    },
    {
      name: 'default-addr-pool-mask-length',
      kind: 'uint',
      value: 'uint32',
      help: 'default address pool subnet mask length',
      default: '24',
    },
    { name: 'force-new-cluster', kind: 'bool', help: 'Force create a new cluster from current state' },
  ],
  args: NO_ARGS,
  async run({ io, client, flags }) {
    const body = {
      ListenAddr: flags.string('listen-addr') ?? DEFAULT_LISTEN_ADDRESS,
      AdvertiseAddr: flags.string('advertise-addr') ?? '',
      DataPathAddr: flags.string('data-path-addr') ?? '',
      DataPathPort: flags.number('data-path-port') ?? 0,
      ForceNewCluster: flags.bool('force-new-cluster'),
      Spec: { ...changedClusterSpec(flags, NEW_CLUSTER), Labels: null, TaskDefaults: {} },
      AutoLockManagers: flags.bool('autolock'),
      Availability: availability(flags.string('availability')),
      DefaultAddrPool: flags.values<string[]>('default-addr-pool').flat(),
      SubnetSize: flags.number('default-addr-pool-mask-length') ?? 24,
    }
    const nodeId = await client.request<string>('POST', '/swarm/init', { body })
    io.stdout.write(`Swarm initialized: current node (${nodeId}) is now a manager.\n\n`)
    await printJoinCommand(io, client, 'worker', nodeId)
    io.stdout.write("To add a manager to this swarm, run 'docker swarm join-token manager' and follow the instructions.\n")
    if (body.AutoLockManagers) {
      const { UnlockKey } = await client.request<{ UnlockKey: string }>('GET', '/swarm/unlockkey')
      io.stdout.write(unlockKeyText(UnlockKey))
    }
    return 0
  },
}

function availability(text: string | undefined): string {
  const value = (text ?? '').toLowerCase()
  if (!['', 'active', 'pause', 'drain'].includes(value)) {
    throw new ExitError(1, `invalid availability "${text}", only active, pause and drain are supported`)
  }
  return value
}

/** The command that a new node runs; it is docker's, because it works on stock engines as well as on ours. */
async function printJoinCommand(io: Io, client: ApiClient, role: 'worker' | 'manager', nodeId: string): Promise<void> {
  const [node, cluster] = await Promise.all([client.node(nodeId), client.cluster()])
  const token = role === 'worker' ? cluster.JoinTokens?.Worker : cluster.JoinTokens?.Manager
  if (!node.ManagerStatus?.Addr) return
  io.stdout.write(
    `To add a ${role} to this swarm, run the following command:\n\n    docker swarm join --token ${token} ${node.ManagerStatus.Addr}\n\n`,
  )
}

export const swarmJoin: Command = {
  name: 'join',
  usage: '[OPTIONS] HOST:PORT',
  short: 'Join a swarm as a node and/or manager',
  flags: [...ADDRESS_FLAGS, { name: 'token', kind: 'string', help: 'Token for entry into the swarm; "-" reads it from stdin' }],
  args: ONE_ARG,
  async run({ io, client, flags, args }) {
    const token = flags.string('token') ?? ''
    await client.request('POST', '/swarm/join', {
      body: {
        ListenAddr: flags.string('listen-addr') ?? DEFAULT_LISTEN_ADDRESS,
        AdvertiseAddr: flags.string('advertise-addr') ?? '',
        DataPathAddr: flags.string('data-path-addr') ?? '',
        RemoteAddrs: [args[0]],
        JoinToken:
          token === '-'
            ? Buffer.from(await io.readStdin())
                .toString('utf8')
                .trim()
            : token,
        Availability: availability(flags.string('availability')),
      },
    })
    const { Swarm } = await client.info()
    io.stdout.write(`This node joined a swarm as a ${Swarm?.ControlAvailable ? 'manager' : 'worker'}.\n`)
    return 0
  },
}

export const swarmJoinToken: Command = {
  name: 'join-token',
  usage: '[OPTIONS] (worker|manager)',
  short: 'Manage join tokens',
  flags: [
    { name: 'quiet', short: 'q', kind: 'bool', help: 'Only display token' },
    { name: 'rotate', kind: 'bool', help: 'Rotate join token' },
  ],
  args: ONE_ARG,
  async run({ io, client, flags, args }) {
    const role = args[0]
    if (role !== 'worker' && role !== 'manager') throw new ExitError(1, `unknown role ${role}`)
    const quiet = flags.bool('quiet')
    if (flags.bool('rotate')) {
      const cluster = await client.cluster()
      await updateCluster(client, cluster, cluster.Spec, { [role]: true })
      if (!quiet) io.stdout.write(`Successfully rotated ${role} join token.\n\n`)
    }
    if (quiet) {
      const { JoinTokens } = await client.cluster()
      io.stdout.write(`${role === 'worker' ? JoinTokens?.Worker : JoinTokens?.Manager}\n`)
      return 0
    }
    // Asked first, so that a node that is no manager says so instead of showing no address.
    await client.cluster()
    const { Swarm } = await client.info()
    await printJoinCommand(io, client, role, Swarm?.NodeID ?? '')
    return 0
  },
}

export const swarmLeave: Command = {
  name: 'leave',
  usage: '[OPTIONS]',
  short: 'Leave the swarm',
  flags: [{ name: 'force', short: 'f', kind: 'bool', help: 'Force this node to leave the swarm, ignoring warnings' }],
  args: NO_ARGS,
  async run({ io, client, flags }) {
    await client.request('POST', '/swarm/leave', { query: { force: flags.bool('force') ? 1 : undefined } })
    io.stdout.write('Node left the swarm.\n')
    return 0
  },
}
