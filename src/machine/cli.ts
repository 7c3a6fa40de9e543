// The command `shoal machine`: arguments in, words out, in the manner of docker-machine.
import { errorText, isShoalError, ShoalError } from '../lib/index.ts'
import { machineExec } from './exec.ts'
import { ask, inspectMachine, listMachines, type MachineInfo, machineEnv, machineIp } from './inspect.ts'
import { createMachine, downAll, killMachine, removeMachine, setLink, startMachine, stopMachine } from './lifecycle.ts'

/** Where a command writes; process.stdout and process.stderr fit. */
export interface MachineIo {
  readonly stdout: { write(text: string): unknown }
  readonly stderr: { write(text: string): unknown }
}

interface Command {
  readonly usage: string
  readonly summary: string
  readonly help?: string
  /** Flags that take no value, and flags that take one; aliases map to the long name. */
  readonly switches?: readonly string[]
  readonly values?: readonly string[]
  readonly aliases?: Readonly<Record<string, string>>
  /** Everything after the first plain word is left alone. */
  readonly passThrough?: boolean
  /** How many names are needed, e.g. at least one. */
  readonly atLeast?: number
  readonly atMost?: number
  readonly run: (args: Args, io: MachineIo) => Promise<number>
}

interface Args {
  readonly names: readonly string[]
  readonly on: ReadonlySet<string>
  readonly value: ReadonlyMap<string, readonly string[]>
}

const EXIT_USAGE = 125 // what the docker CLI answers when it is called wrongly

const COMMANDS: Readonly<Record<string, Command>> = {
  create: {
    usage: 'create [OPTIONS] NAME [NAME...]',
    summary: 'Create machines, all at once, and wait until they answer',
    help: `Options:
  -d, --driver DRIVER   local (default): a machine of namespaces on this computer. Names of other drivers mean local too
      --engine-only     No shoald in the machine: docker talks to the plain engine (also --no-shoal)
      --image TAR       Load the images of a docker-save archive (may be given again)
      --no-images       Do not put Shoal's own images (nginx, busybox, whoami) into the machine
      --memory BYTES    Cap the machine's memory, e.g. 512m`,
    switches: ['--engine-only', '--no-images'],
    values: ['--driver', '--image', '--memory'],
    aliases: { '-d': '--driver', '-m': '--memory', '--no-shoal': '--engine-only' },
    atLeast: 1,
    run: create,
  },
  ls: {
    usage: 'ls [OPTIONS]',
    summary: 'List machines',
    help: `Options:
  -q, --quiet           Only names
  -f, --format FORMAT   A line per machine, with {{.Name}} {{.Active}} {{.Driver}} {{.State}} {{.URL}} {{.IP}} {{.Engine}} {{.Swarm}}, or json`,
    switches: ['--quiet'],
    values: ['--format'],
    aliases: { '-q': '--quiet', '-f': '--format' },
    atMost: 0,
    run: list,
  },
  ip: {
    usage: 'ip NAME [NAME...]',
    summary: 'Print the addresses of machines',
    atLeast: 1,
    run: eachName(async (name, io) => print(io, machineIp(name))),
  },
  url: {
    usage: 'url NAME',
    summary: "Print the address of a machine's API",
    atLeast: 1,
    run: eachName(async (name, io) => print(io, machineEnv(name).DOCKER_HOST ?? '')),
  },
  ssh: {
    usage: 'ssh NAME [COMMAND [ARG...]]',
    summary: 'Open a shell in a machine, or run a command there',
    help: `One argument is a line for the shell (shoal machine ssh mgr1 'docker ps | wc -l'); several are run as they are, without a shell.
The exit status is the command's. Everything is root's, in /root.`,
    passThrough: true,
    atLeast: 1,
    run: ssh,
  },
  env: {
    usage: 'env NAME',
    summary: 'Print what to set so that docker on this computer talks to a machine',
    help: `Options:
      --shell NAME   sh (default) or fish
  -u, --unset        Print what undoes it; no name is needed`,
    switches: ['--unset'],
    values: ['--shell'],
    aliases: { '-u': '--unset' },
    atMost: 1,
    run: env,
  },
  inspect: {
    usage: 'inspect [-f FORMAT] NAME [NAME...]',
    summary: 'Print everything about machines as JSON',
    help: `Options:
  -f, --format FORMAT   For example {{.IP}}; the fields are those of ls`,
    values: ['--format'],
    aliases: { '-f': '--format' },
    atLeast: 1,
    run: inspect,
  },
  status: {
    usage: 'status NAME',
    summary: 'Print Running or Stopped',
    atLeast: 1,
    run: eachName(async (name, io) => print(io, (await inspectMachine(name)).state)),
  },
  start: {
    usage: 'start NAME [NAME...]',
    summary: 'Start stopped machines',
    atLeast: 1,
    run: eachName(async (name, io) => {
      await startMachine(name, { onProgress: progress(io) })
      print(io, name)
    }),
  },
  stop: {
    usage: 'stop NAME [NAME...]',
    summary: 'Stop machines in order; containers get 10 s',
    atLeast: 1,
    run: eachName(async (name, io) => {
      await stopMachine(name)
      print(io, name)
    }),
  },
  restart: {
    usage: 'restart NAME [NAME...]',
    summary: 'Stop machines and start them again',
    atLeast: 1,
    run: eachName(async (name, io) => {
      await stopMachine(name)
      await startMachine(name, { onProgress: progress(io) })
      print(io, name)
    }),
  },
  kill: {
    usage: 'kill NAME [NAME...]',
    summary: 'Pull the plug of machines; their data stays',
    atLeast: 1,
    run: eachName(async (name, io) => {
      await killMachine(name)
      print(io, name)
    }),
  },
  rm: {
    usage: 'rm [-f] NAME [NAME...]',
    summary: 'Remove machines with their data',
    help: `Options:
  -f, --force   Also running ones
  -y            Accepted for docker-machine's sake; nothing is asked`,
    switches: ['--force', '-y'],
    aliases: { '-f': '--force' },
    atLeast: 1,
    run: (args, io) =>
      eachName(async (name, out) => {
        await removeMachine(name, { force: args.on.has('--force') })
        print(out, name)
      })(args, io),
  },
  link: {
    usage: 'link NAME up|down',
    summary: "Plug in or unplug a machine's network cable, to see what a partition does",
    atLeast: 2,
    atMost: 2,
    run: link,
  },
  down: {
    usage: 'down',
    summary: 'Remove all machines and everything that was made for them on this computer',
    atMost: 0,
    run: down,
  },
}

