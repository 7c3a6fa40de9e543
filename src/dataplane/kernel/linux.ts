// The Kernel port on a real Linux kernel, through ip, bridge, nft, iptables and conntrack.
import { readFile, writeFile } from 'node:fs/promises'
import { ShoalError } from '../../lib/index.ts'
import {
  type FirewallObject,
  type Kernel,
  type KernelChange,
  type KernelObject,
  type KernelProbe,
  type KernelState,
  keyOf,
  type SysctlObject,
  type TableObject,
  type Underlay,
} from '../../ports/index.ts'
import { TABLE } from '../plan/rules.ts'
import { firstLines, mustRun, runTool } from './exec.ts'
import { CHAIN, type ForwardReading, firewallObject, parseForward, removalText, restoreText } from './firewall.ts'
import { Holder } from './hold.ts'
import { linkBatches, parseAddresses, parseFdb, parseLinks, parseNeighbours } from './link.ts'
import { KernelMonitor } from './monitor.ts'
import { nftTransactions, parseTable, type TableListing } from './nft.ts'
import { probeKernel } from './probe.ts'

const LOCK = 'shoal-dataplane'
const FAMILIES = ['ip', 'bridge'] as const
const FEW_ADDRESSES = 4
const DELETE_ATTEMPTS = 5
/** A connection that both sides may still say something on. */
const LIVE_FLOW = /^(?:tcp .* (?:SYN_SENT|SYN_RECV|ESTABLISHED|FIN_WAIT|CLOSE_WAIT) |sctp .* (?:COOKIE_WAIT|COOKIE_ECHOED|ESTABLISHED) )/

/** The kernel of the network namespace that this process is in. */
export function createLinuxKernel(): Kernel {
  return new LinuxKernel()
}

class LinuxKernel implements Kernel {
  readonly #holder = new Holder()
  readonly #monitor = new KernelMonitor()
  /** How the kernel lists a table that we loaded: its rules cannot be compared with what was written. */
  readonly #prints = new Map<string, { readonly digest: string; readonly print: string }>()
  readonly #chains = new Map<string, readonly string[]>()

  probe(): Promise<KernelProbe> {
    return probeKernel()
  }

  claim(): Promise<boolean> {
    return this.#holder.lock(LOCK)
  }

  unclaim(): Promise<void> {
    return this.#holder.unlock(LOCK)
  }

  holdPort(protocol: 'tcp' | 'udp', port: number): Promise<boolean> {
    return this.#holder.holdPort(protocol, port)
  }

  releasePort(protocol: 'tcp' | 'udp', port: number): Promise<void> {
    return this.#holder.releasePort(protocol, port)
  }

  async underlay(address: string): Promise<Underlay | undefined> {
    const links = JSON.parse(await mustRun('ip', ['-j', '-4', 'address', 'show'])) as {
      ifname?: string
      mtu?: number
      addr_info?: { local: string }[]
    }[]
    const link = links.find(({ addr_info }) => addr_info?.some(({ local }) => local === address))
    return link?.ifname && link.mtu ? { device: link.ifname, mtu: link.mtu } : undefined
  }

