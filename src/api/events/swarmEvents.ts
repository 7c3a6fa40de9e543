// Events of the swarm, derived from the store's changes (docker-api.md 1.8).
import type { Network, Node, Service } from '../../model/index.ts'
import type { Change, Commit } from '../../store/index.ts'

export interface SwarmEvent {
  readonly type: 'service' | 'node' | 'secret' | 'config' | 'network'
  readonly action: 'create' | 'update' | 'remove'
  readonly id: string
  readonly attributes: Readonly<Record<string, string>>
  readonly at: number
  /** The event's place within its millisecond, so that times are distinct. */
  readonly index: number
}

export function eventsOf(commit: Commit): SwarmEvent[] {
  const events: SwarmEvent[] = []
  for (const change of commit.changes) {
    const type = typeOf(change)
    if (!type) continue
    const action = change.before === undefined ? 'create' : change.after === undefined || isBeingRemoved(change) ? 'remove' : 'update'
    events.push({ type, action, id: change.id, attributes: attributesOf(change), at: commit.at, index: events.length })
  }
  return events
}

function typeOf(change: Change): SwarmEvent['type'] | undefined {
  switch (change.table) {
    case 'service':
    case 'node':
    case 'secret':
    case 'config':
      return change.table
    case 'network': {
      const { predefined, removing } = change.after ?? (change.before as Network)
      // what is being removed is gone for its users: the end of it says nothing more
      return predefined || (removing && change.before?.removing) ? undefined : 'network'
    }
    default:
      return undefined
  }
}

function isBeingRemoved(change: Change): boolean {
  return change.table === 'network' && change.after?.removing === true
}

function attributesOf(change: Change): Record<string, string> {
  switch (change.table) {
    case 'service':
      return serviceAttributes(change.before, change.after)
    case 'node':
      return nodeAttributes(change.before, change.after)
    case 'secret':
    case 'config':
    case 'network':
      return { name: (isBeingRemoved(change) ? change.before : (change.after ?? change.before))?.spec.name ?? '' }
    default:
      return {}
  }
}

function serviceAttributes(before: Service | undefined, after: Service | undefined): Record<string, string> {
  const replicas = (service: Service) => (service.spec.mode.kind === 'replicated' ? String(service.spec.mode.replicas) : '')
  return {
    name: (after ?? before)?.spec.name ?? '',
    ...difference('replicas', before && replicas(before), after && replicas(after)),
    ...difference('image', before?.spec.task.container?.image, after?.spec.task.container?.image),
    ...(before && after && difference('updatestate', before.updateStatus?.state ?? '', after.updateStatus?.state ?? '')),
  }
}

function nodeAttributes(before: Node | undefined, after: Node | undefined): Record<string, string> {
  const node = after ?? before
  return {
    name: node?.spec.name || (node?.description?.hostname ?? ''),
    ...difference('availability', before?.spec.availability, after?.spec.availability),
    ...difference('role', before?.spec.desiredRole, after?.spec.desiredRole),
    ...difference('state', before?.status.state, after?.status.state),
    ...(before?.managerStatus && after?.managerStatus && managerDifference(before.managerStatus, after.managerStatus)),
  }
}

function managerDifference(before: NonNullable<Node['managerStatus']>, after: NonNullable<Node['managerStatus']>): Record<string, string> {
  return {
    ...difference('leader', String(before.leader), String(after.leader)),
    ...difference('reachability', before.reachability, after.reachability),
  }
}

/** `image.old` and `image.new`; nothing at a creation, at a removal, or when both are the same. */
function difference(name: string, before: string | undefined, after: string | undefined): Record<string, string> {
  if (before === undefined || after === undefined || before === after) return {}
  return { ...(before && { [`${name}.old`]: before }), ...(after && { [`${name}.new`]: after }) }
}

/** One line of GET /events. The time in nanoseconds is beyond what a JavaScript number holds, so it is written as text. */
export function printEvent({ type, action, id, attributes, at, index }: SwarmEvent): string {
  const head = JSON.stringify({ Type: type, Action: action, Actor: { ID: id, Attributes: attributes }, scope: 'swarm' })
  return `${head.slice(0, -1)},"time":${Math.floor(at / 1000)},"timeNano":${at}${String(index % 1_000_000).padStart(6, '0')}}`
}
