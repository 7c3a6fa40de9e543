// Secrets and configs whose content changes in place: what happens to the tasks that use them, and what of the past is kept.
import { ShoalError } from '../lib/index.ts'
import type { Labels } from './spec.ts'

/** Label of a secret or config: what its users get to know of new content. */
export const CONTENT_POLICY_LABEL = 'shoal.update.policy'
/** With the policy `signal`: which one. */
export const CONTENT_SIGNAL_LABEL = 'shoal.update.signal'
const DEFAULT_SIGNAL = 'SIGHUP'

/** none: new tasks only. signal: the files change in running containers, which then get a signal. restart: services that use it replace their tasks. */
export type ContentPolicy = 'none' | 'signal' | 'restart'
const POLICIES: readonly ContentPolicy[] = ['none', 'signal', 'restart']

/** A content that has been replaced. */
export interface ContentVersion {
  /** Counts from 1, the content at creation. */
  readonly version: number
  /** When it was replaced. */
  readonly replacedAt: number
  /** base64 */
  readonly data: string
}

/** Former contents that are kept, the newest ... */
const MOST_VERSIONS = 10
/** ... as far as they have no more characters than this together. */
const MOST_HISTORY_CHARACTERS = 2 * 1024 * 1024

export function contentPolicy(labels: Labels): ContentPolicy {
  return POLICIES.find((policy) => policy === labels[CONTENT_POLICY_LABEL]) ?? 'none'
}

export function contentSignal(labels: Labels): string {
  return labels[CONTENT_SIGNAL_LABEL] || DEFAULT_SIGNAL
}

/** Throws 'invalid-argument' for a label of ours with a value that means nothing. */
export function validateContentLabels(labels: Labels): void {
  const policy = labels[CONTENT_POLICY_LABEL]
  if (policy !== undefined && !POLICIES.some((known) => known === policy)) {
    throw new ShoalError('invalid-argument', `label ${CONTENT_POLICY_LABEL}: ${JSON.stringify(policy)} is not valid`, {
      next: `give ${POLICIES.join(', ')}`,
    })
  }
  const signal = labels[CONTENT_SIGNAL_LABEL]
  if (signal !== undefined && !/^(SIG)?[A-Z0-9+-]{1,10}$/i.test(signal)) {
    throw new ShoalError('invalid-argument', `label ${CONTENT_SIGNAL_LABEL}: ${JSON.stringify(signal)} is no signal`, {
      next: 'give a name such as SIGHUP or USR1',
    })
  }
}

interface Contained {
  readonly spec: { readonly data: string }
  readonly history?: readonly ContentVersion[]
}

/** The number of the present content. */
export function contentVersion({ history }: Contained): number {
  return (history?.at(-1)?.version ?? 0) + 1
}

/** The object with new content, the present one remembered. */
export function withContent<T extends Contained>(object: T, data: string, now: number): T {
  const history = [...(object.history ?? []), { version: contentVersion(object), replacedAt: now, data: object.spec.data }].slice(
    -MOST_VERSIONS,
  )
  let characters = history.reduce((sum, { data: old }) => sum + old.length, 0)
  while (history.length > 1 && characters > MOST_HISTORY_CHARACTERS) characters -= history.shift()!.data.length
  return { ...object, spec: { ...object.spec, data }, history }
}
