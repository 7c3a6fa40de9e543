// shoal against docker: for each recorded command line, the same requests that change something, the same output, the same exit status.
// Recorded with docker CLI 28.2.2 against a fake daemon (recorded.json). Where shoal does better on purpose, the case says so and only its exit is looked at.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { type FakeDaemon, fakeDaemon, runShoal } from './harness.ts'

interface Write {
  readonly method: string
  readonly path: string
  readonly body: unknown
}

interface RecordedCase {
  readonly args: readonly string[]
  readonly at: number
  readonly status: number
  readonly stdout: string
  readonly stderr: string
  readonly writes: readonly Write[]
  readonly deviates?: string
}

const recorded = JSON.parse(readFileSync(new URL('./recorded.json', import.meta.url), 'utf8')) as {
  answers: Record<string, [number, unknown]>
  cases: RecordedCase[]
}

describe('the command line sends and prints what docker does', () => {
  let daemon: FakeDaemon
  before(async () => {
    daemon = await fakeDaemon(({ method, path }) => {
      const hit = recorded.answers[`${method} ${path}`] ?? recorded.answers[`${method} ${path.split('?')[0]}`]
      return hit && { status: hit[0], body: hit[1] }
    })
  })
  after(() => daemon.close())

  for (const expected of recorded.cases) {
    test(`shoal ${expected.args.join(' ')}`, async () => {
      daemon.requests.length = 0
      const actual = await runShoal(daemon.host, expected.args, { nowMs: expected.at, stdin: 'stdin-data' })
      if (expected.deviates) {
        assert.ok([0, 1].includes(actual.status))
        return
      }
      const writes = daemon.requests.filter(({ method }) => method !== 'GET').map(normalWrite)
      assert.deepEqual(writes, expected.writes.map(normalWrite))
      assert.equal(actual.stdout, asShoal(expected.stdout))
      assert.equal(actual.stderr, asShoal(expected.stderr))
      assert.equal(actual.status, expected.status)
    })
  }
})

/** The program's own name in usage lines; join and unlock commands are docker's in both. */
function asShoal(text: string): string {
  return text
    .replace(/docker( \w[\w-]*)?: '/g, "shoal: '")
    .replace(/(Usage: {2}|Run '|See '|requires|: ')docker /g, '$1shoal ')
    .replace(/^docker: unknown command: docker/m, 'shoal: unknown command: shoal')
}

/** Order means nothing in queries, mounts, hosts, secrets and ports (docker's own order comes from Go's maps), and an empty name is none. */
function normalWrite({ method, path, body }: Write): Write {
  const [route, query = ''] = path.split('?', 2) as [string, string?]
  return { method, path: `${route}?${query.split('&').sort().join('&')}`, body: normalBody(body) }
}

const UNORDERED = new Set(['Mounts', 'Hosts', 'Secrets', 'Configs', 'Ports'])

function normalBody(value: unknown, key = ''): unknown {
  if (Array.isArray(value)) {
    const items = value.map((item) => normalBody(item))
    return UNORDERED.has(key) ? items.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)) : items
  }
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).filter(([name, item]) => !(name === 'Name' && item === ''))
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, item]) => [name, normalBody(item, name)]))
}
