// How files become a project: variables, anchors, several files, extends, include, profiles, environment files.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { load, problemsOf, serviceOf } from './support.ts'

const web = (fields: string) => `services:\n  web:\n    image: a\n    ${fields}\n`

describe('variables', () => {
  const cases: [written: string, expected: string][] = [
    ['$SET', 'set'],
    ['${SET}', 'set'],
    ['a${SET}b', 'asetb'],
    ['${SET:-default}', 'set'],
    ['${UNSET:-default}', 'default'],
    ['${UNSET-default}', 'default'],
    ['${EMPTY:-default}', 'default'],
    ['${EMPTY-default}', ''],
    ['${SET:+other}', 'other'],
    ['${EMPTY:+other}', ''],
    ['${EMPTY+other}', 'other'],
    ['${UNSET+other}', ''],
    ['${UNSET:-${ALSO_UNSET:-deep}}', 'deep'],
    ['${UNSET:-a$SET}', 'aset'],
    ['${SET?needed}', 'set'],
    ['$$SET', '$SET'],
    ['$${SET}', '${SET}'],
    ['$', '$'],
    ['100$ and $1', '100$ and $1'],
    ['${UNSET:-}', ''],
    ['${UNSET:-a:b?c}', 'a:b?c'],
  ]
  for (const [written, expected] of cases) {
    test(`${written} is ${JSON.stringify(expected)}`, async () => {
      const service = await serviceOf({ files: { 'c.yaml': web(`hostname: '${written}'`) }, environment: { SET: 'set', EMPTY: '' } })
      assert.equal(service.hostname, expected)
    })
  }

  test('what is required and missing is an error with its place, what is unset a warning', async () => {
    assert.deepEqual(await problemsOf(web('hostname: ${X:?give X}')), [
      'c.yaml:4:15: services.web.hostname: required variable X is missing a value: give X. Set it in the environment or in the .env file',
    ])
    assert.match((await problemsOf(web('hostname: a$X')))[0] ?? '', /^c\.yaml:4:15: services\.web\.hostname: the variable X is not set/)
    assert.match((await problemsOf(web('hostname: "${X"')))[0] ?? '', /"\$\{" without "\}"/)
    assert.match((await problemsOf(web('hostname: "${X/a/b}"')))[0] ?? '', /is no variable/)
  })

  test('numbers and switches may come from variables; keys are never interpolated', async () => {
    const text = web('read_only: ${RO}\n    labels: {"$SET": x}\n    deploy: {replicas: "${N}"}')
    const service = await serviceOf({ files: { 'c.yaml': text }, environment: { RO: 'true', N: '3', SET: 'no' } })
    assert.deepEqual([service.read_only, service.labels, service.deploy], [true, { $SET: 'x' }, { replicas: 3 }])
  })

  test('.env is beside the first file, and the environment wins over it', async () => {
    const files = { 'c.yaml': web('hostname: $A-$B-$C'), '.env': 'A=1\nB="two $A"\nexport C=\'$A\' # comment\n' }
    assert.equal((await serviceOf({ files, environment: { A: 'env' } })).hostname, 'env-two env-$A')
    assert.equal((await serviceOf({ files: { ...files, 'x.env': 'A=x\nB=y\nC=z' }, envFiles: ['x.env'] })).hostname, 'x-y-z')
  })
})

describe('YAML', () => {
  test('anchors, aliases and merge keys; extensions stand everywhere', async () => {
    const text = `x-env: &env {A: "1", B: "2"}
x-base: &base
  image: a
  x-note: hello
services:
  web:
    <<: *base
    environment: {<<: *env, B: own}
  other: {<<: [{image: first}, *base]}`
    assert.deepEqual((await serviceOf(text)).environment, { B: 'own', A: '1' })
    assert.equal((await serviceOf(text, 'other')).image, 'first')
  })

  test('plain scalars are what they are in docker: octal numbers, no sexagesimals, yes is a text', async () => {
    const service = await serviceOf(
      web('environment: {A: 0444, B: 0o17, C: 0x1f, D: 22:22, E: yes, F: true, G: 1.10, H: ~, I: 12345678901234567890}'),
    )
    assert.deepEqual(service.environment, {
      A: '292',
      B: '15',
      C: '31',
      D: '22:22',
      E: 'yes',
      F: 'true',
      G: '1.1',
      H: null,
      I: '12345678901234567890',
    })
  })

  const broken: [what: string, text: string, expected: RegExp][] = [
    ['an open bracket', 'services: [', /^c\.yaml:1:\d+: /],
    ['a tab', 'services:\n\tweb: {}', /^c\.yaml:2:\d+: /],
    ['a key twice', 'services:\n  web: {image: a}\n  web: {image: b}', /^c\.yaml:3:3: web: the key is there twice/],
    ['an unknown alias', 'services: {web: *nobody}', /no anchor|unresolved alias/i],
    ['a list at the top', '- a', /^c\.yaml:1:1: a Compose file is a mapping/],
    ['nothing', '', /there are no services/],
    ['an alias in itself', 'services: &a {web: *a}', /contains itself/],
    ['deep nesting', `services: ${'['.repeat(5_000)}`, /nested too deeply|^c\.yaml:/],
  ]
  for (const [what, text, expected] of broken) {
    test(`${what} is told with its place`, async () => assert.match((await problemsOf(text))[0] ?? '', expected))
  }

  test('a bomb of anchors is refused, not spelled out', async () => {
    const levels = Array.from({ length: 9 }, (_, i) => `x-${i + 1}: &l${i + 1} [${Array.from({ length: 9 }, () => `*l${i}`).join(', ')}]`)
    const text = `x-0: &l0 [a]\n${levels.join('\n')}\nservices: {web: {image: a}}`
    assert.match((await problemsOf(text)).join('\n'), /more than \d+ values|excessive alias/i)
  })
})

