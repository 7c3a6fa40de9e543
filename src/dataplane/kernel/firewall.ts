// Our chain in iptables' filter table: its text for iptables-restore, and what `iptables -S` says about it.
import type { FirewallObject } from '../../ports/index.ts'

export const CHAIN = 'SHOAL-FORWARD'
const JUMP = `-A FORWARD -j ${CHAIN}`

export interface ForwardReading {
  readonly jumps: number
  /** The jump stands first and nowhere else. An engine that restarts puts its own rules before it. */
  readonly first: boolean
}

/** From `iptables -S FORWARD`. */
export function parseForward(text: string): ForwardReading {
  const rules = text.split('\n').filter((line) => line.startsWith('-A FORWARD '))
  const jumps = rules.filter((line) => line === JUMP).length
  return { jumps, first: jumps === 1 && rules[0] === JUMP }
}

/** From `iptables -S SHOAL-FORWARD`, '' when the chain is not there. */
export function firewallObject(chainText: string, forward: ForwardReading): FirewallObject | undefined {
  if (chainText === '' && forward.jumps === 0) return undefined
  const prefix = `-A ${CHAIN} `
  const rules = chainText
    .split('\n')
    .filter((line) => line.startsWith(prefix))
    .map((line) => line.slice(prefix.length))
  return { kind: 'firewall', rules: forward.first ? rules : ['(jump is not first)', ...rules] }
}

/** Input for `iptables-restore --noflush`: sets the chain's rules and the jump in one step. */
export function restoreText(firewall: FirewallObject, forward: ForwardReading): string {
  const lines = ['*filter', `:${CHAIN} - [0:0]`, ...firewall.rules.map((rule) => `-A ${CHAIN} ${rule}`)]
  if (!forward.first) {
    for (let i = 0; i < forward.jumps; i++) lines.push(`-D FORWARD -j ${CHAIN}`)
    lines.push(`-I FORWARD 1 -j ${CHAIN}`)
  }
  return `${[...lines, 'COMMIT'].join('\n')}\n`
}

/** Input for `iptables-restore --noflush` that removes the chain and all jumps to it. */
export function removalText(forward: ForwardReading): string {
  const jumps = Array.from({ length: forward.jumps }, () => `-D FORWARD -j ${CHAIN}`)
  return `${['*filter', `:${CHAIN} - [0:0]`, ...jumps, `-X ${CHAIN}`, 'COMMIT'].join('\n')}\n`
}
