// Finds out whether the data plane can work on this host, by doing all of it once in a scratch network namespace.
import { existsSync } from 'node:fs'
import { errorText } from '../../lib/index.ts'
import type { KernelChange, KernelObject, KernelProbe } from '../../ports/index.ts'
import { guardTable, meshTable } from '../plan/rules.ts'
import { firstLines, runTool } from './exec.ts'
import { linkBatches } from './link.ts'
import { nftTransactions } from './nft.ts'

/** A bridge with a VXLAN port, as the plan makes them. The underlay of a scratch namespace is its loopback. */
const SCRATCH_DEVICES: readonly KernelObject[] = [
  { kind: 'bridge', name: 'ov-probe', mac: '02:42:0a:51:ff:01', mtu: 1450 },
  {
    kind: 'vxlan',
    name: 'vx-probe',
    bridge: 'ov-probe',
    vni: 1,
    local: '127.0.0.1',
    underlay: 'lo',
    port: 4789,
    mtu: 1450,
  },
]

/** Probes the kernel and the tools. Touches nothing that lasts, except that the br_netfilter module may get loaded. */
export async function probeKernel(): Promise<KernelProbe> {
  try {
    return await probe()
  } catch (error) {
    return { ok: false, reason: errorText(error) }
  }
}

async function probe(): Promise<KernelProbe> {
  if (process.getuid?.() !== 0) return no('the data plane needs root')
  if (!existsSync('/proc/sys/net/bridge')) await runTool('modprobe', ['br_netfilter'])
  if (!existsSync('/proc/sys/net/bridge')) return no('the kernel has no br_netfilter (bridge netfilter)')

  const devices = linkBatches(SCRATCH_DEVICES.map(put))
  const links = await runTool('unshare', ['--net', 'ip', '-batch', '-'], devices.ip)
  if (links.code !== 0) return no(`bridges or VXLAN do not work here: ${firstLines(links.stderr)}`)

  const features = { sctp: existsSync('/proc/sys/net/netfilter/nf_conntrack_sctp_timeout_established'), iptables: false }
  const [rules] = nftTransactions([meshTable(features, 1), guardTable()].map(put), new Map())
  const nft = await runTool('unshare', ['--net', 'nft', '-f', '-'], rules)
  if (nft.code !== 0) return no(`nftables cannot hold the rules of the mesh: ${firstLines(nft.stderr)}`)

  const conntrack = await runTool('conntrack', ['-C'])
  if (conntrack.code !== 0) return no(`conntrack does not work here: ${firstLines(conntrack.stderr)}`)
  return { ok: true, features: { ...features, iptables: await hasIptables() } }
}

async function hasIptables(): Promise<boolean> {
  try {
    return (await runTool('iptables', ['-w', '5', '-S', 'FORWARD'])).code === 0
  } catch {
    return false // not installed: then there is no policy of its making either
  }
}

function no(reason: string): KernelProbe {
  return { ok: false, reason }
}

function put(object: KernelObject): KernelChange {
  return { op: 'put', object }
}
