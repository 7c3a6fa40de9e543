// A new manager's side of joining: becomes a learner of the group, starts its member, and is made a voter.
import { type EtcdHost, peerUrl } from '../etcd/index.ts'
import { errorText, type Logger, MINUTE_MS, SECOND_MS, ShoalError } from '../lib/index.ts'
import type { Clock, Identity, Issuer, Rpc } from '../ports/index.ts'
import { Manager } from '../proto/index.ts'
import { leaderHint } from '../wire/index.ts'
import { memberPlace } from './members.ts'

/** The leader may have to start a group of its own, or wait until the last change has settled. */
const ADMIT_MS = 2 * MINUTE_MS
const PROMOTE_MS = 90 * SECOND_MS
const RETRY_MS = 500
const MOST_TRIES = 40
const MOST_STARTS = 4

export interface JoinGroupDeps {
  readonly rpc: Rpc
  readonly clock: Clock
  readonly log: Logger
  readonly issuer: Pick<Issuer, 'createCsr'>
  readonly host: EtcdHost
  readonly identity: () => Identity
  readonly listen: string
  readonly advertise: string
  /** `host:port` of managers, in the order in which they are asked. */
  readonly managers: () => readonly string[]
  readonly signal: AbortSignal
}

/** Resolves with the data key of the cluster's store when this node's member is a voter. What was in the member's folder is gone. */
export async function joinGroup(deps: JoinGroupDeps): Promise<Uint8Array> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await join(deps)
    } catch (error) {
      await deps.host.destroy()
      // the group has changed while the member was starting: it is admitted anew
      if (tries >= MOST_STARTS || !/^etcd did not come up/.test(errorText(error)) || deps.signal.aborted) throw error
      deps.log.info('the member of this manager did not start, it is admitted anew', { reason: errorText(error) })
    }
  }
}

async function join(deps: JoinGroupDeps): Promise<Uint8Array> {
  const { host, issuer, identity, listen, advertise } = deps
  await host.check()
  await host.destroy()
  const where = memberPlace(listen, advertise)
  const { csrPem, privateKeyPem } = await issuer.createCsr()
  const admitted = await withLeader(deps, (channel) =>
    channel.unary(
      Manager.method.joinGroup,
      { peerUrl: peerUrl(where.advertiseHost, where.peerPort), address: advertise, csr: csrPem },
      { timeoutMs: ADMIT_MS, signal: deps.signal },
    ),
  )
  await host.create(
    {
      ...where,
      name: admitted.memberName,
      initialCluster: admitted.initialCluster,
      initialState: 'existing',
      groupToken: admitted.groupToken,
    },
    { certificatePem: admitted.certificate, privateKeyPem, caPem: identity().rootCaPem },
  )
  await withLeader(deps, (channel) =>
    channel.unary(
      Manager.method.promoteMember,
      { memberId: admitted.memberId, address: advertise },
      { timeoutMs: PROMOTE_MS, signal: deps.signal },
    ),
  )
  return admitted.dataKey
}

/** Asks whoever leads, following hints, until it answers; refusals are thrown at once. */
async function withLeader<T>(deps: JoinGroupDeps, call: (channel: ReturnType<Rpc['connect']>) => Promise<T>): Promise<T> {
  const { rpc, clock, log, identity, signal } = deps
  let hint: string | undefined
  let failure: unknown
  for (let tries = 0; tries < MOST_TRIES && !signal.aborted; tries += 1) {
    const known = deps.managers()
    const address = hint ?? known[tries % Math.max(known.length, 1)]
    if (!address) throw new ShoalError('unavailable', 'no manager is known')
    hint = undefined
    const channel = rpc.connect(address, { kind: 'mutual', identity, serverName: 'swarm-manager' })
    try {
      return await call(channel)
    } catch (error) {
      failure = error
      const away = leaderHint(error)
      if (!away && !isPassing(error)) throw error
      hint = away?.leader
      log.info('waiting for the leader', { manager: address, reason: errorText(error) })
    } finally {
      channel.close()
    }
    if (!hint) await clock.sleep(RETRY_MS, signal)
  }
  throw failure ?? new ShoalError('canceled', 'joining the group was given up')
}

function isPassing(error: unknown): boolean {
  return error instanceof ShoalError && (error.code === 'unavailable' || error.code === 'deadline-exceeded')
}
