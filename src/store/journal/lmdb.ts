// Stores of a manager on its own disk: the journal of a single manager, and the replica cache of one among several. Both are the same lmdb file.
import { chmod, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { open } from 'lmdb'
import type { Journal, JournalWrite } from './types.ts'

const META = 'meta/'
const SEQ_KEY = `${META}seq`
const REVISION_KEY = `${META}revision`
const GROUP_KEY = `${META}group`
/** Changes that wait for the disk while a batch is being written; the one who brings more has to wait. */
const MOST_WAITING = 50_000

type File = ReturnType<typeof open<Uint8Array | string, string>>

/** `folder` is made with mode 0700; the file in it is 0600. One commit is one lmdb transaction, durable before it is acknowledged. */
export async function openLmdbJournal(folder: string): Promise<Journal> {
  const db = await openFile(folder)
  return {
    load: async () => ({ seq: Number(text(db, SEQ_KEY) ?? 0), entries: entries(db) }),
    async commit(seq, writes) {
      await db.transaction(() => {
        put(db, writes)
        db.put(SEQ_KEY, Buffer.from(String(seq)))
      })
      return 'durable'
    },
    close: () => db.close(),
  }
}

/** What a replica has on disk, so that a restart need not read everything from the group. */
export interface ReplicaCache {
  /** `revision` 0 = nothing of this group is known. */
  load(): Promise<{
    readonly seq: number
    readonly revision: number
    readonly group: string
    readonly entries: Iterable<{ readonly key: string; readonly value: Uint8Array }>
  }>
  /** Written soon, in order; a crash loses the last ones. Resolves when there is room for more. */
  apply(commit: { readonly revision: number; readonly seq: number; readonly writes: readonly JournalWrite[] }): Promise<void>
  /** Everything anew, for this group. */
  replace(
    group: string,
    state: {
      readonly revision: number
      readonly seq: number
      readonly entries: Iterable<{ readonly key: string; readonly value: Uint8Array }>
    },
  ): Promise<void>
  /** The file holds exactly the state at this revision of that group: a journal becomes a cache. */
  adopt(group: string, revision: number, seq: number): Promise<void>
  /** Everything that was given is on disk. */
  flush(): Promise<void>
  close(): Promise<void>
}

export async function openReplicaCache(folder: string): Promise<ReplicaCache> {
  const db = await openFile(folder)
  let waiting: { key: string; value: Uint8Array | undefined }[] = []
  let at: { revision: number; seq: number } | undefined
  let writing: Promise<void> | undefined
  let failure: unknown

  const write = async (): Promise<void> => {
    while (at) {
      const [writes, { revision, seq }] = [waiting, at]
      waiting = []
      at = undefined
      await db.transaction(() => {
        put(db, writes)
        mark(db, revision, seq)
      })
    }
    writing = undefined
  }
  const flush = async (): Promise<void> => {
    while (writing) await writing
    if (failure) throw failure
  }

  return {
    load: async () => ({
      seq: Number(text(db, SEQ_KEY) ?? 0),
      revision: Number(text(db, REVISION_KEY) ?? 0),
      group: text(db, GROUP_KEY) ?? '',
      entries: entries(db),
    }),
    async apply({ revision, seq, writes }) {
      if (failure) throw failure
      waiting.push(...writes)
      at = { revision, seq }
      writing ??= write().catch((error) => {
        failure = error
        writing = undefined
        at = undefined
      })
      if (waiting.length > MOST_WAITING) await writing
    },
    async replace(group, state) {
      await flush()
      await db.clearAsync()
      await db.transaction(() => {
        for (const { key, value } of state.entries) db.put(key, value)
        db.put(GROUP_KEY, Buffer.from(group))
        mark(db, state.revision, state.seq)
      })
    },
    async adopt(group, revision, seq) {
      await flush()
      await db.transaction(() => {
        db.put(GROUP_KEY, Buffer.from(group))
        mark(db, revision, seq)
      })
    },
    flush,
    async close() {
      await flush().catch(() => {}) // a cache that failed is loaded anew next time; the store is in the group
      await db.close()
    },
  }
}

async function openFile(folder: string): Promise<File> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const path = join(folder, 'store.mdb')
  // overlappingSync would resolve a commit before it is on disk (store.md 3)
  const db = open<Uint8Array | string, string>({ path, encoding: 'binary', overlappingSync: false, noSubdir: true, compression: false })
  await chmod(path, 0o600)
  return db
}

function put(db: File, writes: readonly JournalWrite[]): void {
  for (const { key, value } of writes) {
    if (value) db.put(key, value)
    else db.remove(key)
  }
}

function mark(db: File, revision: number, seq: number): void {
  db.put(REVISION_KEY, Buffer.from(String(revision)))
  db.put(SEQ_KEY, Buffer.from(String(seq)))
}

function text(db: File, key: string): string | undefined {
  const value = db.get(key)
  return value === undefined ? undefined : Buffer.from(value as Uint8Array).toString()
}

function* entries(db: File) {
  for (const { key, value } of db.getRange({ snapshot: false })) if (!key.startsWith(META)) yield { key, value: value as Uint8Array }
}
