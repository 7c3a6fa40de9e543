// `shoal task cp`: files from and to a task, as `docker cp` does it for containers of one engine. Archives are made and read by tar.
import { spawn } from 'node:child_process'
import { existsSync, statSync } from 'node:fs'
import path from 'node:path'
import type { Readable } from 'node:stream'
import { type ApiClient, ApiError } from '../../client/index.ts'
import type { Command } from '../command.ts'
import { ExitError } from '../io.ts'
import { findTask } from './find.ts'

export const taskCp: Command = {
  name: 'cp',
  usage: 'TASK:SRC_PATH DEST_PATH|-  or  SRC_PATH|- TASK:DEST_PATH',
  short: 'Copy files between a task and this computer',
  flags: [],
  args: { min: 2, max: 2 },
  async run({ io, client, args }) {
    const [from, to] = args.map(parsePlace)
    if (!from || !to || (from.task === undefined) === (to.task === undefined))
      throw new ExitError(1, 'must specify exactly one task: TASK:PATH (or SERVICE.SLOT:PATH)')
    if (from.task !== undefined) {
      const base = await archiveOf(client, from.task)
      const { body } = await client.stream('GET', base, { query: { path: from.path } })
      if (to.path === '-') for await (const chunk of body as AsyncIterable<Buffer>) io.stdout.write(chunk)
      else await unpack(body, from.path, to.path)
    } else {
      const base = await archiveOf(client, to.task as string)
      const { directory, rename } = await destination(client, base, from.path, to.path)
      const archive = from.path === '-' ? io.terminal?.input : pack(from.path, rename)
      if (!archive) throw new ExitError(1, 'there is no standard input to read')
      await client.request('PUT', base, { query: { path: directory }, body: archive, headers: { 'Content-Type': 'application/x-tar' } })
    }
    return 0
  },
}

interface Place {
  readonly task: string | undefined
  readonly path: string
}

function parsePlace(text: string): Place {
  const colon = text.indexOf(':')
  if (colon <= 0 || /^[./]/.test(text)) return { task: undefined, path: text }
  return { task: text.slice(0, colon), path: text.slice(colon + 1) || '/' }
}

async function archiveOf(client: ApiClient, task: string): Promise<string> {
  return `/shoal/tasks/${(await findTask(client, task)).ID}/container/archive`
}

/** An existing directory takes the source under its own name; else the source gets the last part of the path as its name. */
async function destination(
  client: ApiClient,
  base: string,
  source: string,
  target: string,
): Promise<{ directory: string; rename: string }> {
  if (source === '-' || (await isDirectory(client, base, target))) return { directory: target, rename: path.basename(path.resolve(source)) }
  return { directory: path.posix.dirname(target), rename: path.posix.basename(target) }
}

const DIRECTORY_BIT = 2 ** 31 // Go's os.ModeDir

async function isDirectory(client: ApiClient, base: string, target: string): Promise<boolean> {
  try {
    const { headers, body } = await client.stream('HEAD', base, { query: { path: target } })
    body.resume()
    const stat = JSON.parse(Buffer.from(String(headers['x-docker-container-path-stat'] ?? ''), 'base64').toString() || '{}') as {
      mode?: number
    }
    return (stat.mode ?? 0) >= DIRECTORY_BIT
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return false
    throw error
  }
}

function pack(source: string, name: string): Readable {
  const full = path.resolve(source)
  if (!existsSync(full)) throw new ExitError(1, `lstat ${full}: no such file or directory`)
  const child = spawn('tar', ['-c', '-C', path.dirname(full), '--transform', renaming(path.basename(full), name), path.basename(full)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  return child.stdout
}

async function unpack(archive: Readable, source: string, target: string): Promise<void> {
  const into = existsSync(target) && statSync(target).isDirectory()
  const old = path.posix.basename(path.posix.resolve('/', source))
  const directory = into ? target : path.dirname(path.resolve(target))
  const transform = into ? [] : ['--transform', renaming(old, path.basename(target))]
  const child = spawn('tar', ['-x', '--no-same-owner', '-C', directory, ...transform], { stdio: ['pipe', 'inherit', 'inherit'] })
  archive.pipe(child.stdin)
  const status = await new Promise<number>((resolve, reject) => {
    child.on('error', (error) => reject(new ExitError(1, `tar is needed for this: ${error.message}`)))
    child.on('close', (code) => resolve(code ?? 1))
  })
  if (status !== 0) throw new ExitError(1, `the files could not be written to ${target}`)
}

/** tar's expression that gives the first part of each name a new one. */
function renaming(from: string, to: string): string {
  return `s|^${from.replace(/[\\^$.*[\]|]/g, '\\$&')}|${to.replace(/[\\|&]/g, '\\$&')}|`
}
