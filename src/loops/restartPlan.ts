// Whether and when a task that ended by itself gets a successor.
import { type Instant, nsToMs } from '../lib/index.ts'
import { type RestartPolicy, restartPolicyOf, type Task, TaskState } from '../model/index.ts'

export interface RestartPlan {
  readonly notBefore: Instant
  /** Accounting for the successor. */
  readonly restart: NonNullable<Task['restart']>
}

/** Pure. Undefined: the policy says no, and the slot stays as it is. */
export function planRestart(policy: RestartPolicy | undefined, task: Task, now: Instant): RestartPlan | undefined {
  const { condition, delayNs, maxAttempts, windowNs } = restartPolicyOf(policy)
  if (condition === 'none') return undefined
  if (condition === 'on-failure' && task.status.state === TaskState.COMPLETE) return undefined
  const attempts = task.restart?.attempts ?? 0
  const windowMs = nsToMs(windowNs)
  const recent = windowMs > 0 ? (task.restart?.recent ?? []).filter((at) => at > now - windowMs) : []
  if (maxAttempts > 0 && (windowMs > 0 ? recent.length : attempts) >= maxAttempts) return undefined
  return {
    notBefore: now + nsToMs(delayNs),
    // Without a limit nobody asks for the instants, so none are kept.
    restart: { attempts: attempts + 1, recent: windowMs > 0 && maxAttempts > 0 ? [...recent, now].slice(-maxAttempts) : [] },
  }
}