  async read(sysctls: readonly string[]): Promise<KernelState> {
    const [links, addresses, neighbours, fdb, tables, firewall, settings] = await Promise.all([
      mustRun('ip', ['-d', '-j', 'link', 'show']),
      mustRun('ip', ['-j', '-4', 'address', 'show']),
      mustRun('ip', ['-j', '-4', 'neigh', 'show', 'nud', 'permanent']),
      mustRun('bridge', ['-j', 'fdb', 'show']),
      Promise.all(FAMILIES.map((family) => this.#readTable(family))),
      this.#readFirewall(),
      Promise.all(sysctls.map(readSysctl)),
    ])
    const devices = parseLinks(links)
    const objects: (KernelObject | undefined)[] = [
      ...devices.objects,
      ...parseAddresses(addresses),
      ...parseNeighbours(neighbours),
      ...parseFdb(fdb),
      ...tables.flat(),
      firewall,
      ...settings,
    ]
    return {
      objects: new Map(objects.filter((object) => object !== undefined).map((object) => [keyOf(object), object])),
      unowned: devices.unowned,
    }
  }

  watch(foreign: () => void): void {
    this.#monitor.watch(foreign)
  }

  unwatch(): void {
    this.#monitor.unwatch()
  }

  async apply(changes: readonly KernelChange[]): Promise<void> {
    const applied = this.#monitor.expect(changes)
    try {
      await this.#apply(changes)
    } finally {
      applied()
    }
  }

  async #apply(changes: readonly KernelChange[]): Promise<void> {
    const links = linkBatches(changes)
    await batch('ip', links.ip)
    await batch('bridge', links.fdb)
    for (const change of changes) {
      if (change.op === 'put' && change.object.kind === 'sysctl') await writeSysctl(change.object)
    }
    for (const transaction of nftTransactions(changes, this.#chains)) await mustRun('nft', ['-f', '-'], transaction)
    await this.#rememberTables(changes)
    for (const change of changes) {
      if (change.op === 'put' && change.object.kind === 'firewall') await putFirewall(change.object)
      if (change.op === 'delete' && change.object.kind === 'firewall') await deleteFirewall()
    }
    await deleteBatch('bridge', links.fdbDelete)
    await deleteBatch('ip', links.ipDelete)
    await forgetFlows(changes)
  }

  async hairpin(): Promise<number> {
    const ports = parseLinks(await mustRun('ip', ['-d', '-j', 'link', 'show'])).portsWithoutHairpin
    await deleteBatch('bridge', ports.map((port) => `link set dev ${port} hairpin on\n`).join(''))
    return ports.length
  }

  async busy(addresses: readonly string[]): Promise<ReadonlySet<string>> {
    const wanted = new Set(addresses)
    const found = new Set<string>()
    if (addresses.length === 0) return found
    const filter = addresses.length === 1 ? ['--reply-src', addresses[0]!] : []
    for (const line of (await mustRun('conntrack', ['-L', '-f', 'ipv4', ...filter])).split('\n')) {
      if (!LIVE_FLOW.test(line)) continue
      // the second source is that of the replies: who answers
      const backend = Array.from(line.matchAll(/ src=(\S+)/g), (match) => match[1]!)[1]
      if (backend !== undefined && wanted.has(backend)) found.add(backend)
    }
    return found
  }

  async #listTable(family: TableObject['family'], what: 'all' | 'rules'): Promise<TableListing | undefined> {
    const terse = what === 'rules' ? ['-t'] : []
    const { code, stdout, stderr } = await runTool('nft', ['-nn', '-s', ...terse, 'list', 'table', family, TABLE])
    if (code === 0) return parseTable(family, TABLE, stdout)
    if (/No such file or directory/.test(stderr)) return undefined
    throw new ShoalError('unavailable', `nft could not list table ${family} ${TABLE}: ${firstLines(stderr)}`)
  }

  async #readTable(family: TableObject['family']): Promise<readonly KernelObject[]> {
    const listing = await this.#listTable(family, 'all')
    if (!listing) return []
    const table: TableObject = { kind: 'table', family, name: TABLE, digest: `listed ${listing.print}`, sets: [], chains: [] }
    const key = keyOf(table)
    this.#chains.set(key, listing.chains)
    const known = this.#prints.get(key)
    return [known?.print === listing.print ? { ...table, digest: known.digest } : table, ...listing.elements]
  }

  async #rememberTables(changes: readonly KernelChange[]): Promise<void> {
    for (const change of changes) {
      if (change.op !== 'put' || change.object.kind !== 'table') continue
      const listing = await this.#listTable(change.object.family, 'rules')
      if (listing) this.#prints.set(keyOf(change.object), { digest: change.object.digest, print: listing.print })
    }
  }

