// Brings the kernel to the plan: remembers what was applied, applies the difference, and repairs what others changed.
import type { Logger } from '../lib/index.ts'
import { type Kernel, type KernelChange, type KernelObject, keyOf } from '../ports/index.ts'
import { bridgeName, VIP_MAC } from './names.ts'
import { applyChanges, diff } from './plan/diff.ts'
import { PLANNED_SYSCTLS } from './plan/fragments.ts'
import { type PlanInput, Planner } from './plan/planner.ts'
import type { LocalTask, MeshState } from './types.ts'

/** How many changes of a repair are named in the log. */
const NAMED_IN_LOG = 5

/** Not safe for concurrent use: its caller does one thing after the other. After an error the kernel is read before the next change. */
export class Reconciler {
  readonly #kernel: Kernel
  readonly #log: Logger
  readonly #planner = new Planner()
  /** What the kernel has as far as we know; undefined = it has to be read. */
  #mirror: Map<string, KernelObject> | undefined
  #unowned: ReadonlySet<string> = new Set()
  #planned = false

  constructor(kernel: Kernel, log: Logger) {
    this.#kernel = kernel
    this.#log = log
  }

  /** Plans and applies; returns the number of changes. `keepNetworks`: overlays that the kernel has are kept, whether or not a task needs them. */
  async reconcile(input: PlanInput, keepNetworks: boolean): Promise<number> {
    const known = this.#mirror !== undefined
    const mirror = this.#mirror ?? (await this.#read())
    const localTasks = keepNetworks ? [...input.localTasks, tasksOf(input.state, mirror)] : input.localTasks
    const touched = this.#planner.plan({ ...input, localTasks })
    this.#planned = true
    return this.#apply(mirror, diff(mirror, this.#planner.wanted, known ? touched : undefined))
  }

  /** Reads the kernel and repairs what differs from the last plan; returns the number of changes. Nothing before the first plan. */
  async repair(): Promise<number> {
    if (!this.#planned) return 0
    const actual = await this.#read()
    const changes = this.#ours(diff(actual, this.#planner.wanted))
    if (changes.length === 0) return 0
    const examples = changes
      .slice(0, NAMED_IN_LOG)
      .map((change) => ('object' in change ? `${change.op} ${keyOf(change.object)}` : change.op))
    this.#log.warn('the kernel differed from the plan; repairing it', { objects: changes.length, examples: examples.join(', ') })
    return this.#apply(actual, changes)
  }

  /** Removes our tables, so that the next round makes them anew: for when they got into a state that no change leads out of. */
  async dropTables(): Promise<void> {
    const actual = await this.#read()
    await this.#apply(
      actual,
      [...actual.values()].filter((object) => object.kind === 'table').map((object) => ({ op: 'delete', object })),
    )
    this.#mirror = undefined
  }

  /** Removes everything of ours. */
  async removeAll(): Promise<void> {
    const actual = await this.#read()
    await this.#apply(actual, diff(actual, new Map()))
    this.#mirror = undefined
    this.#planned = false
  }

  async #read(): Promise<Map<string, KernelObject>> {
    const { objects, unowned } = await this.#kernel.read(PLANNED_SYSCTLS)
    this.#unowned = unowned
    return new Map(objects)
  }

  async #apply(mirror: Map<string, KernelObject>, all: readonly KernelChange[]): Promise<number> {
    const changes = this.#ours(all)
    this.#mirror = undefined
    if (changes.length > 0) await this.#kernel.apply([...changes, ...flowsToForget(changes)])
    applyChanges(mirror, changes)
    this.#mirror = mirror
    return changes.length
  }

  /** Without deletes of what is not ours. */
  #ours(changes: readonly KernelChange[]): readonly KernelChange[] {
    return changes.filter(
      (change) => change.op !== 'delete' || !(change.object.kind === 'sysctl' || this.#unowned.has(keyOf(change.object))),
    )
  }
}

/** A stand-in for the tasks that need the overlays which the kernel has. */
function tasksOf(state: MeshState, mirror: ReadonlyMap<string, KernelObject>): LocalTask {
  const there = [...state.networks.values()].filter((network) => mirror.has(`bridge ${bridgeName(network)}`))
  return { taskId: '', networkIds: there.map((network) => network.id) }
}

/**
 * Connections to a dead endpoint would hang, or reach the next owner of its address. The kernel's own entries tell who is gone: the neighbour of a
 * remote endpoint, the hairpin element of a local one, the mark of a node. What goes with its whole network needs no care.
 */
export function flowsToForget(changes: readonly KernelChange[]): KernelChange[] {
  const gone = new Set<string>()
  for (const change of changes) if (change.op === 'delete' && change.object.kind === 'bridge') gone.add(change.object.name)
  const addresses = new Set<string>()
  const result: KernelChange[] = []
  for (const change of changes) {
    if (change.op === 'put' && change.object.kind === 'fdb' && change.before?.kind === 'fdb' && change.before.remote !== '') {
      if (change.before.remote !== change.object.remote) addresses.add(addressOfMac(change.object.mac))
    }
    if (change.op !== 'delete') continue
    const { object } = change
    if (object.kind === 'neighbour' && object.mac !== VIP_MAC && !gone.has(object.device)) addresses.add(object.address)
    if (object.kind === 'element' && object.set === 'hairpin') addresses.add(object.key.split(' ')[0]!)
    if (object.kind === 'element' && object.set === 'nodemark') result.push({ op: 'forgetMark', mark: Number(object.value) })
  }
  for (const address of addresses) result.push({ op: 'forgetAddress', address })
  return result
}

/** The address that `macOfAddress` made this MAC of. */
function addressOfMac(mac: string): string {
  const bytes = mac.split(':').slice(2)
  return bytes.map((byte) => Number.parseInt(byte, 16)).join('.')
}
