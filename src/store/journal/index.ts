// Journals.
import type { Journal } from './types.ts'

export { createMemoryJournal, type MemoryJournalState } from './memory.ts'
export { createSealer, DATA_KEY_BYTES, isSensitive, type Sealer, sealJournal } from './sealed.ts'
export { createSimJournalDisk, type SimJournalDisk, type SimJournalOptions } from './sim.ts'
export type { CommitResult, Journal, JournalState, JournalWrite } from './types.ts'

/** The journal of a single manager in this folder. The native library is loaded only where it is used. */
export async function openLmdbJournal(folder: string): Promise<Journal> {
  return (await import('./lmdb.ts')).openLmdbJournal(folder)
}
