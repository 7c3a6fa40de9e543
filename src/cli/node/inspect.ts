// `node inspect`: a node as JSON, through a template, or for people.
import type { Node } from '../../client/index.ts'
import { type Command, SOME_ARGS } from '../command.ts'
import { INSPECT_FORMAT, PRETTY } from '../flags/index.ts'
import { bytesSize, capitalized, inspectAll, prettyInstant } from '../format/index.ts'
import { ExitError } from '../io.ts'
import { nodeReference } from './reference.ts'

export const nodeInspect: Command = {
  name: 'inspect',
  usage: '[OPTIONS] self|NODE [NODE...]',
  short: 'Display detailed information on one or more nodes',
  flags: [INSPECT_FORMAT, PRETTY],
  args: SOME_ARGS,
  async run({ io, client, flags, args }) {
    const fetch = async (name: string) => client.requestText('GET', `/nodes/${encodeURIComponent(await nodeReference(client, name))}`)
    if (!flags.bool('pretty')) return inspectAll(io, args, flags.string('format'), fetch)
    if (flags.string('format')) throw new ExitError(1, '--format is incompatible with human friendly format')
    for (const name of args) io.stdout.write(prettyNode(JSON.parse(await fetch(name)) as Node))
    return 0
  },
}

const NANO = 1e9

/** The node in the layout of `docker node inspect --pretty`, blanks and tabs included. */
export function prettyNode(node: Node): string {
  const { Description: description, ManagerStatus: manager, Status: status } = node
  const lines = [`ID:\t\t\t${node.ID}`]
  if (node.Spec.Name) lines.push(`Name:\t\t\t${node.Spec.Name}`)
  const labels = labelLines(node.Spec.Labels)
  if (labels.length > 0) lines.push('Labels:', ...labels)
  lines.push(
    `Hostname:              \t${description.Hostname ?? ''}`,
    `Joined at:             \t${prettyInstant(node.CreatedAt)}`,
    'Status:',
  )
  lines.push(` State:\t\t\t${capitalized(status.State ?? '')}`)
  if (status.Message) lines.push(` Message:              \t${capitalized(status.Message)}`)
  lines.push(` Availability:         \t${capitalized(node.Spec.Availability)}`)
  if (status.Addr) lines.push(` Address:\t\t${status.Addr}`)
  if (manager) {
    lines.push('Manager Status:', ` Address:\t\t${manager.Addr ?? ''}`, ` Raft Status:\t\t${capitalized(manager.Reachability ?? '')}`)
    lines.push(` Leader:\t\t${manager.Leader ? 'Yes' : 'No'}`)
  }
  lines.push(
    'Platform:',
    ` Operating System:\t${description.Platform?.OS ?? ''}`,
    ` Architecture:\t\t${description.Platform?.Architecture ?? ''}`,
  )
  lines.push('Resources:', ` CPUs:\t\t\t${Math.trunc((description.Resources?.NanoCPUs ?? 0) / NANO)}`)
  lines.push(` Memory:\t\t${bytesSize(description.Resources?.MemoryBytes ?? 0)}`)
  const engine = description.Engine
  if (engine?.Plugins?.length) {
    lines.push('Plugins:')
    for (const type of [...new Set(engine.Plugins.map((plugin) => plugin.Type))].sort()) {
      const names = engine.Plugins.filter((plugin) => plugin.Type === type).map((plugin) => plugin.Name)
      lines.push(` ${type}:\t\t${names.join(', ')}`)
    }
  }
  lines.push(`Engine Version:\t\t${engine?.EngineVersion ?? ''}`)
  const engineLabels = labelLines(engine?.Labels)
  if (engineLabels.length > 0) lines.push('Engine Labels:', ...engineLabels)
  const tls = description.TLSInfo
  if (tls?.TrustRoot) {
    lines.push('TLS Info:', ' TrustRoot:', tls.TrustRoot)
    lines.push(` Issuer Subject:\t${tls.CertIssuerSubject ?? ''}`, ` Issuer Public Key:\t${tls.CertIssuerPublicKey ?? ''}`)
  }
  return `${lines.join('\n')}\n`
}

function labelLines(labels: Readonly<Record<string, string>> = {}): string[] {
  return Object.keys(labels)
    .sort()
    .map((key) => ` - ${key}${labels[key] ? `=${labels[key]}` : ''}`)
}
