// GET /containers/{id}/json as the Engine port's ContainerState.
import type { ContainerState } from '../../ports/index.ts'
import { array, instant, type Json, labels, number, object, text } from './json.ts'

const STATUSES: ReadonlySet<string> = new Set(['created', 'running', 'paused', 'restarting', 'removing', 'exited', 'dead'])
const HEALTHS: ReadonlySet<string> = new Set(['starting', 'healthy', 'unhealthy'])

export function containerState(inspect: unknown): ContainerState {
  const container = object(inspect)
  const state = object(container.State)
  const status = text(state.Status)
  const health = text(object(state.Health).Status)
  return {
    id: text(container.Id),
    name: text(container.Name).replace(/^\//, ''),
    labels: labels(object(container.Config).Labels),
    status: (STATUSES.has(status) ? status : 'dead') as ContainerState['status'],
    pid: number(state.Pid),
    exitCode: number(state.ExitCode),
    error: text(state.Error),
    oomKilled: state.OOMKilled === true,
    health: (HEALTHS.has(health) ? health : 'none') as ContainerState['health'],
    startedAt: instant(state.StartedAt),
    finishedAt: instant(state.FinishedAt),
    ports: ports(object(object(container.NetworkSettings).Ports)),
  }
}

/** `80/tcp` -> bindings; one for IPv4 and one for IPv6 count once. */
function ports(bindings: Json): ContainerState['ports'] {
  const found = new Map<string, ContainerState['ports'][number]>()
  for (const [key, hosts] of Object.entries(bindings)) {
    const match = /^(\d+)\/(tcp|udp|sctp)$/.exec(key)
    if (!match) continue
    for (const host of array(hosts)) {
      const published = Number(text(object(host).HostPort))
      const protocol = match[2] as 'tcp' | 'udp' | 'sctp'
      if (published > 0) found.set(`${key}/${published}`, { protocol, target: Number(match[1]), published })
    }
  }
  return [...found.values()]
}
