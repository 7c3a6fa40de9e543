// Firewall rules that stand in the way: of the ports between nodes, and of forwarded traffic.
import { readFile } from 'node:fs/promises'
import { type Finding, fail, ok, warn } from './types.ts'

/** Runs a tool to its end. Rejects when it is not installed. */
export type Run = (tool: string, args: readonly string[]) => Promise<{ readonly code: number; readonly stdout: string }>

const OPEN_PORTS = 'TCP 2377 (managers), UDP 4789 (VXLAN)'

export async function firewall(run: Run): Promise<Finding[]> {
  return [...(await forwarding(run)), ...(await inputPolicy(run)), ...(await managed(run))]
}

async function forwarding(run: Run): Promise<Finding[]> {
  const listing = await attempt(run, 'iptables', ['-w', '5', '-S', 'FORWARD'])
  if (listing === undefined) return [ok('firewall', 'there is no iptables, so no FORWARD policy of its making either')]
  const rules = listing.split('\n').filter((line) => line.startsWith('-A FORWARD '))
  if (rules[0] === '-A FORWARD -j SHOAL-FORWARD') return [ok('firewall', 'our rule stands first in the FORWARD chain')]
  if (/^-P FORWARD DROP$/m.test(listing)) {
    return [
      fail(
        'firewall',
        'the FORWARD chain drops what no rule accepts, and our rule does not stand first in it',
        'shoald puts it back within seconds; if it does not, find out which program rewrites the FORWARD chain',
      ),
    ]
  }
  return [ok('firewall', 'the FORWARD chain lets traffic pass')]
}

/** Base chains of nftables (iptables-nft included) that drop what comes in. */
async function inputPolicy(run: Run): Promise<Finding[]> {
  const listing = await attempt(run, 'nft', ['-s', 'list', 'chains'])
  if (listing === undefined) return []
  const table = /hook input[^;]*; policy drop/.test(listing)
  if (!table) return [ok('input', 'no input chain drops by policy')]
  const accepted = (await attempt(run, 'nft', ['-s', 'list', 'ruleset'])) ?? ''
  const open = [2377, 4789].filter((port) => !new RegExp(`dport (\\{[^}]*\\b)?${port}\\b`).test(accepted))
  if (open.length === 0) return [ok('input', 'an input chain drops by policy, and rules for 2377 and 4789 are there')]
  return [
    warn(
      'input',
      `an input chain drops by policy, and no rule names port ${open.join(' or ')}`,
      `accept ${OPEN_PORTS} from the other nodes`,
    ),
  ]
}

/** Programs that own the firewall and rewrite it. */
async function managed(run: Run): Promise<Finding[]> {
  const findings: Finding[] = []
  const ufw = await readFile('/etc/ufw/ufw.conf', 'utf8').catch(() => '')
  if (/^ENABLED=yes/im.test(ufw))
    findings.push(warn('ufw', 'ufw is active on this computer', 'run `ufw allow 2377/tcp` and `ufw allow 4789/udp` for the other nodes'))
  const firewalld = await attempt(run, 'firewall-cmd', ['--state'])
  if (firewalld?.trim() === 'running')
    findings.push(
      warn(
        'firewalld',
        'firewalld is active on this computer',
        'run `firewall-cmd --permanent --add-port=2377/tcp --add-port=4789/udp && firewall-cmd --reload`',
      ),
    )
  return findings
}

async function attempt(run: Run, tool: string, args: readonly string[]): Promise<string | undefined> {
  try {
    const { code, stdout } = await run(tool, args)
    return code === 0 ? stdout : undefined
  } catch {
    return undefined // not installed
  }
}
