// The names of the swarm as one node knows them, and what a task that asks is told: names of its own networks only.
import type { MeshEndpoint, MeshNetwork, MeshService } from '../types.ts'
import { type Answer, type DnsRecord, RCODE, TYPE } from './message.ts'

/** Short, because endpoints come and go; resolvers in containers hardly cache anyway. */
const TTL_SECONDS = 2

/** What has changed; sent to the responder's thread. */
export interface ZoneChange {
  /** True: forget everything that was known. */
  readonly snapshot: boolean
  readonly networks: readonly MeshNetwork[]
  readonly goneNetworks: readonly string[]
  readonly services: readonly MeshService[]
  readonly goneServices: readonly string[]
  readonly endpoints: readonly MeshEndpoint[]
  readonly goneEndpoints: readonly string[]
  /** All tasks of this node; undefined = as before. */
  readonly askers?: readonly Asker[]
}

/** A task of this node that may ask. */
export interface Asker {
  readonly addresses: readonly { readonly networkId: string; readonly address: string }[]
  /** Name servers of its own (`--dns`), in the place of the host's. */
  readonly nameservers: readonly string[]
  /** Search domains (`--dns-search`): a service's name is answered below them, too. */
  readonly search: readonly string[]
}

/** `forward`: not a name of the swarm; others know. */
export type Resolution = { readonly kind: 'answer'; readonly answer: Answer } | { readonly kind: 'forward' }

/** Names of tasks that are gone, as `web.1.<id>`, are nobody's. */
const TASK_NAME = /^[^.]+\.[0-9a-z]+\.[0-9a-z]{25}$/
const REVERSE = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.in-addr\.arpa$/
const SRV_NAME = /^_([^.]+)\._(tcp|udp|sctp)\.(.+)$/

export class Zone {
  readonly #networks = new Map<string, MeshNetwork>()
  readonly #services = new Map<string, MeshService>()
  readonly #endpoints = new Map<string, MeshEndpoint>()
  readonly #byService = new Map<string, Map<string, MeshEndpoint>>()
  /** Services by name. */
  readonly #named = new Multimap()
  /** Services, and tasks without one, by `network/alias`. */
  readonly #aliases = new Multimap()
  /** Tasks by task name and slot name. */
  readonly #tasks = new Multimap()
  /** `task/<id>` or `service/<id>` by `network/address`. */
  readonly #owners = new Multimap()
  #askers = new Map<string, Asker>()
  #turn = 0

  apply(change: ZoneChange): void {
    if (change.snapshot) this.#clear()
    for (const id of change.goneNetworks) this.#networks.delete(id)
    for (const network of change.networks) this.#networks.set(network.id, network)
    for (const id of change.goneEndpoints) this.#setEndpoint(id, undefined)
    for (const id of change.goneServices) this.#setService(id, undefined)
    for (const service of change.services) this.#setService(service.id, service)
    for (const endpoint of change.endpoints) this.#setEndpoint(endpoint.taskId, endpoint)
    if (change.askers) {
      this.#askers = new Map(change.askers.flatMap((asker) => asker.addresses.map(({ address }) => [address, asker])))
    }
  }

  /** The task with this address; undefined for everybody else, who gets no answer. */
  asker(address: string): Asker | undefined {
    return this.#askers.get(address)
  }

  /** `name` in lower case, without the last dot. `from`: the address that asks; names on its network come first. */
  resolve(asker: Asker, from: string, name: string, type: number): Resolution {
    const networks = this.#networksOf(asker, from)
    const reverse = REVERSE.exec(name)
    if (reverse) return this.#reverse(networks, name, reverse.slice(1).reverse().join('.'), type)
    const srv = SRV_NAME.exec(name)
    if (srv) return this.#srv(networks, name, srv, type)
    const addresses = this.#addresses(networks, name) ?? this.#searched(asker, networks, name)
    if (addresses) return answer(type === TYPE.a || type === TYPE.any ? this.#inTurn(addresses).map((address) => a(name, address)) : [])
    return isOurs(name) ? NO_SUCH_NAME : { kind: 'forward' }
  }

  /** Undefined: no such name on these networks. Empty: it is there, but nobody serves it. */
  #addresses(networks: readonly string[], name: string): readonly string[] | undefined {
    for (const network of networks) {
      const found = this.#onNetwork(network, name)
      if (found) return found
    }
    // `web.front`: the name on that network, if the task is on it
    const dot = name.lastIndexOf('.')
    const suffix = name.slice(dot + 1)
    const network = dot > 0 ? networks.find((id) => this.#networks.get(id)?.name.toLowerCase() === suffix) : undefined
    return network === undefined ? undefined : this.#onNetwork(network, name.slice(0, dot))
  }

  #onNetwork(network: string, name: string): readonly string[] | undefined {
    if (name.startsWith('tasks.')) return this.#ofName(network, name.slice('tasks.'.length), true)
    return this.#ofName(network, name, false) ?? this.#taskAddresses(network, name)
  }

