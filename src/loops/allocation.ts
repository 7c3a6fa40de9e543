// Gives networks, services, tasks and nodes what must be unique: ids, subnets, VIPs, published ports, addresses, numbers.
import { AddressIndex, type AddressUse, allocateNetwork, freeNodeNumber, PortIndex } from '../allocator/index.ts'
import { errorText, type NetworkId, type NodeId, type ServiceId, type TaskId } from '../lib/index.ts'
import {
  isTerminal,
  type Network,
  networksOf,
  type PortConfig,
  type Service,
  type SpecRevision,
  type Task,
  type TaskAttachment,
  TaskState,
  type Vip,
} from '../model/index.ts'
import { isLive, isUnassigned } from './tasks.ts'
import { type BatchLoop, type Change, type Context, KeyFailure, type View } from './types.ts'

const PENDING_MESSAGE = 'pending task scheduling'

type Key = `network/${string}` | `service/${string}` | `task/${string}` | `node/${string}`

/** Networks first, because services and tasks need them; then services, because tasks of a service wait for its endpoint. */
const ORDER = ['network/', 'node/', 'service/', 'task/'] as const

/** What holds a piece of work up, in words for `status.error`, and what has to change first. */
class Blocked extends Error {
  readonly on: string

  constructor(on: string, reason: string) {
    super(reason)
    this.on = on
  }
}

