// Members come and go one at a time: as a learner first, promoted when they have caught up; every change is repeated until it is known to be made.
import { errorText, isShoalError, type Logger, SECOND_MS, ShoalError } from '../lib/index.ts'
import type { Clock, Etcd, EtcdId, EtcdMember } from '../ports/index.ts'

/** etcd refuses changes until every member has been connected for 5 s; a learner has to catch up first. */
const PATIENCE_MS = 60 * SECOND_MS
const RETRY_MS = 250

export interface MembershipDeps {
  readonly clock: Clock
  readonly log: Logger
  readonly signal?: AbortSignal
}

/** Adds a learner that will speak at this URL. An older member of that URL goes first: it lost its data, or left without a word. */
export async function addLearner(deps: MembershipDeps, etcd: Etcd, peerUrl: string): Promise<EtcdMember> {
  for (const old of await etcd.members()) if (old.peerUrl === peerUrl) await removeMember(deps, etcd, old.id)
  return persist(deps, `adding ${peerUrl}`, async () => {
    // the one before may have been made although nobody told us
    const made = (await etcd.members()).find((member) => member.peerUrl === peerUrl)
    return made ?? (await etcd.addLearner(peerUrl))
  })
}

/** Makes a learner a voter as soon as it has caught up. No error when it is one. 'not-found' when it is no member. */
export async function promoteMember(deps: MembershipDeps, etcd: Etcd, id: EtcdId): Promise<void> {
  await persist(deps, `promoting member ${id}`, async () => {
    const member = (await etcd.members()).find((one) => one.id === id)
    if (!member) throw new ShoalError('not-found', `member ${id} is not in the group`)
    // a member without a name has never started: 3.4.23 might promote it all the same, and the group would lose its quorum
    if (member.name === '') throw new ShoalError('unavailable', 'the new member has not started yet')
    if (member.isLearner) await etcd.promote(id)
  })
}

/** No error when it is gone already. Refused with 'failed-precondition' when the rest would have no quorum. */
export async function removeMember(deps: MembershipDeps, etcd: Etcd, id: EtcdId): Promise<void> {
  await persist(deps, `removing member ${id}`, async () => {
    if (!(await etcd.members()).some((member) => member.id === id)) return
    await etcd.remove(id)
  })
}

/** Hands the leadership of the group to another voter, so that what follows costs 0.1 s and no election. False when there is none. */
export async function handOver(deps: MembershipDeps, etcd: Etcd, prefer?: (member: EtcdMember) => boolean): Promise<boolean> {
  const { memberId, leaderId } = await etcd.status()
  if (memberId !== leaderId) return true
  const others = (await etcd.members()).filter((member) => member.id !== memberId && !member.isLearner)
  others.sort((a, b) => Number(prefer?.(b) ?? false) - Number(prefer?.(a) ?? false))
  for (const other of others) {
    try {
      await etcd.moveLeader(other.id)
      return true
    } catch (error) {
      deps.log.warn('could not hand over to a member', { member: other.name, error: errorText(error) })
    }
  }
  return false
}

/** Whatever may pass is tried again until the patience ends. */
async function persist<T>(deps: MembershipDeps, what: string, attempt: () => Promise<T>): Promise<T> {
  const { clock, log, signal } = deps
  const until = clock.monotonicMs() + PATIENCE_MS
  let said = ''
  for (;;) {
    try {
      return await attempt()
    } catch (error) {
      const text = errorText(error)
      const passes =
        isShoalError(error, 'unavailable') ||
        isShoalError(error, 'deadline-exceeded') ||
        /in sync with leader|too many learner|unhealthy cluster|not capable|re-configuration failed/.test(text)
      if (!passes || clock.monotonicMs() > until || signal?.aborted) throw error
      if (text !== said) log.info('the group has to wait', { what, reason: text })
      said = text
    }
    await clock.sleep(RETRY_MS, signal)
  }
}