  /** Services of this name or alias, and tasks without a service: their virtual addresses, or those of the tasks. */
  #ofName(network: string, name: string, tasksOnly: boolean): readonly string[] | undefined {
    const found = new Set<string>()
    let known = false
    for (const id of new Set([...this.#named.get(name), ...this.#aliases.get(`${network}/${name}`)])) {
      const service = this.#services.get(id)
      const vip = service && !service.dnsrr && !tasksOnly ? service.vips.find((one) => one.networkId === network) : undefined
      if (vip) {
        known = true
        found.add(vip.address)
        continue
      }
      const endpoint = service ? undefined : this.#endpoints.get(id)
      for (const one of endpoint ? [endpoint] : (this.#byService.get(id)?.values() ?? [])) {
        const place = one.addresses.find((address) => address.networkId === network)
        if (!place) continue
        known = true
        if (one.serving) found.add(place.address)
      }
    }
    return known ? [...found] : undefined
  }

  #taskAddresses(network: string, name: string): readonly string[] | undefined {
    const found: string[] = []
    for (const id of this.#tasks.get(name)) {
      const endpoint = this.#endpoints.get(id)
      const place = endpoint?.addresses.find((address) => address.networkId === network)
      if (place && (endpoint?.serving || name.endsWith(id))) found.push(place.address)
    }
    return found.length > 0 ? found : undefined
  }

  /** `web.example.com` where `example.com` is one of the task's search domains: resolvers may try that first (ndots). */
  #searched(asker: Asker, networks: readonly string[], name: string): readonly string[] | undefined {
    for (const domain of asker.search) {
      const suffix = `.${domain.toLowerCase().replace(/\.$/, '')}`
      if (suffix.length > 1 && name.endsWith(suffix)) {
        const found = this.#addresses(networks, name.slice(0, -suffix.length))
        if (found) return found
      }
    }
    return undefined
  }

  /** `_http._tcp.web`: the port of that name, at the service or at each of its tasks. */
  #srv(networks: readonly string[], name: string, [, portName, protocol, target]: RegExpExecArray, type: number): Resolution {
    const tasksOnly = target!.startsWith('tasks.')
    const serviceName = tasksOnly ? target!.slice('tasks.'.length) : target!
    for (const network of networks) {
      for (const id of new Set([...this.#named.get(serviceName), ...this.#aliases.get(`${network}/${serviceName}`)])) {
        const service = this.#services.get(id)
        const port = service?.ports.find((one) => one.name.toLowerCase() === portName && one.protocol === protocol)
        if (!service || !port) continue
        const places = this.#places(service, network, tasksOnly)
        if (places.length === 0 || type !== TYPE.srv) return answer([])
        return answer(
          places.map((place) => ({ kind: 'srv', name, port: port.target, target: place.name })),
          places.map((place) => a(place.name, place.address)),
        )
      }
    }
    return isOurs(target!) || this.#addresses(networks, target!) ? NO_SUCH_NAME : { kind: 'forward' }
  }

  #places(service: MeshService, network: string, tasksOnly: boolean): { readonly name: string; readonly address: string }[] {
    const vip = service.dnsrr || tasksOnly ? undefined : service.vips.find((one) => one.networkId === network)
    if (vip) return [{ name: service.name, address: vip.address }]
    return [...(this.#byService.get(service.id)?.values() ?? [])].flatMap((endpoint) => {
      const place = endpoint.serving ? endpoint.addresses.find((one) => one.networkId === network) : undefined
      return place ? [{ name: taskNameOf(service, endpoint), address: place.address }] : []
    })
  }

