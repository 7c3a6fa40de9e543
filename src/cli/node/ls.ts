// `node ls`: the nodes of the swarm.
import type { Node, SystemInfo } from '../../client/index.ts'
import { type Command, NO_ARGS } from '../command.ts'
import { FILTER, filtersOf, LIST_FORMAT, QUIET_IDS } from '../flags/index.ts'
import { capitalized, type ListLayout, naturalCompare, type Row, writeRows } from '../format/index.ts'

const LAYOUT: ListLayout = {
  headers: {
    ID: 'ID',
    Self: '',
    Hostname: 'HOSTNAME',
    Status: 'STATUS',
    Availability: 'AVAILABILITY',
    ManagerStatus: 'MANAGER STATUS',
    EngineVersion: 'ENGINE VERSION',
    TLSStatus: 'TLS STATUS',
  },
  table: '{{.ID}} {{if .Self}}*{{else}} {{end}}\t{{.Hostname}}\t{{.Status}}\t{{.Availability}}\t{{.ManagerStatus}}\t{{.EngineVersion}}',
}

export const nodeLs: Command = {
  name: 'ls',
  aliases: ['list'],
  usage: '[OPTIONS]',
  short: 'List nodes in the swarm',
  flags: [FILTER, LIST_FORMAT, QUIET_IDS],
  args: NO_ARGS,
  async run({ io, client, flags }) {
    const quiet = flags.bool('quiet') && !flags.has('format')
    const [nodes, info] = await Promise.all([client.nodes(filtersOf(flags)), quiet ? undefined : client.info()])
    nodes.sort((a, b) => naturalCompare(a.Description.Hostname ?? '', b.Description.Hostname ?? ''))
    if (quiet) for (const node of nodes) io.stdout.write(`${node.ID}\n`)
    else
      writeRows(
        io.stdout,
        LAYOUT,
        nodes.map((node) => nodeRow(node, info)),
        flags.string('format'),
      )
    return 0
  },
}

function nodeRow(node: Node, info: SystemInfo | undefined): Row {
  return {
    ID: node.ID,
    Self: node.ID === info?.Swarm?.NodeID,
    Hostname: node.Description.Hostname ?? '',
    Status: capitalized(node.Status.State ?? ''),
    Availability: capitalized(node.Spec.Availability),
    ManagerStatus: node.ManagerStatus ? (node.ManagerStatus.Leader ? 'Leader' : capitalized(node.ManagerStatus.Reachability ?? '')) : '',
    EngineVersion: node.Description.Engine?.EngineVersion ?? '',
    TLSStatus: tlsStatus(node, info),
  }
}

function tlsStatus(node: Node, info: SystemInfo | undefined): string {
  const root = info?.Swarm?.Cluster?.TLSInfo
  const own = node.Description.TLSInfo
  if (!root || !own) return 'Unknown'
  const same =
    root.TrustRoot === own.TrustRoot &&
    root.CertIssuerSubject === own.CertIssuerSubject &&
    root.CertIssuerPublicKey === own.CertIssuerPublicKey
  return same ? 'Ready' : 'Needs Rotation'
}
