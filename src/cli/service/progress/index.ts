// Follows a service until its tasks run stably, its job is done or its update has stopped.
import { type ApiClient, ApiError, type Service } from '../../../client/index.ts'
import { ExitError, type Io } from '../../io.ts'
import { type Progress, planProgress } from './plan.ts'
import { progressView } from './view.ts'

const POLL_MS = 200
const DEFAULT_MONITOR_NS = 5e9
const NS_PER_MS = 1e6

export interface FollowOptions {
  /** Wait, but show nothing. */
  readonly quiet: boolean
  /** How the closing line names the service. */
  readonly label: string
}

/** Returns 0 when the service converged (also after a roll-back), and throws the reason when its update was paused. */
export async function followService(io: Io, client: ApiClient, id: string, options: FollowOptions): Promise<number> {
  const view = options.quiet ? undefined : progressView(io.stdout)
  let convergedAt: number | undefined
  let sawRollback = false
  let afterword = ''
  for (;;) {
    const service = await client.service(id)
    const update = service.UpdateStatus
    if (update?.State === 'paused') throw new ExitError(1, `service update paused: ${update.Message}`)
    if (update?.State === 'rollback_paused') throw new ExitError(1, `service rollback paused: ${update.Message}`)
    if (update?.State === 'rollback_started' && !sawRollback) {
      sawRollback = true
      view?.say(`rollback: ${update.Message}`)
    }
    if (update?.State === 'rollback_completed' && !sawRollback && convergedAt === undefined) {
      sawRollback = true
      afterword = `rollback: ${update.Message}`
    }

    const progress = await readProgress(client, service)
    const isJob = Boolean(service.Spec.Mode?.ReplicatedJob ?? service.Spec.Mode?.GlobalJob)
    let note = ''
    if (!progress.converged) {
      if (convergedAt !== undefined) note = 'verify: Detected task failure'
      convergedAt = undefined
    } else if (isJob) {
      view?.show(progress, 'job complete')
      return 0
    } else {
      convergedAt ??= io.now()
      const monitorMs = (service.Spec.UpdateConfig?.Monitor || DEFAULT_MONITOR_NS) / NS_PER_MS
      const leftMs = monitorMs - (io.now() - convergedAt)
      // An update that still goes on has more to verify than the tasks that run now.
      if (leftMs <= 0 && update?.State !== 'updating' && update?.State !== 'rollback_started') {
        view?.show(progress, `verify: Service ${options.label} converged`)
        if (afterword) view?.say(afterword)
        return 0
      }
      note = `verify: Waiting ${Math.max(1, Math.ceil(leftMs / 1000))} seconds to verify that tasks are stable...`
    }
    view?.show(progress, note)
    if (await interrupted(io)) {
      io.stderr.write(`\nOperation continuing in background.\nUse \`shoal service ps ${options.label}\` to check progress.\n`)
      return 0
    }
  }
}

async function readProgress(client: ApiClient, service: Service): Promise<Progress> {
  const [tasks, nodes] = await Promise.all([client.tasks({ service: [service.ID], '_up-to-date': ['true'] }), client.nodes()])
  return planProgress(service, tasks, nodes)
}

/** Waits for the next look; true when the user does not want to wait any longer. */
async function interrupted(io: Io): Promise<boolean> {
  try {
    await io.sleep(POLL_MS, io.interrupted)
  } catch (error) {
    if (!io.interrupted.aborted) throw error
  }
  return io.interrupted.aborted
}

/** Follows a service that may vanish meanwhile (somebody else removes it): that is said, not a crash. */
export async function followOrExplain(io: Io, client: ApiClient, id: string, options: FollowOptions): Promise<number> {
  try {
    return await followService(io, client, id, options)
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) throw new ExitError(1, `service ${options.label} was removed meanwhile`)
    throw error
  }
}
