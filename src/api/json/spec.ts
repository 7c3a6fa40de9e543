// ServiceSpec and what stands in it (docker-api.md 1.3), both ways.
import { ShoalError } from '../../lib/index.ts'
import type {
  Driver,
  EndpointSpec,
  GenericResource,
  NetworkAttachmentConfig,
  Placement,
  Platform,
  PortConfig,
  ResourceRequirements,
  Resources,
  RestartPolicy,
  ServiceMode,
  ServiceSpec,
  TaskSpec,
  UpdateConfig,
} from '../../model/index.ts'
import {
  array,
  asObject,
  type Codec,
  computed,
  float,
  id,
  integer,
  object,
  omitEmpty,
  oneOf,
  optional,
  refuse,
  required,
  sparse,
  string,
  stringMap,
  unsigned,
} from './codec.ts'
import { containerSpec } from './containerSpec.ts'

export const driver: Codec<Driver> = object<Driver>([required('Name', 'name', string, ''), omitEmpty('Options', 'options', stringMap)])

const updateConfig = object<UpdateConfig>([
  required('Parallelism', 'parallelism', unsigned, 0),
  omitEmpty('Delay', 'delayNs', integer),
  omitEmpty('FailureAction', 'failureAction', oneOf(['pause', 'continue', 'rollback'])),
  omitEmpty('Monitor', 'monitorNs', integer),
  required('MaxFailureRatio', 'maxFailureRatio', float, 0),
  required('Order', 'order', oneOf(['stop-first', 'start-first'], 'stop-first'), 'stop-first'),
])

export const portConfig: Codec<PortConfig> = object<PortConfig>([
  omitEmpty('Name', 'name', string),
  required('Protocol', 'protocol', oneOf(['tcp', 'udp', 'sctp'], 'tcp'), 'tcp'),
  sparse('TargetPort', 'targetPort', unsigned, 0),
  sparse('PublishedPort', 'publishedPort', unsigned, 0),
  required('PublishMode', 'publishMode', oneOf(['ingress', 'host'], 'ingress'), 'ingress'),
])

export const endpointSpec: Codec<EndpointSpec> = object<EndpointSpec>([
  omitEmpty('Mode', 'mode', oneOf(['vip', 'dnsrr'])),
  omitEmpty('Ports', 'ports', array(portConfig)),
])

const networkAttachment = object<NetworkAttachmentConfig>([
  required('Target', 'target', id<NetworkAttachmentConfig['target']>(), '' as NetworkAttachmentConfig['target']),
  omitEmpty('Aliases', 'aliases', array(string)),
  omitEmpty('DriverOpts', 'driverOpts', stringMap),
])

export const genericResource: Codec<GenericResource> = {
  parse(json, path) {
    const source = asObject(json, path)
    const discrete = source.get('DiscreteResourceSpec')
    if (discrete !== undefined) {
      const inner = asObject(discrete, `${path}.DiscreteResourceSpec`)
      return {
        kind: string.parse(inner.get('Kind') ?? '', `${path}.Kind`),
        discrete: integer.parse(inner.get('Value') ?? 0, `${path}.Value`),
      }
    }
    const named = source.get('NamedResourceSpec')
    if (named === undefined) refuse(path, 'DiscreteResourceSpec or NamedResourceSpec', json)
    const inner = asObject(named, `${path}.NamedResourceSpec`)
    return { kind: string.parse(inner.get('Kind') ?? '', `${path}.Kind`), named: string.parse(inner.get('Value') ?? '', `${path}.Value`) }
  },
  print: (value) =>
    'discrete' in value
      ? { DiscreteResourceSpec: { Kind: value.kind, Value: value.discrete } }
      : { NamedResourceSpec: { Kind: value.kind, Value: value.named } },
}

const limits = object<Resources>([
  omitEmpty('NanoCPUs', 'nanoCpus', integer),
  omitEmpty('MemoryBytes', 'memoryBytes', integer),
  omitEmpty('Pids', 'pids', integer),
])

const reservations = object<Resources>([
  omitEmpty('NanoCPUs', 'nanoCpus', integer),
  omitEmpty('MemoryBytes', 'memoryBytes', integer),
  omitEmpty('GenericResources', 'generic', array(genericResource)),
])

const resources = object<ResourceRequirements>([
  optional('Limits', 'limits', limits),
  optional('Reservations', 'reservations', reservations),
  optional('SwapBytes', 'swapBytes', integer),
  optional('MemorySwappiness', 'memorySwappiness', integer),
])

const restartPolicy = object<RestartPolicy>([
  omitEmpty('Condition', 'condition', oneOf(['none', 'on-failure', 'any'])),
  optional('Delay', 'delayNs', integer),
  optional('MaxAttempts', 'maxAttempts', unsigned),
  optional('Window', 'windowNs', integer),
])

