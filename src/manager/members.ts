// Managers come and go: new members of the group, those that are demoted, those that leave, and whether each answers.
import { issueMemberCertificate, makeJoinTokens } from '../ca/index.ts'
import {
  addLearner,
  handOver,
  MEMBER_SUBJECT,
  type MemberConfig,
  type MembershipDeps,
  peerUrl,
  promoteMember,
  removeMember,
} from '../etcd/index.ts'
import {
  errorText,
  HOUR_MS,
  type Instant,
  type Logger,
  MINUTE_MS,
  type NodeId,
  newId,
  nsToMs,
  SECOND_MS,
  ShoalError,
} from '../lib/index.ts'
import type { Cluster, Node } from '../model/index.ts'
import {
  type Channel,
  type Clock,
  type Etcd,
  type EtcdMember,
  handle,
  type Identity,
  type Issuer,
  type Random,
  type Route,
  type Rpc,
} from '../ports/index.ts'
import { Manager } from '../proto/index.ts'
import type { ReplicaStore, View } from '../store/index.ts'
import { notLeader, parseHostPort } from '../wire/index.ts'
import type { GroupDeps, Leadership } from './leadership.ts'

const TICK_MS = 500
const PING_MS = SECOND_MS
const PING_TIMEOUT_MS = 1_500
/** Pings in a row without an answer. */
const UNREACHABLE_AFTER = 3
/** How often members are compared with managers, and how long one may be without: a learner has to start and to catch up. */
const SWEEP_MS = 5 * SECOND_MS
/** From being admitted to being a voter; a newcomer that takes longer goes on, but others do not wait for it. */
const NEWCOMER_MS = 30 * SECOND_MS
const STRAY_MS = 3 * MINUTE_MS
/** From the swarm port on: the next one is for members among themselves, the one after it for our own client on loopback. */
const PEER_PORT_OFFSET = 1
const CLIENT_PORT_OFFSET = 2

export interface MembersDeps {
  readonly store: ReplicaStore
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly rpc: Rpc
  readonly issuer: Pick<Issuer, 'createCsr'>
  readonly identity: () => Identity
  readonly listen: string
  readonly advertise: string
  readonly group: GroupDeps | undefined
  readonly leadership: () => Leadership | undefined
}

export class Members {
  readonly #deps: MembersDeps
  #ticking: { readonly stop: AbortController; readonly done: Promise<unknown> } | undefined
  readonly #channels = new Map<string, Channel>()
  readonly #missed = new Map<NodeId, number>()
  /** Changes of the group come one after the other: etcd has room for one learner, and who is demoted must not be promoted beside that. */
  #turn: Promise<unknown> = Promise.resolve()
  /** Members that belong to nobody, and since when: a newcomer may be about to start. */
  readonly #strays = new Map<string, number>()
  #sweptAtMs = 0
  #newcomer: { readonly done: Promise<void>; readonly settled: () => void } | undefined

  constructor(deps: MembersDeps) {
    this.#deps = deps
  }

  /** The leader's work. */
  start(): void {
    const stop = new AbortController()
    this.#ticking = { stop, done: Promise.all([this.#run(stop.signal), this.#pings(stop.signal)]) }
  }

  async stop(): Promise<void> {
    const ticking = this.#ticking
    this.#ticking = undefined
    ticking?.stop.abort()
    this.#newcomer?.settled()
    await ticking?.done
    for (const channel of this.#channels.values()) channel.close()
    this.#channels.clear()
    this.#missed.clear()
  }

  routes(): Route[] {
    const { store, advertise } = this.#deps
    const method = Manager.method
    return [
      handle(method.ping, async (_request, { peer }) => {
        this.requireManager(peer)
        const leadership = this.#deps.leadership()
        const leaderAddress = leadership?.leading ? advertise : (leadership?.leader?.address ?? '')
        return { leading: leadership?.leading ?? false, seq: BigInt(store.view().seq), leaderAddress }
      }),
      handle(method.joinGroup, async (request, { peer }) => {
        const node = this.requireManager(peer)
        this.#requireLeading()
        return this.#inTurn(() => this.#admit(node, request, peer.address))
      }),
      handle(method.promoteMember, async ({ memberId, address }, { peer }) => {
        const { id } = this.requireManager(peer)
        const etcd = this.#requireLeading()
        try {
          requireWanted(store.view().nodes.get(id))
          await promoteMember(this.#membership(), etcd, String(memberId))
          await this.#setStatus(id, 'reachable', address)
        } finally {
          this.#newcomer?.settled()
        }
        this.#deps.log.info('a manager has joined', { node: id, address })
        return {}
      }),
      handle(method.leaveGroup, async (_request, { peer }) => {
        const node = this.requireManager(peer)
        return this.#inTurn(async () => {
          await this.#removeMemberOf(this.#requireLeading(), node.id)
          await this.#setStatus(node.id, 'unreachable', node.managerStatus?.address ?? '')
          return {}
        })
      }),
    ]
  }

