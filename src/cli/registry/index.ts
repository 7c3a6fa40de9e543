// `shoal registry`: credentials of private registries, given once for the whole cluster.
import { type Command, NO_ARGS, type Noun } from '../command.ts'
import { LIST_FORMAT } from '../flags/index.ts'
import { type ListLayout, writeRows } from '../format/index.ts'
import { ExitError } from '../io.ts'

interface Registry {
  ServerAddress: string
  Username: string
}

const LAYOUT: ListLayout = { headers: { Server: 'REGISTRY', Username: 'USERNAME' }, table: '{{.Server}}\t{{.Username}}' }

const login: Command = {
  name: 'login',
  usage: '[OPTIONS] [SERVER]',
  short: 'Keep credentials of a registry for all nodes; without SERVER those of Docker Hub',
  flags: [
    { name: 'username', short: 'u', kind: 'string', help: 'Username' },
    { name: 'password-stdin', kind: 'bool', help: 'Take the password from stdin' },
    { name: 'password', short: 'p', kind: 'string', help: 'Password; others on this computer can see it, so prefer --password-stdin' },
  ],
  args: { min: 0, max: 1 },
  async run({ io, client, flags, args }) {
    const username = flags.string('username')
    if (!username) throw new ExitError(1, 'the flag --username is needed')
    if (flags.bool('password-stdin') === flags.has('password')) throw new ExitError(1, 'give either --password-stdin or --password')
    const typed = flags.bool('password-stdin') ? Buffer.from(await io.readStdin()).toString('utf8') : (flags.string('password') as string)
    await client.request('POST', '/shoal/registries', {
      body: { ServerAddress: args[0] ?? '', Username: username, Password: typed.replace(/\r?\n$/, '') },
    })
    io.stdout.write('Login Succeeded\n')
    return 0
  },
}

const logout: Command = {
  name: 'logout',
  usage: '[SERVER]',
  short: 'Forget the credentials of a registry',
  flags: [],
  args: { min: 0, max: 1 },
  async run({ io, client, args }) {
    await client.request('DELETE', '/shoal/registries', { query: { server: args[0] ?? '' } })
    io.stdout.write(`Removed credentials of ${args[0] ?? 'Docker Hub'}\n`)
    return 0
  },
}

const ls: Command = {
  name: 'ls',
  aliases: ['list'],
  usage: '[OPTIONS]',
  short: 'List registries whose credentials are kept',
  flags: [LIST_FORMAT],
  args: NO_ARGS,
  async run({ io, client, flags }) {
    const registries = await client.request<Registry[]>('GET', '/shoal/registries')
    const rows = registries.map(({ ServerAddress, Username }) => ({ Server: ServerAddress, Username }))
    writeRows(io.stdout, LAYOUT, rows, flags.string('format'))
    return 0
  },
}

export const registry: Noun = { name: 'registry', short: 'Manage registry credentials of the cluster', commands: [login, logout, ls] }