const preference: Codec<{ readonly spread: string }> = {
  parse(json, path) {
    const spread = asObject(asObject(json, path).get('Spread') ?? {}, `${path}.Spread`)
    return { spread: string.parse(spread.get('SpreadDescriptor') ?? '', `${path}.Spread.SpreadDescriptor`) }
  },
  print: (value) => ({ Spread: { SpreadDescriptor: value.spread } }),
}

export const platform: Codec<Platform> = object<Platform>([
  sparse('Architecture', 'architecture', string, ''),
  sparse('OS', 'os', string, ''),
])

const placement = object<Placement>([
  omitEmpty('Constraints', 'constraints', array(string)),
  omitEmpty('Preferences', 'preferences', array(preference)),
  omitEmpty('MaxReplicas', 'maxReplicas', unsigned),
  omitEmpty('Platforms', 'platforms', array(platform)),
])

const attachment = object<NonNullable<TaskSpec['attachment']>>([required('ContainerID', 'containerId', string, '')])

export const taskSpec: Codec<TaskSpec> = object<TaskSpec>([
  optional('ContainerSpec', 'container', containerSpec),
  // Plugin services are refused by validation; the body only has to be noticed.
  {
    read(json, draft) {
      if (json.get('PluginSpec') !== undefined) draft.runtime = 'plugin'
    },
    write() {},
  },
  optional('NetworkAttachmentSpec', 'attachment', attachment),
  optional('Resources', 'resources', resources),
  optional('RestartPolicy', 'restart', restartPolicy),
  optional('Placement', 'placement', placement),
  omitEmpty('Networks', 'networks', array(networkAttachment)),
  optional('LogDriver', 'logDriver', driver),
  required('ForceUpdate', 'forceUpdate', unsigned, 0),
  {
    read(json, draft, path) {
      const value = json.get('Runtime')
      if (value === undefined || value === '') return
      const runtime = string.parse(value, `${path}.Runtime`)
      if (runtime !== 'container' && runtime !== 'plugin' && runtime !== 'attachment') {
        throw new ShoalError('invalid-argument', `invalid runtime ${JSON.stringify(runtime)}: use "container"`)
      }
      if (draft.runtime !== undefined && draft.runtime !== runtime)
        throw new ShoalError('invalid-argument', 'mismatched Runtime and *Spec fields')
      // "container" is what nothing means, too: the model has one form, or a spec sent back would seem changed.
      if (runtime !== 'container') draft.runtime = runtime
    },
    write() {},
  },
  computed('Runtime', (spec) => spec.runtime ?? (spec.attachment ? 'attachment' : 'container')),
])

const replicas = object<{ readonly count?: number }>([optional('Replicas', 'count', unsigned)])
const job = object<{ readonly maxConcurrent?: number; readonly totalCompletions?: number }>([
  optional('MaxConcurrent', 'maxConcurrent', unsigned),
  optional('TotalCompletions', 'totalCompletions', unsigned),
])

/** One of four; none means one replica. */
export const serviceMode: Codec<ServiceMode> = {
  parse(json, path) {
    const source = asObject(json, path)
    const found = ['Replicated', 'Global', 'ReplicatedJob', 'GlobalJob'].filter((name) => source.get(name) !== undefined)
    if (found.length > 1) throw new ShoalError('invalid-argument', 'must specify only one service mode')
    const name = found[0]
    const inner = name === undefined ? {} : source.get(name)
    const at = `${path}.${name}`
    if (name === 'Global') return { kind: 'global' }
    if (name === 'GlobalJob') return { kind: 'global-job' }
    if (name === 'ReplicatedJob') {
      const { maxConcurrent = 1, totalCompletions } = job.parse(inner, at)
      return { kind: 'replicated-job', maxConcurrent, totalCompletions: totalCompletions ?? maxConcurrent }
    }
    return { kind: 'replicated', replicas: replicas.parse(inner, at).count ?? 1 }
  },
  print(mode) {
    switch (mode.kind) {
      case 'replicated':
        return { Replicated: { Replicas: mode.replicas } }
      case 'global':
        return { Global: {} }
      case 'replicated-job':
        return { ReplicatedJob: { MaxConcurrent: mode.maxConcurrent, TotalCompletions: mode.totalCompletions } }
      case 'global-job':
        return { GlobalJob: {} }
    }
  },
}

export const serviceSpec: Codec<ServiceSpec> = object<ServiceSpec>([
  required('Name', 'name', string, ''),
  required('Labels', 'labels', stringMap, {}),
  required('TaskTemplate', 'task', taskSpec, { forceUpdate: 0 }),
  required('Mode', 'mode', serviceMode, { kind: 'replicated', replicas: 1 }),
  optional('UpdateConfig', 'update', updateConfig),
  optional('RollbackConfig', 'rollback', updateConfig),
  omitEmpty('Networks', 'networks', array(networkAttachment)),
  optional('EndpointSpec', 'endpoint', endpointSpec),
])
