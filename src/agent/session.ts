// The session with a manager: registration, heartbeats, assignments down, reports up; opened anew for ever.
import { toBinary } from '@bufbuild/protobuf'
import { errorText, type Logger, ShoalError } from '../lib/index.ts'
import type { Channel, Clock, Random } from '../ports/index.ts'
import { Dispatcher, NodeDescriptionSchema, type SessionMessage, type NodeDescription as WireNodeDescription } from '../proto/index.ts'
import { durationNs, leaderHint, parseAssignments, parseSessionMessage, type SessionUpdate } from '../wire/index.ts'
import { type DescribeDeps, describeNode } from './describe.ts'
import { type LogDeps, serveLogs } from './logs.ts'
import type { MeshClient } from './mesh.ts'
import type { Reporter } from './reporter.ts'
import type { Tasks } from './tasks.ts'
import { serveTunnels } from './tunnels.ts'
import type { AgentDeps } from './types.ts'

/** SwarmKit's back-off: 0.1, 0.3, 0.7 ... 8 s; the wait is random within it. */
const RETRY_FIRST_MS = 100
const RETRY_MOST_MS = 8_000
/** So that not all nodes of a cluster come to a new leader in the same moment. */
const HINT_MOST_MS = 100
const ELECTION_MOST_MS = 400
const FIRST_MESSAGE_MS = 5_000
const DEFAULT_PERIOD_MS = 5_000
const LEAST_PERIOD_MS = 100
/** How often the node looks whether what it says about itself is still true. */
const DESCRIBE_MS = 30_000
const TRUST_CHECK_MS = 1_000

export interface SessionDeps
  extends DescribeDeps,
    LogDeps,
    Pick<AgentDeps, 'rpc' | 'managers' | 'onManagers' | 'onRotateCertificate' | 'onRootCa' | 'onDesiredRole'> {
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly mesh: MeshClient
  readonly reporter: Reporter
  readonly tasks: Tasks
  readonly onState: (state: { readonly manager: string | undefined; readonly error: string }) => void
}

/** A new session is wanted although nothing failed. */
class Reopen extends Error {}

export class SessionClient {
  readonly #deps: SessionDeps
  #managers: readonly string[]
  #lastManager: string | undefined
  /** Where the leader is, as a manager that does not lead has said. */
  #hint: string | undefined
  #sessionId = ''
  #channel: Channel | undefined
  #failures = 0
  #description: WireNodeDescription | undefined
  #managersText = ''
  #rootCaText = ''

  constructor(deps: SessionDeps) {
    this.#deps = deps
    this.#managers = []
  }

