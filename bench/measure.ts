// What all benchmarks share: CPU time, memory, objects to measure with, and how a line of results looks.
import type { NodeId, ServiceId } from '../src/lib/index.ts'
import type { Node, Service, TaskSpec } from '../src/model/index.ts'
import type { Fresh } from '../src/store/index.ts'

/** CPU seconds of this process since `start`, user and system, all threads. */
export function cpuSeconds(start: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(start)
  return (user + system) / 1e6
}

export function mib(bytes: number): number {
  return bytes / 2 ** 20
}

/** Value at a share (0..1) of the sorted list. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

/** `name`, what was measured, what it is held against, and measured / reference. */
export function line(name: string, measured: number, unit: string, against: string, reference: number): void {
  const ratio = measured / reference
  console.log(
    `${name.padEnd(52)} ${measured.toFixed(2).padStart(10)} ${unit.padEnd(8)} ratio ${ratio.toFixed(3).padStart(7)} to ${against} ${reference}`,
  )
}

/** Needs `--expose-gc`. */
export function collectGarbage(): void {
  const { gc } = globalThis as { gc?: () => void }
  if (!gc) throw new Error('start with --expose-gc')
  gc()
  gc()
}

export function nodeObject(index: number, labels: Readonly<Record<string, string>> = {}): Fresh<Node> {
  return {
    id: `node${String(index).padStart(21, '0')}` as NodeId,
    spec: { name: '', labels, desiredRole: 'worker', membership: 'accepted', availability: 'active' },
    role: 'worker',
    number: index + 1,
    description: {
      hostname: `host${index}`,
      platform: { os: 'linux', architecture: 'x86_64' },
      resources: { nanoCpus: 64e9, memoryBytes: 256 * 2 ** 30, generic: [] },
      engineVersion: '20.10.24',
      engineLabels: {},
      plugins: [],
      tls: { trustRoot: '', issuerSubject: '', issuerPublicKey: '' },
    },
    status: { state: 'ready', message: '', address: `10.0.${index >> 8}.${index & 255}` },
    certificate: { csrPem: '', state: 'issued', certificatePem: '', error: '' },
    agent: 'shoal',
    dataPlane: { on: false, reason: 'bench' },
  }
}

export function taskSpec(image: string): TaskSpec {
  return {
    container: { image },
    resources: { reservations: { nanoCpus: 1e6, memoryBytes: 2 ** 20 } },
    forceUpdate: 0,
  } as TaskSpec
}

export function serviceObject(index: number, replicas: number, constraints: readonly string[] = []): Fresh<Service> {
  const task: TaskSpec = { ...taskSpec(`image:${index % 50}`), ...(constraints.length > 0 ? { placement: { constraints } } : {}) }
  return {
    id: `service${String(index).padStart(18, '0')}` as ServiceId,
    spec: { name: `service-${index}`, labels: {}, task, mode: { kind: 'replicated', replicas } },
    specVersion: 1,
  }
}
