// Published ports of the routing mesh: who has which, which one comes next, and who is in the way.
import type { EndpointSpec, PortConfig, Service } from '../model/index.ts'

/** Where ports come from that the user leaves open (as in Swarm). */
export const DYNAMIC_PORT_FIRST = 30_000
export const DYNAMIC_PORT_LAST = 32_767

const keyOf = (port: { readonly protocol: string; readonly publishedPort: number }) => `${port.protocol}/${port.publishedPort}`

/** Ingress ports in use by service; an index over services, told what each has now. */
export class PortIndex {
  readonly #owners = new Map<string, string>()
  readonly #ports = new Map<string, readonly string[]>()

  setPorts(serviceId: string, ports: readonly PortConfig[]): void {
    for (const key of this.#ports.get(serviceId) ?? []) if (this.#owners.get(key) === serviceId) this.#owners.delete(key)
    const keys = ports.filter((port) => port.publishMode === 'ingress' && port.publishedPort !== 0).map(keyOf)
    for (const key of keys) if (!this.#owners.has(key)) this.#owners.set(key, serviceId)
    if (keys.length > 0) this.#ports.set(serviceId, keys)
    else this.#ports.delete(serviceId)
  }

  /**
   * The ports of a service with numbers for those left open: the number that it had for the same target before, if it had one, else the lowest free.
   * A sentence when a number is another service's or none is left.
   */
  allocate(
    serviceId: string,
    wanted: readonly PortConfig[],
    before: readonly PortConfig[],
  ): { readonly ports: readonly PortConfig[] } | { readonly reason: string } {
    const mine = new Set<string>()
    const taken = (key: string) => mine.has(key) || (this.#owners.get(key) ?? serviceId) !== serviceId
    for (const port of wanted) {
      if (port.publishMode !== 'ingress' || port.publishedPort === 0) continue
      const key = keyOf(port)
      if (taken(key)) return { reason: `port '${port.publishedPort}' is already in use as an ingress port` }
      mine.add(key)
    }
    const ports: PortConfig[] = []
    for (const port of wanted) {
      if (port.publishMode !== 'ingress' || port.publishedPort !== 0) {
        ports.push(port)
        continue
      }
      const publishedPort = this.#dynamicPort(port, before, taken)
      if (publishedPort === undefined)
        return { reason: `no ${port.protocol} port is free between ${DYNAMIC_PORT_FIRST} and ${DYNAMIC_PORT_LAST}` }
      const given = { ...port, publishedPort }
      mine.add(keyOf(given))
      ports.push(given)
    }
    return { ports }
  }

  #dynamicPort(port: PortConfig, before: readonly PortConfig[], taken: (key: string) => boolean): number | undefined {
    const known = before.find(
      (old) =>
        old.publishMode === 'ingress' && old.protocol === port.protocol && old.targetPort === port.targetPort && old.publishedPort !== 0,
    )
    if (known && inDynamicRange(known.publishedPort) && !taken(keyOf(known))) return known.publishedPort
    for (let number = DYNAMIC_PORT_FIRST; number <= DYNAMIC_PORT_LAST; number++)
      if (!taken(keyOf({ protocol: port.protocol, publishedPort: number }))) return number
    return undefined
  }
}

function inDynamicRange(port: number): boolean {
  return port >= DYNAMIC_PORT_FIRST && port <= DYNAMIC_PORT_LAST
}

/**
 * Swarm's sentence when a port of the spec is another service's: an ingress port collides with ingress and host-mode ports, a host-mode port with ingress ports only.
 * Control refuses with it ('invalid-argument').
 */
export function portConflict(spec: EndpointSpec | undefined, selfId: string | undefined, services: Iterable<Service>): string | undefined {
  const wanted = (spec?.ports ?? []).filter((port) => port.publishedPort !== 0)
  if (wanted.length === 0) return undefined
  for (const service of services) {
    if (service.id === selfId) continue
    const theirs = [...(service.spec.endpoint?.ports ?? []), ...(service.endpoint?.ports ?? [])]
    for (const port of wanted) {
      for (const other of theirs) {
        if (keyOf(other) !== keyOf(port) || (port.publishMode === 'host' && other.publishMode === 'host')) continue
        const how = other.publishMode === 'ingress' ? 'as an ingress port' : 'as a host-published port'
        return `port '${port.publishedPort}' is already in use by service '${service.spec.name}' (${service.id}) ${how}`
      }
    }
  }
  return undefined
}
