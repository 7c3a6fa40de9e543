// Which addresses a node listens on and advertises: from flags, interface names, or the only one that there is.
import { ShoalError } from '../lib/index.ts'

export const DEFAULT_SWARM_PORT = 2377

/** An IPv4 address of this computer. */
export interface InterfaceAddress {
  readonly device: string
  readonly address: string
  readonly loopback: boolean
}

export interface HostPort {
  readonly host: string
  readonly port: number
}

/** `host`, `host:port`, `:port`; the port falls back to `defaultPort`. */
export function splitHostPort(text: string, defaultPort: number): HostPort {
  const match = /^([^:\s]*)(?::(\d{1,5}))?$/.exec(text.trim())
  const port = match?.[2] === undefined ? defaultPort : Number(match[2])
  if (!match || port > 65_535)
    throw new ShoalError('invalid-argument', `invalid address "${text}"`, {
      next: 'give HOST, HOST:PORT or INTERFACE, for example 192.168.1.8:2377',
    })
  return { host: match[1] ?? '', port }
}

/** Where to listen: an address or an interface name; empty or 0.0.0.0 means all. */
export function resolveListen(text: string, addresses: readonly InterfaceAddress[]): HostPort {
  const { host, port } = splitHostPort(text === '' ? '0.0.0.0' : text, DEFAULT_SWARM_PORT)
  if (host === '' || host === '0.0.0.0') return { host: '0.0.0.0', port }
  return { host: isIpv4(host) ? host : addressOfDevice(host, addresses, '--listen-addr'), port }
}

/**
 * The address that others reach this node at. In order: the flag of the request, the daemon's default, the listen address, the only address of this computer.
 * ShoalError 'invalid-argument' in Docker's words when there is none or more than one.
 */
export function resolveAdvertise(
  flag: string,
  daemonDefault: string | undefined,
  listen: HostPort,
  addresses: readonly InterfaceAddress[],
): HostPort {
  const wanted = flag || daemonDefault || ''
  if (wanted !== '') {
    const { host, port } = splitHostPort(wanted, listen.port)
    if (host === '0.0.0.0')
      throw new ShoalError(
        'invalid-argument',
        'advertise address must be a non-zero IP address or network interface (with optional port number)',
      )
    return { host: isIpv4(host) ? host : addressOfDevice(host, addresses, '--advertise-addr'), port }
  }
  if (listen.host !== '0.0.0.0') return listen
  const outward = addresses.filter((entry) => !entry.loopback && !isEngineBridge(entry.device))
  const [first, second] = outward
  if (!first) throw new ShoalError('invalid-argument', 'could not find the system’s IP address - specify one with --advertise-addr')
  if (second) {
    const where =
      first.device === second.device
        ? `on interface ${first.device} (${first.address} and ${second.address})`
        : `on different interfaces (${first.address} on ${first.device} and ${second.address} on ${second.device})`
    throw new ShoalError(
      'invalid-argument',
      `could not choose an IP address to advertise since this system has multiple addresses ${where} - specify one with --advertise-addr`,
    )
  }
  return { host: first.address, port: listen.port }
}

/** The data path address: the flag (address or interface), else the advertised one. */
export function resolveDataPath(flag: string, advertise: HostPort, addresses: readonly InterfaceAddress[]): string {
  if (flag === '') return advertise.host
  return isIpv4(flag) ? flag : addressOfDevice(flag, addresses, '--data-path-addr')
}

export function isIpv4(text: string): boolean {
  const parts = text.split('.')
  return parts.length === 4 && parts.every((part) => /^\d{1,3}$/.test(part) && Number(part) <= 255)
}

/** Bridges of engines and of our data plane are not how other nodes reach this one. */
function isEngineBridge(device: string): boolean {
  return /^(docker\d|docker_gwbridge|br-|ov-|veth|podman)/.test(device)
}

function addressOfDevice(device: string, addresses: readonly InterfaceAddress[], flag: string): string {
  const found = addresses.filter((entry) => entry.device === device)
  const [only, more] = found
  if (!only)
    throw new ShoalError('invalid-argument', `${flag}: "${device}" is neither an IP address nor a network interface with one`, {
      next: `see "ip -4 addr" for the names`,
    })
  if (more)
    throw new ShoalError('invalid-argument', `interface ${device} has more than one IPv4 address (${only.address} and ${more.address})`, {
      next: `give the address itself with ${flag}`,
    })
  return only.address
}