  /** To the manager of the present session, for other calls. Throws 'unavailable' when there is none. */
  channel(): Channel {
    if (!this.#channel) throw new ShoalError('unavailable', 'this node has no session with a manager now', { next: 'try again' })
    return this.#channel
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, random, log } = this.#deps
    while (!signal.aborted) {
      const manager = this.#pickManager()
      let reopen = false
      let away: ReturnType<typeof leaderHint>
      try {
        if (manager === undefined) throw new ShoalError('unavailable', 'no manager is known', { next: 'join the swarm again' })
        await this.#session(manager, signal)
      } catch (error) {
        reopen = error instanceof Reopen
        away = leaderHint(error)
        if (!signal.aborted) {
          log.info('session ended', { manager, reason: errorText(error) })
          this.#deps.onState({ manager: undefined, error: reopen ? '' : errorText(error) })
        }
      }
      if (signal.aborted || reopen) continue
      if (away) {
        // a manager that does not lead: to the one that does at once, or soon again while they elect one
        this.#hint = away.leader === manager ? undefined : away.leader
        await clock.sleep(random.float() * (this.#hint ? HINT_MOST_MS : ELECTION_MOST_MS), signal).catch(() => {}) // aborted
        continue
      }
      const mostMs = Math.min(RETRY_FIRST_MS * (2 ** (this.#failures + 1) - 1), RETRY_MOST_MS)
      this.#failures += 1
      await clock.sleep(random.float() * mostMs, signal).catch(() => {}) // aborted
    }
  }

  /** Any of the managers, but after a failure another than the last. */
  #pickManager(): string | undefined {
    const hint = this.#hint
    this.#hint = undefined
    if (hint !== undefined) {
      this.#lastManager = hint
      return hint
    }
    const known = this.#managers.length > 0 ? this.#managers : this.#deps.managers()
    const others = this.#failures > 0 ? known.filter((address) => address !== this.#lastManager) : known
    const choice = others.length > 0 ? others : known
    const picked = choice.length === 0 ? undefined : choice[this.#deps.random.int(choice.length)]
    this.#lastManager = picked
    return picked
  }

  async #session(manager: string, outer: AbortSignal): Promise<void> {
    const { rpc, identity, log } = this.#deps
    const description = await this.#describe()
    await this.#deps.tasks.adopted()
    const scope = new AbortController()
    const end = () => scope.abort()
    outer.addEventListener('abort', end, { once: true })
    const channel = rpc.connect(manager, { kind: 'mutual', identity, serverName: 'swarm-manager' })
    try {
      const request = { description, sessionId: this.#sessionId }
      const messages = channel.serverStream(Dispatcher.method.session, request, { signal: scope.signal })[Symbol.asyncIterator]()
      const first = await this.#first(messages, scope)
      this.#take(first)
      log.info('session opened', { manager })
      this.#channel = channel
      this.#deps.onState({ manager, error: '' })
      for (const report of this.#deps.tasks.reports()) this.#deps.reporter.push(report)
      await this.#parts(channel, first.sessionId, messages, description, scope)
    } finally {
      outer.removeEventListener('abort', end)
      scope.abort()
      if (this.#channel === channel) this.#channel = undefined
      channel.close()
    }
  }

  /** Everything that runs in a session; the first part that ends, ends them all. */
  async #parts(
    channel: Channel,
    sessionId: string,
    messages: AsyncIterator<SessionMessage>,
    description: WireNodeDescription,
    scope: AbortController,
  ): Promise<void> {
    const { signal } = scope
    const parts = [
      this.#listen(messages),
      this.#beat(channel, sessionId, signal),
      this.#assignments(channel, sessionId, signal),
      this.#deps.reporter.run(channel, sessionId, signal),
      serveLogs(this.#deps, this.#deps.tasks, channel, signal),
      serveTunnels(this.#deps, this.#deps.tasks, channel, signal),
      this.#watchDescription(description, signal),
    ]
    const mesh = this.#deps.mesh.run(channel, signal)
    try {
      await Promise.race(parts)
    } finally {
      scope.abort()
      await Promise.allSettled([...parts, mesh])
    }
  }

  /** While the engine is away, what was true before counts: the node itself is there. */
  async #describe(): Promise<WireNodeDescription> {
    try {
      this.#description = await describeNode(this.#deps)
    } catch (error) {
      if (!this.#description) throw error
    }
    return this.#description
  }

  async #first(messages: AsyncIterator<SessionMessage>, scope: AbortController): Promise<SessionUpdate> {
    let late = false
    const timer = this.#deps.clock.setTimer(FIRST_MESSAGE_MS, () => {
      late = true
      scope.abort()
    })
    try {
      const { value, done } = await messages.next()
      if (done) throw new ShoalError('unavailable', 'the manager ended the session at once')
      return parseSessionMessage(value)
    } catch (error) {
      throw late ? new ShoalError('deadline-exceeded', `the manager did not answer within ${FIRST_MESSAGE_MS / 1000} s`) : error
    } finally {
      timer.cancel()
    }
  }

  async #listen(messages: AsyncIterator<SessionMessage>): Promise<void> {
    for (;;) {
      const { value, done } = await messages.next()
      if (done) throw new ShoalError('unavailable', 'the manager ended the session')
      this.#take(parseSessionMessage(value))
    }
  }

  #take(update: SessionUpdate): void {
    const { onManagers, onRotateCertificate, onRootCa, onDesiredRole, identity } = this.#deps
    this.#sessionId = update.sessionId
    const managersText = JSON.stringify(update.managers)
    if (update.managers.length > 0 && managersText !== this.#managersText) {
      this.#managersText = managersText
      this.#managers = update.managers.map(({ address }) => address)
      onManagers?.(update.managers)
    }
    if (update.node.rotateCertificate) onRotateCertificate?.()
    if (update.rootCaPem && update.rootCaPem !== identity().rootCaPem && update.rootCaPem !== this.#rootCaText) {
      this.#rootCaText = update.rootCaPem
      onRootCa?.(update.rootCaPem)
    }
    onDesiredRole?.(update.node.desiredRole)
  }

  async #beat(channel: Channel, sessionId: string, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const { period } = await channel.unary(Dispatcher.method.heartbeat, { sessionId }, { signal })
      const periodMs = (durationNs(period) ?? 0) / 1e6 || DEFAULT_PERIOD_MS
      await this.#deps.clock.sleep(Math.max(periodMs, LEAST_PERIOD_MS), signal)
    }
  }

  /** A chain that does not fit ends the session: the new one begins with everything. */
  async #assignments(channel: Channel, sessionId: string, signal: AbortSignal): Promise<void> {
    let last: string | undefined
    for await (const message of channel.serverStream(Dispatcher.method.assignments, { sessionId }, { signal })) {
      const assignments = parseAssignments(message)
      const fits = assignments.complete ? true : last !== undefined && assignments.appliesTo === last
      if (!fits) throw new ShoalError('aborted', `assignments for ${assignments.appliesTo} do not follow ${last ?? 'nothing'}`)
      this.#deps.tasks.apply(assignments)
      last = assignments.resultsIn
      this.#failures = 0
    }
    throw new ShoalError('unavailable', 'the manager ended the assignments')
  }

  /** A node that has changed (another root, more memory, other plugins) registers again. */
  async #watchDescription(said: WireNodeDescription, signal: AbortSignal): Promise<void> {
    const { clock, identity } = this.#deps
    const root = identity().rootCaPem
    const bytes = toBinary(NodeDescriptionSchema, said)
    for (let sinceMs = 0; !signal.aborted; sinceMs += TRUST_CHECK_MS) {
      await clock.sleep(TRUST_CHECK_MS, signal)
      if (identity().rootCaPem !== root) throw new Reopen('the root certificate has changed')
      if (sinceMs < DESCRIBE_MS) continue
      sinceMs = 0
      const now = await describeNode(this.#deps).catch(() => undefined) // the engine is away: nothing new is known
      if (now && !equalBytes(toBinary(NodeDescriptionSchema, now), bytes)) throw new Reopen('this node has changed')
    }
  }
}

function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index])
}
