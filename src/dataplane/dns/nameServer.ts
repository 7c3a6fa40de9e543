// The name server of a node as the data plane drives it: keeps the thread alive, sends it what changed, waits until it serves that.
import { Worker } from 'node:worker_threads'
import { errorText, type Logger } from '../../lib/index.ts'
import type { Clock, Timer } from '../../ports/index.ts'
import { RESPONDER_PORT } from '../names.ts'
import type { MeshState } from '../types.ts'
import type { ResponderCounters } from './responder.ts'
import type { WorkerOptions, WorkerReply, WorkerRequest } from './worker.ts'
import type { Asker, ZoneChange } from './zone.ts'

/** An answer of the thread takes a few milliseconds; names that come late must not hold the mesh up. */
const REPLY_MS = 2_000
/** Before a thread that died is started anew, and before addresses that could not be listened on are tried again. */
const RETRY_MS = 2_000

export interface NameView {
  readonly state: MeshState
  /** Tasks of this node on swarm networks. */
  readonly askers: readonly Asker[]
  /** Gateways of this node's networks; with none there is nobody to ask. */
  readonly listen: readonly string[]
}

export interface NameServer {
  /** Resolves when this is served, or when that takes too long (which is logged). Never rejects. */
  update(view: NameView): Promise<void>
  counters(): ResponderCounters
  stop(): Promise<void>
}

export interface NameServerDeps extends Partial<WorkerOptions> {
  readonly clock: Clock
  readonly log: Logger
}

export function createNameServer(deps: NameServerDeps): NameServer {
  return new ThreadedNameServer(deps)
}

const NOTHING: ZoneChange = {
  snapshot: false,
  networks: [],
  goneNetworks: [],
  services: [],
  goneServices: [],
  endpoints: [],
  goneEndpoints: [],
}

class ThreadedNameServer implements NameServer {
  readonly #deps: NameServerDeps
  #worker: Worker | undefined
  #view: NameView | undefined
  /** What the thread has. */
  #sent: NameView | undefined
  #seq = 0
  readonly #waiters = new Map<number, () => void>()
  #retry: Timer | undefined
  #failures = ''
  #counters: ResponderCounters = { queries: 0, forwarded: 0, ignored: 0 }
  #stopped = false

  constructor(deps: NameServerDeps) {
    this.#deps = deps
  }

  counters(): ResponderCounters {
    return this.#counters
  }

  update(view: NameView): Promise<void> {
    this.#view = view
    if (this.#stopped || (!this.#worker && view.listen.length === 0)) return Promise.resolve()
    return this.#send()
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#retry?.cancel()
    const worker = this.#worker
    this.#forget()
    await worker?.terminate()
  }

  #send(): Promise<void> {
    const view = this.#view!
    this.#worker ??= this.#start()
    const change = changeBetween(this.#sent, view)
    this.#sent = view
    const seq = ++this.#seq
    return new Promise((resolve) => {
      const timer = this.#deps.clock.setTimer(REPLY_MS, () => {
        this.#deps.log.warn('the name server is slow', { waitedMs: REPLY_MS })
        done()
      })
      const done = () => {
        timer.cancel()
        this.#waiters.delete(seq)
        resolve()
      }
      this.#waiters.set(seq, done)
      this.#worker!.postMessage({ seq, change, listen: view.listen } satisfies WorkerRequest)
    })
  }

  #start(): Worker {
    const { port = RESPONDER_PORT, resolvConf = '/etc/resolv.conf', upstreamPort } = this.#deps
    const workerData: WorkerOptions = { port, resolvConf, ...(upstreamPort === undefined ? {} : { upstreamPort }) }
    const worker = new Worker(workerUrl(), { workerData, execArgv: [], name: 'dns' })
    worker.on('message', (reply: WorkerReply) => this.#replied(reply))
    worker.on('error', (error) => this.#died(worker, errorText(error)))
    worker.on('exit', (code) => this.#died(worker, `it ended with ${code}`))
    return worker
  }

  #replied({ seq, failures, counters }: WorkerReply): void {
    this.#counters = counters
    this.#waiters.get(seq)?.()
    const text = failures.join('; ')
    if (text !== '' && text !== this.#failures)
      this.#deps.log.warn('names of the swarm cannot be served everywhere', { error: text, next: 'free the port; it is tried again' })
    this.#failures = text
    if (text !== '') this.#later()
  }

  #died(worker: Worker, reason: string): void {
    if (worker !== this.#worker) return
    this.#deps.log.error('the name server died and is started again', { error: reason })
    this.#forget()
    this.#later()
  }

  #forget(): void {
    this.#worker = undefined
    this.#sent = undefined
    for (const done of [...this.#waiters.values()]) done()
  }

  #later(): void {
    this.#retry?.cancel()
    if (this.#stopped) return
    this.#retry = this.#deps.clock.setTimer(RETRY_MS, () => {
      if (this.#view && !this.#stopped) this.#send().catch(() => {}) // never rejects
    })
  }
}

/** The thread's program: the source as it stands, or its bundle beside that of the daemon (scripts/build.mjs). */
function workerUrl(): URL {
  return import.meta.url.endsWith('.ts') ? new URL('./worker.ts', import.meta.url) : new URL('../shoald-dns.mjs', import.meta.url)
}

/** The difference; objects that did not change kept their identity (state.ts). */
export function changeBetween(before: NameView | undefined, after: NameView): ZoneChange {
  const from = before?.state
  const networks = between(from?.networks, after.state.networks)
  const services = between(from?.services, after.state.services)
  const endpoints = between(from?.endpoints, after.state.endpoints)
  return {
    ...NOTHING,
    snapshot: before === undefined,
    networks: networks.changed,
    goneNetworks: networks.gone,
    services: services.changed,
    goneServices: services.gone,
    endpoints: endpoints.changed,
    goneEndpoints: endpoints.gone,
    ...(before?.askers === after.askers ? {} : { askers: after.askers }),
  }
}

function between<T>(before: ReadonlyMap<string, T> | undefined, after: ReadonlyMap<string, T>): { changed: T[]; gone: string[] } {
  if (before === after) return { changed: [], gone: [] }
  const changed: T[] = []
  const gone: string[] = []
  for (const [id, item] of after) if (before?.get(id) !== item) changed.push(item)
  for (const id of before?.keys() ?? []) if (!after.has(id)) gone.push(id)
  return { changed, gone }
}
