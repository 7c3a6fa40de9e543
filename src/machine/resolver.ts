// Which name servers a machine gets: the computer's own where they know the outside, else one that refuses at once.
import { Resolver } from 'node:dns/promises'
import { existsSync, readFileSync } from 'node:fs'

const PROBE_NAME = 'registry-1.docker.io' // what engines ask for all the time
const PROBE_TIMEOUT_MS = 1_000

let probed: Promise<readonly string[]> | undefined

/** The computer's name servers if they resolve Docker Hub's name within a second, else none. Asked once per process. */
export function outsideResolvers(): Promise<readonly string[]> {
  probed ??= probe()
  return probed
}

/**
 * The machine's resolv.conf. Without an outside its own address is the server: nobody listens there, and the kernel refuses at once because the question
 * never leaves the machine. A server that does not answer costs each pull 10 s (machines.md, section 2), and so does, from the seventh question on,
 * a refusal by another host: ICMP errors between hosts are limited to one per second.
 */
export function resolvConf(outside: readonly string[], ownAddress: string): string {
  if (outside.length > 0) return `${outside.map((server) => `nameserver ${server}\n`).join('')}options timeout:2 attempts:2\n`
  return `nameserver ${ownAddress}\noptions timeout:1 attempts:1\n`
}

async function probe(): Promise<readonly string[]> {
  // systemd's stub on 127.0.0.53 cannot be reached from a machine; the servers behind it stand in a file of their own
  const servers = ['/etc/resolv.conf', '/run/systemd/resolve/resolv.conf'].flatMap(nameServers).slice(0, 3)
  if (servers.length === 0) return []
  const resolver = new Resolver({ timeout: PROBE_TIMEOUT_MS, tries: 1 })
  try {
    resolver.setServers(servers)
    await resolver.resolve4(PROBE_NAME)
    return servers
  } catch {
    return [] // refused, unknown or too slow: there is no outside
  } finally {
    resolver.cancel()
  }
}

function nameServers(path: string): string[] {
  if (!existsSync(path)) return []
  return [...readFileSync(path, 'utf8').matchAll(/^\s*nameserver\s+([\d.]+)\s*$/gm)]
    .map((match) => match[1] ?? '')
    .filter((server) => !server.startsWith('127.'))
}
