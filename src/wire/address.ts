// `host:port` as Swarm writes addresses: IPv6 hosts in brackets.
import { ShoalError } from '../lib/index.ts'

export interface HostPort {
  readonly host: string
  readonly port: number
}

/** Throws 'invalid-argument'. Port 0 is allowed: the system picks one. */
export function parseHostPort(address: string): HostPort {
  const match = /^(?:\[([0-9a-fA-F:.%]+)\]|([^:[\]\s]+)):(\d{1,5})$/.exec(address)
  const port = Number(match?.[3])
  if (!match || port > 65535) throw new ShoalError('invalid-argument', `"${address}" is not an address of the form host:port`)
  return { host: match[1] ?? match[2]!, port }
}

export function formatHostPort(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
