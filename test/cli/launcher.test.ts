// The launchers: from anywhere, through links, as one process.
import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readlink, rm, symlink } from 'node:fs/promises'
import net from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const shoal = fileURLToPath(new URL('../../bin/shoal', import.meta.url))
const exec = promisify(execFile)
let folder: string

before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'shoal-bin-'))
})
after(() => rm(folder, { recursive: true }))

test('it runs from another folder, by absolute path and through links to links', async () => {
  await symlink(shoal, path.join(folder, 'one'))
  await symlink('one', path.join(folder, 'two'))
  for (const [command, cwd] of [
    [shoal, '/'],
    ['./two', folder],
    [path.join(folder, 'one'), '/'],
  ] as const) {
    const { stdout } = await exec(command, ['--version'], { cwd })
    assert.match(stdout, /^Shoal version \d/)
  }
})

test('several first uses at once all work', async () => {
  const results = await Promise.all(Array.from({ length: 4 }, () => exec(shoal, ['--version'])))
  for (const { stdout } of results) assert.match(stdout, /^Shoal version/)
})

test('its pid is the pid of Node, and a signal ends it', async () => {
  const socket = path.join(folder, 'silent.sock')
  const server = net.createServer()
  await new Promise<void>((resolve) => server.listen(socket, resolve))
  const child = spawn(shoal, ['node', 'ls'], { env: { ...process.env, SHOAL_HOST: `unix://${socket}` }, stdio: 'ignore' })
  const [connection] = (await once(server, 'connection')) as [net.Socket]
  assert.match(await readlink(`/proc/${child.pid}/exe`), /node$/)
  child.kill('SIGTERM')
  const [, signal] = await once(child, 'exit')
  assert.equal(signal, 'SIGTERM')
  connection.destroy()
  server.close()
})

test('a reader that closes early ends it quietly', async () => {
  const { stderr } = await exec('sh', ['-c', `${shoal} --help | true`])
  assert.equal(stderr, '')
})
