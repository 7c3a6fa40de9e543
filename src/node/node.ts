// This node's place in a swarm: init, join, leave, restart, certificate renewal; starts and stops agent and manager.
import type { Agent } from '../agent/index.ts'
import {
  fetchRootCa,
  issueNodeCertificate,
  makeJoinTokens,
  newNode,
  parseJoinToken,
  renewalDelayMs,
  requestCertificate,
} from '../ca/index.ts'
import { type ClusterId, errorText, isShoalError, type Logger, MINUTE_MS, type NodeId, newId, SECOND_MS, ShoalError } from '../lib/index.ts'
import { createInitialObjects, type Manager, type ManagerFace, startManager } from '../manager/index.ts'
import { DEFAULT_CLUSTER_SPEC } from '../model/index.ts'
import type { Clock, Disk, Identity, Issuer, Random, Rpc, Timer } from '../ports/index.ts'
import { createStore, type Journal } from '../store/index.ts'
import {
  DEFAULT_SWARM_PORT,
  type HostPort,
  type InterfaceAddress,
  resolveAdvertise,
  resolveDataPath,
  resolveListen,
  splitHostPort,
} from './address.ts'
import { createNodeFiles, type NodeFiles, type SwarmState } from './state.ts'
import type { InitRequest, JoinRequest, LocalNode, LocalStatus } from './types.ts'

/** How long init and join wait for the agent's first session before they answer; the node goes on trying afterwards. */
const FIRST_SESSION_MS = 20 * SECOND_MS
/** After a renewal that failed. */
const RENEWAL_RETRY_MS = MINUTE_MS

/** What the agent is started with; the composition root adds engine, data plane and the rest. */
export interface AgentSetup {
  readonly nodeId: NodeId
  readonly identity: () => Identity
  readonly managers: () => readonly string[]
  /** Data-path address of this node. */
  readonly address: string
  onManagers(managers: readonly { readonly nodeId: string; readonly address: string }[]): void
  /** The manager asks for a new certificate. */
  onRotateCertificate(): void
}

export interface NodeDeps {
  readonly disk: Disk
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly rpc: Rpc
  readonly issuer: Issuer
  /** IPv4 addresses of this computer. */
  readonly addresses: () => readonly InterfaceAddress[]
  readonly defaultAdvertise: string | undefined
  readonly openJournal: () => Promise<Journal>
  readonly removeJournal: () => Promise<void>
  readonly createAgent: (setup: AgentSetup) => Agent
  /** Another way to start the manager; the simulator seeds faults here. */
  readonly startManager?: typeof startManager
}

export interface SwarmNode extends LocalNode {
  /** Goes on where the last run stopped. */
  start(): Promise<void>
  /** Leaves containers running. */
  stop(): Promise<void>
}

/** Everything that runs while this node is in a swarm. */
interface Running {
  readonly state: SwarmState
  readonly agent: Agent
  readonly manager: Manager | undefined
  readonly renewal: Renewal
}

export function createNode(deps: NodeDeps): SwarmNode {
  return new LocalSwarmNode(deps)
}

class LocalSwarmNode implements SwarmNode {
  readonly #deps: NodeDeps
  readonly #files: NodeFiles
  #running: Running | undefined
  #pending = false
  #error = ''
  /** init, join, leave and stop run one after the other. */
  #turn: Promise<unknown> = Promise.resolve()

  constructor(deps: NodeDeps) {
    this.#deps = deps
    this.#files = createNodeFiles(deps.disk)
  }

  status(): LocalStatus {
    const running = this.#running
    if (!running)
      return {
        state: this.#error ? 'error' : this.#pending ? 'pending' : 'inactive',
        error: this.#error,
        nodeId: undefined,
        role: undefined,
        address: '',
        managers: [],
      }
    return {
      state: 'active',
      error: this.#error,
      nodeId: running.state.nodeId,
      role: running.state.role,
      address: splitHostPort(running.state.advertise, DEFAULT_SWARM_PORT).host,
      managers: running.state.managers,
    }
  }

