// Whatever comes: a project or ComposeError with places, never another failure; merging and printing keep what they must.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ComposeError, formatYaml, toPlain } from '../../src/compose/index.ts'
import { service as serviceSchema } from '../../src/compose/schema/service.ts'
import { load } from './support.ts'

async function survives(text: string): Promise<void> {
  try {
    await load(text)
  } catch (error) {
    if (!(error instanceof ComposeError)) throw error
    for (const { at, severity } of error.problems) {
      if (severity === 'error') assert.ok(at.line >= 1 && at.column >= 1 && at.file !== '', JSON.stringify(at))
    }
    assert.ok(error.problems.some(({ severity }) => severity === 'error'))
  }
}

const FIELDS = Object.keys((serviceSchema.read({ kind: 'map', at: { file: '', line: 1, column: 1 }, entries: new Map() }) as object) ?? {})
const words = fc.constantFrom(
  ...FIELDS,
  'services',
  'networks',
  'volumes',
  'secrets',
  'configs',
  'include',
  'image',
  'ports',
  'deploy',
  'environment',
  'command',
  'healthcheck',
  'depends_on',
  'extends',
  'file',
  'service',
  'external',
  'target',
  'published',
  'source',
  'type',
  'replicas',
  'default',
  '__proto__',
  'constructor',
  'toString',
  'x-a',
  '<<',
)
const scalars = fc.oneof(
  fc.string({ maxLength: 12 }),
  fc.integer(),
  fc.double(),
  fc.boolean(),
  fc.constant(null),
  fc.constantFrom('80:80', '${A', '$A', '${A:-${B}}', '1-2:3-4', 'a:b:c', "'", '0444'),
)
const values = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 5 },
    scalars,
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(fc.oneof(words, fc.string({ maxLength: 5 })), tie('value'), { maxKeys: 4 }),
  ),
})).value

test('no text crashes the loader', async () => {
  await fc.assert(fc.asyncProperty(fc.string({ maxLength: 200 }), survives), { numRuns: 300 })
  const pieces = fc.array(
    fc.constantFrom(
      'services',
      ':',
      ' ',
      '\n',
      '  ',
      '- ',
      '{',
      '}',
      '[',
      ']',
      '&a',
      '*a',
      '!reset ',
      '|',
      '>',
      '"',
      "'",
      '#',
      '\t',
      'x',
      '<<',
      '---',
      '%',
      '?',
      ',',
    ),
    { maxLength: 40 },
  )
  await fc.assert(
    fc.asyncProperty(pieces, (parts) => survives(parts.join(''))),
    { numRuns: 1000 },
  )
})

test('no structure crashes the loader', async () => {
  await fc.assert(
    fc.asyncProperty(values, (value) => survives(JSON.stringify(value) ?? '')),
    { numRuns: 500 },
  )
  await fc.assert(
    fc.asyncProperty(fc.dictionary(words, values, { maxKeys: 4 }), (service) =>
      survives(JSON.stringify({ services: { web: { image: 'a', ...service } } })),
    ),
    { numRuns: 1000 },
  )
})

const service = fc.record(
  {
    image: fc.constantFrom('a', 'b:1'),
    environment: fc.dictionary(fc.stringMatching(/^[A-Z]{1,3}$/), fc.stringMatching(/^[a-z$]{0,4}$/), { maxKeys: 3 }),
    command: fc.array(fc.stringMatching(/^[a-z $"']{0,5}$/), { maxLength: 3 }),
    ports: fc.array(
      fc.integer({ min: 1, max: 9 }).map((port) => `80${port}0:${port}`),
      { maxLength: 3 },
    ),
    labels: fc.dictionary(fc.stringMatching(/^[a-z.]{1,4}$/), fc.string({ maxLength: 4 }), { maxKeys: 2 }),
    cap_add: fc.array(fc.constantFrom('A', 'B'), { maxLength: 2 }),
    deploy: fc.record({ replicas: fc.nat(9) }, { requiredKeys: [] }),
  },
  { requiredKeys: ['image'] },
)

test('what is printed loads to the same again, and a file merged with itself stays as it is', async () => {
  await fc.assert(
    fc.asyncProperty(service, async (web) => {
      const text = JSON.stringify({ services: { web } }).replaceAll('$', '$$$$')
      const once = JSON.stringify(toPlain((await load(text)).tree))
      const printed = formatYaml(JSON.parse(once)).replaceAll('$', '$$$$')
      assert.equal(JSON.stringify(toPlain((await load(printed)).tree)), once)
      const twice = await load({ files: { 'a.yaml': text, 'b.yaml': text }, use: ['a.yaml', 'b.yaml'] })
      const unique = (items: unknown) => (Array.isArray(items) ? [...new Set(items.map((item) => JSON.stringify(item)))].sort() : items)
      const plain = JSON.parse(JSON.stringify(toPlain(twice.tree))).services.web
      const single = JSON.parse(once).services.web
      assert.deepEqual(
        [plain.environment, plain.command, plain.labels, plain.deploy],
        [single.environment, single.command, single.labels, single.deploy],
      )
      assert.deepEqual([unique(plain.ports), unique(plain.cap_add)], [unique(single.ports), unique(single.cap_add)])
    }),
    { numRuns: 200 },
  )
})
