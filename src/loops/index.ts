// Control loops: each brings what is closer to what should be; the runner drives them.
export { allLoops } from './all.ts'
export {
  explainService,
  explainTask,
  type NodeVerdict,
  type Placement,
  type ServiceExplanation,
  type TaskExplanation,
  type TaskVerdict,
} from './explain.ts'
export { networkHasTasks } from './networkRemoval.ts'
export { planChange, type ServicePlan, type SpecDifference } from './plan.ts'
export { type Acknowledged, type Acknowledgements, AT_ONCE } from './release.ts'
export { createRunner, type Runner, type RunnerOptions } from './runner.ts'
export { isGlobal, isJob, isLive, isServed } from './tasks.ts'
export type { AnyLoop, BatchLoop, Context, IdSource, Loop, Outcome } from './types.ts'
export { KeyFailure, WorkLimit } from './types.ts'
