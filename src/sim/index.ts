// Door of the simulator, for tests, benchmarks and scripts.
export { type Checker, unconverged } from './checkers/index.ts'
export type { Tamper } from './host.ts'
export { createProcess, type SimProcess } from './process.ts'
export { createSimNetwork, type SimNetwork, type SimRpcOptions } from './rpc.ts'
export { DEFAULTS, describe, opsText, type RunOptions, type RunResult, replayCommand, runSeed, shrink, workloadOf } from './simulate.ts'
export { drawWorkload, type Image, type Op, type ServiceShape, type TimedOp } from './workload.ts'
export { type Violation, World, type WorldOptions } from './world.ts'
