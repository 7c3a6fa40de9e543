// What a set of machines needs from the computer's network: a bridge, forwarding, a way out, and a cable for each machine.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { dirname, join } from 'node:path'
import { ShoalError } from '../lib/index.ts'
import { must, run } from './process.ts'
import { type MachineSet, vethName } from './set.ts'

const IP_FORWARD = '/proc/sys/net/ipv4/ip_forward'

/** Makes bridge, masquerade table and firewall openings of the set; does nothing where they are there. Call it under the set's lock. */
export async function ensureNetwork(set: MachineSet): Promise<void> {
  refuseForeignAddress(set)
  if (!existsSync(`/sys/class/net/${set.bridge}`)) {
    const lines = [`link add ${set.bridge} type bridge`, `addr add ${set.gateway}/24 dev ${set.bridge}`, `link set ${set.bridge} up`]
    await must('ip', ['-batch', '-'], { input: lines.join('\n') })
  }
  if (readFileSync(IP_FORWARD, 'utf8').trim() === '0') {
    mkdirSync(dirname(set.runDir), { recursive: true })
    writeFileSync(forwardMark(set), '0') // to be put back by the last set that goes
    writeFileSync(IP_FORWARD, '1')
  }
  const masquerade = `table ip ${set.nftTable} {\n}\ndelete table ip ${set.nftTable}\ntable ip ${set.nftTable} {
  chain post { type nat hook postrouting priority 100; ip saddr ${set.subnet} oifname != "${set.bridge}" masquerade; }\n}\n`
  await must('nft', ['-f', '-'], { input: masquerade })
  await openFirewall(set)
}

/** Takes back everything that ensureNetwork made. */
export async function removeNetwork(set: MachineSet): Promise<void> {
  await closeFirewall(set)
  await run('nft', ['delete', 'table', 'ip', set.nftTable])
  for (const link of setLinks(set)) await run('ip', ['link', 'del', link])
  await run('ip', ['link', 'del', set.bridge])
  const root = dirname(set.runDir)
  const otherSets = existsSync(root)
    ? readdirSync(root, { withFileTypes: true }).filter((entry) => entry.isDirectory() && entry.name !== set.name)
    : []
  if (otherSets.length === 0 && existsSync(forwardMark(set))) {
    // a Docker of the computer that came up meanwhile needs forwarding too: then it stays
    if (!(await dockerChainExists())) writeFileSync(IP_FORWARD, '0')
    rmSync(forwardMark(set), { force: true })
  }
}

/** Puts a cable between the bridge and the network namespace of `pid`, where it is called eth0. */
export async function plugIn(set: MachineSet, address: string, pid: number): Promise<void> {
  const veth = vethName(set, address)
  await run('ip', ['link', 'del', veth]) // a dying namespace may still hold the old one for a moment
  const lines = [`link add ${veth} type veth peer name eth0 netns ${pid}`, `link set ${veth} master ${set.bridge} up`]
  await must('ip', ['-batch', '-'], { input: lines.join('\n') })
}

/** Cuts a machine off or heals it, from the computer's side; the machine sees a lost carrier. */
export async function switchLink(set: MachineSet, address: string, state: 'up' | 'down'): Promise<void> {
  await must('ip', ['link', 'set', vethName(set, address), state])
}

/** Names of the cables of this set that exist now. */
export function setLinks(set: MachineSet): string[] {
  return readdirSync('/sys/class/net').filter((link) => link.startsWith(`${set.name}-v`))
}

/** What is left of the set in the computer's network, for people. */
export async function networkLeftovers(set: MachineSet): Promise<string[]> {
  const left = setLinks(set).map((link) => `network device ${link}`)
  if (existsSync(`/sys/class/net/${set.bridge}`)) left.push(`bridge ${set.bridge}`)
  if ((await run('nft', ['list', 'table', 'ip', set.nftTable])).status === 0) left.push(`nft table ${set.nftTable}`)
  for (const chain of ['FORWARD', 'DOCKER-USER']) {
    const rules = await run('iptables', ['-w', '5', '-S', chain])
    if (rules.status === 0 && rules.stdout.includes(` ${set.bridge} `)) left.push(`iptables rule for ${set.bridge} in ${chain}`)
  }
  return left
}

/**
 * A Docker on the computer leaves the FORWARD policy at DROP and lets iptables see bridged frames, so without openings machines would reach
 * neither each other nor the outside. DOCKER-USER is the chain Docker leaves to the administrator (machines.md, pitfall 3).
 */
async function openFirewall(set: MachineSet): Promise<void> {
  const chain = (await dockerChainExists()) ? 'DOCKER-USER' : 'FORWARD'
  for (const rule of firewallRules(set)) {
    const there = await run('iptables', ['-w', '5', '-C', chain, ...rule])
    if (there.status !== 0) await must('iptables', ['-w', '5', '-I', chain, ...rule])
  }
}

async function closeFirewall(set: MachineSet): Promise<void> {
  for (const chain of ['DOCKER-USER', 'FORWARD']) {
    for (const rule of firewallRules(set)) {
      for (let copies = 0; copies < 10; copies++) if ((await run('iptables', ['-w', '5', '-D', chain, ...rule])).status !== 0) break
    }
  }
}

function firewallRules(set: MachineSet): string[][] {
  return [
    ['-i', set.bridge, '-j', 'ACCEPT'],
    ['-o', set.bridge, '-j', 'ACCEPT'],
  ]
}

async function dockerChainExists(): Promise<boolean> {
  return (await run('iptables', ['-w', '5', '-S', 'DOCKER-USER'])).status === 0
}

function forwardMark(set: MachineSet): string {
  return join(dirname(set.runDir), 'ip_forward.was')
}

function refuseForeignAddress(set: MachineSet): void {
  for (const [device, addresses] of Object.entries(networkInterfaces())) {
    if (device === set.bridge || !addresses?.some(({ address }) => address.startsWith(`${set.prefix}.`))) continue
    throw new ShoalError('failed-precondition', `${set.subnet} is already in use on this computer, by the device ${device}`, {
      next: 'Choose another range, for example SHOAL_MACHINE_SUBNET=10.79.0.0/24.',
    })
  }
}
