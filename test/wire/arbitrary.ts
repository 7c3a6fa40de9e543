// Random assignments in canonical form: what is empty or zero is left out, as the parser leaves it out.
import fc from 'fast-check'
import type { AssignedNetwork, AssignedTask, ContainerSpec, Mount, TaskSpec } from '../../src/model/index.ts'
import { TaskState } from '../../src/model/index.ts'

const text = fc.string({ minLength: 1, maxLength: 12 })
const id = fc.stringMatching(/^[0-9a-z]{25}$/)
const count = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER })
const small = fc.integer({ min: 1, max: 65_535 })
const ns = fc.integer({ min: 0, max: 10 ** 15 })
const yes = fc.constant(true)
const texts = fc.array(text, { minLength: 1, maxLength: 3 })
const map = fc.dictionary(
  text.filter((key) => key !== '__proto__'),
  fc.string({ maxLength: 5 }),
  { minKeys: 1, maxKeys: 3, noNullPrototype: true },
)
const base64 = fc.uint8Array({ minLength: 1, maxLength: 8 }).map((bytes) => Buffer.from(bytes).toString('base64'))
const cidr = fc.ipV4().map((address) => `${address}/24`)

/** All keys optional: missing, never undefined. */
function some<T extends object>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<Partial<T>> {
  return fc.record(model, { requiredKeys: [], noNullPrototype: true }) as fc.Arbitrary<Partial<T>>
}
function full<T extends object>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record(model, { noNullPrototype: true }) as unknown as fc.Arbitrary<T>
}
function both<A extends object, B extends object>(a: fc.Arbitrary<A>, b: fc.Arbitrary<B>): fc.Arbitrary<A & B> {
  return fc.tuple(a, b).map(([x, y]) => ({ ...x, ...y }))
}

const driver = both(full({ name: text }), some({ options: map }))
const generic = fc.oneof(full({ kind: text, discrete: count }), full({ kind: text, named: text }))
const file = full({ name: text, uid: text, gid: text, mode: fc.integer({ min: 0, max: 0o7777 }) })
const port = both(
  full({
    protocol: fc.constantFrom('tcp' as const, 'udp' as const, 'sctp' as const),
    targetPort: small,
    publishedPort: fc.integer({ min: 0, max: 65_535 }),
    publishMode: fc.constantFrom('ingress' as const, 'host' as const),
  }),
  some({ name: text }),
)

const mount = both(
  full({ type: fc.constantFrom('bind' as const, 'volume' as const, 'tmpfs' as const, 'npipe' as const, 'cluster' as const), target: text }),
  some({
    source: text,
    readOnly: yes,
    consistency: fc.constantFrom('consistent', 'cached', 'delegated'),
    bind: some({
      propagation: fc.constantFrom('private', 'rshared', 'shared', 'rslave', 'slave'),
      nonRecursive: yes,
      createMountpoint: yes,
      readOnlyNonRecursive: yes,
      readOnlyForceRecursive: yes,
    }),
    volume: some({ noCopy: yes, labels: map, driver, subpath: text }),
    tmpfs: some({ sizeBytes: count, mode: small, options: fc.array(texts, { minLength: 1, maxLength: 2 }) }),
  }),
) as fc.Arbitrary<Mount>

const container = both(
  full({ image: text }),
  some({
    labels: map,
    command: texts,
    args: texts,
    hostname: text,
    env: texts,
    dir: text,
    user: text,
    groups: texts,
    privileges: some({
      credentialSpec: fc.oneof(full({ file: text }), full({ registry: text }), full({ config: text }), fc.constant({})),
      seLinux: some({ disable: yes, user: text, role: text, type: text, level: text }),
      seccomp: both(
        full({ mode: fc.constantFrom('default' as const, 'unconfined' as const, 'custom' as const) }),
        some({ profile: base64 }),
      ),
      appArmor: full({ mode: fc.constantFrom('default' as const, 'disabled' as const) }),
      noNewPrivileges: yes,
    }),
    init: fc.boolean(),
    tty: yes,
    openStdin: yes,
    readOnly: yes,
    mounts: fc.array(mount, { minLength: 1, maxLength: 2 }),
    stopSignal: text,
    stopGracePeriodNs: ns,
    healthcheck: some({ test: texts, intervalNs: ns, timeoutNs: ns, retries: small, startPeriodNs: ns, startIntervalNs: ns }),
    hosts: texts,
    dns: some({ nameservers: texts, search: texts, options: texts }),
    secrets: fc.array(full({ secretId: id, secretName: text, file }), { minLength: 1, maxLength: 2 }),
    configs: fc.array(fc.oneof(full({ configId: id, configName: text, file }), full({ configId: id, configName: text, runtime: yes })), {
      minLength: 1,
      maxLength: 2,
    }),
    isolation: fc.constantFrom('process', 'hyperv'),
    sysctls: map,
    capabilityAdd: texts,
    capabilityDrop: texts,
    ulimits: fc.array(full({ name: text, soft: fc.maxSafeInteger(), hard: fc.maxSafeInteger() }), { minLength: 1, maxLength: 2 }),
    oomScoreAdj: fc.integer({ min: -1000, max: 1000 }).filter((value) => value !== 0),
    registryAuth: text,
  }),
) as unknown as fc.Arbitrary<ContainerSpec>

