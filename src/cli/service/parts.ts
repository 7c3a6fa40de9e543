// Parts of a service spec that create and update make in the same way: rollout settings, restart policy, health check.
import type { HealthConfig, TaskSpec, UpdateConfig } from '../../client/index.ts'
import type { Flags } from '../flags/index.ts'
import { ExitError } from '../io.ts'

const SECOND_NS = 1e9

/** The update or rollback settings, with Swarm's defaults under the flags; undefined when no flag is given and there were none. */
export function rolloutConfig(flags: Flags, what: 'update' | 'rollback', before: UpdateConfig | undefined): UpdateConfig | undefined {
  const names = ['delay', 'failure-action', 'max-failure-ratio', 'monitor', 'order', 'parallelism'].map((name) => `${what}-${name}`)
  if (!names.some((name) => flags.has(name))) return before
  const base = before ?? { Parallelism: 1, FailureAction: 'pause', Monitor: 5 * SECOND_NS, MaxFailureRatio: 0, Order: 'stop-first' }
  return {
    Parallelism: flags.number(`${what}-parallelism`) ?? base.Parallelism,
    Delay: (flags.number(`${what}-delay`) ?? base.Delay) || undefined,
    FailureAction: flags.string(`${what}-failure-action`) ?? base.FailureAction,
    Monitor: flags.number(`${what}-monitor`) ?? base.Monitor,
    MaxFailureRatio: flags.number(`${what}-max-failure-ratio`) ?? base.MaxFailureRatio,
    Order: flags.string(`${what}-order`) ?? base.Order,
  }
}

export function restartPolicy(flags: Flags, before: TaskSpec['RestartPolicy']): TaskSpec['RestartPolicy'] {
  const names = ['restart-condition', 'restart-delay', 'restart-max-attempts', 'restart-window']
  if (!names.some((name) => flags.has(name))) return before
  const base = before ?? { Condition: 'any', Delay: 5 * SECOND_NS, MaxAttempts: 0 }
  return {
    Condition: flags.string('restart-condition') ?? base.Condition,
    Delay: flags.number('restart-delay') ?? base.Delay,
    MaxAttempts: flags.number('restart-max-attempts') ?? base.MaxAttempts,
    Window: flags.number('restart-window') ?? base.Window,
  }
}

/** The health check after the --health-* flags; --no-healthcheck forbids the image's own, too. */
export function healthCheck(flags: Flags, before: HealthConfig | undefined): HealthConfig | undefined {
  const names = ['cmd', 'interval', 'retries', 'start-interval', 'start-period', 'timeout'].map((name) => `health-${name}`)
  const given = names.some((name) => flags.has(name))
  if (flags.bool('no-healthcheck')) {
    if (given) throw new ExitError(1, '--no-healthcheck conflicts with --health-* options')
    return { Test: ['NONE'] }
  }
  if (!given) return before
  const base = before?.Test?.[0] === 'NONE' ? {} : (before ?? {})
  const command = flags.string('health-cmd')
  return {
    ...base,
    Test: command === undefined ? base.Test : command === '' ? undefined : ['CMD-SHELL', command],
    Interval: flags.number('health-interval') ?? base.Interval,
    Timeout: flags.number('health-timeout') ?? base.Timeout,
    StartPeriod: flags.number('health-start-period') ?? base.StartPeriod,
    StartInterval: flags.number('health-start-interval') ?? base.StartInterval,
    Retries: flags.number('health-retries') ?? base.Retries,
  }
}