/**
 * Runs `shoal machine ARGV`. Answers the exit status: 0, the command's own for `ssh`, 1 when something failed, 125 for a wrong call.
 * Never throws for expected failures: their sentence goes to `io.stderr`.
 */
export async function runMachineCommand(argv: readonly string[], io: MachineIo): Promise<number> {
  const [word, ...rest] = argv
  if (word === undefined || word === 'help' || word === '--help' || word === '-h') {
    io.stdout.write(overview())
    return 0
  }
  const command = COMMANDS[word === 'list' ? 'ls' : word]
  if (!command) {
    io.stderr.write(`shoal machine: '${word}' is not a command.\nSee 'shoal machine --help'.\n`)
    return EXIT_USAGE
  }
  const wantsHelp = command.passThrough ? rest[0] === '--help' : rest.includes('--help') || rest.includes('-h')
  if (wantsHelp) {
    io.stdout.write(`Usage:  shoal machine ${command.usage}\n\n${command.summary}\n${command.help ? `\n${command.help}\n` : ''}`)
    return 0
  }
  try {
    return await command.run(parse(command, rest), io)
  } catch (error) {
    if (error instanceof UsageError) {
      io.stderr.write(`${error.message}\nSee 'shoal machine ${word} --help'.\n\nUsage:  shoal machine ${command.usage}\n`)
      return EXIT_USAGE
    }
    if (!isShoalError(error)) throw error
    io.stderr.write(`Error: ${error.message}\n${error.next ? `${error.next}\n` : ''}`)
    return 1
  }
}

class UsageError extends Error {}

