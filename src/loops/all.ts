// All loops, in the order in which they take their turns.
import { allocation } from './allocation.ts'
import { enforcer } from './enforcer.ts'
import { global } from './global.ts'
import { holds } from './holds.ts'
import { jobs } from './jobs.ts'
import { networkRemoval } from './networkRemoval.ts'
import { nodeDown } from './nodeDown.ts'
import { nodeLoss } from './nodeLoss.ts'
import { reaper } from './reaper.ts'
import { type Acknowledgements, release } from './release.ts'
import { removal } from './removal.ts'
import { replicated } from './replicated.ts'
import { restart } from './restart.ts'
import { revisions } from './revisions.ts'
import { rollout } from './rollout.ts'
import { scheduling } from './scheduling.ts'
import type { AnyLoop } from './types.ts'

/**
 * Fresh instances for one runner. The order matters where two loops look at the same slot: who decides what runs (replicated, global, jobs) comes before who changes
 * it (rollout), that before who repairs it (restart), and placing comes last.
 */
export function allLoops(acknowledgements?: Acknowledgements): readonly AnyLoop[] {
  return [
    removal,
    nodeDown,
    replicated,
    global,
    jobs,
    rollout,
    restart,
    nodeLoss(),
    enforcer,
    release(acknowledgements),
    holds(acknowledgements),
    reaper,
    revisions,
    networkRemoval,
    allocation(),
    scheduling(),
  ]
}