  #reverse(networks: readonly string[], name: string, address: string, type: number): Resolution {
    for (const id of networks) {
      const network = this.#networks.get(id)!
      const [owner] = this.#owners.get(`${id}/${address}`)
      if (owner === undefined) {
        if (inSubnet(address, network.subnet)) return NO_SUCH_NAME
        continue
      }
      if (type !== TYPE.ptr && type !== TYPE.any) return answer([])
      return answer([{ kind: 'ptr', name, target: `${this.#nameOf(owner, id)}.${network.name}` }])
    }
    return { kind: 'forward' }
  }

  #nameOf(owner: string, network: string): string {
    const id = owner.slice(owner.indexOf('/') + 1)
    if (owner.startsWith('service/')) return this.#services.get(id)?.name ?? id
    const endpoint = this.#endpoints.get(id)
    const service = endpoint && this.#services.get(endpoint.serviceId)
    if (endpoint && service) return taskNameOf(service, endpoint)
    return endpoint?.addresses.find((one) => one.networkId === network)?.aliases[0] ?? id
  }

  /** Names of services are not served on ingress: it only carries what comes from outside. */
  #networksOf(asker: Asker, from: string): string[] {
    const own = asker.addresses.filter(({ networkId }) => this.#networks.get(networkId)?.ingress === false)
    return own.sort((x, y) => Number(y.address === from) - Number(x.address === from)).map(({ networkId }) => networkId)
  }

  /** Each answer begins with another address, because many clients take the first. */
  #inTurn(addresses: readonly string[]): readonly string[] {
    if (addresses.length < 2) return addresses
    this.#turn = (this.#turn + 1) % 0x10000
    const start = this.#turn % addresses.length
    return [...addresses.slice(start), ...addresses.slice(0, start)]
  }

  #setService(id: string, next: MeshService | undefined): void {
    const before = this.#services.get(id)
    const tasks = [...(this.#byService.get(id)?.values() ?? [])]
    if (before) {
      this.#named.delete(before.name.toLowerCase(), id)
      for (const vip of before.vips) this.#owners.delete(`${vip.networkId}/${vip.address}`, `service/${id}`)
      for (const task of tasks) this.#nameTask(before, task, 'delete')
    }
    if (next) {
      this.#services.set(id, next)
      this.#named.add(next.name.toLowerCase(), id)
      for (const vip of next.vips) this.#owners.add(`${vip.networkId}/${vip.address}`, `service/${id}`)
      for (const task of tasks) this.#nameTask(next, task, 'add')
    } else this.#services.delete(id)
  }

  #setEndpoint(id: string, next: MeshEndpoint | undefined): void {
    const before = this.#endpoints.get(id)
    if (before) this.#index(before, 'delete')
    if (next) this.#endpoints.set(id, next)
    else this.#endpoints.delete(id)
    if (next) this.#index(next, 'add')
  }

  #index(endpoint: MeshEndpoint, how: 'add' | 'delete'): void {
    const { taskId, serviceId } = endpoint
    if (serviceId !== '') {
      const tasks = this.#byService.get(serviceId) ?? new Map<string, MeshEndpoint>()
      if (how === 'add') tasks.set(taskId, endpoint)
      else tasks.delete(taskId)
      if (tasks.size > 0) this.#byService.set(serviceId, tasks)
      else this.#byService.delete(serviceId)
      const service = this.#services.get(serviceId)
      if (service) this.#nameTask(service, endpoint, how)
    }
    for (const { networkId, address, aliases } of endpoint.addresses) {
      this.#owners[how](`${networkId}/${address}`, `task/${taskId}`)
      for (const alias of aliases) this.#aliases[how](`${networkId}/${alias.toLowerCase()}`, serviceId === '' ? taskId : serviceId)
    }
  }

  #nameTask(service: MeshService, endpoint: MeshEndpoint, how: 'add' | 'delete'): void {
    this.#tasks[how](taskNameOf(service, endpoint).toLowerCase(), endpoint.taskId)
    if (endpoint.slot > 0) this.#tasks[how](`${service.name}.${endpoint.slot}`.toLowerCase(), endpoint.taskId)
  }

  #clear(): void {
    for (const map of [this.#networks, this.#services, this.#endpoints, this.#byService]) map.clear()
    for (const map of [this.#named, this.#aliases, this.#tasks, this.#owners]) map.clear()
  }
}

/** Values by key, each counted: several tasks carry the same alias. */
class Multimap {
  readonly #map = new Map<string, Map<string, number>>()

  get(key: string): readonly string[] {
    return [...(this.#map.get(key)?.keys() ?? [])]
  }

  add(key: string, value: string): void {
    const values = this.#map.get(key) ?? new Map<string, number>()
    values.set(value, (values.get(value) ?? 0) + 1)
    this.#map.set(key, values)
  }

  delete(key: string, value: string): void {
    const values = this.#map.get(key)
    const count = values?.get(value)
    if (!values || count === undefined) return
    if (count > 1) values.set(value, count - 1)
    else values.delete(value)
    if (values.size === 0) this.#map.delete(key)
  }

  clear(): void {
    this.#map.clear()
  }
}

const NO_SUCH_NAME: Resolution = { kind: 'answer', answer: { rcode: RCODE.nameError, answers: [], ttlSeconds: TTL_SECONDS } }

function answer(answers: readonly DnsRecord[], additional: readonly DnsRecord[] = []): Resolution {
  return { kind: 'answer', answer: { rcode: RCODE.noError, answers, additional, ttlSeconds: TTL_SECONDS } }
}

function a(name: string, address: string): DnsRecord {
  return { kind: 'a', name, address }
}

/** Whoever asks for such a name means the swarm: the world outside knows none of them, and would be slow to say so. */
function isOurs(name: string): boolean {
  return !name.includes('.') || TASK_NAME.test(name) || /^tasks\.[^.]+$/.test(name)
}

/** As the engine names the container (`web.1.<task>`, with the node's id where each node is a slot). */
function taskNameOf(service: MeshService, { slot, nodeId, taskId }: MeshEndpoint): string {
  return `${service.name}.${slot > 0 ? slot : nodeId}.${taskId}`
}

function inSubnet(address: string, subnet: string): boolean {
  const [base = '', bits = '32'] = subnet.split('/')
  const size = 2 ** (32 - Number(bits))
  return Math.floor(numberOf(address) / size) === Math.floor(numberOf(base) / size)
}

function numberOf(address: string): number {
  return address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0)
}
