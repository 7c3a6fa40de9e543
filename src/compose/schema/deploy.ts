// The fields of `deploy`: how many tasks, where, with what resources, and how they are replaced.
import { durationNs, sizeBytes } from '../values.ts'
import { dictionary, object } from './maps.ts'
import { anything, int, listOf, measured, number, text } from './schema.ts'

/** In nanoseconds. */
export const duration = measured(durationNs, { plainNumbers: false, min: 0 })
/** In bytes. */
export const size = measured(sizeBytes, { plainNumbers: true })
/** -1 stands for no limit. */
export const sizeOrUnlimited = measured((written) => (written === '-1' ? -1 : sizeBytes(written)), { plainNumbers: true })

const rollout = object({
  parallelism: int({ min: 0 }),
  delay: duration,
  failure_action: text({ oneOf: ['continue', 'pause', 'rollback'] }),
  monitor: duration,
  max_failure_ratio: number({ min: 0, max: 1 }, false),
  order: text({ oneOf: ['start-first', 'stop-first'] }),
})

const genericResource = object({
  discrete_resource_spec: object({ kind: text(), value: int({ min: 0 }) }, { required: ['kind', 'value'] }),
})

/** CPUs such as 0.5. */
const cpus = number({ min: 0 }, false)

export const deploy = object(
  {
    mode: text({ oneOf: ['replicated', 'global', 'replicated-job', 'global-job'] }),
    endpoint_mode: text({ oneOf: ['vip', 'dnsrr'] }),
    replicas: int({ min: 0 }),
    labels: dictionary(''),
    update_config: rollout,
    rollback_config: rollout,
    resources: object({
      limits: object({ cpus, memory: size, pids: int({ min: -1 }) }),
      reservations: object({ cpus, memory: size, generic_resources: listOf(genericResource), devices: anything() }),
    }),
    restart_policy: object({
      condition: text({ oneOf: ['none', 'on-failure', 'any', 'no', 'always', 'unless-stopped'] }),
      delay: duration,
      max_attempts: int({ min: 0 }),
      window: duration,
    }),
    placement: object({
      constraints: listOf(text()),
      preferences: listOf(object({ spread: text() }, { required: ['spread'] })),
      max_replicas_per_node: int({ min: 0 }),
    }),
  },
  { empty: true },
)
