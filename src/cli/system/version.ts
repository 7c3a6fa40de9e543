// `shoal version`: this client and the daemon that it talks to.
import { type Command, NO_ARGS } from '../command.ts'
import { INSPECT_FORMAT } from '../flags/index.ts'
import { compileTemplate, goJson } from '../format/index.ts'

export const SHOAL_VERSION = '0.1.0'

interface ServerVersion {
  readonly Version?: string
  readonly ApiVersion?: string
  readonly MinAPIVersion?: string
  readonly Os?: string
  readonly Arch?: string
  readonly KernelVersion?: string
  readonly Components?: readonly { readonly Name: string; readonly Version: string; readonly Details?: Readonly<Record<string, string>> }[]
}

export const version: Command = {
  name: 'version',
  usage: '[OPTIONS]',
  short: 'Show the version information',
  flags: [INSPECT_FORMAT],
  args: NO_ARGS,
  async run({ io, client, flags }) {
    const own = { Version: SHOAL_VERSION, NodeVersion: process.version, Os: process.platform, Arch: process.arch }
    const format = flags.string('format')
    if (!format) io.stdout.write(clientText(own))
    const server = await client.request<ServerVersion>('GET', '/version')
    if (format === 'json') io.stdout.write(`${goJson({ Client: own, Server: server })}\n`)
    else if (format) io.stdout.write(`${compileTemplate(format)({ Client: own, Server: server })}\n`)
    else io.stdout.write(serverText(server))
    return 0
  },
}

function clientText(own: { Version: string; NodeVersion: string; Os: string; Arch: string }): string {
  return `Client:\n Version:           ${own.Version}\n Node version:      ${own.NodeVersion}\n OS/Arch:           ${own.Os}/${own.Arch}\n`
}

function serverText(server: ServerVersion): string {
  const lines = [
    '',
    'Server:',
    ' Engine:',
    `  Version:          ${server.Version ?? ''}`,
    `  API version:      ${server.ApiVersion ?? ''} (minimum version ${server.MinAPIVersion ?? ''})`,
    `  OS/Arch:          ${server.Os ?? ''}/${server.Arch ?? ''}`,
    `  Kernel version:   ${server.KernelVersion ?? ''}`,
  ]
  for (const component of server.Components ?? []) {
    if (component.Name !== 'Engine') lines.push(` ${component.Name}:`, `  Version:          ${component.Version}`)
  }
  return `${lines.join('\n')}\n`
}
