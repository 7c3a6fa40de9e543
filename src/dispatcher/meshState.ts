// What the mesh has to know, as a projection of the store: peers, networks, services, endpoints, each with the version of its last change.
import { create } from '@bufbuild/protobuf'
import type { NetworkId, NodeId, ServiceId, TaskId } from '../lib/index.ts'
import {
  AFFINITY_LABEL,
  CLIENT_IP_AFFINITY,
  isEndpoint,
  type Node,
  networksOf,
  PUBLISH_ADDRESS_LABEL,
  type Task,
  TaskState,
} from '../model/index.ts'
import {
  type MeshEndpoint,
  MeshEndpointSchema,
  type MeshNetwork,
  MeshNetworkSchema,
  type MeshPeer,
  MeshPeerSchema,
  type MeshService,
  MeshServiceSchema,
  type MeshUpdate,
  MeshUpdateSchema,
} from '../proto/index.ts'
import type { Change, View } from '../store/index.ts'

export type MeshKey = `${'peer' | 'network' | 'service' | 'endpoint'}/${string}`

type MeshObject =
  | { readonly kind: 'peer'; readonly value: MeshPeer }
  | { readonly kind: 'network'; readonly value: MeshNetwork }
  | { readonly kind: 'service'; readonly value: MeshService }
  | Endpoint

/** Endpoints are the many: what is kept of one is its task in the store, and the message is made when it is sent. */
interface Endpoint {
  readonly kind: 'endpoint'
  /** The newest version, so that no older one is kept alive. */
  task: Task & { readonly nodeId: NodeId }
  readonly serving: boolean
}

interface Entry {
  readonly version: number
  /** Undefined: it is gone. */
  readonly object: MeshObject | undefined
}

const MTU_OPTION = 'com.docker.network.driver.mtu'
/** Commits whose changes are remembered one by one: a node is rarely further behind. */
const RECENT_COMMITS = 256

export class MeshState {
  /** In order of the last change, oldest first. */
  readonly #entries = new Map<MeshKey, Entry>()
  readonly #maxTombstones: number
  #tombstones = 0
  #version = 0
  /** Who has this version or a newer one can be given the difference. */
  #floor = 0
  /** The last commits that changed anything, oldest first; complete for what came after `#recentFloor`. */
  readonly #recent: { readonly version: number; readonly keys: readonly MeshKey[] }[] = []
  #recentFloor = 0
  /** Of the present version: after a change of leader all nodes ask for it. */
  #snapshot: MeshUpdate | undefined
  /** Differences to the present version by their base: all nodes that are equally far get the same message. */
  readonly #deltas = new Map<number, MeshUpdate>()

  constructor(maxTombstones: number) {
    this.#maxTombstones = maxTombstones
  }

  /** The commit that this state shows. */
  get version(): number {
    return this.#version
  }

  /** The last commit that changed anything here. */
  get lastChange(): number {
    return this.#recent.at(-1)?.version ?? this.#recentFloor
  }

  load(view: View): void {
    this.#version = view.seq
    this.#floor = view.seq
    this.#recentFloor = view.seq
    for (const id of view.nodes.ids()) this.#set(`peer/${id}`, view)
    for (const id of view.networks.ids()) this.#set(`network/${id}`, view)
    for (const id of view.services.ids()) this.#set(`service/${id}`, view)
    for (const id of view.tasks.ids()) this.#set(`endpoint/${id}`, view)
  }

