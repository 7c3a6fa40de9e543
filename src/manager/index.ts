// The manager's door: control operations on the cluster and where logs come from.
export type { Control, CreateServiceOptions, NodeSpecChange, UpdateClusterOptions, UpdateServiceOptions } from './control/types.ts'
export type { LogGap, LogLine, LogOptions, LogSelector, LogSource } from './logs.ts'
