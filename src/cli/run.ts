// From arguments to an exit status: finds the noun and the verb, loads only that noun's code, turns every error into a sentence.
import { readFileSync } from 'node:fs'
import { createClient, resolveHost, tlsOf } from '../client/index.ts'
import { errorText, isShoalError } from '../lib/index.ts'
import { type Command, type Noun, nounHelp, runCommand } from './command.ts'
import { ExitError, type Io } from './io.ts'

interface Entry {
  readonly short: string
  readonly group: 'swarm' | 'other'
  load(): Promise<Noun | Command>
}

/** Each noun is a module of its own, loaded when it is asked for: start-up stays small. */
const ENTRIES: Readonly<Record<string, Entry>> = {
  swarm: { short: 'Manage Swarm', group: 'swarm', load: async () => (await import('./swarm/index.ts')).swarm },
  node: { short: 'Manage Swarm nodes', group: 'swarm', load: async () => (await import('./node/index.ts')).node },
  service: { short: 'Manage Swarm services', group: 'swarm', load: async () => (await import('./service/index.ts')).service },
  stack: { short: 'Manage Swarm stacks', group: 'swarm', load: async () => (await import('./stack/index.ts')).stack },
  task: { short: 'Manage Swarm tasks', group: 'swarm', load: async () => (await import('./task/index.ts')).task },
  secret: { short: 'Manage Swarm secrets', group: 'swarm', load: async () => (await import('./object/index.ts')).secret },
  config: { short: 'Manage Swarm configs', group: 'swarm', load: async () => (await import('./object/index.ts')).config },
  registry: {
    short: 'Manage registry credentials of the cluster',
    group: 'swarm',
    load: async () => (await import('./registry/index.ts')).registry,
  },
  network: { short: 'Manage networks', group: 'other', load: async () => (await import('./network/index.ts')).network },
  import: {
    short: 'Write a running Docker Swarm as a stack file',
    group: 'other',
    load: async () => (await import('./import/index.ts')).importSwarm,
  },
  ps: { short: 'List containers of this node', group: 'other', load: async () => (await import('./system/ps.ts')).ps },
  info: { short: 'Display system-wide information', group: 'other', load: async () => (await import('./system/info.ts')).info },
  doctor: {
    short: 'Look for what stands in the way of the swarm on this node',
    group: 'other',
    load: async () => (await import('./system/doctor.ts')).doctor,
  },
  version: { short: 'Show the version information', group: 'other', load: async () => (await import('./system/version.ts')).version },
}

/** Runs `shoal argv...` and returns the exit status. */
export async function run(argv: readonly string[], io: Io): Promise<number> {
  try {
    return await dispatch(argv, io)
  } catch (error) {
    return showError(error, io)
  }
}

async function dispatch(argv: readonly string[], io: Io): Promise<number> {
  let host: string | undefined
  let i = 0
  for (; i < argv.length && argv[i]?.startsWith('-'); i += 1) {
    const arg = argv[i] as string
    if (arg === '-H' || arg === '--host') {
      i += 1
      host = argv[i]
      if (host === undefined) throw new ExitError(125, `flag needs an argument: ${arg}`)
    } else if (arg.startsWith('--host=')) host = arg.slice('--host='.length)
    else if (arg.startsWith('-H')) host = arg.slice(2).replace(/^=/, '')
    else if (arg === '--help' || arg === '-h') return showHelp(io)
    else if (arg === '--version' || arg === '-v') return showVersion(io)
    else
      throw new ExitError(
        125,
        `unknown flag: ${arg.split('=')[0]}\n\nUsage:  shoal [OPTIONS] COMMAND\n\nRun 'shoal --help' for more information`,
      )
  }
  const [name, ...rest] = argv.slice(i)
  if (name === undefined || name === 'help') return showHelp(io)
  if (name === 'machine') return runMachine(rest, io)
  const entry = Object.hasOwn(ENTRIES, name) ? ENTRIES[name] : undefined
  if (!entry) throw new ExitError(1, `shoal: unknown command: shoal ${name}\n\nRun 'shoal --help' for more information`)

  const connect = () =>
    createClient(
      host ?? resolveHost(io.env, io.exists),
      tlsOf(io.env, (path) => readFileSync(path, 'utf8')),
    )
  const loaded = await entry.load()
  if (!('commands' in loaded)) return runCommand(loaded, `shoal ${name}`, rest, io, connect)

  const path = `shoal ${name}`
  const [verb, ...args] = rest
  if (verb === undefined || verb === '--help' || verb === '-h' || verb === 'help') {
    io.stdout.write(nounHelp(loaded, path))
    return 0
  }
  if (verb.startsWith('-')) {
    throw new ExitError(125, `unknown flag: ${verb.split('=')[0]}\n\nUsage:  ${path} COMMAND\n\nRun '${path} --help' for more information`)
  }
  const command = loaded.commands.find((candidate) => candidate.name === verb || candidate.aliases?.includes(verb))
  if (!command) {
    throw new ExitError(1, `shoal: unknown command: ${path} ${verb}\n\nUsage:  ${path}\n\nRun '${path} --help' for more information`)
  }
  return runCommand(command, `${path} ${command.name}`, args, io, connect)
}

async function runMachine(argv: string[], io: Io): Promise<number> {
  const { runMachineCommand } = await import('../machine/index.ts')
  return runMachineCommand(argv, io)
}

async function showVersion(io: Io): Promise<number> {
  const { SHOAL_VERSION } = await import('./system/version.ts')
  io.stdout.write(`Shoal version ${SHOAL_VERSION}\n`)
  return 0
}

function showHelp(io: Io): number {
  const entries: [string, string, Entry['group']][] = Object.entries(ENTRIES).map(([name, { short, group }]) => [name, short, group])
  entries.push(['machine', 'Manage machines: several hosts on one computer', 'other'])
  const lines = (wanted: Entry['group']) =>
    entries
      .filter(([, , group]) => group === wanted)
      .sort()
      .map(([name, short]) => `  ${name.padEnd(12)}${short}`)
      .join('\n')
  io.stdout.write(`Usage:  shoal [OPTIONS] COMMAND

Swarm mode for any Docker-compatible engine

Swarm Commands:
${lines('swarm')}

Commands:
${lines('other')}

Global Options:
  -H, --host string   Daemon socket to connect to (default: SHOAL_HOST, DOCKER_HOST,
                      unix:///run/shoal/shoal.sock, unix:///var/run/docker.sock)
  -v, --version       Print version information and quit

Run 'shoal COMMAND --help' for more information on a command.
`)
  return 0
}

/** Errors go to stderr as a sentence, with the next step where there is one. */
function showError(error: unknown, io: Io): number {
  if (error instanceof ExitError) {
    if (error.message) io.stderr.write(`${error.message}\n`)
    return error.status
  }
  io.stderr.write(`${describe(error)}\n`)
  return 1
}

/** The sentence for an error: the daemon's refusals are marked as such, as docker marks them. */
export function describe(error: unknown): string {
  if (isShoalError(error)) {
    const text = 'status' in error ? `Error response from daemon: ${error.message}` : error.message
    return error.next ? `${text}\n${error.next}` : text
  }
  return errorText(error)
}
