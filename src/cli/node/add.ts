// `shoal node add ssh://user@host`: installs Shoal on another computer and makes it a node of this swarm.
import { spawn } from 'node:child_process'
import { createReadStream, existsSync } from 'node:fs'
import path from 'node:path'
import type { Readable } from 'node:stream'
import { type Command, ONE_ARG } from '../command.ts'
import { ExitError, type Io } from '../io.ts'

const PREFIX = '/usr/lib/shoal'
const SOCKET = '/run/shoal/shoal.sock'

export const nodeAdd: Command = {
  name: 'add',
  usage: '[OPTIONS] ssh://[USER@]HOST[:PORT]',
  short: 'Install Shoal on another computer and join it to this swarm',
  flags: [
    { name: 'manager', kind: 'bool', help: 'Join as a manager' },
    { name: 'package', kind: 'string', help: 'Install this .deb or .tar.gz; without it the installation that runs this command is copied' },
    { name: 'advertise-addr', kind: 'string', help: 'Address or interface that the new node advertises' },
    { name: 'ssh', kind: 'string', help: 'Program that is run as ssh', default: 'ssh' },
  ],
  args: ONE_ARG,
  async run({ io, client, flags, args }) {
    const target = parseTarget(args[0] as string)
    const remote = (script: string, input?: Readable | string) => run([flags.string('ssh') ?? 'ssh', ...target, script], input)
    const { JoinTokens } = await client.cluster()
    const { Swarm } = await client.info()
    const manager = Swarm?.RemoteManagers?.[0]?.Addr
    const token = flags.bool('manager') ? JoinTokens?.Manager : JoinTokens?.Worker
    if (!manager || !token) throw new ExitError(1, 'this node is no manager: run the command on one')

    const facts = await remote(
      'echo "uid=$(id -u)"; echo "arch=$(uname -m)"; command -v dockerd >/dev/null || [ -S /var/run/docker.sock ] && echo engine=yes; command -v shoald >/dev/null && echo shoal=yes; true',
    )
    if (!facts.includes('uid=0')) throw new ExitError(1, 'the user must be root there (ssh://root@HOST)')
    if (!facts.includes('engine=yes'))
      throw new ExitError(1, 'there is no Docker Engine there: install one first (nothing is installed in its place)')
    const arch = process.arch === 'arm64' ? 'aarch64' : 'x86_64'
    if (!facts.includes(`arch=${arch}`) && !flags.has('package'))
      throw new ExitError(1, 'the computer has another processor: give its package with --package')
    if (facts.includes('shoal=yes')) say(io, 'Shoal is installed there already')
    else await install(io, remote, flags.string('package'))
    say(io, 'waiting for shoald')
    await remote(
      `if [ ! -d /run/systemd/system ] && [ ! -S ${SOCKET} ]; then setsid shoald >/var/log/shoald.log 2>&1 </dev/null & fi; for i in $(seq 1 60); do shoal -H unix://${SOCKET} version >/dev/null 2>&1 && exit 0; sleep 0.5; done; echo "shoald does not answer there; see journalctl -u shoald" >&2; exit 1`,
    )
    const advertise = flags.string('advertise-addr')
    // the token goes through standard input: arguments of processes can be seen by others
    const joined = await remote(
      `shoal -H unix://${SOCKET} swarm join --token - ${advertise ? `--advertise-addr ${quote(advertise)} ` : ''}${quote(manager)}`,
      `${token}\n`,
    )
    io.stdout.write(joined)
    return 0
  },
}

type Remote = (script: string, input?: Readable | string) => Promise<string>

async function install(io: Io, remote: Remote, file: string | undefined): Promise<void> {
  if (file !== undefined && !existsSync(file)) throw new ExitError(1, `there is no ${file}`)
  say(io, `installing ${file ? path.basename(file) : 'a copy of this installation'}`)
  if (file?.endsWith('.deb')) {
    await remote(
      'f=$(mktemp --suffix=.deb); cat >"$f"; chmod 644 "$f"; if command -v apt-get >/dev/null; then DEBIAN_FRONTEND=noninteractive apt-get install -y -q "$f" || dpkg -i "$f"; else dpkg -i "$f"; fi; rm -f "$f"',
      createReadStream(file),
    )
    return
  }
  const archive = file ? createReadStream(file) : packSelf()
  const strip = file ? '--strip-components=1' : ''
  await remote(
    `d=$(mktemp -d); tar -xzf - ${strip} -C "$d"; if [ -x "$d/install.sh" ]; then "$d/install.sh"; else rm -rf ${PREFIX}; mv "$d" ${PREFIX}; chmod 755 ${PREFIX}; ln -sfn ${PREFIX}/bin/shoal /usr/bin/shoal; ln -sfn ${PREFIX}/bin/shoald /usr/bin/shoald; fi; rm -rf "$d"`,
    archive,
  )
}

/** The folder that the running launcher belongs to, as an archive. */
function packSelf(): Readable {
  const root = path.resolve(import.meta.dirname, import.meta.dirname.endsWith('chunks') ? '../..' : '..')
  if (!existsSync(path.join(root, 'bin/shoald')) || existsSync(path.join(root, 'src')))
    throw new ExitError(1, 'this is a checkout, not an installation: give --package (made by "npm run package")')
  return spawn('tar', ['-C', root, '-czf', '-', '.'], { stdio: ['ignore', 'pipe', 'inherit'] }).stdout
}

function parseTarget(text: string): string[] {
  const url = /^ssh:\/\//.test(text) && URL.canParse(text) ? new URL(text) : undefined
  if (!url?.hostname || url.hostname.startsWith('-')) throw new ExitError(1, `"${text}" is not of the form ssh://USER@HOST`)
  return [...(url.port ? ['-p', url.port] : []), url.username ? `${url.username}@${url.hostname}` : url.hostname]
}

function run([program, ...args]: readonly string[], input?: Readable | string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program as string, args, { stdio: ['pipe', 'pipe', 'pipe'] })
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (chunk: Buffer) => {
      stdout += chunk.toString()
    })
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString()
    })
    child.stdin.on('error', () => {}) // its end says why
    if (typeof input === 'object') input.pipe(child.stdin)
    else child.stdin.end(input ?? '')
    child.on('error', (error) => reject(new ExitError(1, `${program}: ${error.message}`)))
    child.on('close', (status) => {
      if (status === 0) resolve(stdout)
      else reject(new ExitError(1, `on the other computer: ${(stderr || stdout).trim().slice(-2000) || `status ${status}`}`))
    })
  })
}

function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`
}

function say(io: Io, text: string): void {
  io.stderr.write(`${text}\n`)
}
