// Garbage in any route gets a fitting status and a sentence; nothing makes the API fall over.
import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import { type Harness, SPEC, startApi } from './harness.ts'

let h: Harness
before(async () => {
  h = await startApi()
  await h.call('POST', '/services/create', SPEC)
})
after(() => h.close())

const word = fc.oneof(
  fc.constantFrom(
    'swarm',
    'nodes',
    'services',
    'tasks',
    'secrets',
    'configs',
    'networks',
    'create',
    'update',
    'init',
    'logs',
    'json',
    'containers',
    'web',
    'm1',
    '_ping',
    'v1.41',
    'v1',
    'prune',
    'leave',
  ),
  fc.webSegment({ size: 'small' }),
  fc.constantFrom('', '..', '%2f', '%00', '%zz', 'toString', '__proto__', 'constructor'),
)
const query = fc.oneof(
  fc.constant(''),
  fc.constantFrom(
    '?version=1',
    '?version=-1',
    '?version=18446744073709551616',
    '?filters={}',
    '?filters=[]',
    '?filters={"name":1}',
    '?filters={"id":{"x":true}}',
    '?since=x&until=1',
    '?until=1',
    '?stdout=1&tail=1',
    '?status=true',
    '?insertDefaults=maybe',
    '?rollback=x',
    '?force=1',
  ),
)
const body = fc.oneof(fc.constant(undefined), fc.constantFrom('', '{', 'null', '[]', '"x"', '{}', '{"Name":"x"}'), fc.json({ maxDepth: 3 }))

/** Outcomes other than refusals of the caller that docker-api.md 1.2 knows. */
const DOCUMENTED_5XX =
  /update out of sequence|constraint expected|key '.*' is invalid|value '.*' is invalid|not possible yet|are not supported|not supported|invalid join token|not part of a swarm|already part|not a swarm manager|service mode change/

test('random requests are answered, and never with an undocumented 5xx', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('GET', 'POST', 'DELETE', 'PUT', 'HEAD'),
      fc.array(word, { maxLength: 4 }),
      query,
      body,
      async (method, words, search, content) => {
        const answer = await h.call(method, `/${words.join('/')}${search}`, content)
        h.place = 'manager'
        if (answer.status < 400 || method === 'HEAD') return
        assert.equal(answer.headers['content-type'], 'application/json')
        assert.equal(typeof answer.json.message, 'string', answer.text)
        assert.ok(answer.json.message.length > 3)
        if (answer.status >= 500) assert.match(answer.json.message, DOCUMENTED_5XX)
      },
    ),
    { numRuns: 600 },
  )
})

test('what is no HTTP at all is refused and closed', async () => {
  const text = await new Promise<string>((resolve) => {
    const socket = connect(h.socket)
    let got = ''
    socket.on('data', (chunk) => {
      got += chunk
    })
    socket.on('close', () => resolve(got))
    socket.write('\x16\x03\x01 hello\r\n\r\n')
  })
  assert.match(text, /^HTTP\/1.1 400 /)
  assert.equal((await h.call('GET', '/_ping')).status, 200)
})

test('an upgrade of a route of ours is refused', async () => {
  const answer = await h.call('POST', '/services/create', '', { Connection: 'Upgrade', Upgrade: 'tcp' })
  assert.deepEqual([answer.status, answer.json.message], [404, 'page not found'])
})