  /** The calling node, when it may be a manager. */
  requireManager(peer: { readonly nodeId: string | undefined; readonly role: string | undefined }): Node {
    const node = peer.nodeId === undefined ? undefined : this.#deps.store.view().nodes.get(peer.nodeId as NodeId)
    if (peer.role !== 'manager' || !node) throw new ShoalError('permission-denied', 'only managers of this cluster may ask that')
    return node
  }

  #requireLeading(): Etcd {
    const leadership = this.#deps.leadership()
    if (!leadership) throw new ShoalError('unimplemented', 'this manager cannot be one of several')
    if (!leadership.leading) throw notLeader(leadership.leader?.address)
    return leadership.etcd as Etcd
  }

  #membership(): MembershipDeps {
    return { clock: this.#deps.clock, log: this.#deps.log, signal: this.#ticking?.stop.signal }
  }

  /** The learner for a node, and what it has to start with. */
  async #admit(node: Node, request: { readonly peerUrl: string; readonly address: string; readonly csr: string }, callerAddress: string) {
    const { log, random, store, clock, group } = this.#deps
    requireWanted(store.view().nodes.get(node.id))
    const leadership = this.#deps.leadership()
    if (!group || !leadership) throw new ShoalError('unimplemented', 'this manager cannot be one of several')
    await leadership.found(() => this.#foundGroup(group))
    const etcd = this.#requireLeading()
    await this.#removeMemberOf(etcd, node.id)
    const host = new URL(request.peerUrl).hostname
    await this.#setStatus(node.id, 'unreachable', request.address)
    const learner = await addLearner(this.#membership(), etcd, request.peerUrl)
    const name = memberName(node.id, random)
    const others = (await etcd.members()).filter((member) => member.id !== learner.id && member.name !== '')
    const initialCluster = [...others.map((member) => `${member.name}=${member.peerUrl}`), `${name}=${request.peerUrl}`].join(',')
    const certificate = await memberCertificate(clusterOf(store.view()), request.csr, [host, callerAddress], clock.now())
    this.#awaitNewcomer()
    log.info('a manager is joining', { node: node.id, address: request.address })
    const groupToken = (await group.host.config())?.groupToken ?? ''
    const dataKey = new Uint8Array(await group.dataKey())
    return { memberName: name, memberId: BigInt(learner.id), initialCluster, certificate, groupToken, dataKey }
  }

  /** The first member: this node's. */
  async #foundGroup(group: GroupDeps): Promise<Etcd> {
    const { random, issuer, store, clock, identity, listen, advertise } = this.#deps
    await group.host.check()
    const nodeId = identity().nodeId as NodeId
    const where = memberPlace(listen, advertise)
    const name = memberName(nodeId, random)
    const { csrPem, privateKeyPem } = await issuer.createCsr()
    const cluster = clusterOf(store.view())
    const certificatePem = await memberCertificate(cluster, csrPem, [where.advertiseHost], clock.now())
    const initialCluster = `${name}=${peerUrl(where.advertiseHost, where.peerPort)}`
    const config: MemberConfig = { ...where, name, initialCluster, initialState: 'new', groupToken: `${cluster.id}-${newId(random)}` }
    return group.host.create(config, { certificatePem, privateKeyPem, caPem: cluster.rootCaPem })
  }

  /** Every manager has the root's key in its replica; connections from here on use the new certificate. */
  async renewOwn(): Promise<void> {
    const { group, store, issuer, clock } = this.#deps
    const config = await group?.host.config()
    if (!group || !config) return
    const cluster = clusterOf(store.view())
    const { csrPem, privateKeyPem } = await issuer.createCsr()
    const certificatePem = await memberCertificate(cluster, csrPem, [config.advertiseHost], clock.now())
    await group.host.renew({ certificatePem, privateKeyPem, caPem: cluster.rootCaPem })
  }

  async #removeMemberOf(etcd: Etcd, nodeId: NodeId): Promise<void> {
    for (const member of await etcd.members()) {
      if (nodeOfMember(member.name) === nodeId) await removeMember(this.#membership(), etcd, member.id)
    }
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { clock, log, store } = this.#deps
    await this.#markLeader().catch((error) => log.warn('could not write who leads', { error: errorText(error) }))
    let dirty = true
    const unwatch = store.watch(({ changes }) => {
      if (changes.some(({ table }) => table === 'node' || table === 'cluster')) dirty = true
    })
    while (!signal.aborted) {
      try {
        if (dirty) {
          dirty = false
          await this.#inTurn(() => this.#demote(signal))
          await this.#finishRotation()
        }
        if (clock.monotonicMs() - this.#sweptAtMs >= SWEEP_MS && !this.#newcomer) {
          this.#sweptAtMs = clock.monotonicMs()
          await this.#inTurn(() => this.#removeStrays(signal))
        }
      } catch (error) {
        if (!signal.aborted) log.warn('looking after managers', { error: errorText(error) })
        dirty = true
      }
      await clock.sleep(TICK_MS, signal).catch(() => {}) // stopped
    }
    unwatch()
  }

  async #pings(signal: AbortSignal): Promise<void> {
    const { clock, log, store, identity } = this.#deps
    while (!signal.aborted) {
      const others = managers(store.view()).filter(({ id }) => id !== identity().nodeId)
      await Promise.all(others.map((node) => this.#ping(node))).catch((error) => {
        if (!signal.aborted) log.warn('could not write which managers answer', { error: errorText(error) })
      })
      await clock.sleep(PING_MS, signal).catch(() => {}) // stopped
    }
  }

  /** Managers that shall be workers leave the group first; only then does their certificate say so. */
  async #demote(signal: AbortSignal): Promise<void> {
    const { store, log, identity } = this.#deps
    const etcd = this.#deps.leadership()?.etcd
    for (const node of [...store.view().nodes.values()]) {
      if (signal.aborted || node.spec.desiredRole !== 'worker' || (node.role !== 'manager' && !node.managerStatus)) continue
      if (node.id === identity().nodeId) {
        log.info('this manager is demoted and hands over')
        if (etcd && !(await handOver(this.#membership(), etcd, (member) => this.#isReachable(nodeOfMember(member.name)))))
          throw new ShoalError('unavailable', 'no other manager can take over now')
        return // the next leader does the rest
      }
      if (etcd) await this.#removeMemberOf(etcd, node.id)
      await store.transact((tx) => {
        const current = tx.nodes.get(node.id)
        if (current?.spec.desiredRole !== 'worker') return
        const { managerStatus: _, ...rest } = current
        tx.nodes.update({ ...rest, role: 'worker', certificate: { ...current.certificate, state: 'rotate' } })
      })
      log.info('a manager was demoted', { node: node.id })
    }
  }

  /** A member whose node is gone or is no manager counts for the majority and never answers. */
  async #removeStrays(signal: AbortSignal): Promise<void> {
    const { store, clock, log } = this.#deps
    const leadership = this.#deps.leadership()
    const now = clock.monotonicMs()
    if (!leadership?.inGroup || !leadership.etcd) return
    const members = await leadership.etcd.members()
    const isStray = ({ name, isLearner }: EtcdMember) =>
      isLearner || name === '' || store.view().nodes.get(nodeOfMember(name))?.managerStatus === undefined
    for (const id of [...this.#strays.keys()]) if (!members.some((one) => one.id === id && isStray(one))) this.#strays.delete(id)
    for (const member of members.filter(isStray)) {
      const since = this.#strays.get(member.id) ?? now
      this.#strays.set(member.id, since)
      if (now - since < STRAY_MS || signal.aborted) continue
      log.warn('a member of the group that belongs to no manager is removed', { member: member.name || member.peerUrl })
      await removeMember(this.#membership(), leadership.etcd, member.id)
    }
  }

  /** Nothing else changes while a newcomer starts: its member checks that the group is the one that it was told of. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(async () => {
      await this.#newcomer?.done
      return work()
    })
    this.#turn = turn.catch(() => {}) // who asked hears of it
    return turn
  }

  #awaitNewcomer(): void {
    let settled = () => {}
    const done = new Promise<void>((resolve) => {
      settled = resolve
    })
    const tooLong = this.#deps.clock.setTimer(NEWCOMER_MS, () => settled())
    const newcomer = { done, settled }
    this.#newcomer = newcomer
    void done.then(() => {
      tooLong.cancel()
      if (this.#newcomer === newcomer) this.#newcomer = undefined
    })
  }

  /** The new root takes over when every node has a certificate of it; join tokens name the root, so there are new ones. */
  async #finishRotation(): Promise<void> {
    const { store, random, log } = this.#deps
    const done = ({ cluster, nodes }: View) => {
      const way = cluster?.rootRotation?.crossSignedPem
      if (way === undefined) return false
      for (const { certificate } of nodes.values())
        if (certificate.state !== 'issued' || !certificate.certificatePem.endsWith(way)) return false
      return true
    }
    if (!done(store.view())) return
    await store.transact((tx) => {
      const { cluster } = tx
      if (!cluster?.rootRotation || !done(tx)) return
      const { certificatePem, privateKeyPem, crossSignedPem } = cluster.rootRotation
      tx.setCluster({
        ...cluster,
        rootCaPem: certificatePem,
        rootCaKeyPem: privateKeyPem,
        rootCrossSignedPem: crossSignedPem,
        rootRotation: undefined,
        joinTokens: makeJoinTokens(certificatePem, random),
      })
    })
    log.info('the root certificate was rotated')
  }

  #isReachable(nodeId: NodeId): boolean {
    return this.#deps.store.view().nodes.get(nodeId)?.managerStatus?.reachability === 'reachable'
  }

  async #ping(node: Node): Promise<void> {
    const { rpc, identity } = this.#deps
    const address = node.managerStatus?.address ?? ''
    if (!address) return
    let channel = this.#channels.get(address)
    if (!channel) {
      channel = rpc.connect(address, { kind: 'mutual', identity, serverName: 'swarm-manager' })
      this.#channels.set(address, channel)
    }
    const answered = await channel.unary(Manager.method.ping, {}, { timeoutMs: PING_TIMEOUT_MS }).then(
      () => true,
      () => false,
    )
    const missed = answered ? 0 : (this.#missed.get(node.id) ?? 0) + 1
    this.#missed.set(node.id, missed)
    const reachability = answered ? 'reachable' : missed >= UNREACHABLE_AFTER ? 'unreachable' : undefined
    if (reachability && reachability !== node.managerStatus?.reachability) await this.#setStatus(node.id, reachability, address)
  }

  async #setStatus(nodeId: NodeId, reachability: 'reachable' | 'unreachable', address: string): Promise<void> {
    await this.#deps.store.transact((tx) => {
      const node = tx.nodes.get(nodeId)
      if (node?.spec.desiredRole !== 'manager') return
      const before = node.managerStatus
      if (before?.reachability === reachability && before.address === address) return
      tx.nodes.update({ ...node, managerStatus: { leader: false, reachability, address } })
    })
  }

  /** The nodes' own words on who leads are those of the last leader. */
  async #markLeader(): Promise<void> {
    const { store, identity, advertise } = this.#deps
    const nodeId = identity().nodeId as NodeId
    const right = (view: View) =>
      managers(view).every((node) => node.managerStatus?.leader === (node.id === nodeId)) &&
      view.nodes.get(nodeId)?.managerStatus?.reachability === 'reachable' &&
      view.nodes.get(nodeId)?.managerStatus?.address === advertise
    if (right(store.view())) return
    await store.transact((tx) => {
      for (const node of managers(tx)) {
        const leader = node.id === nodeId
        if (!leader && node.managerStatus?.leader) tx.nodes.update({ ...node, managerStatus: { ...node.managerStatus, leader } })
      }
      const self = tx.nodes.get(nodeId)
      if (self) tx.nodes.update({ ...self, managerStatus: { leader: true, reachability: 'reachable', address: advertise } })
    })
  }
}

