// The service labels by which Docker's own tools can say what only Shoal knows: `shoal.<feature>.<option>` (architecture 13).
import { MS, ShoalError } from '../lib/index.ts'
import { DEFAULT_STOP_GRACE_NS } from './defaults.ts'
import type { ContainerSpec, Labels } from './spec.ts'

/** How long established connections of a task that shall stop may go on before it gets its stop signal: `30s`, `1m30s`, `0`. */
export const DRAIN_TIMEOUT_LABEL = 'shoal.drain.timeout'
/** On a service or a node: how long tasks may wait on a drained node for their successors (see drain.ts): `10m`; `0` = all stop at once. */
export const DRAIN_DEADLINE_LABEL = 'shoal.drain.deadline'
/** On a service: `start-first` or `stop-first` when its nodes are drained, whatever we would choose. */
export const DRAIN_ORDER_LABEL = 'shoal.drain.order'
/** `client-ip`: connections of one client address go to one task. */
export const AFFINITY_LABEL = 'shoal.lb.affinity'
export const CLIENT_IP_AFFINITY = 'client-ip'
/** An IPv4 address or a device of a host: published ports answer only there. */
export const PUBLISH_ADDRESS_LABEL = 'shoal.publish.address'

/** Without a label connections drain as long as the task would be given to stop, but not longer than this. */
const MOST_DEFAULT_DRAIN_NS = 10_000 * MS
const MAX_DRAIN_MS = 24 * 3_600_000

/** How long connections of a task may drain. A label that cannot be read (an old object) counts as none. */
export function drainTimeoutMs(labels: Labels | undefined, container: ContainerSpec | undefined): number {
  const label = labels?.[DRAIN_TIMEOUT_LABEL]
  const asked = label === undefined ? undefined : parseDurationMs(label)
  return asked ?? Math.min(container?.stopGracePeriodNs ?? DEFAULT_STOP_GRACE_NS, MOST_DEFAULT_DRAIN_NS) / MS
}

/** Throws 'invalid-argument' for a label of ours with a value that means nothing. */
export function validateServiceLabels(labels: Labels): void {
  const drain = labels[DRAIN_TIMEOUT_LABEL]
  if (drain !== undefined && parseDurationMs(drain) === undefined)
    refuse(DRAIN_TIMEOUT_LABEL, drain, 'a duration of at most 24h, such as 30s or 0')
  validateDrainDeadline(labels)
  const order = labels[DRAIN_ORDER_LABEL]
  if (order !== undefined && order !== 'start-first' && order !== 'stop-first')
    refuse(DRAIN_ORDER_LABEL, order, 'start-first or stop-first')
  const affinity = labels[AFFINITY_LABEL]
  if (affinity !== undefined && affinity !== CLIENT_IP_AFFINITY && affinity !== 'none')
    refuse(AFFINITY_LABEL, affinity, `${CLIENT_IP_AFFINITY} or none`)
  const address = labels[PUBLISH_ADDRESS_LABEL]
  if (address !== undefined && !isAddress(address) && !/^[A-Za-z][\w.@-]{0,14}$/.test(address))
    refuse(PUBLISH_ADDRESS_LABEL, address, 'an IPv4 address or the name of a network device')
}

/** Of a node or a service. */
export function validateDrainDeadline(labels: Labels): void {
  const deadline = labels[DRAIN_DEADLINE_LABEL]
  if (deadline !== undefined && parseDurationMs(deadline) === undefined)
    refuse(DRAIN_DEADLINE_LABEL, deadline, 'a duration of at most 24h, such as 10m or 0')
}

function refuse(label: string, value: string, wanted: string): never {
  throw new ShoalError('invalid-argument', `label ${label}: ${JSON.stringify(value)} is not valid`, { next: `give ${wanted}` })
}

function isAddress(text: string): boolean {
  return /^(\d{1,3})(\.\d{1,3}){3}$/.test(text) && text.split('.').every((part) => Number(part) <= 255)
}

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 }

/** `1m30s`, `500ms`, `0`; undefined when it is none, or longer than a day. */
export function parseDurationMs(text: string): number | undefined {
  if (text === '0') return 0
  if (!/^(\d+(\.\d+)?(ms|s|m|h))+$/.test(text)) return undefined
  let total = 0
  for (const [, number, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)) total += Number(number) * UNITS[unit!]!
  return total <= MAX_DRAIN_MS ? total : undefined
}