function parse(command: Command, argv: readonly string[]): Args {
  if (command.passThrough) {
    if ((argv[0] ?? '').startsWith('-')) throw new UsageError(`unknown flag: ${argv[0]}`)
    if (argv.length < (command.atLeast ?? 0))
      throw new UsageError(`shoal machine ${command.usage.split(' ')[0]} needs the name of a machine.`)
    return { names: argv[1] === '--' ? [argv[0]!, ...argv.slice(2)] : argv, on: new Set(), value: new Map() }
  }
  const names: string[] = []
  const on = new Set<string>()
  const value = new Map<string, string[]>()
  for (let i = 0; i < argv.length; i++) {
    const [given = '', inline] = splitFlag(argv[i]!)
    const flag = command.aliases?.[given] ?? given
    if (!given.startsWith('-') || given === '-') names.push(argv[i]!)
    else if (command.switches?.includes(flag)) on.add(flag)
    else if (command.values?.includes(flag)) {
      const text = inline ?? argv[++i]
      if (text === undefined) throw new UsageError(`flag needs an argument: ${given}`)
      value.set(flag, [...(value.get(flag) ?? []), text])
    } else if (command === COMMANDS.create && /^--(virtualbox|hyperv|vmware\w*|kvm|parallels|xhyve)-/.test(given)) {
      if (inline === undefined && argv[i + 1] !== undefined && !argv[i + 1]!.startsWith('-') && i + 2 < argv.length) i++ // an option of another driver, with its value
    } else throw new UsageError(`unknown flag: ${given}`)
  }
  const called = command.usage.split(' ')[0]
  if (names.length < (command.atLeast ?? 0))
    throw new UsageError(`shoal machine ${called} needs ${command.atLeast === 1 ? 'a name' : `${command.atLeast} arguments`}.`)
  if (names.length > (command.atMost ?? Number.POSITIVE_INFINITY)) throw new UsageError(`shoal machine ${called}: too many arguments.`)
  return { names, on, value }
}

function splitFlag(word: string): [string, string | undefined] {
  const cut = word.startsWith('--') ? word.indexOf('=') : -1
  return cut < 0 ? [word, undefined] : [word.slice(0, cut), word.slice(cut + 1)]
}

async function create({ names, on, value }: Args, io: MachineIo): Promise<number> {
  const driver = value.get('--driver')?.at(-1) ?? 'local'
  if (driver !== 'local') io.stderr.write(`Driver ${driver}: Shoal makes the machine itself on this computer (driver local).\n`)
  const memory = value.get('--memory')?.at(-1)
  const memoryBytes = memory === undefined ? undefined : parseBytes(memory)
  return await atOnce(names, io, async (name) => {
    const before = performance.now()
    const known = listMachines().find((machine) => machine.name === name)
    const machine = await createMachine(name, {
      engineOnly: on.has('--engine-only'),
      builtinImages: !on.has('--no-images'),
      images: value.get('--image') ?? [],
      memoryBytes,
      onProgress: progress(io),
    })
    const took = `${((performance.now() - before) / 1000).toFixed(1)} s`
    print(
      io,
      `${name}  ${machine.address}  ${known?.state === 'Running' ? 'is there already' : known ? `started in ${took}` : `ready in ${took}`}`,
    )
  })
}

async function list({ on, value }: Args, io: MachineIo): Promise<number> {
  const machines = listMachines()
  if (on.has('--quiet')) {
    for (const machine of machines) print(io, machine.name)
    return 0
  }
  const rows = (await Promise.all(machines.map(ask))).map(fields)
  const format = value.get('--format')?.at(-1)
  if (format !== undefined) for (const row of rows) print(io, fill(format, row))
  else for (const line of table(['Name', 'Active', 'Driver', 'State', 'URL', 'Engine', 'Swarm'], rows)) print(io, line)
  return 0
}

async function ssh({ names: [name = '', ...words] }: Args): Promise<number> {
  if (words.length > 0) return await machineExec(name, words.length === 1 ? ['bash', '-c', words[0]!] : words)
  const machine = await inspectMachine(name)
  const role = machine.swarm === 'manager' || machine.swarm === 'worker' ? `, ${machine.swarm} of the swarm` : ''
  const banner = `\n  ~~ ><> ~~  ${name} at ${machine.address}, Docker Engine ${machine.engineVersion ?? '?'}${role}\n             docker and shoal work here; leave with exit\n`
  if (machine.state === 'Running' && process.stdin.isTTY) process.stdout.write(`${banner}\n`)
  return await machineExec(name, [])
}

async function env({ names, on, value }: Args, io: MachineIo): Promise<number> {
  const fish = value.get('--shell')?.at(-1) === 'fish'
  if (on.has('--unset')) {
    for (const key of ['DOCKER_HOST', 'DOCKER_MACHINE_NAME']) print(io, fish ? `set -e ${key};` : `unset ${key}`)
    return 0
  }
  const name = names[0]
  if (name === undefined) throw new UsageError('shoal machine env needs a name.')
  for (const [key, text] of Object.entries(machineEnv(name))) print(io, fish ? `set -gx ${key} "${text}";` : `export ${key}="${text}"`)
  print(io, `# Run this to use it:\n# ${fish ? `shoal machine env --shell fish ${name} | source` : `eval "$(shoal machine env ${name})"`}`)
  return 0
}

