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
import type { EtcdHost } from '../etcd/index.ts'
import { type ClusterId, errorText, isShoalError, type Logger, MINUTE_MS, type NodeId, newId, SECOND_MS, ShoalError } from '../lib/index.ts'
import { createInitialObjects, joinGroup, type Manager, type ManagerFace, makeUnlockKey, startManager } from '../manager/index.ts'
import { DEFAULT_CLUSTER_SPEC } from '../model/index.ts'
import type { Clock, Disk, Identity, Issuer, Random, Rpc, Timer } from '../ports/index.ts'
import { createSealer, createStore, type Journal, openEntries, type ReplicaCache, type ReplicaStore, type Sealer } from '../store/index.ts'
import { leaderHint } from '../wire/index.ts'
import {
  DEFAULT_SWARM_PORT,
  type HostPort,
  type InterfaceAddress,
  resolveAdvertise,
  resolveDataPath,
  resolveListen,
  splitHostPort,
} from './address.ts'
import type { DataKeys } from './dataKeys.ts'
import { createNodeFiles, type NodeFiles, type SwarmState } from './state.ts'
import type { InitRequest, JoinRequest, LocalNode, LocalStatus } from './types.ts'

/** How long init and join wait for the agent's first session before they answer; the node goes on trying afterwards. */
const FIRST_SESSION_MS = 20 * SECOND_MS
/** After a renewal that failed. */
const RENEWAL_RETRY_MS = MINUTE_MS
/** After an attempt to become a manager that failed. */
const ROLE_RETRY_MS = 3 * SECOND_MS
/** How often a join follows a manager's word to another one. */
const MOST_HINTS = 10
const HINT_WAIT_MS = 500
/** A member that goes on alone replays its log first. */
const FORCED_MS = MINUTE_MS
const FORCED_POLL_MS = 100

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
  /** What the managers want this node to be. */
  onDesiredRole(role: 'worker' | 'manager'): void
  /** The cluster has another root certificate. */
  onRootCa(rootCaPem: string): void
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
  /** Without it this node can be the only manager of a swarm, and no second one. */
  readonly group?: {
    readonly host: EtcdHost
    readonly openCache: () => Promise<ReplicaCache>
  }
  /** What seals the store. Needed with `group`; without it nothing is sealed and autolock locks nothing. */
  readonly dataKeys?: DataKeys
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
  /** A manager whose data key is locked: nothing of it runs. */
  #locked: SwarmState | undefined
  /** init, join, leave, stop and changes of role run one after the other. */
  #turn: Promise<unknown> = Promise.resolve()
  /** Ends what a change of role waits for. */
  #leaving = new AbortController()
  #roleRetry: Timer | undefined

  constructor(deps: NodeDeps) {
    this.#deps = deps
    this.#files = createNodeFiles(deps.disk)
  }

  status(): LocalStatus {
    const running = this.#running
    if (!running)
      return {
        state: this.#locked ? 'locked' : this.#error ? 'error' : this.#pending ? 'pending' : 'inactive',
        error: this.#error,
        nodeId: this.#locked?.nodeId,
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
      if (state.role === 'manager' && (await this.#deps.dataKeys?.isLocked())) {
        this.#locked = state
        this.#deps.log.warn('this manager is locked until somebody unlocks it', { next: 'docker swarm unlock' })
        return
      }
      try {
        await this.#run(state, await this.#files.readIdentity(state))
      } catch (error) {
        this.#error = errorText(error)
        throw error
      }
    })
  }

  stop(): Promise<void> {
    this.#leaving.abort()
    return this.#inTurn(() => this.#halt('stop'))
  }

  unlock(key: string): Promise<void> {
    return this.#inTurn(async () => {
      const state = this.#locked
      if (!state) throw new ShoalError('failed-precondition', 'swarm is not locked')
      await this.#dataKeys().unlock(key)
      this.#locked = undefined
      await this.#run(state, await this.#files.readIdentity(state))
    })
  }

  init(request: InitRequest): Promise<NodeId> {
    return this.#inTurn(async () => {
      if (request.forceNewCluster && this.#running?.manager) return this.#forceNewCluster(this.#running)
      this.#refuseMember()
      const { addresses, defaultAdvertise, clock, random, issuer } = this.#deps
      const listen = resolveListen(request.listenAddr, addresses())
      const advertise = resolveAdvertise(request.advertiseAddr, defaultAdvertise, listen, addresses())
      const nodeId = newId<NodeId>(random)
      const clusterId = newId<ClusterId>(random)
      const now = clock.now()
      const root = await issuer.createRoot(now)
      const spec = { ...DEFAULT_CLUSTER_SPEC, ...request.spec, autoLockManagers: request.autoLockManagers }
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
              ...(request.autoLockManagers ? { unlockKey: makeUnlockKey(random) } : {}),
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
            tx.nodes.create({
              ...node,
              specIndex: tx.seq,
              managerStatus: { leader: true, reachability: 'reachable', address: hostPort(advertise) },
            })
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
      const remotes = request.remoteAddrs.map((remote) => hostPort(splitHostPort(remote, DEFAULT_SWARM_PORT)))
      let hints = 0
      for (let manager = remotes.shift(); manager !== undefined; manager = remotes.shift()) {
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
            ...(identity.role === 'manager' ? { journal: 'group' as const } : {}),
          }
          return await this.#found(state, identity, async () => {
            if (state.role === 'manager') await this.#joinGroup(state, () => identity)
          })
        } catch (error) {
          failure = error
          log.warn('could not join', { manager, error: errorText(error) })
          const away = leaderHint(error)
          if (away && hints < MOST_HINTS) {
            hints += 1
            if (!away.leader) await clock.sleep(HINT_WAIT_MS)
            remotes.unshift(away.leader ?? manager)
          } else if (!isShoalError(error, 'unavailable') && !isShoalError(error, 'deadline-exceeded')) break
        }
      }
      throw failure
    })
  }

  leave({ force }: { readonly force: boolean }): Promise<void> {
    if (force) this.#leaving.abort()
    return this.#inTurn(async () => {
      const running = this.#running
      if (!running && !this.#error && !this.#locked) throw new ShoalError('unavailable', 'This node is not part of a swarm')
      if ((running?.manager || this.#locked) && !force) {
        // The blank at the end is Docker's (docker-api.md 1.2).
        throw new ShoalError(
          'unavailable',
          'You are attempting to leave the swarm on a node that is participating as a manager. Removing the last manager erases all current state of the swarm. Use `--force` to ignore this message. ',
        )
      }
      await running?.manager
        ?.resign()
        .catch((error) => this.#deps.log.warn('the other managers do not know that this one leaves', { error: errorText(error) }))
      await this.#halt('leave')
      await this.#files.forget()
      await this.#removeStore()
      this.#locked = undefined
      this.#error = ''
      this.#deps.log.info('left the swarm')
    })
  }

  /** The group without the managers that are lost: this one goes on alone with all that its member has. */
  async #forceNewCluster(running: Running): Promise<NodeId> {
    const { group, clock, log } = this.#deps
    const { state } = running
    if (state.journal !== 'group' || !group) return state.nodeId
    log.warn('this manager goes on without the others')
    this.#running = { ...running, manager: undefined }
    await running.manager?.stop()
    await group.host.resume({ forceNewCluster: true })
    const manager = await this.#startManager(state, running.renewal)
    this.#running = { ...(this.#running ?? running), manager }
    const until = clock.monotonicMs() + FORCED_MS
    while (!manager.leading) {
      if (clock.monotonicMs() > until)
        throw new ShoalError('unavailable', 'this manager does not lead yet', { next: 'look into the log of shoald' })
      await clock.sleep(FORCED_POLL_MS)
    }
    await manager.face.store.transact((tx) => {
      for (const node of [...tx.nodes.values()]) {
        if (!node.managerStatus || node.id === state.nodeId) continue
        const { managerStatus: _, ...rest } = node
        tx.nodes.update(rest)
      }
    })
    return state.nodeId
  }

  /** Writes the files of a new membership and starts it; when that fails, everything is as before. */
  async #found(state: SwarmState, identity: Identity, prepare: () => Promise<void>): Promise<NodeId> {
    this.#pending = true
    try {
      await prepare()
      await this.#files.writeIdentity(identity)
      await this.#run(state, identity)
      await this.#files.writeState(state)
      await this.#firstReplica()
      await this.#firstSession()
    } catch (error) {
      await this.#halt('leave')
      await this.#files.forget()
      await this.#removeStore()
      throw error
    } finally {
      this.#pending = false
    }
    return state.nodeId
  }

  async #run(initial: SwarmState, identity: Identity): Promise<void> {
    this.#leaving = new AbortController()
    const renewal = new Renewal(
      this.#deps,
      this.#files,
      identity,
      () => this.#managerAddresses(),
      (renewed) => this.#renewed(renewed),
    )
    const manager = initial.role === 'manager' ? await this.#startManager(initial, renewal) : undefined
    const agent = this.#deps.createAgent({
      nodeId: initial.nodeId,
      identity: () => renewal.identity,
      managers: () => this.#managerAddresses(),
      address: initial.dataPathAddress,
      onManagers: (managers) => this.#rememberManagers(managers),
      onRotateCertificate: () => renewal.now(),
      onRootCa: (rootCaPem) => renewal.trust(rootCaPem),
      onDesiredRole: (role) => {
        // a manager that shall be a worker is told so by a call for a new certificate, when it has left the group
        if (role === 'manager' && renewal.identity.role === 'worker') renewal.now()
      },
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

  /** A manager goes on from where its store is: the journal of its own, or its member of the group and the replica beside it. */
  async #startManager(state: SwarmState, renewal: Renewal): Promise<Manager> {
    const { clock, random, log, rpc, issuer, group } = this.#deps
    let manager: Manager | undefined
    const onLost = (reason: string) => {
      log.warn('the store cannot be written any more', { reason })
      manager?.storeLost()
    }
    const inGroup = state.journal === 'group'
    if (inGroup && !group) throw new ShoalError('failed-precondition', 'this daemon cannot be one of several managers')
    const cache = inGroup ? await group?.openCache() : undefined
    const store = cache
      ? await createStore({
          clock,
          log,
          onLost,
          following: true,
          journal: replicaOf(cache, createSealer(await this.#dataKeys().get(), random)),
        })
      : await createStore({ clock, log, onLost, journal: await this.#deps.openJournal() })
    this.#followUnlockKey(store)
    try {
      if (group) {
        group.host.onRemoved = () => this.#memberRemoved()
        if (cache && !group.host.etcd) await group.host.resume()
      }
      manager = await (this.#deps.startManager ?? startManager)({
        store,
        clock,
        random,
        log,
        rpc,
        issuer,
        identity: () => renewal.identity,
        listen: state.listen,
        advertise: state.advertise,
        ...(group && {
          group: {
            host: group.host,
            cache,
            openCache: group.openCache,
            dataKey: () => this.#dataKeys().get(),
            enter: async () => {
              const current = this.#running?.state ?? state
              await this.#keepState({ ...current, journal: 'group' })
            },
          },
        }),
      })
      return manager
    } catch (error) {
      await store.close()
      await cache?.close()
      await group?.host.stop()
      throw error
    }
  }

  async #joinGroup(state: SwarmState, identity: () => Identity): Promise<void> {
    const { rpc, clock, log, issuer, group } = this.#deps
    if (!group) throw new ShoalError('unimplemented', 'this daemon cannot be one of several managers: join as a worker')
    const dataKey = await joinGroup({
      rpc,
      clock,
      log,
      issuer,
      host: group.host,
      identity,
      listen: state.listen,
      advertise: state.advertise,
      managers: () => {
        const known = this.#running?.state.managers ?? state.managers
        return known.map(({ address }) => address).filter((address) => address !== state.advertise)
      },
      signal: this.#leaving.signal,
    })
    await this.#deps.removeJournal() // the replica begins empty
    await this.#dataKeys().keep(dataKey)
  }

  #renewed(identity: Identity): void {
    const { manager, state } = this.#running ?? {}
    if (manager && identity.role === 'manager')
      manager
        .renewMember()
        .catch((error) => this.#deps.log.warn('the certificate of the member is not renewed', { error: errorText(error) }))
    if (state && identity.role !== state.role) this.#followRole()
  }

  /** The others have taken this manager's member out of the group: it was demoted, or its data was lost. */
  #memberRemoved(): void {
    this.#deps.log.warn('this manager was taken out of the group')
    this.#roleRetry?.cancel()
    this.#roleRetry = this.#deps.clock.setTimer(ROLE_RETRY_MS, () => this.#followRole('again'))
  }

  /** Brings this node to the role of its certificate, however often it takes. */
  #followRole(how: 'once' | 'again' = 'once'): void {
    const { log, clock } = this.#deps
    const again = () => {
      this.#roleRetry?.cancel()
      this.#roleRetry = clock.setTimer(ROLE_RETRY_MS, () => this.#followRole(how))
    }
    this.#inTurn(async () => {
      const running = this.#running
      if (!running || this.#leaving.signal.aborted) return
      const { role } = running.renewal.identity
      try {
        if (role === 'worker' && running.state.role === 'manager') await this.#becomeWorker(running)
        else if (role === 'manager' && (!running.manager || how === 'again')) await this.#becomeManager(running)
      } catch (error) {
        log.warn('this node could not change its role, it tries again', { role, error: errorText(error) })
        again()
      }
    }).catch((error) => log.error('changing the role failed', { error: errorText(error) }))
  }

  async #becomeManager(running: Running): Promise<void> {
    await running.manager?.stop()
    await this.#joinGroup(running.state, () => running.renewal.identity)
    const state: SwarmState = { ...running.state, role: 'manager', journal: 'group' }
    this.#running = { ...running, state, manager: undefined }
    await this.#files.writeState(state)
    const manager = await this.#startManager(state, running.renewal)
    this.#running = { ...(this.#running ?? running), manager }
    this.#deps.log.info('this node is a manager now')
  }

  async #becomeWorker(running: Running): Promise<void> {
    const { journal: _, ...rest } = running.state
    const state: SwarmState = { ...rest, role: 'worker' }
    this.#running = { ...running, state, manager: undefined }
    await this.#files.writeState(state)
    await running.manager?.stop()
    await this.#removeStore()
    this.#deps.log.info('this node is a worker now')
  }

  async #keepState(state: SwarmState): Promise<void> {
    if (this.#running) this.#running = { ...this.#running, state }
    await this.#files.writeState(state)
  }

  #dataKeys(): DataKeys {
    const { dataKeys } = this.#deps
    if (!dataKeys) throw new ShoalError('unimplemented', 'this daemon cannot be one of several managers')
    return dataKeys
  }

  /** The file of the data key follows the cluster's unlock key. */
  #followUnlockKey(store: ReplicaStore): void {
    const { dataKeys, log } = this.#deps
    if (!dataKeys) return
    let turn: Promise<void> = Promise.resolve()
    let last: string | undefined
    const look = () => {
      const { cluster } = store.view()
      if (!cluster) return
      const key = cluster.spec.autoLockManagers ? (cluster.unlockKey ?? '') : ''
      if (key === last) return
      last = key
      turn = turn
        .then(() => dataKeys.protect(key))
        .catch((error) => log.error('the data key of this manager is not as the swarm wants it', { error: errorText(error) }))
    }
    look()
    store.watch(({ changes }) => {
      if (changes.some(({ table }) => table === 'cluster')) look()
    })
  }

  async #removeStore(): Promise<void> {
    await this.#deps.group?.host.destroy()
    await this.#deps.removeJournal()
  }

  /** Stops agent, then manager. `leave` also removes what belongs to the swarm on this computer. */
  async #halt(how: 'stop' | 'leave'): Promise<void> {
    const running = this.#running
    this.#running = undefined
    if (!running) return
    this.#roleRetry?.cancel()
    running.renewal.stop()
    await running.agent.stop()
    if (how === 'leave') await running.agent.destroy()
    await running.manager?.stop()
    await this.#deps.group?.host.stop()
  }

  /** A new manager answers nothing before it has read the store: clients look at it as soon as the join is done. */
  async #firstReplica(): Promise<void> {
    try {
      await this.#running?.manager?.face.fresh?.()
    } catch (error) {
      this.#deps.log.info('this manager has not read the whole store yet', { reason: errorText(error) })
    }
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
    if (this.#running || this.#pending || this.#error || this.#locked) {
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
  readonly #onRenewed: (identity: Identity) => void
  #identity: Identity
  #timer: Timer | undefined
  #stopped = false
  #busy = false

  constructor(
    deps: NodeDeps,
    files: NodeFiles,
    identity: Identity,
    managers: () => readonly string[],
    onRenewed: (identity: Identity) => void,
  ) {
    this.#onRenewed = onRenewed
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

  /** A manager that this node trusts has named another root. Its own certificate is of that root already: managers wait for that. */
  trust(rootCaPem: string): void {
    this.#identity = { ...this.#identity, rootCaPem }
    this.#files.writeIdentity(this.#identity).then(
      () => this.#onRenewed(this.#identity),
      (error) => this.#deps.log.error('could not write the new root certificate', { error: errorText(error) }),
    )
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
      const managers = [...this.#managers()]
      let hints = 0
      for (let manager = managers.shift(); manager !== undefined; manager = managers.shift()) {
        try {
          const fresh = await requestCertificate(this.#deps, manager, { kind: 'renew', identity: () => this.#identity })
          await this.#files.writeIdentity(fresh)
          this.#identity = fresh
          this.#deps.log.info('certificate renewed', { role: fresh.role })
          this.#onRenewed(fresh)
          retryMs = undefined
          break
        } catch (error) {
          const leader = leaderHint(error)?.leader
          if (leader && hints++ < MOST_HINTS) managers.unshift(leader)
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

/** A store that follows is only loaded from here. */
function replicaOf(cache: ReplicaCache, sealer: Sealer): Journal {
  return {
    load: async () => {
      const { seq, entries } = await cache.load()
      return { seq, entries: openEntries(entries, sealer) }
    },
    commit: () => Promise.reject(new ShoalError('internal', 'a replica is not written by its store')),
    close: () => cache.close(),
  }
}

function hostPort({ host, port }: HostPort): string {
  return `${host}:${port}`
}
