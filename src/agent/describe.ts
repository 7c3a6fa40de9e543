// What this node says about itself: the engine's resources and plugins, and the trust root.
import { create } from '@bufbuild/protobuf'
import type { Logger } from '../lib/index.ts'
import type { NodeDescription } from '../model/index.ts'
import type { Engine, EngineInfo, Identity, Issuer } from '../ports/index.ts'
import { NodeDescriptionSchema, type NodeDescription as WireNodeDescription } from '../proto/index.ts'
import { buildNodeDescription } from '../wire/index.ts'
import type { AgentDataPlane } from './types.ts'

export interface DescribeDeps {
  readonly engine: Engine
  readonly issuer: Pick<Issuer, 'inspect'>
  readonly identity: () => Identity
  readonly dataPlane: Pick<AgentDataPlane, 'status'>
  readonly daemonVersion: string
  readonly log: Logger
}

/** The network driver that our data plane stands for; managers look for it before they place tasks of overlays. */
const OVERLAY = { type: 'Network', name: 'overlay' } as const

/** Throws 'unavailable' while the engine is away. */
export async function describeNode(deps: DescribeDeps): Promise<WireNodeDescription> {
  const info = await deps.engine.info()
  const identity = deps.identity()
  const root = await deps.issuer.inspect(identity.rootCaPem)
  const status = deps.dataPlane.status()
  const description: NodeDescription = {
    hostname: info.hostname,
    platform: { architecture: info.architecture, os: info.operatingSystem },
    resources: {
      nanoCpus: info.nanoCpus,
      memoryBytes: info.memoryBytes,
      generic: info.genericResources.map(({ kind, value }) =>
        typeof value === 'number' ? { kind, discrete: value } : { kind, named: value },
      ),
    },
    engineVersion: info.engineVersion,
    engineLabels: Object.fromEntries(info.labels.map(splitLabel)),
    plugins: plugins(info),
    tls: { trustRoot: identity.rootCaPem, issuerSubject: root.subjectDer, issuerPublicKey: root.publicKeyDer },
  }
  const wire = buildNodeDescription(description, {
    daemonVersion: deps.daemonVersion,
    dataPlane: status.on ? { on: true, reason: '' } : { on: false, reason: status.reason },
  })
  return create(NodeDescriptionSchema, wire)
}

function plugins(info: EngineInfo): NodeDescription['plugins'] {
  const found = info.plugins.map(({ type, name }) => ({ type, name }))
  const all = found.some(({ type, name }) => type === OVERLAY.type && name === OVERLAY.name) ? found : [...found, OVERLAY]
  return all.toSorted((a, b) => (a.type + a.name < b.type + b.name ? -1 : 1))
}

function splitLabel(label: string): [string, string] {
  const equals = label.indexOf('=')
  return equals < 0 ? [label, ''] : [label.slice(0, equals), label.slice(equals + 1)]
}
