// What people and fate do to a simulated swarm: a list of operations and faults drawn from a seed. Plain data, so that a failing list can be shortened.

import type { Availability } from '../model/index.ts'
import type { SeededRandom } from '../ports/fakes/index.ts'

/** A service in the few dimensions in which the simulator varies it; `client.ts` makes the spec. */
export interface ServiceShape {
  /** A job completes `replicas` times, `parallelism` at a time. */
  readonly mode: 'replicated' | 'global' | 'job'
  readonly replicas: number
  readonly image: Image
  readonly order: 'stop-first' | 'start-first'
  readonly parallelism: number
  readonly delaySeconds: number
  readonly monitorSeconds: number
  readonly failureAction: 'pause' | 'continue' | 'rollback'
  readonly restartDelaySeconds: number
  readonly healthcheck: boolean
  readonly stopGraceSeconds: number
  /** `node.labels.zone==…`, or none. */
  readonly zone: string | undefined
  readonly published: number | undefined
  /** Attached to this overlay network, or to none. */
  readonly network: NetworkName | undefined
}

export const NETWORKS = ['net0', 'net1'] as const
export type NetworkName = (typeof NETWORKS)[number]

/** ok runs, slow takes its time to get healthy, crash ends by itself after a while, absent cannot be pulled, sick gets unhealthy, done is a job's: it ends, mostly well. */
export type ImageKind = 'ok' | 'slow' | 'crash' | 'absent' | 'sick' | 'done'
export type Image = `${ImageKind}:${number}`

export type Op =
  | { readonly kind: 'create'; readonly service: string; readonly shape: ServiceShape }
  | { readonly kind: 'scale'; readonly service: string; readonly replicas: number }
  | { readonly kind: 'update'; readonly service: string; readonly image: Image; readonly order: ServiceShape['order'] }
  | { readonly kind: 'rollback'; readonly service: string }
  | { readonly kind: 'remove'; readonly service: string }
  | { readonly kind: 'availability'; readonly host: number; readonly availability: Availability }
  | { readonly kind: 'label'; readonly host: number; readonly zone: string }
  /** The machine loses power and comes back; its containers are dead then, disks keep what was durable. */
  | { readonly kind: 'power-off'; readonly host: number; readonly forMs: number }
  /** kill -9 of shoald; the engine and its containers go on. */
  | { readonly kind: 'kill'; readonly host: number; readonly forMs: number }
  /** SIGTERM of shoald, and a start after a while. */
  | { readonly kind: 'stop'; readonly host: number; readonly forMs: number }
  /** SIGSTOP and SIGCONT of shoald. */
  | { readonly kind: 'pause'; readonly host: number; readonly forMs: number }
  /** The engine is away under live-restore. */
  | { readonly kind: 'engine'; readonly host: number; readonly forMs: number }
  /** `to` undefined: from everybody. */
  | {
      readonly kind: 'partition'
      readonly host: number
      readonly to: number | undefined
      readonly oneWay: boolean
      readonly forMs: number
    }
  | { readonly kind: 'reset'; readonly host: number }
  /** The n-th running container (modulo how many there are) ends with this code, or is removed by hand. */
  | { readonly kind: 'container'; readonly nth: number; readonly how: 'exit' | 'remove'; readonly exitCode: number }

export type TimedOp = Op & { readonly atMs: number }

export interface WorkloadOptions {
  readonly random: SeededRandom
  readonly hosts: number
  readonly services: number
  readonly durationMs: number
  /** Faults a minute; 0 = people only. */
  readonly faultsPerMinute: number
  readonly opsPerMinute: number
}

/** Images are numbered from 0; the last number is kept for repairs. */
export const IMAGE_NUMBERS = 50

const ZONES = ['a', 'b', 'c']

