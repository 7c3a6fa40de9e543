// Control loops: each brings what is closer to what should be; the runner drives them.
export { allLoops } from './all.ts'
export { networkHasTasks } from './networkRemoval.ts'
export { type Acknowledged, type Acknowledgements, AT_ONCE } from './release.ts'
export { createRunner, type Runner, type RunnerOptions } from './runner.ts'
export { isGlobal, isJob, isLive, isServed } from './tasks.ts'
export type { AnyLoop, BatchLoop, Context, IdSource, Loop, Outcome } from './types.ts'
export { KeyFailure, WorkLimit } from './types.ts'
