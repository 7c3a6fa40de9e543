// Constraint expressions, and which spec changes need new tasks.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { nodeMatches, parseConstraints, type ServiceSpec, specNeedsNewTasks } from '../../src/model/index.ts'
import { nodeOf } from '../scheduler/build.ts'

const node = nodeOf({ id: 'w1', labels: { zone: 'A' } })
const fits = (...expressions: string[]) => nodeMatches(parseConstraints(expressions), node)

test('constraints match ids, names, roles, labels, platforms and addresses', () => {
  for (const yes of [
    'node.id==w1',
    'node.hostname == W1',
    'node.role!=manager',
    'node.labels.zone==a',
    'node.labels.nosuch!=a',
    'node.platform.os==linux',
    'node.platform.arch==x86_64',
    'node.ip==10.1.2.3',
    'node.ip==10.1.0.0/16',
    'node.ip!=10.2.0.0/16',
    'engine.labels.ssd!=yes',
  ])
    assert.ok(fits(yes), yes)
  for (const no of [
    'node.id!=w1',
    'node.labels.zone==b',
    'node.ip!=10.1.0.0/16',
    'node.ip==nonsense',
    'unknown.key!=x',
    'engine.labels.ssd==yes',
  ])
    assert.ok(!fits(no), no)
  assert.ok(!fits('node.id==w1', 'node.role==manager'), 'all have to hold')
})

test('expressions that do not parse are refused in the words of SwarmKit', () => {
  assert.throws(() => parseConstraints(['node.id=w1']), { message: 'constraint expected one operator from ==, !=', code: 'unknown' })
  assert.throws(() => parseConstraints(['9x==a']), { message: "key '9x' is invalid" })
  assert.throws(() => parseConstraints(['node.id==']), { message: "value '' is invalid" })
})

const spec: ServiceSpec = {
  name: 'web',
  labels: {},
  mode: { kind: 'replicated', replicas: 2 },
  task: { forceUpdate: 0, container: { image: 'nginx:1' } },
}

test('only what a running task carries needs a new one', () => {
  const same = (after: ServiceSpec) => assert.equal(specNeedsNewTasks(spec, after), false)
  const fresh = (after: ServiceSpec) => assert.equal(specNeedsNewTasks(spec, after), true)
  same({ ...spec, labels: { a: 'b' } })
  same({ ...spec, mode: { kind: 'replicated', replicas: 9 } })
  same({ ...spec, update: { parallelism: 5 } })
  same({ ...spec, task: { ...spec.task, placement: { constraints: ['node.role==worker'] } } })
  same({ ...spec, task: { ...spec.task, networks: [], resources: {}, restart: { condition: 'any' } } })
  same({ ...spec, endpoint: { mode: 'vip' } })
  same({ ...spec, task: { ...spec.task, container: { image: 'nginx:1', registryAuth: 'e30=' } } })
  fresh({ ...spec, task: { ...spec.task, forceUpdate: 1 } })
  fresh({ ...spec, task: { ...spec.task, container: { image: 'nginx:2' } } })
  fresh({ ...spec, task: { ...spec.task, container: { image: 'nginx:1', labels: { a: 'b' } } } })
  fresh({ ...spec, task: { ...spec.task, restart: { condition: 'none' } } })
  fresh({ ...spec, endpoint: { ports: [{ protocol: 'tcp', targetPort: 80, publishedPort: 80, publishMode: 'ingress' }] } })
})
