// Streams into tasks: a manager asks the task's node, which opens a call that carries the bytes. Only the node itself can answer, only managers can ask.
import type { Duplex } from 'node:stream'
import { BoundedQueue, type Logger, type NodeId, newId, ShoalError, type TaskId } from '../lib/index.ts'
import { TaskState, taskStateName } from '../model/index.ts'
import { type CallContext, type Channel, type Clock, handle, type Random, type Route, type Timer } from '../ports/index.ts'
import { type TunnelChunk, Tunnels as TunnelsService } from '../proto/index.ts'
import type { Store } from '../store/index.ts'
import { type TunnelChunkInit, TunnelEnd } from '../wire/index.ts'
import type { DispatcherLimits } from './limits.ts'
import type { Sessions } from './sessions.ts'

export interface TunnelTarget {
  readonly taskId: TaskId
  /** A TCP port in the task's network namespace; 0 = HTTP requests about the task's container. */
  readonly port: number
}

export interface TunnelSource {
  /** Resolves when the node has opened the stream. 'not-found', 'failed-precondition' (the task does not run) and 'unavailable' (its node does not answer) else. */
  open(target: TunnelTarget, signal: AbortSignal): Promise<Duplex>
}

interface Pending {
  readonly nodeId: NodeId
  readonly end: TunnelEnd
  readonly opened: () => void
}

export interface TunnelsDeps {
  readonly store: Store
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly limits: DispatcherLimits
  readonly sessions: Sessions
}

export class Tunnels implements TunnelSource {
  readonly #deps: TunnelsDeps
  readonly #listeners = new Map<NodeId, BoundedQueue<{ id: string; target: { taskId: string; port: number } }>>()
  readonly #pending = new Map<string, Pending>()
  readonly #open = new Set<TunnelEnd>()

  constructor(deps: TunnelsDeps) {
    this.#deps = deps
  }

