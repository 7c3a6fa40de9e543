// The store: desired and observed state of the cluster, one writer, everything else a projection of it.
export { putHold } from './holds.ts'
export * from './journal/index.ts'
export { createStore, type StoreOptions } from './store.ts'
export { oldestFirst, outOfSequence, TABLE_NAMES } from './tables.ts'
export type * from './types.ts'
