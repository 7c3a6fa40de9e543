// Streams into this node's tasks: a manager asks, the agent opens a call for each and joins it with the task's container or port.
import { errorText, isShoalError, type Logger, ShoalError, type TaskId } from '../lib/index.ts'
import type { Channel, Engine } from '../ports/index.ts'
import { type TunnelRequest, Tunnels } from '../proto/index.ts'
import { TunnelEnd } from '../wire/index.ts'
import type { Supervisor } from './supervisor.ts'
import type { Tasks } from './tasks.ts'

export interface TunnelDeps {
  readonly engine: Engine
  readonly log: Logger
  readonly supervisor: Supervisor
}

/** Serves until the signal aborts or the stream breaks. A manager without tunnels is no failure. */
export async function serveTunnels(deps: TunnelDeps, tasks: Tasks, channel: Channel, session: AbortSignal): Promise<void> {
  try {
    for await (const request of channel.serverStream(Tunnels.method.listen, {}, { signal: session })) {
      deps.supervisor.run('a stream into a task', () => carry(deps, tasks, channel, request, session))
    }
    if (!session.aborted) throw new ShoalError('unavailable', 'the manager ended the requests for streams')
  } catch (error) {
    if (!isShoalError(error, 'unimplemented')) throw error
    await new Promise<void>((resolve) => session.addEventListener('abort', () => resolve(), { once: true }))
  }
}

async function carry(deps: TunnelDeps, tasks: Tasks, channel: Channel, request: TunnelRequest, session: AbortSignal): Promise<void> {
  const end = new TunnelEnd({ id: request.id })
  end.on('error', (error) => deps.log.debug('a stream into a task broke', { task: request.target?.taskId, error: error.message }))
  const over = new Promise<void>((resolve) => end.once('close', () => resolve()))
  try {
    const join = await prepare(deps, tasks, request)
    const taking = end.receive(channel.bidiStream(Tunnels.method.carry, end.outgoing(), { signal: session }))
    await Promise.all([join(end), taking])
    await over
  } catch (error) {
    // said in the first chunk, so that the manager can tell its client
    const refusal = (async function* () {
      yield { id: request.id, refused: errorText(error) }
    })()
    end.destroy()
    try {
      for await (const _ of channel.bidiStream(Tunnels.method.carry, refusal, { signal: session }));
    } catch (failure) {
      deps.log.debug('a refusal did not arrive', { error: errorText(failure) })
    }
  }
}

/** Everything that can be refused is found out before the stream is opened. */
async function prepare({ engine }: TunnelDeps, tasks: Tasks, { target }: TunnelRequest): Promise<(end: TunnelEnd) => Promise<void>> {
  const task = tasks.all().find(({ id }) => id === (target?.taskId as TaskId | undefined))
  const containerId = task?.containerId
  if (!target || !task || containerId === undefined) throw new ShoalError('not-found', 'the task has no container on its node')
  if (target.port === 0) {
    const { serveContainer } = engine
    if (!serveContainer) throw new ShoalError('unimplemented', 'the engine of this node cannot do this')
    return (end) => serveContainer(containerId, end)
  }
  if (!engine.connectPort) throw new ShoalError('unimplemented', 'the engine of this node cannot do this')
  const port = await engine.connectPort(containerId, target.port)
  return async (end) => {
    port.on('error', () => end.destroy())
    end.on('close', () => port.destroy())
    port.on('close', () => {
      if (!port.readableEnded) end.destroy()
    })
    port.pipe(end).pipe(port)
  }
}
