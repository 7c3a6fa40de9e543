// Entry of the name server's thread: nothing that the daemon does delays an answer.
import { readFile } from 'node:fs/promises'
import { parentPort, workerData } from 'node:worker_threads'
import { assert } from '../../lib/index.ts'
import { realClock } from '../../ports/index.ts'
import { Responder, type ResponderCounters } from './responder.ts'
import { HostNameservers, Upstream } from './upstream.ts'
import type { ZoneChange } from './zone.ts'

export interface WorkerOptions {
  readonly port: number
  readonly resolvConf: string
  readonly upstreamPort?: number
}

/** To the thread; each is answered, in order. */
export interface WorkerRequest {
  readonly seq: number
  readonly change: ZoneChange
  readonly listen: readonly string[]
}

export interface WorkerReply {
  readonly seq: number
  /** Addresses at which names cannot be served, and why. */
  readonly failures: readonly string[]
  readonly counters: ResponderCounters
}

assert(parentPort, 'this file runs in a thread')
const port = parentPort
const options = workerData as WorkerOptions
const hostServers = new HostNameservers(realClock, () => readFile(options.resolvConf, 'utf8'))
const responder = new Responder({
  clock: realClock,
  port: options.port,
  hostServers: () => hostServers.get(),
  upstream: new Upstream(realClock, options.upstreamPort),
})

let turn = Promise.resolve()
port.on('message', ({ seq, change, listen }: WorkerRequest) => {
  turn = turn.then(async () => {
    responder.zone.apply(change)
    const failures = await responder.listen(listen)
    port.postMessage({ seq, failures, counters: responder.counters() } satisfies WorkerReply)
  })
})