async function inspect({ names, value }: Args, io: MachineIo): Promise<number> {
  const format = value.get('--format')?.at(-1)
  const all = await Promise.all(names.map((name) => inspectMachine(name)))
  if (format !== undefined) for (const machine of all) print(io, fill(format, fields(machine)))
  else print(io, JSON.stringify(all, null, 4))
  return 0
}

async function link({ names: [name = '', state] }: Args, io: MachineIo): Promise<number> {
  if (state !== 'up' && state !== 'down') throw new UsageError('say up or down.')
  await setLink(name, state)
  print(io, `${name} ${state}`)
  return 0
}

async function down(_args: Args, io: MachineIo): Promise<number> {
  const left = await downAll()
  for (const line of left) io.stderr.write(`left over: ${line}\n`)
  return left.length === 0 ? 0 : 1
}

/** A command over names: all at once, and each failure is told; status 1 if there was one. */
function eachName(action: (name: string, io: MachineIo) => Promise<void>): Command['run'] {
  return (args, io) => atOnce(args.names, io, (name) => action(name, io))
}

async function atOnce(names: readonly string[], io: MachineIo, action: (name: string) => Promise<void>): Promise<number> {
  const results = await Promise.allSettled(names.map(action))
  const failures = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []))
  for (const failure of failures) {
    const next = isShoalError(failure) && failure.next ? `${failure.next}\n` : ''
    io.stderr.write(`Error: ${errorText(failure)}\n${next}`)
  }
  return failures.length === 0 ? 0 : 1
}

function fields(machine: MachineInfo): Record<string, string> {
  return {
    Name: machine.name,
    Active: process.env.DOCKER_HOST === machine.url ? '*' : '-',
    Driver: 'local',
    DriverName: 'local',
    State: machine.state,
    URL: machine.url,
    IP: machine.address,
    Engine: machine.engineVersion ? `v${machine.engineVersion}` : 'Unknown',
    DockerVersion: machine.engineVersion ? `v${machine.engineVersion}` : 'Unknown',
    Swarm: machine.swarm === 'manager' || machine.swarm === 'worker' ? machine.swarm : '-',
  }
}

function fill(format: string, row: Record<string, string>): string {
  if (format === 'json') return JSON.stringify(row)
  return format.replaceAll(/\{\{\s*(?:json\s+)?\.(\w*)\s*\}\}/g, (whole, key: string) => {
    if (key === '') return JSON.stringify(row)
    const text = row[key]
    if (text === undefined)
      throw new ShoalError('invalid-argument', `there is no field ${key}`, { next: `There are: ${Object.keys(row).join(', ')}.` })
    return whole.includes('json') ? JSON.stringify(text) : text
  })
}

function table(columns: readonly string[], rows: readonly Record<string, string>[]): string[] {
  const lines = [columns.map((column) => column.toUpperCase()), ...rows.map((row) => columns.map((column) => row[column] ?? ''))]
  const widths = columns.map((_, i) => Math.max(...lines.map((line) => line[i]!.length)))
  return lines.map((line) =>
    line
      .map((cell, i) => cell.padEnd(widths[i]!))
      .join('   ')
      .trimEnd(),
  )
}

function overview(): string {
  const width = Math.max(...Object.keys(COMMANDS).map((name) => name.length))
  const lines = Object.entries(COMMANDS).map(([name, { summary }]) => `  ${name.padEnd(width)}   ${summary}`)
  return `Usage:  shoal machine COMMAND\n\nSeveral hosts on one computer, each with its own address, engine and shoald\n\nCommands:\n${lines.join('\n')}\n\nRun 'shoal machine COMMAND --help' for more about a command.\n`
}

function parseBytes(text: string): number {
  const match = /^(\d+)([bkmg]?)b?$/i.exec(text)
  if (!match) throw new UsageError(`invalid memory size: ${text}`)
  return Number(match[1]) * 1024 ** ' kmg'.indexOf((match[2] || ' ').toLowerCase().replace('b', ' '))
}

/** Steps that take a moment go to stderr, each only once, so that stdout stays what scripts read. */
function progress(io: MachineIo): (line: string) => void {
  return (line) => io.stderr.write(`${line}\n`)
}

function print(io: MachineIo, line: string): void {
  io.stdout.write(`${line}\n`)
}
