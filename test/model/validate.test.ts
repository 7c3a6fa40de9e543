// Which specs are refused, and in whose words.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isShoalError } from '../../src/lib/index.ts'
import {
  type ContainerSpec,
  DEFAULT_CLUSTER_SPEC,
  type EndpointSpec,
  isImageReference,
  type NetworkSpec,
  parseImageReference,
  type ServiceSpec,
  type TaskSpec,
  validateClusterSpec,
  validateConfigSpec,
  validateNetworkSpec,
  validateSecretSpec,
  validateServiceSpec,
} from '../../src/model/index.ts'

const spec = (more: Partial<ServiceSpec> = {}): ServiceSpec => ({
  name: 'web',
  labels: {},
  mode: { kind: 'replicated', replicas: 1 },
  task: { container: { image: 'nginx' }, forceUpdate: 0 },
  ...more,
})
const container = (more: Partial<ContainerSpec>) => spec({ task: { container: { image: 'nginx', ...more }, forceUpdate: 0 } })
const task = (more: Partial<TaskSpec>) => spec({ task: { container: { image: 'nginx' }, forceUpdate: 0, ...more } })
const endpoint = (mode: EndpointSpec['mode'], ...ports: [published: number, publishMode: 'ingress' | 'host', target?: number][]) =>
  spec({
    endpoint: {
      mode,
      ports: ports.map(([publishedPort, publishMode, targetPort = 80]) => ({ protocol: 'tcp', targetPort, publishedPort, publishMode })),
    },
  })
const job = { kind: 'replicated-job', maxConcurrent: 1, totalCompletions: 2 } as const

function refusal(check: () => void): string {
  try {
    check()
  } catch (error) {
    assert.ok(isShoalError(error), String(error))
    return error.message
  }
  return 'accepted'
}

const cases: [why: string, spec: ServiceSpec, message: string | RegExp][] = [
  ['a plain service', spec(), 'accepted'],
  ['no name', spec({ name: '' }), 'meta: name must be provided'],
  ['a name with a blank', spec({ name: 'a b' }), 'name must be valid as a DNS name component'],
  ['a name that ends in a dash', spec({ name: 'a-' }), 'name must be valid as a DNS name component'],
  ['a long name', spec({ name: 'a'.repeat(64) }), 'name must be 63 characters or fewer'],
  ['the longest name', spec({ name: 'a'.repeat(63) }), 'accepted'],
  ['no container', spec({ task: { forceUpdate: 0 } }), 'mismatched Runtime and *Spec fields'],
  ['a plugin', task({ runtime: 'plugin' }), /plugin services are not supported/],
  ['no image', container({ image: '' }), 'ContainerSpec: image reference must be provided'],
  ['a bad image', container({ image: 'BAD IMAGE' }), 'ContainerSpec: "BAD IMAGE" is not a valid repository/tag'],
  ['negative replicas', spec({ mode: { kind: 'replicated', replicas: -1 } }), 'Number of replicas must be non-negative'],
  ['a job', spec({ mode: job }), 'accepted'],
  ['a job with an update config', spec({ mode: job, update: { parallelism: 1 } }), 'Jobs may not have an update config'],
  ['a job with a rollback config', spec({ mode: job, rollback: { parallelism: 1 } }), 'Jobs may not have a rollback config'],
  ['a bad constraint', task({ placement: { constraints: ['node.foo>3'] } }), 'constraint expected one operator from ==, !='],
  [
    'a global service with max replicas',
    { ...task({ placement: { maxReplicas: 1 } }), mode: { kind: 'global' } },
    /only be used with replicated mode/,
  ],
  [
    'ingress with dnsrr',
    endpoint('dnsrr', [81, 'ingress']),
    "EndpointSpec: port published with ingress mode can't be used with dnsrr mode",
  ],
  ['host ports with dnsrr', endpoint('dnsrr', [81, 'host']), 'accepted'],
  ['a port twice', endpoint('vip', [81, 'ingress'], [81, 'host']), 'EndpointSpec: duplicate published ports provided'],
  ['two ports to be chosen', endpoint('vip', [0, 'ingress'], [0, 'ingress']), 'accepted'],
  ['port 70000', endpoint('vip', [70000, 'ingress']), /invalid published port 70000/],
  ['target port 0', endpoint('vip', [80, 'ingress', 0]), /invalid target port 0/],
  [
    'a short health interval',
    container({ healthcheck: { intervalNs: 999_999 } }),
    'ContainerSpec: Interval in HealthConfig cannot be less than 1ms',
  ],
  ['a health interval of 1 ms', container({ healthcheck: { intervalNs: 1_000_000, timeoutNs: 0 } }), 'accepted'],
  ['negative retries', container({ healthcheck: { retries: -1 } }), 'ContainerSpec: Retries in HealthConfig cannot be negative'],
  ['little memory', task({ resources: { limits: { memoryBytes: 1024 } } }), 'invalid memory value 1024: Must be at least 4MiB'],
  ['little cpu', task({ resources: { reservations: { nanoCpus: 999_999 } } }), /^invalid cpu value 0\.000999999: Must be at least 0\.001$/],
  ['a negative restart delay', task({ restart: { delayNs: -1 } }), 'TaskSpec: restart-delay cannot be negative'],
  [
    'a failure ratio of 2',
    spec({ update: { parallelism: 1, maxFailureRatio: 2 } }),
    /update-maxfailureratio cannot be less than 0 or bigger than 1/,
  ],
  [
    'two mounts on one target',
    container({
      mounts: [
        { type: 'volume', target: '/a' },
        { type: 'tmpfs', target: '/a' },
      ],
    }),
    'ContainerSpec: duplicate mount point: /a',
  ],
  ['a bind of a relative path', container({ mounts: [{ type: 'bind', source: 'x', target: '/a' }] }), /must be an absolute path: x/],
  ['a tmpfs with a source', container({ mounts: [{ type: 'tmpfs', source: 'x', target: '/a' }] }), /source must be empty/],
  [
    'a soft limit above the hard one',
    container({ ulimits: [{ name: 'nofile', soft: 2, hard: 1 }] }),
    /soft limit must be less than or equal to hard limit/,
  ],
]
for (const [why, given, message] of cases) {
  test(`${why}: ${message === 'accepted' ? 'accepted' : 'refused'}`, () => {
    const got = refusal(() => validateServiceSpec(given))
    if (typeof message === 'string') assert.equal(got, message)
    else assert.match(got, message)
  })
}

