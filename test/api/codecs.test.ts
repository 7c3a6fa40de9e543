// Laws of the codecs: what is printed reads back the same, and no JSON makes them do anything but accept or refuse.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { mergeClusterSpec, parseClusterSpec, printClusterSpec } from '../../src/api/json/cluster.ts'
import type { Codec } from '../../src/api/json/codec.ts'
import { gateServiceSpec } from '../../src/api/json/gates.ts'
import { networkCreateRequest } from '../../src/api/json/network.ts'
import { nodeSpec } from '../../src/api/json/node.ts'
import { configRequest, secretRequest } from '../../src/api/json/secret.ts'
import { serviceSpec } from '../../src/api/json/spec.ts'
import { isShoalError } from '../../src/lib/index.ts'
import { DEFAULT_CLUSTER_SPEC, type ServiceSpec, specNeedsNewTasks, validateServiceSpec } from '../../src/model/index.ts'

const text = fc.string({ maxLength: 8 })
const count = fc.nat({ max: 1_000_000 })
const strings = fc.array(text, { maxLength: 3 })
const map = fc.dictionary(text, text, { maxKeys: 3 })
const some = <T>(shape: { [K in keyof T]: fc.Arbitrary<T[K]> }) => fc.record(shape, { requiredKeys: [] })
const driver = some({ Name: text, Options: map })
const file = some({ Name: text, UID: text, GID: text, Mode: count })
const mount = some({
  Type: fc.constantFrom('bind', 'volume', 'tmpfs', 'image'),
  Source: text,
  Target: text,
  ReadOnly: fc.boolean(),
  Consistency: text,
  BindOptions: some({ Propagation: text, NonRecursive: fc.boolean(), CreateMountpoint: fc.boolean() }),
  VolumeOptions: some({ NoCopy: fc.boolean(), Labels: map, DriverConfig: driver, Subpath: text }),
  TmpfsOptions: some({ SizeBytes: count, Mode: count, Options: fc.array(strings, { maxLength: 2 }) }),
})
const containerSpec = some({
  Image: text,
  Labels: map,
  Command: strings,
  Args: strings,
  Hostname: text,
  Env: strings,
  Dir: text,
  User: text,
  Groups: strings,
  Privileges: some({
    CredentialSpec: some({ Config: text, File: text }),
    SELinuxContext: some({ Disable: fc.boolean(), User: text }),
    Seccomp: some({ Mode: fc.constantFrom('default', 'unconfined'), Profile: text }),
    AppArmor: some({ Mode: fc.constantFrom('default', 'disabled') }),
    NoNewPrivileges: fc.boolean(),
  }),
  Init: fc.boolean(),
  StopSignal: text,
  TTY: fc.boolean(),
  OpenStdin: fc.boolean(),
  ReadOnly: fc.boolean(),
  Mounts: fc.array(mount, { maxLength: 3 }),
  StopGracePeriod: count,
  Healthcheck: some({ Test: strings, Interval: count, Timeout: count, Retries: count, StartPeriod: count, StartInterval: count }),
  Hosts: strings,
  DNSConfig: some({ Nameservers: strings, Search: strings, Options: strings }),
  Secrets: fc.array(some({ File: file, SecretID: text, SecretName: text }), { maxLength: 2 }),
  Configs: fc.array(some({ File: file, Runtime: fc.constant({}), ConfigID: text, ConfigName: text }), { maxLength: 2 }),
  Isolation: text,
  Sysctls: map,
  CapabilityAdd: strings,
  CapabilityDrop: strings,
  Ulimits: fc.array(some({ Name: text, Hard: count, Soft: count }), { maxLength: 2 }),
  OomScoreAdj: count,
})
const resources = some({ NanoCPUs: count, MemoryBytes: count })
const updateConfig = some({
  Parallelism: count,
  Delay: count,
  FailureAction: fc.constantFrom('pause', 'continue', 'rollback'),
  Monitor: count,
  MaxFailureRatio: fc.double({ min: 0, max: 1, noNaN: true }),
  Order: fc.constantFrom('stop-first', 'start-first'),
})
const network = some({ Target: text, Aliases: strings, DriverOpts: map })
const port = some({
  Name: text,
  Protocol: fc.constantFrom('tcp', 'udp', 'sctp'),
  TargetPort: count,
  PublishedPort: count,
  PublishMode: fc.constantFrom('ingress', 'host'),
})
const spec = some({
  Name: text,
  Labels: map,
  TaskTemplate: some({
    ContainerSpec: containerSpec,
    Resources: some({ Limits: resources, Reservations: resources, SwapBytes: count }),
    RestartPolicy: some({ Condition: fc.constantFrom('none', 'on-failure', 'any'), Delay: count, MaxAttempts: count, Window: count }),
    Placement: some({
      Constraints: strings,
      Preferences: fc.array(fc.record({ Spread: some({ SpreadDescriptor: text }) }), { maxLength: 2 }),
      MaxReplicas: count,
      Platforms: fc.array(some({ Architecture: text, OS: text }), { maxLength: 2 }),
    }),
    Networks: fc.array(network, { maxLength: 2 }),
    LogDriver: driver,
    ForceUpdate: count,
    Runtime: fc.constantFrom('', 'container'),
  }),
  Mode: fc.oneof(
    fc.record({ Replicated: some({ Replicas: count }) }),
    fc.constant({ Global: {} }),
    fc.record({ ReplicatedJob: some({ MaxConcurrent: count, TotalCompletions: count }) }),
    fc.constant({ GlobalJob: {} }),
  ),
  UpdateConfig: updateConfig,
  RollbackConfig: updateConfig,
  Networks: fc.array(network, { maxLength: 2 }),
  EndpointSpec: some({ Mode: fc.constantFrom('vip', 'dnsrr'), Ports: fc.array(port, { maxLength: 3 }) }),
})