  async #readFirewall(): Promise<FirewallObject | undefined> {
    const forward = await readForward()
    if (!forward) return undefined
    const chain = await runTool('iptables', ['-w', '5', '-S', CHAIN])
    return firewallObject(chain.code === 0 ? chain.stdout : '', forward)
  }
}

/** Undefined when there is no iptables. */
async function readForward(): Promise<ForwardReading | undefined> {
  try {
    const { code, stdout } = await runTool('iptables', ['-w', '5', '-S', 'FORWARD'])
    return code === 0 ? parseForward(stdout) : undefined
  } catch {
    return undefined
  }
}

async function putFirewall(firewall: FirewallObject): Promise<void> {
  const forward = parseForward(await mustRun('iptables', ['-w', '5', '-S', 'FORWARD']))
  await mustRun('iptables-restore', ['-w', '5', '--noflush'], restoreText(firewall, forward))
}

async function deleteFirewall(): Promise<void> {
  const forward = await readForward()
  if (forward) await mustRun('iptables-restore', ['-w', '5', '--noflush'], removalText(forward))
}

async function batch(tool: 'ip' | 'bridge', lines: string): Promise<void> {
  if (lines !== '') await mustRun(tool, ['-batch', '-'], lines)
}

/** Goes on after errors; that something is gone already is none. */
async function deleteBatch(tool: 'ip' | 'bridge', lines: string): Promise<void> {
  if (lines === '') return
  const { code, stderr } = await runTool(tool, ['-force', '-batch', '-'], lines)
  if (code === 0) return
  const gone = /^Command failed|No such file or directory|Cannot find device|No such device|Cannot assign requested address/
  const errors = stderr
    .split('\n')
    .filter((line) => line.trim() !== '' && !gone.test(line) && !gone.test(line.replace(/^RTNETLINK answers: /, '')))
  if (errors.length > 0) throw new ShoalError('aborted', `${tool} -batch failed: ${firstLines(errors.join('\n'))}`)
}

async function readSysctl(name: string): Promise<SysctlObject | undefined> {
  try {
    return { kind: 'sysctl', name, value: (await readFile(`/proc/sys/${name}`, 'utf8')).trim() }
  } catch {
    return undefined // its device is not there (yet)
  }
}

async function writeSysctl({ name, value }: SysctlObject): Promise<void> {
  try {
    await writeFile(`/proc/sys/${name}`, value)
  } catch (cause) {
    throw new ShoalError('aborted', `the kernel setting ${name} could not be set to ${value}: ${(cause as Error).message}`, { cause })
  }
}

async function forgetFlows(changes: readonly KernelChange[]): Promise<void> {
  const addresses = changes.filter((change) => change.op === 'forgetAddress').map((change) => change.address)
  for (const address of addresses.length > FEW_ADDRESSES ? await withFlows(addresses) : addresses) {
    await deleteFlows(['--reply-src', address])
    await deleteFlows(['--orig-src', address])
  }
  for (const change of changes) if (change.op === 'forgetMark') await deleteFlows(['--mark', `${change.mark}/0xffffffff`])
}

/** Those of the addresses that occur in the connection table: one look is cheaper than many deletes. */
async function withFlows(addresses: readonly string[]): Promise<readonly string[]> {
  const listing = await mustRun('conntrack', ['-L', '-f', 'ipv4'])
  const found = new Set(Array.from(listing.matchAll(/ src=(\S+)/g), (match) => match[1]))
  return addresses.filter((address) => found.has(address))
}

async function deleteFlows(filter: readonly string[]): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const { code, stderr } = await runTool('conntrack', ['-D', '-f', 'ipv4', ...filter])
    // it exits with 1 when nothing matched
    if (code === 0 || /flow entries have been deleted/.test(stderr)) return
    // it stops at an entry that ended by itself meanwhile
    if (attempt < DELETE_ATTEMPTS && /such conntrack doesn't exist/.test(stderr)) continue
    throw new ShoalError('aborted', `conntrack -D ${filter.join(' ')} failed: ${firstLines(stderr)}`)
  }
}