test('two secrets cannot have one target', () => {
  const reference = (id: string) => ({ secretId: id as never, secretName: id, file: { name: 'same', uid: '0', gid: '0', mode: 0 } })
  assert.equal(
    refusal(() => validateServiceSpec(container({ secrets: [reference('a'), reference('b')] }))),
    "secret references 'a' and 'b' have a conflicting target: 'same'",
  )
})

test('image references are read as registries read them', () => {
  assert.deepEqual(parseImageReference('nginx'), { domain: 'docker.io', path: 'library/nginx', tag: undefined, digest: undefined })
  assert.deepEqual(parseImageReference(`host:5000/a/b:1@sha256:${'a'.repeat(64)}`), {
    domain: 'host:5000',
    path: 'a/b',
    tag: '1',
    digest: `sha256:${'a'.repeat(64)}`,
  })
  for (const good of ['a/b', 'localhost/x', 'a.b.c/x/y:latest', 'a__b', 'a--b', '[::1]:5000/x']) assert.ok(isImageReference(good), good)
  for (const bad of [
    '',
    ':1',
    'A',
    'a:',
    'a:/b',
    'a@sha256:1',
    'a//b',
    '/a',
    'a/',
    'a___b',
    'b'.repeat(257),
    'a b',
    'a'.repeat(64).replace(/a/g, '0'),
    '../x',
  ]) {
    assert.equal(isImageReference(bad), false, bad)
  }
  fc.assert(fc.property(fc.string(), (text) => typeof isImageReference(text) === 'boolean'))
})

test('secrets and configs have bounds', () => {
  const data = (bytes: number) => Buffer.alloc(bytes).toString('base64')
  const secret = (bytes: number, name = 's') => refusal(() => validateSecretSpec({ name, labels: {}, data: data(bytes) }))
  assert.equal(secret(511_999), 'accepted')
  assert.equal(secret(512_000), 'secret data must be larger than 0 and less than 512000 bytes')
  assert.equal(secret(0), 'secret data must be larger than 0 and less than 512000 bytes')
  assert.match(secret(1, 'a b'), /^invalid name, only 64/)
  assert.equal(
    refusal(() => validateConfigSpec({ name: 'c', labels: {}, data: data(1_024_000) })),
    'accepted',
  )
  assert.match(
    refusal(() => validateConfigSpec({ name: 'c', labels: {}, data: data(1_024_001) })),
    /config data must be larger than 0/,
  )
})

test('networks are overlays with sound addresses', () => {
  const network = (more: Partial<NetworkSpec>) =>
    refusal(() =>
      validateNetworkSpec({
        name: 'n',
        labels: {},
        driver: 'overlay',
        driverOptions: {},
        ipv6: false,
        internal: false,
        attachable: false,
        ingress: false,
        ipamDriver: 'default',
        ipamOptions: {},
        ipam: [],
        ...more,
      }),
    )
  assert.equal(network({}), 'accepted')
  assert.equal(network({ ipam: [{ subnet: '10.1.0.0/24', range: '', gateway: '10.1.0.1' }] }), 'accepted')
  assert.match(network({ ipam: [{ subnet: '10.1.0.0', range: '', gateway: '' }] }), /invalid subnet 10.1.0.0/)
  assert.match(network({ ipam: [{ subnet: '10.1.0.256/24', range: '', gateway: '' }] }), /invalid subnet/)
  assert.match(network({ driver: 'macvlan' }), /not available at swarm scope/)
  assert.match(network({ driverOptions: { 'com.docker.network.driver.mtu': 'x' } }), /invalid MTU/)
})

test('the swarm’s settings have bounds', () => {
  const cluster = (more: object) => refusal(() => validateClusterSpec({ ...DEFAULT_CLUSTER_SPEC, ...more }))
  assert.equal(cluster({}), 'accepted')
  assert.equal(cluster({ nodeCertExpiryNs: 1e9 }), 'minimum certificate expiry time is 1h0m0s')
  assert.match(cluster({ heartbeatPeriodNs: -1 }), /cannot be a negative duration/)
  assert.match(cluster({ name: 'x' }), /swarm name cannot be changed/)
})