  manager(): ManagerFace | undefined {
    return this.#running?.manager?.face
  }

  start(): Promise<void> {
    return this.#inTurn(async () => {
      const state = await this.#files.readState()
      if (!state) return
      try {
        await this.#run(state, await this.#files.readIdentity(state))
      } catch (error) {
        this.#error = errorText(error)
        throw error
      }
    })
  }

  stop(): Promise<void> {
    return this.#inTurn(() => this.#halt('stop'))
  }

  init(request: InitRequest): Promise<NodeId> {
    return this.#inTurn(async () => {
      this.#refuseMember()
      if (request.forceNewCluster)
        throw new ShoalError('unimplemented', '--force-new-cluster comes with several managers', {
          next: 'a single manager starts again from its own state',
        })
      if (request.autoLockManagers)
        throw new ShoalError('unimplemented', 'autolock comes with several managers', { next: 'leave out --autolock' })
      const { addresses, defaultAdvertise, clock, random, issuer } = this.#deps
      const listen = resolveListen(request.listenAddr, addresses())
      const advertise = resolveAdvertise(request.advertiseAddr, defaultAdvertise, listen, addresses())
      const nodeId = newId<NodeId>(random)
      const clusterId = newId<ClusterId>(random)
      const now = clock.now()
      const root = await issuer.createRoot(now)
      const spec = { ...DEFAULT_CLUSTER_SPEC, ...request.spec }
      const fresh = { id: clusterId, spec, rootCaPem: root.certificatePem, rootCaKeyPem: root.privateKeyPem }
      const { csrPem, privateKeyPem } = await issuer.createCsr()
      const certificatePem = await issueNodeCertificate(issuer, fresh, { csrPem, nodeId, role: 'manager' }, now)
      const identity: Identity = { nodeId, clusterId, role: 'manager', certificatePem, privateKeyPem, rootCaPem: root.certificatePem }
      const state: SwarmState = {
        schema: 1,
        nodeId,
        clusterId,
        role: 'manager',
        listen: hostPort(listen),
        advertise: hostPort(advertise),
        dataPathAddress: resolveDataPath(request.dataPathAddr, advertise, addresses()),
        managers: [{ nodeId, address: hostPort(advertise) }],
      }
      return this.#found(state, identity, async () => {
        await this.#deps.removeJournal() // what a broken init or a forced leave may have left
        const journal = await this.#deps.openJournal()
        const store = await createStore({ clock, journal, log: this.#deps.log })
        try {
          await store.transact((tx) => {
            createInitialObjects(tx, random, {
              ...fresh,
              joinTokens: makeJoinTokens(root.certificatePem, random),
              defaultAddressPools: request.defaultAddressPools,
              subnetSize: request.subnetSize || 24,
              dataPathPort: request.dataPathPort || 4789,
              networkKeys: [],
            })
            const node = newNode(tx.nodes, {
              id: nodeId,
              role: 'manager',
              availability: request.availability,
              address: advertise.host,
              agent: 'shoal',
              csrPem,
              certificatePem,
            })
            tx.nodes.create({ ...node, managerStatus: { leader: true, reachability: 'reachable', address: hostPort(advertise) } })
          })
        } finally {
          await store.close()
        }
      })
    })
  }

  async join(request: JoinRequest): Promise<void> {
    await this.#inTurn(async () => {
      this.#refuseMember()
      parseJoinToken(request.joinToken)
      const { addresses, defaultAdvertise, clock, issuer, rpc, log } = this.#deps
      const listen = resolveListen(request.listenAddr, addresses())
      if (request.remoteAddrs.length === 0)
        throw new ShoalError('invalid-argument', 'at least one remote address of a manager is required', {
          next: 'give HOST:PORT of a manager',
        })
      let failure: unknown
      for (const remote of request.remoteAddrs) {
        const manager = hostPort(splitHostPort(remote, DEFAULT_SWARM_PORT))
        try {
          const rootCaPem = await fetchRootCa(rpc, manager, request.joinToken)
          const identity = await requestCertificate({ rpc, issuer, clock }, manager, {
            kind: 'join',
            token: request.joinToken,
            rootCaPem,
            availability: request.availability,
          })
          const advertise = this.#advertiseTowards(request, listen, defaultAdvertise)
          const state: SwarmState = {
            schema: 1,
            nodeId: identity.nodeId as NodeId,
            clusterId: identity.clusterId as ClusterId,
            role: identity.role,
            listen: hostPort(listen),
            advertise: hostPort(advertise),
            dataPathAddress: resolveDataPath(request.dataPathAddr, advertise, addresses()),
            managers: [{ nodeId: '', address: manager }],
          }
          return await this.#found(state, identity, async () => {})
        } catch (error) {
          failure = error
          log.warn('could not join', { manager, error: errorText(error) })
          if (!isShoalError(error, 'unavailable') && !isShoalError(error, 'deadline-exceeded')) break
        }
      }
      throw failure
    })
  }

  leave({ force }: { readonly force: boolean }): Promise<void> {
    return this.#inTurn(async () => {
      const running = this.#running
      if (!running && !this.#error) throw new ShoalError('unavailable', 'This node is not part of a swarm')
      if (running?.manager && !force) {
        // The blank at the end is Docker's (docker-api.md 1.2).
        throw new ShoalError(
          'unavailable',
          'You are attempting to leave the swarm on a node that is participating as a manager. Removing the last manager erases all current state of the swarm. Use `--force` to ignore this message. ',
        )
      }
      await this.#halt('leave')
      await this.#files.forget()
      await this.#deps.removeJournal()
      this.#error = ''
      this.#deps.log.info('left the swarm')
    })
  }

  /** Writes the files of a new membership and starts it; when that fails, everything is as before. */
  async #found(state: SwarmState, identity: Identity, prepare: () => Promise<void>): Promise<NodeId> {
    this.#pending = true
    try {
      await prepare()
      await this.#files.writeIdentity(identity)
      await this.#run(state, identity)
      await this.#files.writeState(state)
      await this.#firstSession()
    } catch (error) {
      await this.#halt('leave')
      await this.#files.forget()
      await this.#deps.removeJournal()
      throw error
    } finally {
      this.#pending = false
    }
    return state.nodeId
  }

  async #run(initial: SwarmState, identity: Identity): Promise<void> {
    const { clock, random, log, rpc, issuer } = this.#deps
    const renewal = new Renewal(this.#deps, this.#files, identity, () => this.#managerAddresses())
    let manager: Manager | undefined
    if (initial.role === 'manager') {
      const store = await createStore({
        clock,
        journal: await this.#deps.openJournal(),
        log,
        onLost: (reason) => log.error('the store is lost', { reason }),
      })
      try {
        manager = await (this.#deps.startManager ?? startManager)({
          store,
          clock,
          random,
          log,
          rpc,
          issuer,
          identity: () => renewal.identity,
          listen: initial.listen,
          advertise: initial.advertise,
        })
      } catch (error) {
        await store.close()
        throw error
      }
    }
    const agent = this.#deps.createAgent({
      nodeId: initial.nodeId,
      identity: () => renewal.identity,
      managers: () => this.#managerAddresses(),
      address: initial.dataPathAddress,
      onManagers: (managers) => this.#rememberManagers(managers),
      onRotateCertificate: () => renewal.now(),
    })
    this.#running = { state: initial, agent, manager, renewal }
    this.#error = ''
    try {
      await agent.start()
    } catch (error) {
      await this.#halt('stop')
      throw error
    }
    renewal.start()
  }

  /** Stops agent, then manager. `leave` also removes what belongs to the swarm on this computer. */
  async #halt(how: 'stop' | 'leave'): Promise<void> {
    const running = this.#running
    this.#running = undefined
    if (!running) return
    running.renewal.stop()
    await running.agent.stop()
    if (how === 'leave') await running.agent.destroy()
    await running.manager?.stop()
  }

  /** Init and join answer when the node is really there. That it takes longer is no failure: the agent goes on trying. */
  async #firstSession(): Promise<void> {
    const agent = this.#running?.agent
    if (!agent) return
    const patience = new AbortController()
    const tooLong = this.#deps.clock.setTimer(FIRST_SESSION_MS, () => patience.abort())
    try {
      await Promise.race([
        agent.connected(),
        new Promise<void>((resolve) => patience.signal.addEventListener('abort', () => resolve(), { once: true })),
      ])
    } finally {
      tooLong.cancel()
    }
    if (patience.signal.aborted) {
      throw new ShoalError('unavailable', 'Timeout was reached before node joined. The attempt to join the swarm was given up.', {
        next: 'check that this computer reaches the manager on its port, and try again',
      })
    }
  }

  #managerAddresses(): readonly string[] {
    return this.#running?.state.managers.map((manager) => manager.address) ?? []
  }

  #rememberManagers(managers: SwarmState['managers']): void {
    const running = this.#running
    if (!running || managers.length === 0) return
    if (JSON.stringify(managers) === JSON.stringify(running.state.managers)) return
    const state = { ...running.state, managers }
    this.#running = { ...running, state }
    this.#files
      .writeState(state)
      .catch((error) => this.#deps.log.error('could not write the list of managers', { error: errorText(error) }))
  }

  /** A worker that cannot tell its own address still joins: the manager knows where it called from. */
  #advertiseTowards(request: JoinRequest, listen: HostPort, defaultAdvertise: string | undefined): HostPort {
    return resolveAdvertise(request.advertiseAddr, defaultAdvertise, listen, this.#deps.addresses())
  }

  #refuseMember(): void {
    if (this.#running || this.#pending || this.#error) {
      throw new ShoalError(
        'unavailable',
        'This node is already part of a swarm. Use "docker swarm leave" to leave this swarm and join another one.',
      )
    }
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work)
    this.#turn = turn.catch(() => {})
    return turn
  }
}

