// `shoal task exec` and `shoal service exec`: a command in a task's container, on whichever node it runs.
import type { Duplex } from 'node:stream'
import { type ApiClient, demultiplex } from '../../client/index.ts'
import type { Command, Context } from '../command.ts'
import type { Terminal } from '../io.ts'
import { ExitError } from '../io.ts'
import { findTask } from './find.ts'

export const taskExec: Command = {
  name: 'exec',
  usage: '[OPTIONS] TASK|SERVICE[.SLOT] COMMAND [ARG...]',
  short: 'Execute a command in a running task, wherever it runs',
  flags: [
    { name: 'detach', short: 'd', kind: 'bool', help: 'Detached mode: run command in the background' },
    { name: 'env', short: 'e', kind: 'list', help: 'Set environment variables' },
    { name: 'interactive', short: 'i', kind: 'bool', help: 'Keep STDIN open' },
    { name: 'privileged', kind: 'bool', help: 'Give extended privileges to the command' },
    { name: 'tty', short: 't', kind: 'bool', help: 'Allocate a pseudo-TTY' },
    { name: 'user', short: 'u', kind: 'string', help: 'Username or UID (format: "<name|uid>[:<group|gid>]")' },
    { name: 'workdir', short: 'w', kind: 'string', help: 'Working directory inside the container' },
  ],
  args: { min: 2, max: Number.POSITIVE_INFINITY },
  interspersed: false,
  run: execute,
}

async function execute({ io, client, flags, args }: Context): Promise<number> {
  const [name, ...command] = args
  const interactive = flags.bool('interactive')
  const tty = flags.bool('tty')
  const detach = flags.bool('detach')
  const terminal = io.terminal
  if (tty && interactive && !terminal?.isTTY) throw new ExitError(1, 'the input device is not a TTY')
  const task = await findTask(client, name as string)
  const base = `/shoal/tasks/${task.ID}/container`
  const { Id } = await client.request<{ Id: string }>('POST', `${base}/exec`, {
    body: {
      AttachStdin: interactive && !detach,
      AttachStdout: !detach,
      AttachStderr: !detach,
      Tty: tty,
      Cmd: command,
      Env: flags.list('env'),
      Privileged: flags.bool('privileged'),
      User: flags.string('user') ?? '',
      WorkingDir: flags.string('workdir') ?? '',
    },
  })
  if (detach) {
    await client.request('POST', `${base}/exec/${Id}/start`, { body: { Detach: true, Tty: tty } })
    return 0
  }
  const stream = await client.upgrade('POST', `${base}/exec/${Id}/start`, { body: { Detach: false, Tty: tty } })
  const raw = tty && interactive && terminal ? terminal : undefined
  const release = raw ? takeTerminal(raw, client, `${base}/exec/${Id}/resize`) : () => {}
  try {
    if (interactive && terminal) terminal.input.pipe(stream)
    else stream.end()
    if (tty) for await (const chunk of stream as Duplex & AsyncIterable<Buffer>) io.stdout.write(chunk)
    else for await (const { stream: to, data } of demultiplex(stream)) io[to].write(data)
  } finally {
    release()
    if (interactive && terminal) {
      terminal.input.unpipe(stream)
      terminal.input.pause()
    }
    stream.destroy()
  }
  const { ExitCode } = await client.request<{ ExitCode: number | null }>('GET', `${base}/exec/${Id}/json`)
  return ExitCode ?? 0
}

/** Keys go through as they are typed, and the size of the window follows. */
function takeTerminal(terminal: Terminal, client: ApiClient, resizePath: string): () => void {
  terminal.setRawMode(true)
  const resize = () => {
    const { rows, columns } = terminal.size()
    client.request('POST', resizePath, { query: { h: rows, w: columns } }).catch(() => {}) // the command has ended meanwhile
  }
  resize()
  const unlisten = terminal.onResize(resize)
  return () => {
    unlisten()
    terminal.setRawMode(false)
  }
}
