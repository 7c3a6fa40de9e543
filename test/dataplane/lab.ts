// A lab of network namespaces on one computer: hosts on a switch, a client beside them, a client behind a router, and tasks on the hosts' bridges.
import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createInterface } from 'node:readline'
import type { Attachment, MeshEndpoint, MeshNetwork, MeshPeer, MeshService, MeshUpdate } from '../../src/dataplane/index.ts'

const INSIDE = new URL('./inside.ts', import.meta.url).pathname
export const LAN_CLIENT = '10.81.0.100'
export const ROUTED_CLIENT = '10.81.0.130'
const ROUTER = { lan: '10.81.0.126', far: '10.81.0.129' }

export function ip(...args: string[]): string {
  return execFileSync('ip', args, { stdio: ['ignore', 'pipe', 'pipe'] }).toString()
}

/** A program in one namespace that does what it is asked. */
export class Inside {
  readonly #child: ChildProcessWithoutNullStreams
  readonly #asked = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>()
  #next = 1
  readonly namespace: string

  constructor(namespace: string) {
    this.namespace = namespace
    this.#child = spawn('nsenter', [`--net=/run/netns/${namespace}`, process.execPath, '--disable-warning=ExperimentalWarning', INSIDE])
    this.#child.stderr.on('data', (data: Buffer) => process.stderr.write(`[${namespace}] ${data}`))
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      const { id, result, error } = JSON.parse(line) as { id: number; result: never; error?: string }
      const asked = this.#asked.get(id)
      this.#asked.delete(id)
      if (error === undefined) asked?.resolve(result)
      else asked?.reject(new Error(`${namespace}: ${error}`))
    })
    this.#child.on('exit', (code) => {
      for (const { reject } of this.#asked.values()) reject(new Error(`${namespace} exited with ${code}`))
    })
  }

  ask<T>(op: string, args: unknown = {}): Promise<T> {
    const id = this.#next++
    return new Promise((resolve, reject) => {
      this.#asked.set(id, { resolve, reject })
      const text = JSON.stringify({ id, op, args }, (_, value) => (typeof value === 'bigint' ? Number(value) : value))
      this.#child.stdin.write(`${text}\n`)
    })
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const gone = new Promise((resolve) => this.#child.once('exit', resolve))
    this.#child.kill('SIGKILL')
    await gone
  }
}

export interface Host {
  readonly nodeId: string
  readonly number: number
  readonly address: string
  readonly namespace: string
  plane: Inside
}

export class Lab {
  readonly #prefix: string
  readonly #namespaces: string[] = []
  readonly #inside: Inside[] = []
  readonly hosts: Host[] = []
  lan!: Inside
  routed!: Inside

  /** `prefix` is the beginning of the names of all namespaces; what an earlier run left under it is removed. */
  constructor(prefix: string) {
    this.#prefix = prefix
  }

  async up(numbers: readonly number[]): Promise<void> {
    this.#sweep()
    const sw = this.#namespace('sw')
    ip('-n', sw, 'link', 'add', 'br0', 'type', 'bridge')
    ip('-n', sw, 'link', 'set', 'br0', 'up')
    numbers.forEach((number, i) => {
      const address = `10.81.0.${i + 1}`
      const namespace = this.#namespace(`h${i + 1}`)
      this.#plug(namespace, 'eth0', sw, `p${i + 1}`, `${address}/25`)
      ip('-n', sw, 'link', 'set', `p${i + 1}`, 'master', 'br0')
      ip('-n', namespace, 'route', 'add', 'default', 'via', ROUTER.lan)
      // as on a host with Docker
      this.inNamespace(namespace, 'iptables', '-P', 'FORWARD', 'DROP')
      this.hosts.push({ nodeId: `node${i + 1}`, number, address, namespace, plane: this.program(namespace) })
    })
    const lan = this.#namespace('c')
    this.#plug(lan, 'eth0', sw, 'pc', `${LAN_CLIENT}/25`)
    ip('-n', sw, 'link', 'set', 'pc', 'master', 'br0')
    const router = this.#namespace('rt')
    this.#plug(router, 'eth0', sw, 'prt', `${ROUTER.lan}/25`)
    ip('-n', sw, 'link', 'set', 'prt', 'master', 'br0')
    this.inNamespace(router, 'sysctl', '-qw', 'net.ipv4.ip_forward=1')
    const routed = this.#namespace('r')
    this.#plug(routed, 'eth0', router, 'eth1', `${ROUTED_CLIENT}/26`)
    ip('-n', router, 'address', 'add', `${ROUTER.far}/26`, 'dev', 'eth1')
    ip('-n', routed, 'route', 'add', 'default', 'via', ROUTER.far)
    ip('-n', lan, 'route', 'add', 'default', 'via', ROUTER.lan)
    this.lan = this.program(lan)
    this.routed = this.program(routed)
  }