export function allocation(): BatchLoop {
  let addresses = new AddressIndex()
  let ports = new PortIndex()
  /** Work that waits for a network's address, a network or a service. */
  let waiting = new Map<string, Set<string>>()
  /** Keys to look at again, found while observing. */
  let woken = new Set<string>()

  const noteTask = (task: Task | undefined, id: string): void => addresses.setUses(id, task ? usesOfTask(task) : [])
  const noteService = (service: Service | undefined, id: string): void => {
    addresses.setUses(`service/${id}`, service?.endpoint?.vips ?? [])
    ports.setPorts(id, service?.endpoint?.ports ?? [])
  }
  const wake = (on: string): void => {
    for (const key of waiting.get(on) ?? []) woken.add(key)
    waiting.delete(on)
  }
  const wakeNetworks = (uses: readonly AddressUse[] | undefined): void => {
    if (waiting.size > 0) for (const { networkId } of uses ?? []) wake(`network/${networkId}`)
  }

  const loop: BatchLoop = {
    kind: 'batch',
    name: 'allocation',

    reset(view) {
      addresses = new AddressIndex()
      ports = new PortIndex()
      waiting = new Map()
      woken = new Set()
      for (const network of view.networks.values()) addresses.setNetwork(network)
      for (const service of view.services.values()) noteService(service, service.id)
      for (const task of view.tasks.values()) if (task.attachments.length > 0) noteTask(task, task.id)
      for (const hold of view.addressHolds.values()) addresses.setUses(`hold/${hold.id}`, [hold])
    },

    observe(commit) {
      for (const change of commit.changes) {
        if (change.table === 'network') {
          if (change.after) addresses.setNetwork(change.after)
          else addresses.removeNetwork(change.id)
          wake(`network/${change.id}`)
          wake('networks')
        } else if (change.table === 'node' && !change.after) wake('nodes')
        else if (change.table === 'service') {
          noteService(change.after, change.id)
          wakeNetworks(change.before?.endpoint?.vips)
          wake(`service/${change.id}`)
          if (change.before?.endpoint?.ports.length) wake('ports')
        } else if (change.table === 'task') {
          if ((change.before?.attachments.length ?? 0) === 0 && (change.after?.attachments.length ?? 0) === 0) continue
          noteTask(change.after, change.id)
          if (!change.after || usesOfTask(change.after).length === 0) wakeNetworks(change.before && usesOfTask(change.before))
        } else if (change.table === 'addressHold') {
          addresses.setUses(`hold/${change.id}`, change.after ? [change.after] : [])
          if (!change.after) wakeNetworks(change.before && [change.before])
        }
      }
    },

    *keys(view) {
      for (const network of view.networks.values()) if (needsNetwork(network)) yield `network/${network.id}`
      for (const node of view.nodes.values()) if (node.number === 0) yield `node/${node.id}`
      for (const service of view.services.values()) yield `service/${service.id}`
      for (const task of view.tasks.values()) if (needsTask(task)) yield `task/${task.id}`
    },

    *dirty(change: Change): Generator<Key> {
      if (change.table === 'network' && change.after && needsNetwork(change.after)) yield `network/${change.id}`
      else if (change.table === 'node' && change.after?.number === 0) yield `node/${change.id}`
      else if (change.table === 'service' && change.after && change.before?.spec !== change.after.spec) yield `service/${change.id}`
      else if (change.table === 'task' && change.after && needsTask(change.after) && !change.after.status.error) yield `task/${change.id}`
      if (woken.size > 0) {
        yield* woken as Set<Key>
        woken = new Set()
      }
    },

    run(ctx, keys) {
      for (const key of woken) keys.add(key)
      woken = new Set()
      for (const prefix of ORDER) {
        for (const key of keys) {
          if (!key.startsWith(prefix)) continue
          if (ctx.limit.spent) return 'again'
          allocate(ctx, key as Key)
          keys.delete(key)
        }
        for (const key of woken) keys.add(key) // what waited for the ones above
        woken = new Set()
      }
      return keys.size > 0 ? 'again' : 'done'
    },
  }

  function allocate(ctx: Context, key: Key): void {
    const id = key.slice(key.indexOf('/') + 1)
    try {
      if (key.startsWith('network/')) allocateNetworkOf(ctx, id as NetworkId)
      else if (key.startsWith('node/')) allocateNode(ctx, id as NodeId)
      else if (key.startsWith('service/')) allocateService(ctx, id as ServiceId)
      else allocateTask(ctx, id as TaskId)
    } catch (error) {
      if (!(error instanceof Blocked)) throw new KeyFailure(key, error)
      const queue = waiting.get(error.on) ?? new Set()
      waiting.set(error.on, queue.add(key))
      if (key.startsWith('task/')) refuseTask(ctx, id as TaskId, error.message)
      else if (key.startsWith('service/')) refuseTasksOf(ctx, id as ServiceId, error.message)
    }
  }

  function allocateNetworkOf(ctx: Context, id: NetworkId): void {
    const network = ctx.tx.networks.get(id)
    if (!network || !needsNetwork(network)) return
    const others = [...ctx.tx.networks.values()].filter((other) => other.id !== id)
    let given: Pick<Network, 'vni' | 'subnets'>
    try {
      given = allocateNetwork(network.spec, others, ctx.tx.cluster?.defaultAddressPools ?? [], ctx.tx.cluster?.subnetSize ?? 0)
    } catch (error) {
      throw new Blocked('networks', errorText(error)) // told on the tasks that want it
    }
    ctx.limit.spend()
    const allocated = ctx.tx.networks.update({ ...network, ...given })
    addresses.setNetwork(allocated)
    wake(`network/${id}`)
  }

  function allocateNode(ctx: Context, id: NodeId): void {
    const node = ctx.tx.nodes.get(id)
    if (node?.number !== 0) return
    const number = freeNodeNumber(new Set([...ctx.tx.nodes.values()].map((other) => other.number)))
    if (number === undefined) throw new Blocked('nodes', 'all node numbers are taken')
    ctx.limit.spend()
    ctx.tx.nodes.update({ ...node, number })
  }

  function allocateService(ctx: Context, id: ServiceId): void {
    const service = ctx.tx.services.get(id)
    if (!service || hasEndpoint(ctx.tx, service)) return
    const spec = service.spec.endpoint ?? {}
    const given = ports.allocate(id, spec.ports ?? [], service.endpoint?.ports ?? [])
    if ('reason' in given) throw new Blocked('ports', given.reason)
    const before = service.endpoint?.vips ?? []
    const vips: Vip[] = []
    for (const networkId of vipNetworks(ctx.tx, service)) {
      const kept = before.find((vip) => vip.networkId === networkId)
      vips.push(kept ?? { networkId, address: pickAddress(ctx.tx, networkId) })
      addresses.setUses(`service/${id}`, [...before, ...vips.filter((vip) => !before.includes(vip))])
    }
    ctx.limit.spend()
    noteService(ctx.tx.services.update({ ...service, endpoint: { spec, ports: given.ports, vips } }), id)
    wake(`service/${id}`)
  }

  function allocateTask(ctx: Context, id: TaskId): void {
    const task = ctx.tx.tasks.get(id)
    if (!task || !needsTask(task)) return
    const service = task.serviceId && ctx.tx.services.get(task.serviceId)
    const revision = task.serviceId && ctx.tx.specRevisions.of(task.serviceId, task.specVersion)
    if (task.serviceId && !service) return // it goes with its service
    if (task.serviceId && !revision) throw new Blocked(`service/${task.serviceId}`, 'the spec of this task is not known')
    if (service && !hasEndpoint(ctx.tx, service)) throw new Blocked(`service/${service.id}`, 'waiting for the endpoint of the service')
    const attachments: TaskAttachment[] = []
    const owner = id
    try {
      for (const { networkId, aliases, address } of wantedNetworks(ctx.tx, task, revision || undefined)) {
        const network = ctx.tx.networks.get(networkId)
        if (!network) throw new Blocked(`network/${networkId}`, `network ${networkId} not found`)
        const own = network.predefined ? [] : [pickAddress(ctx.tx, networkId, address)]
        attachments.push({ networkId, addresses: own, ...(aliases ? { aliases } : {}) })
        addresses.setUses(owner, usesOf(attachments))
      }
    } catch (error) {
      addresses.setUses(owner, [])
      throw error
    }
    ctx.limit.spend()
    const { reason: _reason, ...status } = task.status
    noteTask(
      ctx.tx.tasks.update({
        ...task,
        attachments,
        status: { ...status, state: TaskState.PENDING, at: ctx.now, message: PENDING_MESSAGE, error: '' },
      }),
      id,
    )
  }

  function pickAddress(view: View, networkId: NetworkId, asked?: string): string {
    const network = view.networks.get(networkId)
    if (!network || network.subnets.length === 0)
      throw new Blocked(`network/${networkId}`, `network ${network?.spec.name ?? networkId} has no subnet yet`)
    const picked = asked === undefined ? addresses.pick(networkId) : addresses.ask(networkId, asked)
    if ('reason' in picked) throw new Blocked(`network/${networkId}`, picked.reason)
    return picked.address
  }

  return loop
}

