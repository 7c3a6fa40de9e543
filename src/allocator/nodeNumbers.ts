// Node numbers: 1..65535, unique in the cluster; MAC, conntrack mark and zone of a node are derived from it.

export const MAX_NODE_NUMBER = 65_535

/** The lowest number that no node has; undefined when there is none. */
export function freeNodeNumber(used: ReadonlySet<number>): number | undefined {
  for (let number = 1; number <= MAX_NODE_NUMBER; number++) if (!used.has(number)) return number
  return undefined
}
