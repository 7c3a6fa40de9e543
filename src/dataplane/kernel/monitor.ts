// Listens to what changes in the kernel's network state, and tells when somebody else has touched what is ours.
import { type ChildProcess, spawn } from 'node:child_process'
import type { KernelChange } from '../../ports/index.ts'
import { TABLE } from '../plan/rules.ts'
import { ENVIRONMENT } from './exec.ts'
import { CHAIN } from './firewall.ts'

/** Our own changes are reported, too: until this long after they were made. What comes later costs a look for nothing. */
const ECHO_MS = 40
/** A line that never ends is none. */
const MOST_LINE_CHARS = 1 << 20

const MONITORS = [
  { tool: 'nft', args: ['monitor'] },
  { tool: 'ip', args: ['monitor', 'link', 'address', 'neigh'] }, // neigh also tells about forwarding entries
] as const

interface Own {
  readonly words: ReadonlySet<string>
  readonly rules: boolean
  untilMs: number
}

export class KernelMonitor {
  readonly #children = new Map<string, ChildProcess>()
  /** MTU and MAC of our devices as last told: their state of carrier changes all the time. */
  readonly #devices = new Map<string, string>()
  #own: Own[] = []
  #foreign: (() => void) | undefined

  /** Begins, or goes on with those that have ended meanwhile. */
  watch(foreign: () => void): void {
    this.#foreign = foreign
    for (const { tool, args } of MONITORS) if (!this.#children.has(tool)) this.#start(tool, args)
  }

  unwatch(): void {
    this.#foreign = undefined
    for (const child of this.#children.values()) child.kill('SIGKILL')
    this.#children.clear()
  }

  /** To be called before changes of ours are applied; the result when they are. */
  expect(changes: readonly KernelChange[]): () => void {
    const own: Own = { words: new Set(changes.flatMap(wordsOf)), rules: changes.some(touchesRules), untilMs: Number.POSITIVE_INFINITY }
    this.#own.push(own)
    return () => {
      own.untilMs = performance.now() + ECHO_MS // real-time: echoes of the real kernel
    }
  }

  #start(tool: string, args: readonly string[]): void {
    const child = spawn(tool, args, { env: ENVIRONMENT, stdio: ['ignore', 'pipe', 'ignore'] })
    this.#children.set(tool, child)
    const gone = () => {
      if (this.#children.get(tool) === child) this.#children.delete(tool)
    }
    child.on('error', gone) // without it only the check from time to time remains
    child.on('close', gone)
    child.unref()
    let rest = ''
    child.stdout.on('data', (data: Buffer) => {
      const lines = (rest + data.toString()).split('\n')
      rest = lines.pop()!.slice(0, MOST_LINE_CHARS)
      for (const line of lines) if (this.#isOurs(tool, line) && !this.#isEcho(line)) this.#foreign?.()
    })
  }

  /** The line tells that an object of ours has changed. */
  #isOurs(tool: string, line: string): boolean {
    if (tool === 'nft') return NFT_OURS.test(line)
    const link = /^(Deleted )?\d+: ((?:ov|vx)-[^:@\s]+)[:@]\S* <(\S*)> mtu (\d+)/.exec(line)
    if (link) {
      const [, deleted, name, flags, mtu] = link
      const before = this.#devices.get(name!)
      if (deleted) this.#devices.delete(name!)
      else this.#devices.set(name!, mtu!)
      return deleted !== undefined || (before !== undefined && before !== mtu) || !/(^|,)UP(,|$)/.test(flags!)
    }
    if (/^Deleted \d+: ov-\S+\s+inet /.test(line)) return true
    // neighbours and forwarding entries: ours are permanent; a deleted one may be told as failed
    return / dev (ov|vx)-\S+ /.test(line) && (/ PERMANENT/.test(line) || (line.startsWith('Deleted') && / FAILED/.test(line)))
  }

  #isEcho(line: string): boolean {
    const now = performance.now() // real-time: echoes of the real kernel
    this.#own = this.#own.filter((own) => own.untilMs > now)
    const words = line.match(/[^\s"{},]+/g) ?? []
    return this.#own.some((own) => words.some((word) => own.words.has(word)) || (own.rules && /(^| )(ip|bridge) \S+/.test(line)))
  }
}

const NFT_OURS = new RegExp(
  `^(?:add|create|insert|replace|delete|destroy) \\S+ (?:ip|bridge) ${TABLE}(?: |$)|ip filter (?:FORWARD|${CHAIN})\\b`,
)

function touchesRules(change: KernelChange): boolean {
  return (change.op === 'put' || change.op === 'delete') && (change.object.kind === 'table' || change.object.kind === 'firewall')
}

/** What a line about this change contains. */
function wordsOf(change: KernelChange): string[] {
  if (change.op !== 'put' && change.op !== 'delete') return []
  const { object } = change
  switch (object.kind) {
    case 'bridge':
    case 'vxlan':
      return [object.name, `${object.name}:`]
    case 'address':
      return [object.cidr]
    case 'fdb':
      return [object.mac]
    case 'neighbour':
      return [object.address]
    case 'element':
      return object.key.split(' . ').filter((part) => part.length > 1 && !part.startsWith('"'))
    default:
      return []
  }
}