  routes(): Route[] {
    return [
      handle(TunnelsService.method.listen, (_request, ctx) => this.#listen(ctx)),
      handle(TunnelsService.method.carry, (requests, ctx) => this.#carry(requests, ctx)),
      handle(TunnelsService.method.dial, (requests, ctx) => this.#dial(requests, ctx)),
    ]
  }

  stop(): void {
    const reason = new ShoalError('unavailable', 'the manager is stopping')
    for (const end of [...this.#open]) end.destroy(reason)
    for (const { end } of this.#pending.values()) end.destroy(reason)
    for (const queue of this.#listeners.values()) queue.fail(reason)
    this.#listeners.clear()
  }

  async open(target: TunnelTarget, signal: AbortSignal): Promise<Duplex> {
    const { store, clock, random, limits } = this.#deps
    const task = store.view().tasks.get(target.taskId)
    if (!task) throw new ShoalError('not-found', `task ${target.taskId} not found`)
    const nodeId = task.nodeId
    if (nodeId === undefined || task.status.state < TaskState.ASSIGNED)
      throw new ShoalError('failed-precondition', `task ${task.id} is ${taskStateName(task.status.state)}: it has no container yet`)
    if (this.#open.size + this.#pending.size >= limits.tunnels) throw new ShoalError('resource-exhausted', 'too many streams into tasks')
    const queue = this.#listeners.get(nodeId)
    const id = newId(random)
    const end = new TunnelEnd()
    let timer: Timer | undefined
    const give = () => end.destroy(new ShoalError('canceled', 'the caller went away'))
    signal.addEventListener('abort', give, { once: true })
    try {
      await new Promise<void>((resolve, reject) => {
        end.once('error', reject)
        this.#pending.set(id, { nodeId, end, opened: resolve })
        timer = clock.setTimer(limits.tunnelAnswerMs, () => reject(new ShoalError('unavailable', `node ${nodeId} does not answer`)))
        if (signal.aborted) give()
        else if (!queue?.push({ id, target: { taskId: target.taskId, port: target.port } }))
          reject(
            new ShoalError('unavailable', `node ${nodeId} is not connected to this manager`, { next: 'Try again when the node is ready.' }),
          )
      })
      this.#open.add(end)
      end.on('error', () => {}) // whoever uses the stream listens too
      end.once('close', () => {
        this.#open.delete(end)
        signal.removeEventListener('abort', give)
      })
      return end
    } catch (error) {
      signal.removeEventListener('abort', give)
      end.on('error', () => {})
      end.destroy()
      throw error
    } finally {
      timer?.cancel()
      this.#pending.delete(id)
    }
  }

  async *#listen(ctx: CallContext): AsyncGenerator<{ id: string; target: { taskId: string; port: number } }> {
    const nodeId = this.#deps.sessions.requireNode(ctx.peer).id
    const queue = new BoundedQueue<{ id: string; target: { taskId: string; port: number } }>(this.#deps.limits.tunnels)
    this.#listeners.get(nodeId)?.fail(new ShoalError('aborted', 'the node has opened a newer stream'))
    this.#listeners.set(nodeId, queue)
    const gone = () => queue.close()
    ctx.signal.addEventListener('abort', gone, { once: true })
    try {
      if (!ctx.signal.aborted) yield* queue
    } finally {
      ctx.signal.removeEventListener('abort', gone)
      if (this.#listeners.get(nodeId) === queue) this.#listeners.delete(nodeId)
    }
  }

  async *#carry(requests: AsyncIterable<TunnelChunk>, ctx: CallContext): AsyncGenerator<TunnelChunkInit> {
    const nodeId = this.#deps.sessions.requireNode(ctx.peer).id
    const chunks = requests[Symbol.asyncIterator]()
    const first = await chunks.next()
    const pending = first.done ? undefined : this.#pending.get(first.value.id)
    // a node can answer only what it was asked for
    if (!pending || pending.nodeId !== nodeId) throw new ShoalError('not-found', 'nobody waits for this stream')
    if (first.value.refused) {
      pending.end.destroy(new ShoalError('failed-precondition', first.value.refused))
      return
    }
    yield* joined(pending.end, chunks, ctx, pending.opened)
  }

  async *#dial(requests: AsyncIterable<TunnelChunk>, ctx: CallContext): AsyncGenerator<TunnelChunkInit> {
    const { store } = this.#deps
    const caller = this.#deps.sessions.requireNode(ctx.peer)
    if (ctx.peer.role !== 'manager' || caller.role !== 'manager') throw new ShoalError('permission-denied', 'only managers may do this')
    const chunks = requests[Symbol.asyncIterator]()
    const first = await chunks.next()
    const target = first.done ? undefined : first.value.target
    if (!target || !store.view().tasks.get(target.taskId as TaskId))
      throw new ShoalError('not-found', `task ${target?.taskId ?? ''} not found`)
    const stream = await this.open({ taskId: target.taskId as TaskId, port: target.port }, ctx.signal)
    const end = new TunnelEnd()
    end.on('error', () => stream.destroy())
    stream.on('error', (error) => end.destroy(error))
    stream.pipe(end).pipe(stream)
    yield {} // the caller knows by it that the stream is open
    yield* joined(end, chunks, ctx)
  }
}

/** A stream into a task by way of the manager at the other end of the channel, which leads. Rejects as the leader's `open` does. */
export async function dialTunnel(channel: Channel, target: TunnelTarget, signal: AbortSignal): Promise<Duplex> {
  const end = new TunnelEnd({ target })
  end.on('error', () => {}) // whoever uses the stream listens too
  const give = () => end.destroy(new ShoalError('canceled', 'the caller went away'))
  signal.addEventListener('abort', give, { once: true })
  end.once('close', () => signal.removeEventListener('abort', give))
  end.receive(channel.bidiStream(TunnelsService.method.dial, end.outgoing(), { signal })).catch(() => {}) // never rejects
  await end.opened()
  return end
}

/** Joins a tunnel's end to a call that has been opened. */
async function* joined(end: TunnelEnd, chunks: AsyncIterator<TunnelChunk>, ctx: CallContext, opened?: () => void) {
  const broken = () => end.destroy(new ShoalError('unavailable', 'the connection to the node broke'))
  ctx.signal.addEventListener('abort', broken, { once: true })
  const taking = end.receive({ [Symbol.asyncIterator]: () => chunks })
  opened?.()
  try {
    yield* end.outgoing()
  } finally {
    ctx.signal.removeEventListener('abort', broken)
    if (!end.readableEnded) end.destroy()
    await taking
  }
}