/** Host 0 is the manager. Ordered by time. */
export function drawWorkload(options: WorkloadOptions): readonly TimedOp[] {
  const { random, durationMs, services, hosts } = options
  const ops: TimedOp[] = []
  const at = () => Math.floor(random.float() * durationMs)
  const name = () => `s${random.int(Math.max(1, services))}`
  const host = () => random.int(hosts)

  for (let index = 0; index < services; index += 1) {
    // Most services are there from the start, some come later.
    const atMs = random.chance(0.7) ? random.int(2_000) : Math.floor(random.float() * durationMs * 0.7)
    ops.push({ kind: 'create', service: `s${index}`, shape: drawShape(random, index), atMs })
  }
  for (let host = 0; host < hosts; host += 1) ops.push({ kind: 'label', host, zone: ZONES[host % ZONES.length]!, atMs: random.int(1_000) })

  const minutes = durationMs / 60_000
  const people = Math.round(minutes * options.opsPerMinute)
  for (let i = 0; i < people; i += 1) ops.push({ ...drawPersonOp(random, name, host), atMs: at() })
  const faults = Math.round(minutes * options.faultsPerMinute)
  for (let i = 0; i < faults; i += 1) ops.push({ ...drawFault(random, host, hosts), atMs: at() })
  return ops.sort((a, b) => a.atMs - b.atMs)
}

function drawShape(random: SeededRandom, index: number): ServiceShape {
  const draw = random.float()
  const mode = draw < 0.15 ? 'global' : draw < 0.25 ? 'job' : 'replicated'
  return {
    mode,
    replicas: random.between(0, 5),
    image: mode === 'job' ? `done:${random.int(IMAGE_NUMBERS)}` : drawImage(random, 0.9),
    order: random.chance(0.3) ? 'start-first' : 'stop-first',
    parallelism: random.between(0, 3),
    delaySeconds: random.pick([0, 0, 1, 5]),
    monitorSeconds: random.pick([1, 5, 10]),
    failureAction: random.pick(['pause', 'continue', 'rollback'] as const),
    restartDelaySeconds: random.pick([0, 1, 5, 5, 10]),
    healthcheck: random.chance(0.3),
    stopGraceSeconds: random.pick([1, 10, 10, 30]),
    zone: random.chance(0.15) ? random.pick(ZONES) : undefined,
    published: mode !== 'job' && random.chance(0.2) ? 8_000 + index : undefined,
    network: random.chance(0.3) ? random.pick(NETWORKS) : undefined,
  }
}

function drawImage(random: SeededRandom, good: number): Image {
  const kind: ImageKind = random.chance(good)
    ? random.pick(['ok', 'ok', 'ok', 'slow'] as const)
    : random.pick(['crash', 'absent', 'sick'] as const)
  return `${kind}:${random.int(IMAGE_NUMBERS)}`
}

function drawPersonOp(random: SeededRandom, name: () => string, host: () => number): Op {
  const draw = random.float()
  if (draw < 0.3) return { kind: 'scale', service: name(), replicas: random.between(0, 8) }
  if (draw < 0.6) {
    return {
      kind: 'update',
      service: name(),
      image: drawImage(random, 0.75),
      order: random.chance(0.3) ? 'start-first' : 'stop-first',
    }
  }
  if (draw < 0.68) return { kind: 'rollback', service: name() }
  if (draw < 0.74) return { kind: 'remove', service: name() }
  if (draw < 0.95) return { kind: 'availability', host: host(), availability: random.pick(['active', 'active', 'pause', 'drain'] as const) }
  return { kind: 'label', host: host(), zone: random.pick(ZONES) }
}

function drawFault(random: SeededRandom, host: () => number, hosts: number): Op {
  const forMs = random.pick([500, 2_000, 8_000, 20_000, 45_000]) + random.int(1_000)
  const draw = random.float()
  if (draw < 0.12) return { kind: 'power-off', host: host(), forMs: 5_000 + forMs }
  if (draw < 0.32) return { kind: 'kill', host: random.chance(0.4) ? 0 : host(), forMs }
  if (draw < 0.4) return { kind: 'stop', host: host(), forMs }
  if (draw < 0.48) return { kind: 'pause', host: host(), forMs: Math.min(forMs, 20_000) }
  if (draw < 0.56) return { kind: 'engine', host: host(), forMs }
  if (draw < 0.72) {
    const to = random.chance(0.6) ? undefined : random.int(hosts)
    return { kind: 'partition', host: host(), to, oneWay: random.chance(0.3), forMs }
  }
  if (draw < 0.78) return { kind: 'reset', host: host() }
  return {
    kind: 'container',
    nth: random.int(1_000),
    how: random.chance(0.8) ? 'exit' : 'remove',
    exitCode: random.pick([0, 1, 137]),
  }
}

export function opText(op: Op): string {
  const { kind, ...rest } = op
  return `${kind} ${JSON.stringify(rest)}`
}
