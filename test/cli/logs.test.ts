// `service logs` and errors: what reaches which stream, in which words.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fakeDaemon, runShoal } from './harness.ts'

function frame(kind: 1 | 2, text: string): Buffer {
  const data = Buffer.from(text)
  const header = Buffer.alloc(8)
  header[0] = kind
  header.writeUInt32BE(data.length, 4)
  return Buffer.concat([header, data])
}

const TASK = 'abcdefghijkl0123456789xyz'
const DETAILS = `com.docker.swarm.node.id=n1,com.docker.swarm.service.id=s1,com.docker.swarm.task.id=${TASK}`

async function logs(args: readonly string[]) {
  const daemon = await fakeDaemon(({ path }) => {
    if (path.startsWith('/services/s1/logs')) {
      const at = path.includes('timestamps=1') ? '2026-01-01T00:00:00.000000000Z ' : ''
      return { status: 200, body: Buffer.concat([frame(1, `${at}${DETAILS} hello\n`), frame(2, `${at}${DETAILS} oops\n`)]) }
    }
    if (path.startsWith('/services/')) {
      if (!/^\/services\/(?:lg|s1)\b/.test(path)) return undefined
      return { status: 200, body: { ID: 's1', Spec: { Name: 'lg', TaskTemplate: {}, Mode: { Replicated: { Replicas: 2 } } } } }
    }
    if (path === `/tasks/${TASK}`) return { status: 200, body: { ID: TASK, Slot: 1, Spec: {} } }
    if (path === '/nodes/n1') return { status: 200, body: { ID: 'n1', Spec: {}, Description: { Hostname: 'w1' } } }
    return undefined
  })
  try {
    return await runShoal(daemon.host, ['service', 'logs', ...args])
  } finally {
    await daemon.close()
  }
}

test('lines carry the task and the node, and errors go to standard error', async () => {
  const { stdout, stderr, status } = await logs(['lg'])
  assert.equal(stdout, 'lg.1.abcdefghijkl@w1    | hello\n')
  assert.equal(stderr, 'lg.1.abcdefghijkl@w1    | oops\n')
  assert.equal(status, 0)
})

test('names can be long, short, ids or none at all', async () => {
  assert.equal((await logs(['--no-trunc', 'lg'])).stdout, `lg.1.${TASK}@w1    | hello\n`)
  assert.equal((await logs(['--no-task-ids', 'lg'])).stdout, 'lg.1@w1    | hello\n')
  assert.equal((await logs(['--no-resolve', 'lg'])).stdout, 's1.1.abcdefghijkl@n1    | hello\n')
  assert.equal((await logs(['--raw', 'lg'])).stdout, 'hello\n')
  assert.equal((await logs(['-t', 'lg'])).stdout, '2026-01-01T00:00:00.000000000Z lg.1.abcdefghijkl@w1    | hello\n')
})

test('a service that is not there is named', async () => {
  const { stderr, status } = await logs(['nosuch'])
  assert.equal(stderr, 'no such task or service: nosuch\n')
  assert.equal(status, 1)
})

test('without a daemon the host is named and the next step told', async () => {
  const { stderr, status } = await runShoal('unix:///nonexistent/shoal.sock', ['node', 'ls'])
  assert.match(
    stderr,
    /^Cannot connect to the daemon at unix:\/\/\/nonexistent\/shoal\.sock \(ENOENT\)\. Is shoald running\?\nStart shoald, or /,
  )
  assert.equal(status, 1)
})

test('unknown nouns, verbs and global flags are told apart from failures', async () => {
  assert.equal((await runShoal('unix:///x', ['nosuch'])).status, 1)
  assert.equal((await runShoal('unix:///x', ['service', 'nosuch'])).status, 1)
  assert.equal((await runShoal('unix:///x', ['--nosuch'])).status, 125)
  assert.match((await runShoal('unix:///x', [])).stdout, /^Usage: {2}shoal \[OPTIONS\] COMMAND/)
})
