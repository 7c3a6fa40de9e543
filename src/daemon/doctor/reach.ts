// Whether other nodes can be reached: the managers' port, the VXLAN port with full-sized packets, and the name servers of this computer.
import { createSocket } from 'node:dgram'
import { Resolver } from 'node:dns/promises'
import { connect } from 'node:net'
import type { MeshPeer } from '../../dataplane/index.ts'
import type { Run } from './firewall.ts'
import { type Finding, fail, ok, warn } from './types.ts'

const TIMEOUT_MS = 3_000
const VXLAN_PORT = 4789
const IP_UDP_HEADERS = 28
/** Answers of routers to packets that are too big, and of hosts without the port. */
const ICMP_WAIT_MS = 400

export async function managerPort(address: string): Promise<Finding[]> {
  const colon = address.lastIndexOf(':')
  const [host, port] = [address.slice(0, colon), Number(address.slice(colon + 1))]
  const error = await tcp(host, port)
  if (error === undefined) return [ok('manager port', `the manager at ${address} can be reached`)]
  return [
    fail(
      'manager port',
      `the manager at ${address} cannot be reached: ${error}`,
      `see that it runs, and that TCP port ${port} is open between the nodes`,
    ),
  ]
}

function tcp(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host, port })
    const end = (error?: string) => {
      socket.destroy()
      resolve(error)
    }
    socket.setTimeout(TIMEOUT_MS, () => end(`no answer within ${TIMEOUT_MS / 1000} s`)) // real-time: bounds a look at the real network
    socket.on('connect', () => end())
    socket.on('error', (error: NodeJS.ErrnoException) => end(error.code ?? error.message))
  })
}

/** Full-sized packets without leave to split them: a router on the way that cannot carry them says so, and the kernel remembers it. */
export async function peerPath(peer: Pick<MeshPeer, 'address' | 'hostname'>, run: Run): Promise<Finding[]> {
  const { address } = peer
  const who = peer.hostname ? `${peer.hostname} (${address})` : address
  const before = await route(address, run)
  if (!before) return [fail('path', `there is no route to ${who}`, 'repair the routes of this computer')]
  const mtu = before.mtu ?? before.deviceMtu
  const refused = await knock(address, Math.max(0, mtu - IP_UDP_HEADERS))
  if (refused)
    return [
      fail(
        'path',
        `${who} has no VXLAN port: UDP ${VXLAN_PORT} is refused there`,
        `run \`shoal doctor\` on it: its data plane is off or its firewall rejects UDP ${VXLAN_PORT}`,
      ),
    ]
  const after = await route(address, run)
  const learned = after?.mtu ?? after?.deviceMtu ?? mtu
  if (learned < before.deviceMtu)
    return [
      warn(
        'path',
        `packets to ${who} may be ${learned} bytes long, but ${before.device} carries ${before.deviceMtu}`,
        `set the MTU of ${before.device} to ${learned}, or that of the networks to ${learned - 50}: \`--opt com.docker.network.driver.mtu=${learned - 50}\``,
      ),
    ]
  return [ok('path', `${who}: packets of ${learned} bytes pass, nothing refuses UDP ${VXLAN_PORT}`)]
}

interface Route {
  readonly device: string
  readonly deviceMtu: number
  /** Learned from a router on the way. */
  readonly mtu: number | undefined
}

async function route(address: string, run: Run): Promise<Route | undefined> {
  const { code, stdout } = await run('ip', ['-j', 'route', 'get', address])
  if (code !== 0) return undefined
  const [found] = JSON.parse(stdout) as { dev?: string; metrics?: { mtu?: number }[] }[]
  if (!found?.dev) return undefined
  const links = JSON.parse((await run('ip', ['-j', 'link', 'show', 'dev', found.dev])).stdout) as { mtu?: number }[]
  return { device: found.dev, deviceMtu: links[0]?.mtu ?? 1500, mtu: found.metrics?.find((metric) => metric.mtu)?.mtu }
}

/** True when the port is refused. What arrives is no VXLAN packet, and is dropped. */
function knock(address: string, bytes: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createSocket('udp4')
    let refused = false
    socket.on('error', (error: NodeJS.ErrnoException) => {
      refused ||= error.code === 'ECONNREFUSED'
    })
    socket.connect(VXLAN_PORT, address, () => {
      for (let i = 0; i < 2; i += 1) socket.send(Buffer.alloc(bytes), () => {}) // too big is told by the route
    })
    const end = () => {
      socket.close()
      resolve(refused)
    }
    setTimeout(end, ICMP_WAIT_MS) // real-time: answers of the real network come within this or not at all
  })
}

/** Whether the name servers of this computer answer at all; which names there are does not matter. */
export async function nameServers(): Promise<Finding[]> {
  const resolver = new Resolver({ timeout: 1_000, tries: 1 })
  const servers = resolver.getServers()
  if (servers.length === 0)
    return [warn('DNS', 'this computer has no name server', 'name one in /etc/resolv.conf: tasks ask it for names outside the swarm')]
  return Promise.all(
    servers.map(async (server) => {
      const one = new Resolver({ timeout: 1_000, tries: 1 })
      one.setServers([server])
      try {
        await one.resolveNs('.')
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException
        if (code === 'ETIMEOUT' || code === 'ECONNREFUSED')
          return warn(
            'DNS',
            `name server ${server} does not answer (${code})`,
            'names outside the swarm resolve slowly or not at all: correct /etc/resolv.conf',
          )
      }
      return ok('DNS', `name server ${server} answers`)
    }),
  )
}