describe('several files', () => {
  const merged = (first: string, second: string) =>
    serviceOf({ files: { 'a.yaml': web(first), 'b.yaml': `services:\n  web:\n    ${second}\n` }, use: ['a.yaml', 'b.yaml'] })

  const cases: [what: string, first: string, second: string, field: string, expected: unknown][] = [
    ['maps are merged', 'environment: {A: 1, B: 2}', 'environment: [B=3, C=4]', 'environment', { A: '1', B: '3', C: '4' }],
    ['lists are appended', 'dns: [1.1.1.1]', 'dns: 8.8.8.8', 'dns', ['1.1.1.1', '8.8.8.8']],
    ['commands are replaced', 'command: [a, b]', 'command: c', 'command', ['c']],
    [
      'tests of health are replaced',
      'healthcheck: {test: a, retries: 3}',
      'healthcheck: {test: [CMD, b]}',
      'healthcheck',
      { test: ['CMD', 'b'], retries: 3 },
    ],
    [
      'volumes are told apart by their target',
      'volumes: ["foo:/w", "/x"]',
      'volumes: ["bar:/w:ro"]',
      'volumes',
      [
        { type: 'volume', source: 'bar', target: '/w', read_only: true },
        { type: 'volume', target: '/x' },
      ],
    ],
    [
      'secrets are told apart by their target',
      'secrets: [s]',
      'secrets: [{source: t, target: s}]',
      'secrets',
      [{ source: 't', target: 's' }],
    ],
    [
      'the same port is one',
      'ports: ["80:80"]',
      'ports: ["80:80", "81:80"]',
      'ports',
      [
        { target: 80, published: 80, protocol: 'tcp', mode: 'ingress' },
        { target: 80, published: 81, protocol: 'tcp', mode: 'ingress' },
      ],
    ],
    ['!reset takes away', 'ports: ["80:80"]', 'ports: !reset []', 'ports', undefined],
    ['!reset of one entry', 'environment: {A: 1, B: 2}', 'environment: {A: !reset null}', 'environment', { B: '2' }],
    ['!override replaces', 'dns: [1.1.1.1]', 'dns: !override [8.8.8.8]', 'dns', ['8.8.8.8']],
    ['short and long forms meet', 'networks: [a]', 'networks: {b: {aliases: [x]}}', 'networks', { a: {}, b: { aliases: ['x'] } }],
    [
      'dependencies meet',
      'depends_on: [db]',
      'depends_on: {db: {condition: service_healthy}}',
      'depends_on',
      { db: { condition: 'service_healthy' } },
    ],
  ]
  for (const [what, first, second, field, expected] of cases) {
    test(what, async () => {
      const more = '\n  db: {image: d}\nvolumes: {foo: {}, bar: {}}\nnetworks: {a: {}, b: {}}\nsecrets: {s: {file: f}, t: {file: f}}'
      const service = await serviceOf({
        files: { 'a.yaml': `${web(first).trimEnd()}${more}`, 'b.yaml': `services:\n  web:\n    ${second}\n` },
        use: ['a.yaml', 'b.yaml'],
      })
      assert.deepEqual(service[field], expected)
    })
  }

  test('documents of one file are merged like files', async () => {
    assert.equal((await serviceOf(`${web('hostname: a')}---\nservices: {web: {hostname: b}}`)).hostname, 'b')
  })

  test('a project of two files has the places of both', async () => {
    assert.equal((await merged('hostname: a', 'user: root')).user, 'root')
    const text = { files: { 'a.yaml': web('hostname: a'), 'b.yaml': 'services:\n  web:\n    hostnam: b\n' }, use: ['a.yaml', 'b.yaml'] }
    assert.deepEqual(await problemsOf(text), ['b.yaml:3:5: services.web.hostnam: there is no such field. Did you mean hostname?'])
  })
})