/** Addresses go back when the task has ended, or never reached a node. */
function usesOfTask(task: Task): readonly AddressUse[] {
  if (isTerminal(task.status.state) || (isUnassigned(task) && !isLive(task))) return []
  return usesOf(task.attachments)
}

function usesOf(attachments: readonly TaskAttachment[]): AddressUse[] {
  return attachments.flatMap(({ networkId, addresses }) => addresses.map((address) => ({ networkId, address })))
}

function needsNetwork(network: Network): boolean {
  return !network.predefined && (network.vni === 0 || network.subnets.length === 0)
}

function needsTask(task: Task): boolean {
  return task.status.state === TaskState.NEW && isLive(task)
}

function publishesIngress(ports: readonly PortConfig[] | undefined): boolean {
  return (ports ?? []).some((port) => port.publishMode === 'ingress')
}

function ingressOf(view: View): Network | undefined {
  for (const network of view.networks.values()) if (network.spec.ingress) return network
  return undefined
}

/** The networks on which a service has a virtual address; the ingress network first. */
function vipNetworks(view: View, service: Service): NetworkId[] {
  const { endpoint } = service.spec
  if (endpoint?.mode === 'dnsrr') return []
  const wanted: NetworkId[] = []
  if (publishesIngress(endpoint?.ports)) wanted.push(requireIngress(view))
  for (const { target } of networksOf(service.spec)) {
    const network = view.networks.get(target)
    if (!network) throw new Blocked(`network/${target}`, `network ${target} not found`)
    if (!network.predefined && !wanted.includes(target)) wanted.push(target)
  }
  return wanted
}

function requireIngress(view: View): NetworkId {
  const ingress = ingressOf(view)
  if (!ingress) throw new Blocked('networks', 'the service publishes ports, but there is no ingress network')
  return ingress.id
}

/** Whether the service's endpoint is what its present spec asks for. A service that asks for nothing has none. */
function hasEndpoint(view: View, service: Service): boolean {
  const { endpoint } = service
  const wanted = service.spec.endpoint
  let networks: NetworkId[]
  try {
    networks = vipNetworks(view, service)
  } catch {
    return false
  }
  if (!endpoint) return networks.length === 0 && (wanted?.ports?.length ?? 0) === 0
  return (
    JSON.stringify(endpoint.spec) === JSON.stringify(wanted ?? {}) &&
    endpoint.vips.length === networks.length &&
    endpoint.vips.every((vip) => networks.includes(vip.networkId))
  )
}

/** The ingress network first, then those of the spec. */
function* wantedNetworks(
  view: View,
  task: Task,
  revision: SpecRevision | undefined,
): Generator<{ readonly networkId: NetworkId; readonly aliases?: readonly string[]; readonly address?: string }> {
  if (publishesIngress(revision?.endpoint?.ports)) yield { networkId: requireIngress(view) }
  for (const { target, aliases, addresses } of revision?.task.networks ?? task.attachmentSpec?.networks ?? [])
    yield { networkId: target, aliases, address: addresses?.[0] }
}

/** The reason stands on the task until it goes on; it is written once. */
function refuseTask(ctx: Context, id: TaskId, error: string): void {
  const task = ctx.tx.tasks.get(id)
  if (!task || task.status.error === error) return
  ctx.limit.spend()
  ctx.tx.tasks.update({ ...task, status: { ...task.status, error, reason: 'not-allocated' } })
}

/** A service without an endpoint holds its tasks up: one of them says why, the others follow as they are looked at. */
function refuseTasksOf(ctx: Context, serviceId: ServiceId, error: string): void {
  for (const task of ctx.tx.tasks.byService(serviceId)) {
    if (ctx.limit.spent) return
    if (needsTask(task)) refuseTask(ctx, task.id, error)
  }
}
