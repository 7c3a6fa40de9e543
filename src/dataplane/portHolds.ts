// Occupies the published ports of this host, because the mesh itself listens on none of them, and tells which are taken.
import { errorText, type Logger } from '../lib/index.ts'
import type { Kernel } from '../ports/index.ts'
import type { MeshState } from './types.ts'

/** A process of this host listens on a published port. Callers reach the service, not the process. */
export interface PortConflict {
  readonly protocol: 'tcp' | 'udp'
  readonly port: number
}

export class PortHolds {
  readonly #kernel: Kernel
  readonly #log: Logger
  readonly #held = new Set<string>()
  readonly #conflicts = new Map<string, PortConflict>()

  constructor(kernel: Kernel, log: Logger) {
    this.#kernel = kernel
    this.#log = log
  }

  conflicts(): readonly PortConflict[] {
    return [...this.#conflicts.values()]
  }

  /** Makes the held ports the given ones. Ports in conflict are tried again each time; a conflict never fails. */
  async set(ports: readonly PortConflict[]): Promise<void> {
    const wanted = new Map(ports.map((port) => [`${port.protocol} ${port.port}`, port]))
    for (const name of this.#held) {
      if (wanted.has(name)) continue
      const [protocol, port] = name.split(' ') as ['tcp' | 'udp', string]
      await this.#kernel.releasePort(protocol, Number(port))
      this.#held.delete(name)
    }
    for (const name of this.#conflicts.keys()) if (!wanted.has(name)) this.#conflicts.delete(name)
    for (const [name, port] of wanted) if (!this.#held.has(name)) await this.#hold(name, port)
  }

  async #hold(name: string, { protocol, port }: PortConflict): Promise<void> {
    let free = false
    try {
      free = await this.#kernel.holdPort(protocol, port)
    } catch (error) {
      this.#log.warn('a published port could not be occupied', { protocol, port, error: errorText(error) })
    }
    if (free) {
      this.#held.add(name)
      this.#conflicts.delete(name)
    } else if (!this.#conflicts.has(name)) {
      this.#conflicts.set(name, { protocol, port })
      this.#log.warn('a process of this host listens on a published port; callers reach the service instead', { protocol, port })
    }
  }
}

/** TCP and UDP ports that services publish through ingress on all addresses. On other addresses a port may be anybody's. */
export function publishedPorts(state: MeshState): readonly PortConflict[] {
  const result: PortConflict[] = []
  for (const service of state.services.values()) {
    for (const { protocol, published, address = '' } of service.ports) {
      if ((protocol === 'tcp' || protocol === 'udp') && published > 0 && address === '') result.push({ protocol, port: published })
    }
  }
  return result
}