  /** Takes a commit in; the keys whose objects are different now. */
  apply(seq: number, changes: readonly Change[], view: View): MeshKey[] {
    this.#version = seq
    const concerned = new Set<MeshKey>()
    for (const change of changes) for (const key of keysOf(change, view)) concerned.add(key)
    const keys = [...concerned].filter((key) => this.#set(key, view))
    this.#deltas.clear()
    this.#snapshot = undefined
    if (keys.length > 0) this.#recent.push({ version: seq, keys })
    if (this.#recent.length > RECENT_COMMITS) this.#recentFloor = this.#recent.shift()!.version
    return keys
  }

  snapshot(): MeshUpdate {
    this.#snapshot ??= this.#update(true, 0, this.#entries.keys())
    return this.#snapshot
  }

  /** What leads from version `base` to the present one; a snapshot when that is not known any more. */
  since(base: number): MeshUpdate {
    const known = this.#deltas.get(base)
    if (known) return known
    const keys = this.#changedAfter(base)
    const update = keys ? this.#update(false, base, keys) : this.snapshot()
    this.#deltas.set(base, update)
    return update
  }

  #changedAfter(version: number): Iterable<MeshKey> | undefined {
    if (version < this.#floor || version > this.#version) return undefined
    const keys = new Set<MeshKey>()
    if (version >= this.#recentFloor) {
      for (let at = this.#recent.length - 1; at >= 0 && this.#recent[at]!.version > version; at--)
        for (const key of this.#recent[at]!.keys) keys.add(key)
    } else {
      for (const [key, entry] of this.#entries) if (entry.version > version) keys.add(key)
    }
    return keys
  }

  /** True when the object is not what it was. */
  #set(key: MeshKey, view: View): boolean {
    const object = project(key, view)
    const before = this.#entries.get(key)
    if (sameObject(before?.object, object)) return false
    if (before && !before.object) this.#tombstones -= 1
    this.#entries.delete(key) // to the end of the order
    if (object) this.#entries.set(key, { version: this.#version, object })
    else if (before) this.#bury(key)
    return true
  }

  #bury(key: MeshKey): void {
    this.#entries.set(key, { version: this.#version, object: undefined })
    this.#tombstones += 1
    if (this.#tombstones <= this.#maxTombstones) return
    // Half of them at once, so that this is rare.
    for (const [old, entry] of this.#entries) {
      if (this.#tombstones <= this.#maxTombstones / 2) break
      if (entry.object) continue
      this.#entries.delete(old)
      this.#tombstones -= 1
      this.#floor = Math.max(this.#floor, entry.version)
    }
  }

  #update(snapshot: boolean, base: number, keys: Iterable<MeshKey>): MeshUpdate {
    const update = create(MeshUpdateSchema, { snapshot, base: BigInt(base), version: BigInt(this.#version) })
    for (const key of keys) {
      const object = this.#entries.get(key)?.object
      if (object) add(update, object)
      else if (!snapshot) addGone(update, key)
    }
    return update
  }
}

function sameObject(before: MeshObject | undefined, after: MeshObject | undefined): boolean {
  if (before?.kind !== 'endpoint' || after?.kind !== 'endpoint') return JSON.stringify(before) === JSON.stringify(after)
  const { task } = after
  const { serviceId, nodeId, slot, attachments } = before.task
  const same = serviceId === task.serviceId && nodeId === task.nodeId && slot === task.slot && attachments === task.attachments
  before.task = task
  return same && before.serving === after.serving
}

function add(update: MeshUpdate, object: MeshObject): void {
  switch (object.kind) {
    case 'peer':
      update.peers.push(object.value)
      break
    case 'network':
      update.networks.push(object.value)
      break
    case 'service':
      update.services.push(object.value)
      break
    case 'endpoint':
      update.endpoints.push(endpointMessage(object))
      break
  }
}

function addGone(update: MeshUpdate, key: MeshKey): void {
  const slash = key.indexOf('/')
  const id = key.slice(slash + 1)
  switch (key.slice(0, slash)) {
    case 'peer':
      update.gonePeers.push(id)
      break
    case 'network':
      update.goneNetworks.push(id)
      break
    case 'service':
      update.goneServices.push(id)
      break
    case 'endpoint':
      update.goneEndpoints.push(id)
      break
  }
}

/** Where to look after a change; bounded by what changed (a node going down or up: by its tasks). */
function* keysOf(change: Change, view: View): Iterable<MeshKey> {
  switch (change.table) {
    case 'node':
      yield `peer/${change.id}`
      if (isUp(change.before) !== isUp(change.after)) for (const task of view.tasks.byNode(change.id)) yield `endpoint/${task.id}`
      break
    case 'network':
      yield `network/${change.id}`
      break
    case 'service':
      yield `service/${change.id}`
      break
    case 'task':
      if (isEndpoint(change.before) || isEndpoint(change.after)) yield `endpoint/${change.id}`
      break
  }
}

function isUp(node: Node | undefined): boolean {
  return node !== undefined && node.status.state !== 'down'
}

function project(key: MeshKey, view: View): MeshObject | undefined {
  const slash = key.indexOf('/')
  const id = key.slice(slash + 1)
  switch (key.slice(0, slash)) {
    case 'peer':
      return projectPeer(view, id as NodeId)
    case 'network':
      return projectNetwork(view, id as NetworkId)
    case 'service':
      return projectService(view, id as ServiceId)
    default:
      return projectEndpoint(view, id as TaskId)
  }
}

function projectPeer(view: View, id: NodeId): MeshObject | undefined {
  const node = view.nodes.get(id)
  if (node?.agent !== 'shoal' || !node.dataPlane.on || !node.status.address) return undefined
  return {
    kind: 'peer',
    value: create(MeshPeerSchema, {
      nodeId: id,
      number: node.number,
      address: node.status.address,
      hostname: node.description?.hostname ?? '',
    }),
  }
}

function projectNetwork(view: View, id: NetworkId): MeshObject | undefined {
  const network = view.networks.get(id)
  const first = network?.subnets[0]
  if (!network || !first || network.plane !== 'shoal' || network.predefined || network.vni === 0) return undefined
  const { spec } = network
  return {
    kind: 'network',
    value: create(MeshNetworkSchema, {
      id,
      name: network.removing ? '' : spec.name,
      vni: network.vni,
      subnet: first.subnet,
      gateway: first.gateway,
      mtu: Number.parseInt(spec.driverOptions[MTU_OPTION] ?? '0', 10) || 0,
      internal: spec.internal,
      ingress: spec.ingress,
    }),
  }
}

function projectService(view: View, id: ServiceId): MeshObject | undefined {
  const service = view.services.get(id)
  if (!service) return undefined
  // one that has neither ports nor virtual addresses (dnsrr) has no endpoint, but its name is known on its networks
  if (!service.endpoint && networksOf(service.spec).length === 0) return undefined
  const { spec, ports, vips } = service.endpoint ?? { spec: service.spec.endpoint ?? {}, ports: [], vips: [] }
  return {
    kind: 'service',
    value: create(MeshServiceSchema, {
      id,
      name: service.spec.name,
      dnsrr: spec.mode === 'dnsrr',
      vips: vips.map(({ networkId, address }) => ({ networkId, address: plainAddress(address) })),
      ports: ports
        .filter((port) => port.publishMode === 'ingress')
        .map(({ protocol, publishedPort, targetPort, name }) => ({
          protocol,
          published: publishedPort,
          target: targetPort,
          name: name ?? '',
          address: service.spec.labels[PUBLISH_ADDRESS_LABEL] ?? '',
        })),
      clientAffinity: service.spec.labels[AFFINITY_LABEL] === CLIENT_IP_AFFINITY,
    }),
  }
}

/** Only what is wanted and can be reached gets new connections; what is being shut down is announced as not serving until it has stopped. */
function projectEndpoint(view: View, id: TaskId): MeshObject | undefined {
  const task = view.tasks.get(id)
  if (!isEndpoint(task)) return undefined
  return { kind: 'endpoint', task, serving: task.desiredState === TaskState.RUNNING && isUp(view.nodes.get(task.nodeId)) }
}

function endpointMessage({ task, serving }: Endpoint): MeshEndpoint {
  return create(MeshEndpointSchema, {
    taskId: task.id,
    serviceId: task.serviceId ?? '', // a single container on an attachable network
    nodeId: task.nodeId,
    serving,
    slot: task.slot,
    addresses: task.attachments.flatMap(({ networkId, addresses, aliases }) =>
      addresses.slice(0, 1).map((address) => ({ networkId, address: plainAddress(address), aliases: aliases?.slice() ?? [] })),
    ),
  })
}

/** `10.0.0.5/24` without its prefix length. */
function plainAddress(cidr: string): string {
  return cidr.split('/', 1)[0]!
}