describe('extends, include, profiles', () => {
  test('a service extends another one of its file, which extends one of another folder', async () => {
    const files = {
      'c.yaml':
        'services:\n  web: {extends: mid, environment: {C: 3}}\n  mid: {extends: {file: sub/base.yaml, service: base}, environment: {B: 2}}',
      'sub/base.yaml': 'services: {base: {image: b, environment: {A: 1, B: 1}, volumes: ["./data:/d"]}}',
    }
    const service = await serviceOf({ files })
    assert.deepEqual(service.environment, { A: '1', B: '2', C: '3' })
    assert.deepEqual(service.volumes, [{ type: 'bind', source: '/p/sub/data', target: '/d' }])
    assert.equal(service.extends, undefined)
  })

  test('extending in a circle or what is not there is told', async () => {
    assert.match(
      (await problemsOf('services: {a: {extends: b, image: x}, b: {extends: a}}'))[0] ?? '',
      /^c\.yaml:1:\d+: services\.b\.extends: a extends itself through a > b > a/,
    )
    assert.match((await problemsOf('services: {a: {extends: nobody}}'))[0] ?? '', /there is no service nobody/)
    assert.match(
      (await problemsOf('services: {a: {extends: {file: no.yaml, service: x}}}')).join(),
      /^c\.yaml:1:25: services\.a\.extends: there is no file no\.yaml/,
    )
  })

  test('included files have their own folder and .env, and may include further', async () => {
    const files = {
      'c.yaml': 'include: [sub/c.yaml]\nservices: {web: {image: a, depends_on: [db]}}',
      'sub/c.yaml': 'include: [{path: deep/c.yaml}]\nservices: {db: {image: "db:${V}", volumes: ["./d:/d"], networks: [n]}}',
      'sub/.env': 'V=7',
      'sub/deep/c.yaml': 'networks: {n: {internal: true}}',
    }
    const project = await load({ files })
    assert.equal(project.services.get('db')?.image, 'db:7')
    assert.equal(project.services.get('db')?.volumes?.[0]?.source, '/p/sub/d')
    assert.equal(project.networks.get('n')?.internal, true)
  })

  test('including the same name twice, or itself, is told', async () => {
    const twice = { files: { 'c.yaml': 'include: [d.yaml]\nservices: {web: {image: a}}', 'd.yaml': 'services: {web: {image: b}}' } }
    assert.match((await problemsOf(twice))[0] ?? '', /^c\.yaml:1:11: include\[0\]: services\.web is also defined in c\.yaml:2/)
    assert.match(
      (await problemsOf('include: [none.yaml]\nservices: {web: {image: a}}'))[0] ?? '',
      /^c\.yaml:1:11: include\[0\]: there is no file none\.yaml/,
    )
    assert.match((await problemsOf('include: [c.yaml]\nservices: {web: {image: a}}'))[0] ?? '', /includes itself/)
  })

  test('profiles enable services; who needs a disabled one is told', async () => {
    const text =
      'services: {web: {image: a}, debug: {image: d, profiles: [dev]}, all: {image: x, profiles: [dev, ops], depends_on: {debug: {required: false}}}}'
    assert.deepEqual([...(await load(text)).services.keys()], ['web'])
    assert.deepEqual([...(await load({ files: { 'c.yaml': text }, profiles: ['dev'] })).services.keys()], ['web', 'debug', 'all'])
    assert.deepEqual(
      [...(await load({ files: { 'c.yaml': text }, environment: { COMPOSE_PROFILES: 'ops' } })).services.keys()],
      ['web', 'all'],
    )
    assert.match(
      (await problemsOf('services: {web: {image: a, depends_on: [debug]}, debug: {image: d, profiles: [dev]}}'))[0] ?? '',
      /the profiles disable this service/,
    )
  })

  test('env_file and label_file stand behind environment and labels', async () => {
    const files = {
      'c.yaml': web(
        'env_file: [a.env, {path: b.env, format: raw}, {path: none.env, required: false}]\n    environment: {A: own, INHERITED: }\n    label_file: l',
      ),
      'a.env': 'A=1\nB="b $A"\nBARE\n',
      'b.env': 'C="raw $A"',
      l: 'x=y',
    }
    const service = await serviceOf({ files, environment: { INHERITED: 'env', BARE: 'bare' } })
    assert.deepEqual(service.environment, { A: 'own', B: 'b 1', BARE: 'bare', C: '"raw $A"', INHERITED: 'env' })
    assert.deepEqual(service.labels, { x: 'y' })
    assert.match(
      (await problemsOf(web('env_file: none.env')))[0] ?? '',
      /^c\.yaml:4:15: services\.web\.env_file\[0\]: cannot read none\.env/,
    )
  })
})