  async down(): Promise<void> {
    for (const program of this.#inside) await program.kill()
    this.#sweep()
  }

  /** Ends a host's data plane as kill -9 does, and starts another process for it. */
  async restart(host: Host): Promise<void> {
    await host.plane.kill()
    host.plane = this.program(host.namespace)
  }

  program(namespace: string): Inside {
    const program = new Inside(namespace)
    this.#inside.push(program)
    return program
  }

  inNamespace(namespace: string, ...command: string[]): string {
    return execFileSync('nsenter', [`--net=/run/netns/${namespace}`, ...command], { stdio: ['ignore', 'pipe', 'pipe'] }).toString()
  }

  /** The connection-tracking entries of a host whose backend is this address. */
  flowsTo(namespace: string, address: string): string[] {
    const list = this.inNamespace(namespace, 'conntrack', '-L', '-f', 'ipv4', '--reply-src', address)
    return list.split('\n').filter((line) => line !== '')
  }

  /** A namespace with a leg on each bridge, as an engine would make of a container; the first leg has the default route. */
  async container(name: string, host: Host, attachments: readonly Attachment[]): Promise<Inside> {
    const namespace = this.#namespace(name)
    attachments.forEach(({ bridge, address, mac, gateway, engineNetwork }, i) => {
      const port = `v${i}${name}`
      this.#plug(namespace, `eth${i}`, host.namespace, port, `${address}/24`, mac)
      ip('-n', namespace, 'link', 'set', `eth${i}`, 'mtu', String(engineNetwork.mtu))
      ip('-n', host.namespace, 'link', 'set', port, 'master', bridge)
      this.#asDockerDoes(host, bridge, engineNetwork.subnet)
      if (i === 0) ip('-n', namespace, 'route', 'add', 'default', 'via', gateway)
    })
    await host.plane.ask('hairpin')
    return this.program(namespace)
  }

  /** Docker's rules for a bridge network: out is free, in only for answers, and what leaves gets the host's address. */
  #asDockerDoes(host: Host, bridge: string, subnet: string): void {
    const add = (...rule: string[]) => this.inNamespace(host.namespace, 'iptables', ...rule)
    add('-A', 'FORWARD', '-i', bridge, '!', '-o', bridge, '-j', 'ACCEPT')
    add('-A', 'FORWARD', '-o', bridge, '-m', 'conntrack', '--ctstate', 'RELATED,ESTABLISHED', '-j', 'ACCEPT')
    add('-t', 'nat', '-A', 'POSTROUTING', '-s', subnet, '!', '-o', bridge, '-j', 'MASQUERADE')
  }

  #namespace(name: string): string {
    const namespace = `${this.#prefix}${name}`
    ip('netns', 'add', namespace)
    this.#namespaces.push(namespace)
    ip('-n', namespace, 'link', 'set', 'lo', 'up')
    return namespace
  }

  /** A cable between two namespaces; the near end gets the address. */
  #plug(near: string, nearName: string, far: string, farName: string, address: string, mac?: string): void {
    ip('link', 'add', 'name', nearName, 'netns', near, 'type', 'veth', 'peer', 'name', farName, 'netns', far)
    if (mac) ip('-n', near, 'link', 'set', nearName, 'address', mac)
    ip('-n', near, 'address', 'add', address, 'dev', nearName)
    ip('-n', near, 'link', 'set', nearName, 'up')
    ip('-n', far, 'link', 'set', farName, 'up')
  }

  #sweep(): void {
    if (!existsSync('/run/netns')) return
    const names = ip('netns', 'list')
      .split('\n')
      .map((line) => line.split(' ')[0]!)
    for (const name of names) if (name.startsWith(this.#prefix)) ip('netns', 'delete', name)
  }
}

export function peersOf(hosts: readonly Host[]): MeshPeer[] {
  return hosts.map(({ nodeId, number, address }) => ({ nodeId, number, address, hostname: nodeId }))
}

export function meshUpdate(parts: Partial<MeshUpdate>): MeshUpdate {
  return {
    snapshot: false,
    base: 0n,
    version: 0n,
    peers: [],
    gonePeers: [],
    networks: [],
    goneNetworks: [],
    services: [],
    goneServices: [],
    endpoints: [],
    goneEndpoints: [],
    ...parts,
  }
}

export const INGRESS: MeshNetwork = {
  id: 'ingressnetworkid000000001',
  name: 'ingress',
  vni: 4096,
  subnet: '10.0.0.0/24',
  gateway: '10.0.0.1',
  mtu: 0,
  internal: false,
  ingress: true,
}

export function overlay(id: string, vni: number, third: number, internal = false): MeshNetwork {
  return { id, name: id, vni, subnet: `10.0.${third}.0/24`, gateway: `10.0.${third}.1`, mtu: 0, internal, ingress: false }
}

export function service(id: string, published: number, vips: MeshService['vips'] = []): MeshService {
  const ports = published > 0 ? (['tcp', 'udp'] as const).map((protocol) => ({ protocol, published, target: 80, name: '' })) : []
  return { id, name: id, dnsrr: false, vips, ports }
}

export function endpoint(
  taskId: string,
  serviceId: string,
  nodeId: string,
  addresses: readonly (readonly [string, string])[],
  serving = true,
): MeshEndpoint {
  return {
    taskId,
    serviceId,
    nodeId,
    serving,
    slot: 1,
    addresses: addresses.map(([networkId, address]) => ({ networkId, address, aliases: [] })),
  }
}
