// The journal of a single manager: one lmdb file, one lmdb transaction per commit, durable before it is acknowledged.
import { chmod, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { open } from 'lmdb'
import type { Journal } from './types.ts'

const SEQ_KEY = 'meta/seq'

/** `folder` is made with mode 0700; the file in it is 0600. */
export async function openLmdbJournal(folder: string): Promise<Journal> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const path = join(folder, 'store.mdb')
  // overlappingSync would resolve a commit before it is on disk (store.md 3)
  const db = open<Uint8Array | string, string>({ path, encoding: 'binary', overlappingSync: false, noSubdir: true, compression: false })
  await chmod(path, 0o600)
  return {
    async load() {
      const seq = db.get(SEQ_KEY)
      return { seq: seq === undefined ? 0 : Number(Buffer.from(seq as Uint8Array).toString()), entries: entries() }
    },
    async commit(seq, writes) {
      await db.transaction(() => {
        for (const { key, value } of writes) {
          if (value) db.put(key, value)
          else db.remove(key)
        }
        db.put(SEQ_KEY, Buffer.from(String(seq)))
      })
      return 'durable'
    },
    close: () => db.close(),
  }

  function* entries() {
    for (const { key, value } of db.getRange({ snapshot: false })) if (key !== SEQ_KEY) yield { key, value: value as Uint8Array }
  }
}