test('a service spec that was shown and is sent back unchanged means the same and replaces no task', () => {
  fc.assert(
    fc.property(spec, (json) => {
      const first = serviceSpec.parse(json, '')
      const printed = JSON.parse(JSON.stringify(serviceSpec.print(first)))
      const second = serviceSpec.parse(printed, '')
      assert.deepEqual(JSON.parse(JSON.stringify(serviceSpec.print(second))), printed)
      assert.equal(specNeedsNewTasks(first, second), false)
    }),
    { numRuns: 300 },
  )
})

test('keys are found whatever their case, as Go finds them', () => {
  fc.assert(
    fc.property(spec, (json) => {
      const upper = JSON.stringify(json).replace(/"TaskTemplate":|"ContainerSpec":|"Healthcheck":|"Replicas":/g, (key) => key.toUpperCase())
      assert.deepEqual(serviceSpec.parse(JSON.parse(upper), ''), serviceSpec.parse(JSON.parse(JSON.stringify(json)), ''))
    }),
    { numRuns: 100 },
  )
  const { task } = serviceSpec.parse({ TaskTemplate: { ContainerSpec: { HealthCheck: { Retries: 3 } } } }, '')
  assert.equal(task.container?.healthcheck?.retries, 3)
})

/** Any JSON, and JSON that looks like a spec with one thing broken. */
const broken = fc.tuple(spec, fc.jsonValue(), fc.nat()).map(([json, junk, where]) => {
  const paths: [Record<string, unknown>, string][] = []
  const walk = (value: unknown) => {
    if (typeof value !== 'object' || value === null) return
    for (const key of Object.keys(value)) {
      paths.push([value as Record<string, unknown>, key])
      walk((value as Record<string, unknown>)[key])
    }
  }
  const copy = JSON.parse(JSON.stringify(json))
  walk(copy)
  const spot = paths[where % Math.max(1, paths.length)]
  if (spot) spot[0][spot[1]] = junk
  return copy as unknown
})