/** Where the member of a manager listens and is reached, from its swarm addresses (`host:port`). */
export function memberPlace(
  listen: string,
  advertise: string,
): Pick<MemberConfig, 'advertiseHost' | 'listenHost' | 'peerPort' | 'clientPort'> {
  const { host, port } = parseHostPort(listen)
  return {
    advertiseHost: parseHostPort(advertise).host,
    listenHost: host,
    peerPort: port + PEER_PORT_OFFSET,
    clientPort: port + CLIENT_PORT_OFFSET,
  }
}

/** Throws when the node is gone or is to be a worker. */
function requireWanted(node: Node | undefined): void {
  if (node?.spec.desiredRole === 'manager') return
  throw new ShoalError('failed-precondition', 'this node is to be a worker', { next: 'promote it with "docker node promote"' })
}

function managers(view: Pick<View, 'nodes'>): Node[] {
  return [...view.nodes.values()].filter(({ managerStatus }) => managerStatus !== undefined)
}

/** A fresh name each time: etcd never takes a removed member back. */
function memberName(nodeId: NodeId, random: Random): string {
  return `${nodeId}-${newId(random).slice(0, 6)}`
}

function nodeOfMember(name: string): NodeId {
  return name.replace(/-[^-]*$/, '') as NodeId
}

function clusterOf(view: View): Cluster {
  if (!view.cluster) throw new ShoalError('unavailable', 'the swarm is not ready yet')
  return view.cluster
}

/** With the way to the root before: members that were started under it trust it until their next start. */
export async function memberCertificate(cluster: Cluster, csrPem: string, addresses: readonly string[], now: Instant): Promise<string> {
  const own = [...new Set(['127.0.0.1', ...addresses])].filter((address) => /^[\d.]+$/.test(address))
  const leaf = await issueMemberCertificate({ certificatePem: cluster.rootCaPem, privateKeyPem: cluster.rootCaKeyPem }, csrPem, {
    subject: MEMBER_SUBJECT,
    addresses: own,
    notBefore: now - HOUR_MS,
    notAfter: now + nsToMs(cluster.spec.nodeCertExpiryNs),
  })
  return leaf + (cluster.rootCrossSignedPem ?? '')
}
