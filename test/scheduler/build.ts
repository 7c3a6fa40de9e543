// Nodes and demands for scheduler tests.
import type { NodeId } from '../../src/lib/index.ts'
import type { Node } from '../../src/model/index.ts'
import { type Demand, demandOf } from '../../src/scheduler/index.ts'

export interface NodeInput {
  readonly id: string
  readonly labels?: Record<string, string>
  readonly nanoCpus?: number
  readonly memoryBytes?: number
  readonly ready?: boolean
  readonly availability?: Node['spec']['availability']
  readonly architecture?: string
  readonly plugins?: NonNullable<Node['description']>['plugins']
  readonly dataPlane?: boolean
}

export function nodeOf(input: NodeInput): Node {
  return {
    id: input.id as NodeId,
    version: 1,
    createdAt: 0,
    updatedAt: 0,
    spec: {
      name: '',
      labels: input.labels ?? {},
      desiredRole: 'worker',
      membership: 'accepted',
      availability: input.availability ?? 'active',
    },
    role: 'worker',
    number: 1,
    description: {
      hostname: input.id,
      platform: { os: 'linux', architecture: input.architecture ?? 'x86_64' },
      resources: { nanoCpus: input.nanoCpus ?? 4e9, memoryBytes: input.memoryBytes ?? 4e9, generic: [] },
      engineVersion: '',
      engineLabels: {},
      plugins: input.plugins ?? [],
      tls: { trustRoot: '', issuerSubject: '', issuerPublicKey: '' },
    },
    status: { state: input.ready === false ? 'down' : 'ready', message: '', address: '10.1.2.3' },
    certificate: { csrPem: '', state: 'issued', certificatePem: '', error: '' },
    agent: 'shoal',
    dataPlane: { on: input.dataPlane ?? true, reason: '' },
  }
}

export function demand(overrides: Partial<Demand> = {}): Demand {
  const base = demandOf({ serviceId: 'svc', specVersion: 1, task: { forceUpdate: 0 }, placement: undefined, ports: [], plane: 'none' })
  return { ...base, ...overrides }
}
