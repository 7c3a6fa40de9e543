// Several hosts on one computer: machines with their own address, processes, files and engine, made of namespaces. This is the room's door.
export { runMachineCommand } from './cli.ts'
export { machineExec, machineRun } from './exec.ts'
export { type BuiltImages, ensureImages } from './images/index.ts'
export { inspectMachine, listMachines, type MachineInfo, machineEnv, machineIp } from './inspect.ts'
export {
  type CreateOptions,
  createMachine,
  downAll,
  type InSet,
  killMachine,
  leftovers,
  removeMachine,
  setLink,
  startMachine,
  stopMachine,
} from './lifecycle.ts'
export type { CommandResult } from './process.ts'
export { type MachineSet, type MachineSetOptions, machineSet } from './set.ts'
export type { Machine, MachineConfig, MachineState } from './state.ts'
