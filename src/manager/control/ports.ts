// Ports that services publish exclude one another over the whole cluster.
import type { ServiceId } from '../../lib/index.ts'
import type { PortConfig, Service, ServiceSpec } from '../../model/index.ts'
import type { View } from '../../store/index.ts'
import { invalid } from './context.ts'

/** Two host-mode ports only meet on a node, which is the scheduler's business; every other pair conflicts (SwarmKit's rule, read). */
export function checkPorts(view: View, spec: ServiceSpec, self: ServiceId | undefined): void {
  const wanted = (spec.endpoint?.ports ?? []).filter((port) => port.publishedPort !== 0)
  if (wanted.length === 0) return
  for (const service of view.services.values()) {
    if (service.id === self) continue
    for (const taken of publishedPorts(service)) {
      for (const port of wanted) if (conflict(port, taken)) throw invalid(conflictText(port, service, taken))
    }
  }
}

/** What the spec asks for, and what the allocation loop chose. */
function publishedPorts({ spec, endpoint }: Service): readonly PortConfig[] {
  return [...(spec.endpoint?.ports ?? []), ...(endpoint?.ports ?? [])].filter((port) => port.publishedPort !== 0)
}

function conflict(a: PortConfig, b: PortConfig): boolean {
  if (a.protocol !== b.protocol || a.publishedPort !== b.publishedPort) return false
  return a.publishMode === 'ingress' || b.publishMode === 'ingress'
}

function conflictText(port: PortConfig, service: Service, taken: PortConfig): string {
  const how = taken.publishMode === 'ingress' ? 'an ingress port' : 'a host-published port'
  return `port '${port.publishedPort}' is already in use by service '${service.spec.name}' (${service.id}) as ${how}`
}
