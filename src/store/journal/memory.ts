// A journal that forgets with the process: for tests. The map can be handed to a second journal, as a disk would be.
import type { Journal } from './types.ts'

export interface MemoryJournalState {
  seq: number
  readonly entries: Map<string, Uint8Array>
}

export function createMemoryJournal(state: MemoryJournalState = { seq: 0, entries: new Map() }): Journal {
  return {
    load: async () => ({ seq: state.seq, entries: [...state.entries].map(([key, value]) => ({ key, value })) }),
    async commit(seq, writes) {
      for (const { key, value } of writes) {
        if (value) state.entries.set(key, value)
        else state.entries.delete(key)
      }
      state.seq = seq
      return 'durable'
    },
    close: async () => {},
  }
}