const amounts = { nanoCpus: count, memoryBytes: count, generic: fc.array(generic, { minLength: 1, maxLength: 2 }) }
function notEmpty<T extends object>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T> {
  return arbitrary.filter((value) => Object.keys(value).length > 0)
}

const spec = both(
  both(
    fc.oneof(full({ container }), full({ attachment: full({ containerId: text }) })) as fc.Arbitrary<object>,
    full({
      forceUpdate: fc.nat(),
      restart: full({ condition: fc.constantFrom('none', 'on-failure', 'any'), delayNs: ns, maxAttempts: fc.nat(), windowNs: ns }),
    }),
  ),
  some({
    resources: notEmpty(
      some({
        limits: notEmpty(some(amounts)),
        reservations: notEmpty(some(amounts)),
        swapBytes: fc.integer({ min: -1 }),
        memorySwappiness: fc.integer({ min: 0, max: 100 }),
      }),
    ),
    placement: notEmpty(
      some({
        constraints: texts,
        preferences: fc.array(full({ spread: text }), { minLength: 1, maxLength: 2 }),
        maxReplicas: count,
        platforms: fc.array(full({ architecture: text, os: text }), { minLength: 1, maxLength: 2 }),
      }),
    ),
    logDriver: driver,
    networks: fc.array(both(full({ target: id }), some({ aliases: texts, driverOpts: map })), { minLength: 1, maxLength: 2 }),
  }),
) as unknown as fc.Arbitrary<TaskSpec>

const labels = fc.oneof(fc.constant({}), map)
export const overlay = full({
  id,
  name: text,
  labels,
  driver: fc.constant('overlay'),
  vni: fc.integer({ min: 1, max: 2 ** 24 - 1 }),
  subnet: cidr,
  gateway: fc.ipV4(),
  mtu: fc.constantFrom(0, 1300, 9000),
  internal: fc.boolean(),
  attachable: fc.boolean(),
  ingress: fc.boolean(),
}) as unknown as fc.Arbitrary<AssignedNetwork>
const predefined = full({
  id,
  name: text,
  labels,
  driver: fc.constantFrom('host', 'bridge'),
  vni: fc.constant(0),
  subnet: fc.constant(''),
  gateway: fc.constant(''),
  mtu: fc.constant(0),
  internal: fc.boolean(),
  attachable: fc.boolean(),
  ingress: fc.constant(false),
}) as unknown as fc.Arbitrary<AssignedNetwork>
export const attachment = fc.oneof(
  full({ network: overlay, addresses: fc.array(cidr, { minLength: 1, maxLength: 2 }), aliases: fc.array(text, { maxLength: 2 }) }),
  full({ network: predefined, addresses: fc.constant([] as string[]), aliases: fc.constant([] as string[]) }),
)

const state = fc.constantFrom(...Object.values(TaskState))
export const assignedTask = both(
  full({
    id,
    serviceName: fc.string({ maxLength: 8 }),
    serviceLabels: labels,
    slot: fc.nat(),
    nodeId: id,
    specVersion: fc.nat(),
    spec,
    desiredState: state,
    knownState: state.filter((value) => value >= TaskState.ASSIGNED),
    attachments: fc.array(attachment, { maxLength: 3 }),
    ports: fc.array(port, { maxLength: 3 }),
    genericResources: fc.array(generic, { maxLength: 2 }),
  }),
  some({ serviceId: id, notBefore: fc.integer({ min: 0, max: 4 * 10 ** 12 }), jobIteration: fc.nat() }),
) as unknown as fc.Arbitrary<AssignedTask>

export const nodeDescription = full({
  hostname: text,
  platform: full({ architecture: text, os: text }),
  resources: full({ nanoCpus: count, memoryBytes: count, generic: fc.array(generic, { maxLength: 2 }) }),
  engineVersion: text,
  engineLabels: labels,
  plugins: fc.array(full({ type: text, name: text }), { maxLength: 3 }),
  tls: full({ trustRoot: text, issuerSubject: base64, issuerPublicKey: base64 }),
})
