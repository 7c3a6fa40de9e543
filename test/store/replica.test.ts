// A store that moves to another journal while it is written, follows another manager's commits, and takes over.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type SecretId, silentLogger } from '../../src/lib/index.ts'
import { createVirtualClock } from '../../src/ports/fakes/index.ts'
import { createMemoryJournal, createStore, type JournalWrite, type MemoryJournalState, type Store } from '../../src/store/index.ts'

const fresh = (): MemoryJournalState => ({ seq: 0, entries: new Map() })
const open = (state: MemoryJournalState, following = false) =>
  createStore({ clock: createVirtualClock(), journal: createMemoryJournal(state), log: silentLogger, following })
const put = (store: Store, id: string) =>
  store.transact((tx) => tx.secrets.create({ id: id as SecretId, spec: { name: id, labels: {}, data: '' } }))
const ids = (store: Store): string[] => [...store.view().secrets.ids()].sort()

test('a move copies everything while writes go on; what is acknowledged afterwards is in the new journal only', async () => {
  const [before, after] = [fresh(), fresh()]
  const store = await open(before)
  for (let n = 0; n < 1200; n += 1) await put(store, `a${n}`)
  const during: Promise<unknown>[] = []
  const copied: JournalWrite[] = []
  let n = 0
  await store.moveTo({
    async copy(writes) {
      copied.push(...writes)
      during.push(put(store, `b${n++}`))
      during.push(store.transact((tx) => tx.secrets.delete(`a${n}` as SecretId)))
      await new Promise((resolve) => setImmediate(resolve))
    },
    async finish(seq) {
      for (const { key, value } of copied) {
        if (value) after.entries.set(key, value)
        else after.entries.delete(key)
      }
      after.seq = seq
      return createMemoryJournal(after)
    },
  })
  await Promise.all(during)
  const seqBefore = before.seq
  await put(store, 'last')
  assert.equal(before.seq, seqBefore, 'the old journal is left alone')
  const again = await open(after)
  assert.deepEqual(ids(again), ids(store))
  assert.equal(again.view().seq, store.view().seq)
  assert.ok(n >= 3 && ids(store).includes('last') && !ids(store).includes('a1'))
})

test('a move that fails leaves the store as it was', async () => {
  const state = fresh()
  const store = await open(state)
  await put(store, 'a')
  await assert.rejects(
    store.moveTo({
      copy: async () => {},
      finish: () => Promise.reject(new Error('no room')),
    }),
    /no room/,
  )
  await put(store, 'b')
  assert.deepEqual(ids(await open(state)), ['a', 'b'])
})

test('a replica shows what the leader committed, refuses to be written, takes over, and steps back', async () => {
  const leader = await open(fresh())
  const replica = await open(fresh(), true)
  const seen: number[] = []
  replica.watch(({ seq }) => seen.push(seq))
  await assert.rejects(put(replica, 'x'), { code: 'unavailable' })

  const state = fresh()
  const journal = createMemoryJournal(state)
  const mirrored = await createStore({
    clock: createVirtualClock(),
    log: silentLogger,
    journal: {
      ...journal,
      async commit(seq, writes) {
        replica.apply(seq, writes)
        replica.apply(seq, writes) // once more: it is known already
        return journal.commit(seq, writes)
      },
    },
  })
  await put(mirrored, 'a')
  await put(mirrored, 'b')
  await mirrored.transact((tx) => tx.secrets.delete('a' as SecretId))
  assert.deepEqual(ids(replica), ['b'])
  assert.deepEqual(seen, [1, 2, 3])

  const own = fresh()
  replica.lead(createMemoryJournal(own))
  await put(replica, 'c')
  assert.equal(own.seq, 4)
  assert.throws(() => replica.apply(5, []), /takes no changes/)
  await replica.follow()
  await assert.rejects(put(replica, 'd'), { code: 'unavailable' })

  const { seq, entries } = await createMemoryJournal(state).load()
  replica.reset(seq + 10, entries)
  assert.deepEqual(ids(replica), ['b'], 'what the others do not know is gone')
  assert.equal(replica.view().seq, seq + 10)
  await leader.close()
})
