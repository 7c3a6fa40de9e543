// Journals.
import type { ReplicaCache } from './lmdb.ts'
import type { Journal } from './types.ts'

export {
  createEtcdJournal,
  type EtcdJournal,
  type EtcdState,
  finishLoad,
  followEtcd,
  holdsTerm,
  type LeaderRecord,
  loadEtcd,
  loadInto,
  type ReplicaEvent,
  type Term,
  takeOver,
} from './etcd.ts'
export type { ReplicaCache } from './lmdb.ts'
export { createMemoryJournal, type MemoryJournalState } from './memory.ts'
export { createSealer, DATA_KEY_BYTES, openEntries, openWrites, type Sealer, sealJournal, sealWrites } from './sealed.ts'
export { createSimJournalDisk, type SimJournalDisk, type SimJournalOptions } from './sim.ts'
export type { CommitResult, Journal, JournalState, JournalWrite } from './types.ts'

/** The journal of a single manager in this folder. The native library is loaded only where it is used. */
export async function openLmdbJournal(folder: string): Promise<Journal> {
  return (await import('./lmdb.ts')).openLmdbJournal(folder)
}

/** The replica cache of one of several managers, in the same file. */
export async function openReplicaCache(folder: string): Promise<ReplicaCache> {
  return (await import('./lmdb.ts')).openReplicaCache(folder)
}
