// One simulated computer: an engine, a kernel and disks that outlive its shoald, and the life cycle of that shoald.
import { errorText, type Logger } from '../lib/index.ts'
import { type AgentSetup, createNode, type NodeDeps, type SwarmNode } from '../node/index.ts'
import { createFakeDisk, createFakeEngine, createRandom, type FakeDisk, type FakeEngine, FakeKernel } from '../ports/fakes/index.ts'
import type { Clock, Engine, Issuer, Rpc } from '../ports/index.ts'
import { createSimJournalDisk, type Journal, type SimJournalDisk } from '../store/index.ts'
import { createSimAgent } from './agent.ts'
import { createProcess, type SimProcess } from './process.ts'
import type { SimNetwork } from './rpc.ts'
import { behaviourOf } from './specs.ts'
import { IMAGE_NUMBERS } from './workload.ts'

/** What systemd does with a shoald that ends by itself. */
const RESTART_MS = 1_000
/** SIGKILL after SIGTERM. */
const STOP_LIMIT_MS = 20_000

/** Faults that are seeded into the program itself, to show that the checkers see them. Each wraps what production code is given. */
export interface Tamper {
  readonly manager?: NodeDeps['startManager']
  readonly journal?: (journal: Journal) => Journal
  readonly engine?: (engine: Engine) => Engine
  readonly rpc?: (rpc: Rpc) => Rpc
}

export interface HostDeps {
  readonly tamper?: Tamper
  readonly index: number
  readonly seed: string
  readonly clock: Clock
  readonly network: SimNetwork
  readonly issuer: Issuer
  logger(host: number): Logger
  /** A commit has just become durable; the store shows it as soon as this returns and promises have settled. */
  onDurable(host: SimHost, seq: number): void
  /** An engine is asked to stop a container. */
  onStopSignal(host: SimHost, containerId: string): void
}

export class SimHost {
  readonly index: number
  readonly address: string
  readonly engine: FakeEngine
  readonly disk: FakeDisk
  readonly #deps: HostDeps
  /** Who waits for the end of a shoald that is stopping. */
  readonly #onGone: (() => void)[] = []
  kernel: FakeKernel
  journal: SimJournalDisk
  process: SimProcess | undefined
  node: SwarmNode | undefined
  /** Set once it is a member. */
  nodeId: string | undefined
  powered = true
  lives = 0
  /** Faults that are going on, and when the last one ended. */
  faults = 0
  soundSinceMs = 0

  constructor(deps: HostDeps) {
    this.#deps = deps
    this.index = deps.index
    this.address = `10.9.0.${deps.index + 1}`
    const random = createRandom(`${deps.seed}/host${deps.index}`)
    this.engine = createFakeEngine({ clock: deps.clock, hostname: `host${deps.index}`, behaviour: behaviourOf, ...IMAGES })
    this.disk = createFakeDisk({ clock: deps.clock, random: random.fork('disk') })
    this.journal = createSimJournalDisk({ clock: deps.clock, random: random.fork('journal') })
    this.kernel = this.#newKernel()
  }

  get running(): boolean {
    return this.process !== undefined && this.process.state !== 'dead'
  }

  beginFault(): void {
    this.faults += 1
  }

  endFault(): void {
    this.faults -= 1
    this.soundSinceMs = this.#deps.clock.monotonicMs()
  }

  /** Starts shoald. `enter` is what a person types next (init or join), on the first start only. */
  boot(enter?: (node: SwarmNode, process: SimProcess) => Promise<void>): void {
    if (this.running || !this.powered) return
    const { clock, network, issuer, seed, index } = this.#deps
    this.lives += 1
    const process = createProcess({ name: `host${index}.${this.lives}`, clock })
    const random = createRandom(`${seed}/host${index}/life${this.lives}`)
    const log = this.#deps.logger(index)
    const { tamper = {} } = this.#deps
    const same = <T>(port: T) => port
    const rpc = (tamper.rpc ?? same)(network.rpc(process, this.address))
    const engine = (tamper.engine ?? same)(this.#watchedEngine(process.gated<Engine>(this.engine)))
    const node = createNode({
      disk: process.gated(this.disk),
      clock: process.clock,
      random,
      log,
      rpc,
      issuer,
      addresses: () => [{ device: 'eth0', address: this.address, loopback: false }],
      defaultAdvertise: undefined,
      openJournal: async () => process.gated(this.#watched((tamper.journal ?? same)(this.journal.open()))),
      startManager: tamper.manager,
      removeJournal: async () => {
        this.journal = createSimJournalDisk({ clock, random: random.fork('journal') })
      },
      createAgent: (setup: AgentSetup) =>
        createSimAgent({
          setup,
          clock: process.clock,
          random,
          log,
          rpc,
          engine,
          disk: process.gated(this.disk),
          issuer,
          kernel: process.gated<FakeKernel>(this.kernel),
        }),
    })
    this.process = process
    this.node = node
    process.run(() => {
      ;(enter ? enter(node, process) : node.start()).catch((error: unknown) => {
        log.warn('shoald ends', { error: errorText(error) })
        if (this.process !== process) return
        this.kill()
        clock.setTimer(RESTART_MS, () => this.boot(enter && this.nodeId === undefined ? enter : undefined))
      })
    })
  }

  /** kill -9. */
  kill(): void {
    if (!this.process) return
    this.process.kill()
    this.#deps.network.processDied(this.process)
    this.disk.crash()
    this.journal.crash()
    void this.kernel.unclaim()
    this.process = undefined
    this.node = undefined
    for (const gone of this.#onGone.splice(0)) gone()
  }

  /** SIGTERM. Calls `gone` when it has ended, be it that it was killed meanwhile. */
  stop(gone: () => void): void {
    const { process, node } = this
    if (!process || !node) {
      gone()
      return
    }
    this.#onGone.push(gone)
    const end = () => {
      if (this.process === process) this.kill()
    }
    process.run(() => void node.stop().then(end, end))
    this.#deps.clock.setTimer(STOP_LIMIT_MS, end)
  }

  powerOff(): void {
    this.powered = false
    this.#deps.network.network.silence(this.address)
    this.kill()
    this.engine.powerOff()
    this.kernel = this.#newKernel()
  }

  powerOn(): void {
    this.powered = true
    this.#deps.network.network.unsilence(this.address)
    this.engine.up()
    this.boot()
  }

  #newKernel(): FakeKernel {
    return new FakeKernel({ underlays: { [this.address]: { device: 'eth0', mtu: 1500 } } })
  }

  #watchedEngine(engine: Engine): Engine {
    const stop: Engine['stop'] = (id, options) => {
      this.#deps.onStopSignal(this, id)
      return engine.stop(id, options)
    }
    return new Proxy(engine, { get: (target, key) => (key === 'stop' ? stop : Reflect.get(target, key, target)) })
  }

  #watched(journal: Journal): Journal {
    return {
      load: () => journal.load(),
      commit: async (seq, writes) => {
        const result = await journal.commit(seq, writes)
        if (result === 'durable') this.#deps.onDurable(this, seq)
        return result
      },
      close: () => journal.close(),
    }
  }
}

/** No image is on the host; the registry has all but the `absent` ones. */
const IMAGES = {
  images: [] as readonly string[],
  registry: (['ok', 'slow', 'crash', 'sick', 'done'] as const).flatMap((kind) =>
    Array.from({ length: IMAGE_NUMBERS + 1 }, (_, n) => `${kind}:${n}`),
  ),
}
