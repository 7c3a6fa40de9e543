// Running commands inside machines: with the caller's terminal, as ssh would, or captured, for programs.
import { spawn } from 'node:child_process'
import { ShoalError } from '../lib/index.ts'
import { machineCgroupProcs } from './cgroups.ts'
import type { InSet } from './lifecycle.ts'
import { type CommandOptions, type CommandResult, run, signalNumber } from './process.ts'
import { type MachineSet, machineSet } from './set.ts'
import { getRecord, toMachine } from './state.ts'

/** Terminal type and language of the caller go along, as with ssh; nothing else of its environment does. */
const FORWARDED = ['TERM', 'COLORTERM', 'LANG', 'COLUMNS', 'LINES']
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/**
 * Runs `command` (an argument vector, no shell) as root in the machine, in /root, on the caller's stdin, stdout and stderr; an empty one is a login shell.
 * Answers its exit status, 128 + n after signal n. A terminal is passed on as it is, so `docker run -it` works. Throws when the machine is not running.
 */
export async function machineExec(
  name: string,
  command: readonly string[],
  options: InSet & { readonly env?: Record<string, string> } = {},
): Promise<number> {
  const set = options.set ?? machineSet()
  const [program, args] = enter(set, name, command.length > 0 ? command : loginShell(), options.env)
  // Keys like ^C reach the whole foreground group by themselves; they are the command's business, not ours.
  const ignore = () => {}
  process.on('SIGINT', ignore)
  process.on('SIGQUIT', ignore)
  try {
    return await new Promise<number>((resolve, reject) => {
      const child = spawn(program, args, { stdio: 'inherit', cwd: '/' }) // the caller's folder may not exist there
      const pass = () => child.kill('SIGTERM')
      process.once('SIGTERM', pass)
      process.once('SIGHUP', pass)
      child.on('error', (cause) =>
        reject(new ShoalError('failed-precondition', 'cannot run nsenter', { cause, next: 'Run: npm run setup' })),
      )
      child.on('exit', (code, signal) => {
        process.removeListener('SIGTERM', pass)
        process.removeListener('SIGHUP', pass)
        resolve(code ?? 128 + signalNumber(signal))
      })
    })
  } finally {
    process.removeListener('SIGINT', ignore)
    process.removeListener('SIGQUIT', ignore)
  }
}

/** The caller's terminal is not in the machine's /dev/pts, which some programs mind; script(1) gives the shell one that is. */
function loginShell(): string[] {
  return process.stdin.isTTY ? ['script', '-qec', 'bash -l', '/dev/null'] : ['bash', '-l']
}

/** Like machineExec, but with the given input, and answers status and output. For scripts and tests. */
export async function machineRun(
  name: string,
  command: readonly string[],
  options: InSet & Pick<CommandOptions, 'input' | 'timeoutMs'> & { readonly env?: Record<string, string> } = {},
): Promise<CommandResult> {
  const [program, args] = enter(options.set ?? machineSet(), name, command, options.env)
  return await run(program, args, { input: options.input, timeoutMs: options.timeoutMs })
}

/**
 * The command line that enters all namespaces of the machine. It joins the machine's cgroups first, so that what it starts ends with the machine.
 * The command gets HUP when the caller's side goes away. No --wd: it would be resolved before the root changes.
 */
function enter(set: MachineSet, name: string, command: readonly string[], extra: Record<string, string> = {}): [string, string[]] {
  const machine = toMachine(set, getRecord(set, name))
  if (machine.pid === undefined) {
    throw new ShoalError('failed-precondition', `machine "${name}" is not running`, { next: `Start it: shoal machine start ${name}` })
  }
  const env = Object.fromEntries(FORWARDED.flatMap((key) => (process.env[key] === undefined ? [] : [[key, process.env[key]]])))
  const assignments = Object.entries({ ...env, HOME: '/root', USER: 'root', LOGNAME: 'root', SHELL: '/bin/bash', PATH, ...extra })
  const join = machineCgroupProcs(set, name)
    .map((file) => `echo $$ >${file};`)
    .join(' ')
  const namespaces = ['-t', String(machine.pid), '--mount', '--uts', '--ipc', '--net', '--pid', '--cgroup', '--root']
  const inner = ['setpriv', '--pdeathsig', 'HUP', 'env', '-i', ...assignments.map(([key, value]) => `${key}=${value}`)]
  const tail = ['sh', '-c', 'cd; exec "$@"', 'sh', ...command]
  return ['sh', ['-c', `${join} exec "$@"`, 'sh', 'nsenter', ...namespaces, '--', ...inner, ...tail]]
}
