// `shoal network`: the networks that this node knows, swarm networks among them.
import type { Network } from '../../client/index.ts'
import { type Command, NO_ARGS, type Noun, ONE_ARG, SOME_ARGS } from '../command.ts'
import { forEachArgument } from '../each.ts'
import { FILTER, type Flags, filtersOf, INSPECT_FORMAT, keyValues, LIST_FORMAT, NO_TRUNC } from '../flags/index.ts'
import { inspectAll, type ListLayout, naturalCompare, prettyInstant, type Row, shortId, writeRows } from '../format/index.ts'
import { ExitError } from '../io.ts'

const LAYOUT: ListLayout = {
  headers: {
    ID: 'NETWORK ID',
    Name: 'NAME',
    Driver: 'DRIVER',
    Scope: 'SCOPE',
    IPv4: 'IPV4',
    IPv6: 'IPV6',
    Internal: 'INTERNAL',
    Labels: 'LABELS',
    CreatedAt: 'CREATED AT',
  },
  table: '{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}',
}

const networkLs: Command = {
  name: 'ls',
  aliases: ['list'],
  usage: '[OPTIONS]',
  short: 'List networks',
  flags: [FILTER, LIST_FORMAT, NO_TRUNC, { name: 'quiet', short: 'q', kind: 'bool', help: 'Only display network IDs' }],
  args: NO_ARGS,
  async run({ io, client, flags }) {
    const networks = await client.networks(filtersOf(flags))
    networks.sort((a, b) => naturalCompare(a.Name, b.Name))
    const truncate = !flags.bool('no-trunc')
    if (flags.bool('quiet') && !flags.has('format')) for (const { Id } of networks) io.stdout.write(`${truncate ? shortId(Id) : Id}\n`)
    else
      writeRows(
        io.stdout,
        LAYOUT,
        networks.map((network) => row(network, truncate)),
        flags.string('format'),
      )
    return 0
  },
}

function row(network: Network, truncate: boolean): Row {
  return {
    ID: truncate ? shortId(network.Id) : network.Id,
    Name: network.Name,
    Driver: network.Driver,
    Scope: network.Scope,
    IPv4: String(network.EnableIPv4 === true),
    IPv6: String(network.EnableIPv6 === true),
    Internal: String(network.Internal === true),
    Labels: Object.entries(network.Labels ?? {})
      .map(([key, value]) => `${key}=${value}`)
      .sort()
      .join(','),
    CreatedAt: prettyInstant(network.Created, 'UTC'),
  }
}

const networkCreate: Command = {
  name: 'create',
  usage: '[OPTIONS] NETWORK',
  short: 'Create a network',
  flags: [
    { name: 'attachable', kind: 'bool', help: 'Enable manual container attachment' },
    { name: 'driver', short: 'd', kind: 'string', help: 'Driver to manage the Network', default: '"bridge"' },
    { name: 'gateway', kind: 'strings', help: 'IPv4 or IPv6 Gateway for the master subnet' },
    { name: 'ingress', kind: 'bool', help: 'Create swarm routing-mesh network' },
    { name: 'internal', kind: 'bool', help: 'Restrict external access to the network' },
    { name: 'ip-range', kind: 'strings', help: 'Allocate container ip from a sub-range' },
    { name: 'ipam-driver', kind: 'string', help: 'IP Address Management Driver', default: '"default"' },
    { name: 'ipam-opt', kind: 'list', help: 'Set IPAM driver specific options' },
    { name: 'ipv6', kind: 'bool', help: 'Enable IPv6 networking' },
    { name: 'label', kind: 'list', help: 'Set metadata on a network' },
    { name: 'opt', short: 'o', kind: 'list', help: 'Set driver specific options' },
    { name: 'scope', kind: 'string', help: "Control the network's scope" },
    { name: 'subnet', kind: 'strings', help: 'Subnet in CIDR format that represents a network segment' },
  ],
  args: ONE_ARG,
  async run({ io, client, flags, args }) {
    const body = {
      Driver: flags.string('driver') ?? 'bridge',
      Scope: flags.string('scope') ?? '',
      ...(flags.has('ipv6') ? { EnableIPv6: flags.bool('ipv6') } : {}),
      IPAM: { Driver: flags.string('ipam-driver') ?? 'default', Options: keyValues(flags.list('ipam-opt')), Config: ipamConfig(flags) },
      Internal: flags.bool('internal'),
      Attachable: flags.bool('attachable'),
      Ingress: flags.bool('ingress'),
      ConfigOnly: false,
      ConfigFrom: null,
      Options: keyValues(flags.list('opt')),
      Labels: keyValues(flags.list('label')),
      Name: args[0],
    }
    const { Id, Warning } = await client.request<{ Id: string; Warning?: string }>('POST', '/networks/create', { body })
    if (Warning) io.stderr.write(`${Warning}\n`)
    io.stdout.write(`${Id}\n`)
    return 0
  },
}

/** Subnets with their ranges and gateways; these come in the order of the subnets. */
function ipamConfig(flags: Flags): { Subnet: string; IPRange?: string; Gateway?: string }[] {
  const subnets = flags.list('subnet')
  const ranges = flags.list('ip-range')
  const gateways = flags.list('gateway')
  if (ranges.length > subnets.length || gateways.length > subnets.length)
    throw new ExitError(1, 'every ip-range or gateway must have a corresponding subnet')
  return subnets.map((Subnet, i) => ({ Subnet, IPRange: ranges[i], Gateway: gateways[i] }))
}

export const network: Noun = {
  name: 'network',
  short: 'Manage networks',
  commands: [
    networkCreate,
    networkLs,
    {
      name: 'inspect',
      usage: '[OPTIONS] NETWORK [NETWORK...]',
      short: 'Display detailed information on one or more networks',
      flags: [INSPECT_FORMAT, { name: 'verbose', short: 'v', kind: 'bool', help: 'Verbose output for diagnostics' }],
      args: SOME_ARGS,
      run: ({ io, client, flags, args }) =>
        inspectAll(io, args, flags.string('format'), (name) =>
          client.requestText('GET', `/networks/${encodeURIComponent(name)}`, { query: { verbose: flags.bool('verbose') || undefined } }),
        ),
    },
    {
      name: 'rm',
      aliases: ['remove'],
      usage: 'NETWORK [NETWORK...]',
      short: 'Remove one or more networks',
      flags: [],
      args: SOME_ARGS,
      run: (context) =>
        forEachArgument(context, async (name) => {
          await context.client.request('DELETE', `/networks/${encodeURIComponent(name)}`)
          return name
        }),
    },
  ],
}
