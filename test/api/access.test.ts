// Who may do what on which address: TLS with client certificates, read-only clients; events that outlive a restart.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { mayRead } from '../../src/api/access.ts'
import { type Api, createEventFile, serveApi, type TlsOptions } from '../../src/api/index.ts'
import { createClient } from '../../src/client/index.ts'
import { silentLogger } from '../../src/lib/index.ts'
import { realClock } from '../../src/ports/index.ts'

let folder = ''
const path = (name: string) => join(folder, name)
const read = (name: string) => readFile(path(name), 'utf8')

function certificate(name: string, subject: string, more: string[] = []): void {
  const quiet = { stdio: 'ignore' as const, cwd: folder }
  execFileSync(
    'openssl',
    [
      'req',
      '-new',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-nodes',
      '-keyout',
      `${name}.key`,
      '-out',
      `${name}.csr`,
      '-subj',
      subject,
    ],
    quiet,
  )
  execFileSync(
    'openssl',
    [
      'x509',
      '-req',
      '-in',
      `${name}.csr`,
      '-CA',
      'ca.pem',
      '-CAkey',
      'ca.key',
      '-CAcreateserial',
      '-days',
      '2',
      '-out',
      `${name}.pem`,
      ...more,
    ],
    quiet,
  )
}

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-tls-'))
  const quiet = { stdio: 'ignore' as const, cwd: folder }
  execFileSync(
    'openssl',
    [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-nodes',
      '-keyout',
      'ca.key',
      '-out',
      'ca.pem',
      '-days',
      '2',
      '-subj',
      '/CN=ca',
    ],
    quiet,
  )
  execFileSync('sh', ['-c', 'echo subjectAltName=IP:127.0.0.1 > san'], quiet)
  certificate('server', '/CN=server', ['-extfile', 'san'])
  certificate('admin', '/CN=admin')
  certificate('viewer', '/CN=viewer/OU=read-only')
})
after(() => rm(folder, { recursive: true }))

/** An API that says what it was asked with which permission. */
const api = {
  deps: { clock: realClock },
  handle: async (req, res, permission) => {
    res.end(JSON.stringify({ method: req.method, permission }))
  },
  upgrade: async (_req, socket) => void socket.destroy(),
  close: () => {},
} satisfies Pick<Api, 'handle' | 'upgrade' | 'close'> & { deps: unknown } as unknown as Api

test('with TLS a client needs a certificate, and its unit decides whether it may change anything', async () => {
  const tls: TlsOptions = { ca: await read('ca.pem'), cert: await read('server.pem'), key: await read('server.key') }
  const port = 20_000 + (process.pid % 20_000)
  const server = await serveApi(api, [`tcp://0.0.0.0:${port}`], { tls })
  const as = async (name: string) => {
    const client = createClient(`tcp://127.0.0.1:${port}`, { ca: tls.ca, cert: await read(`${name}.pem`), key: await read(`${name}.key`) })
    const answer = await client.request<{ permission: string }>('GET', '/info')
    client.close()
    return answer.permission
  }
  try {
    assert.equal(await as('admin'), 'all')
    assert.equal(await as('viewer'), 'read-only')
    await assert.rejects(
      new Promise((resolve, reject) => {
        const call = request({ host: '127.0.0.1', port, path: '/info', ca: tls.ca }, resolve)
        call.on('error', reject)
        call.end()
      }),
    )
  } finally {
    await server.close()
  }
})

test('plain TCP is refused beyond loopback', async () => {
  await assert.rejects(serveApi(api, ['tcp://0.0.0.0:23751']), /cannot listen on tcp:\/\/0.0.0.0:23751/)
})

test('a socket of its own may be read-only', async () => {
  const server = await serveApi(api, [`unix://${path('rw')}`], { readOnlyHosts: [`unix://${path('ro')}`] })
  try {
    for (const [name, expected] of [
      ['rw', 'all'],
      ['ro', 'read-only'],
    ] as const) {
      const client = createClient(`unix://${path(name)}`)
      assert.equal((await client.request<{ permission: string }>('GET', '/info')).permission, expected)
      client.close()
    }
  } finally {
    await server.close()
  }
})

test('reading neither changes anything nor gives keys or files away', () => {
  for (const read of ['/services', '/tasks/x', '/containers/json', '/events', '/secrets', '/_ping']) assert.ok(mayRead('GET', read), read)
  for (const secret of [
    '/swarm',
    '/swarm/unlockkey',
    '/containers/x/archive',
    '/containers/x/export',
    '/images/get',
    '/images/a/b/get',
    '/shoal/tasks/x/container/archive',
  ])
    assert.ok(!mayRead('GET', secret), secret)
  assert.ok(!mayRead('POST', '/services/create') && !mayRead('DELETE', '/services/x') && !mayRead('PUT', '/x'))
})

test('events are there again after a restart, the newest, and a torn line is left out', async () => {
  const event = (index: number) => ({
    type: 'service' as const,
    action: 'create' as const,
    id: `s${index}`,
    attributes: {},
    at: index,
    index: 0,
  })
  const file = createEventFile(path('events'), silentLogger)
  assert.deepEqual(await file.load(3), [])
  for (let index = 0; index < 20; index++) {
    file.append([event(index)])
    await file.close()
  }
  const { appendFile } = await import('node:fs/promises')
  await appendFile(path('events'), '{"type":"ser')
  const again = await createEventFile(path('events'), silentLogger).load(4)
  assert.deepEqual(
    again.map(({ id }) => id),
    ['s17', 's18', 's19'],
  )
  assert.ok((await read('events')).split('\n').length < 10, 'the file stays short')
})