/** Keeps the node's certificate fresh: in the second half of its life, or when a manager asks. */
class Renewal {
  readonly #deps: NodeDeps
  readonly #files: NodeFiles
  readonly #managers: () => readonly string[]
  #identity: Identity
  #timer: Timer | undefined
  #stopped = false
  #busy = false

  constructor(deps: NodeDeps, files: NodeFiles, identity: Identity, managers: () => readonly string[]) {
    this.#deps = deps
    this.#files = files
    this.#identity = identity
    this.#managers = managers
  }

  get identity(): Identity {
    return this.#identity
  }

  start(): void {
    this.#deps.issuer.inspect(this.#identity.certificatePem).then(
      (facts) => this.#schedule(renewalDelayMs(facts, this.#deps.clock.now(), this.#deps.random)),
      (error) => this.#deps.log.error('cannot read the certificate of this node', { error: errorText(error) }),
    )
  }

  now(): void {
    this.#schedule(0)
  }

  stop(): void {
    this.#stopped = true
    this.#timer?.cancel()
  }

  #schedule(delayMs: number): void {
    if (this.#stopped || this.#busy) return
    this.#timer?.cancel()
    this.#timer = this.#deps.clock.setTimer(delayMs, () => {
      this.#renew().catch((error) => this.#deps.log.error('renewal failed', { error: errorText(error) }))
    })
  }

  async #renew(): Promise<void> {
    this.#busy = true
    let retryMs: number | undefined = RENEWAL_RETRY_MS
    try {
      for (const manager of this.#managers()) {
        try {
          const fresh = await requestCertificate(this.#deps, manager, { kind: 'renew', identity: () => this.#identity })
          await this.#files.writeIdentity(fresh)
          this.#identity = fresh
          this.#deps.log.info('certificate renewed')
          retryMs = undefined
          break
        } catch (error) {
          this.#deps.log.warn('could not renew the certificate', { manager, error: errorText(error) })
        }
      }
    } finally {
      this.#busy = false
    }
    if (retryMs === undefined) this.start()
    else this.#schedule(retryMs)
  }
}

function hostPort({ host, port }: HostPort): string {
  return `${host}:${port}`
}