const codecs: Record<string, (json: unknown) => unknown> = {
  service: (json) => validateOrRefuse(gateServiceSpec(serviceSpec.parse(json, ''), { major: 1, minor: 41 })),
  node: (json) => nodeSpec.parse(json, ''),
  secret: (json) => secretRequest.parse(json, ''),
  config: (json) => configRequest.parse(json, ''),
  network: (json) => networkCreateRequest.parse(json, ''),
  cluster: (json) => mergeClusterSpec(DEFAULT_CLUSTER_SPEC, parseClusterSpec(json, '')),
}

function validateOrRefuse(given: ServiceSpec): ServiceSpec {
  validateServiceSpec(given)
  return given
}

for (const [name, parse] of Object.entries(codecs)) {
  test(`the ${name} codec accepts or refuses any JSON, and never crashes`, () => {
    fc.assert(
      fc.property(fc.oneof(fc.jsonValue(), broken), (json) => {
        try {
          parse(json)
        } catch (error) {
          assert.ok(isShoalError(error), String((error as Error).stack))
          assert.ok(['invalid-argument', 'unknown', 'unimplemented'].includes(error.code))
          assert.ok(error.message.length > 0)
        }
      }),
      { numRuns: 500 },
    )
  })
}

test('a refusal names the field and what was expected', () => {
  const refusal = (codec: Codec<unknown>, json: unknown) => {
    try {
      codec.parse(json, '')
    } catch (error) {
      return (error as Error).message
    }
    return 'accepted'
  }
  const codec = serviceSpec as Codec<unknown>
  assert.equal(
    refusal(codec, { TaskTemplate: { ContainerSpec: { Env: 'A=b' } } }),
    'invalid JSON: TaskTemplate.ContainerSpec.Env: expected an array, got "A=b"',
  )
  assert.equal(
    refusal(codec, { TaskTemplate: { ContainerSpec: { Env: [1] } } }),
    'invalid JSON: TaskTemplate.ContainerSpec.Env[0]: expected a string, got 1',
  )
  assert.match(refusal(codec, { EndpointSpec: { Mode: 'x' } }), /invalid EndpointSpec.Mode: "x": must be one of "vip", "dnsrr"/)
  assert.match(refusal(codec, { Mode: { Global: {}, Replicated: {} } }), /must specify only one service mode/)
  assert.match(refusal(codec, { TaskTemplate: { ForceUpdate: -1 } }), /not negative/)
})

test('fields that an older client cannot mean are dropped', () => {
  const json = {
    TaskTemplate: {
      ContainerSpec: { Image: 'i', CapabilityAdd: ['X'], Sysctls: { a: 'b' }, OomScoreAdj: 5, Privileges: { NoNewPrivileges: true } },
      Placement: { MaxReplicas: 2 },
      Resources: { Limits: { Pids: 5, NanoCPUs: 1 } },
    },
    Mode: { GlobalJob: {} },
  }
  const at = (minor: number) => gateServiceSpec(serviceSpec.parse(json, ''), { major: 1, minor })
  assert.deepEqual(at(39).task.placement, {})
  assert.equal(at(39).task.container?.sysctls, undefined)
  assert.deepEqual(at(40).task.container?.sysctls, { a: 'b' })
  assert.equal(at(40).task.container?.capabilityAdd, undefined)
  assert.deepEqual(at(40).task.resources?.limits, { nanoCpus: 1 })
  assert.equal(at(41).task.container?.privileges?.noNewPrivileges, undefined)
  assert.equal(at(45).task.container?.oomScoreAdj, undefined)
  assert.equal(at(46).task.container?.oomScoreAdj, 5)
  assert.equal(at(41).mode.kind, 'global-job')
})

test('a cluster spec that was shown and is sent back keeps everything', () => {
  const spec = { ...DEFAULT_CLUSTER_SPEC, taskHistoryRetentionLimit: 0, caForceRotate: 2, labels: { a: 'b' } }
  assert.deepEqual(mergeClusterSpec(spec, parseClusterSpec(JSON.parse(JSON.stringify(printClusterSpec(spec))), '')), spec)
  assert.deepEqual(mergeClusterSpec(spec, parseClusterSpec({}, '')), spec)
})
