// The agent of a node: keeps a session with the managers and the node's tasks as they want them.

import { NETWORK_ID_LABEL } from '../dataplane/index.ts'
import { errorText, isShoalError, ShoalError, type TaskId } from '../lib/index.ts'
import { CONTAINER_LABELS } from '../model/index.ts'
import { Attachments } from './attachments.ts'
import { MeshClient } from './mesh.ts'
import { TaskRecords } from './records.ts'
import { Reporter } from './reporter.ts'
import { SessionClient } from './session.ts'
import { Supervisor } from './supervisor.ts'
import { Tasks } from './tasks.ts'
import type { Agent, AgentDeps, AgentStatus, AttachRequest, NetworkAttachment } from './types.ts'

/** An orderly stop does not wait longer for what is under way in engine and kernel. */
const STOP_MS = 5_000
/** Leaving does not wait longer for an engine that is away. */
const DESTROY_TRIES = 10
const DESTROY_RETRY_MS = 500

export function createAgent(deps: AgentDeps): Agent {
  return new NodeAgent(deps)
}

class NodeAgent implements Agent {
  readonly #deps: AgentDeps
  readonly #abort = new AbortController()
  readonly #supervisor: Supervisor
  readonly #records: TaskRecords
  readonly #tasks: Tasks
  readonly #mesh: MeshClient
  readonly #session: SessionClient
  readonly #attachments: Attachments
  readonly #waiters: { resolve: () => void; reject: (error: unknown) => void }[] = []
  #state: { readonly manager: string | undefined; readonly error: string } = { manager: undefined, error: 'not connected yet' }
  #started = false

  constructor(deps: AgentDeps) {
    const log = deps.log.with({ room: 'agent' })
    this.#deps = { ...deps, log }
    this.#supervisor = new Supervisor(log)
    this.#records = new TaskRecords(this.#deps, this.#supervisor)
    const reporter = new Reporter(log, deps.clock)
    this.#tasks = new Tasks(
      {
        ...this.#deps,
        supervisor: this.#supervisor,
        records: this.#records,
        report: (report) => reporter.push(report),
        onEngineReconnected: () => this.#supervisor.run('repairing the data plane', () => deps.dataPlane.engineReconnected()),
      },
      this.#abort.signal,
    )
    this.#mesh = new MeshClient({ ...this.#deps, supervisor: this.#supervisor })
    this.#session = new SessionClient({
      ...this.#deps,
      supervisor: this.#supervisor,
      reporter,
      tasks: this.#tasks,
      mesh: this.#mesh,
      onState: (state) => this.#onState(state),
    })
    const channel = () => this.#session.channel()
    this.#attachments = new Attachments({ clock: deps.clock, random: deps.random, tasks: this.#tasks, channel })
  }

  async start(): Promise<void> {
    if (this.#started) throw new ShoalError('failed-precondition', 'the agent was started already')
    this.#started = true
    this.#tasks.start()
    this.#supervisor.run('mesh lease', () => this.#mesh.keepLease(this.#abort.signal))
    this.#supervisor.run('session', () => this.#session.run(this.#abort.signal))
  }

  async stop(): Promise<void> {
    this.#abort.abort()
    this.#tasks.stop()
    for (const waiter of this.#waiters.splice(0)) waiter.reject(new ShoalError('canceled', 'the agent was stopped'))
    const patience = new AbortController()
    const tooLong = this.#deps.clock.sleep(STOP_MS, patience.signal).catch(() => {}) // canceled below
    await Promise.race([this.#supervisor.idle(), tooLong])
    patience.abort()
    await this.#records.close()
    this.#state = { manager: undefined, error: 'stopped' }
  }

  async destroy(): Promise<void> {
    const { engine, nodeId, log, clock } = this.#deps
    for (let tries = 1; ; tries += 1) {
      try {
        for (const container of await engine.list(nodeId)) await engine.remove(container.id)
        for (const network of await engine.listNetworks(NETWORK_ID_LABEL)) await engine.removeNetwork(network.name)
        break
      } catch (error) {
        if (tries >= DESTROY_TRIES) {
          log.warn('some containers or networks of this node stay', {
            error: errorText(error),
            next: `docker rm -f $(docker ps -aq -f label=${CONTAINER_LABELS.nodeId}=${nodeId})`,
          })
          break
        }
        await clock.sleep(isShoalError(error, 'unavailable') ? DESTROY_RETRY_MS : DESTROY_RETRY_MS / 5)
      }
    }
    await this.#records.erase()
  }

  connected(): Promise<void> {
    if (this.#state.manager !== undefined) return Promise.resolve()
    if (this.#abort.signal.aborted) return Promise.reject(new ShoalError('canceled', 'the agent was stopped'))
    return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject }))
  }

  attachNetwork(request: AttachRequest): Promise<NetworkAttachment> {
    return this.#attachments.attach(request)
  }

  detachNetwork(attachmentId: string): Promise<void> {
    return this.#attachments.detach(attachmentId)
  }

  setContainers(containers: ReadonlyMap<string, string>): Promise<void> {
    return this.#tasks.setContainers(containers as ReadonlyMap<TaskId, string>)
  }

  attachments(): readonly NetworkAttachment[] {
    return this.#attachments.list()
  }

  status(): AgentStatus {
    const { manager, error } = this.#state
    const { clockSkewMs } = this.#mesh
    return {
      connected: manager !== undefined,
      manager,
      error,
      taskCount: this.#tasks.size,
      ...(clockSkewMs === undefined ? {} : { clockSkewMs }),
    }
  }

  #onState(state: { readonly manager: string | undefined; readonly error: string }): void {
    this.#state = state
    if (state.manager !== undefined) for (const waiter of this.#waiters.splice(0)) waiter.resolve()
  }
}
