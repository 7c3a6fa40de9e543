// What the journal holds of secrets, keys and credentials is sealed; what it opens is what was written.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { silentLogger } from '../../src/lib/index.ts'
import { createVirtualClock } from '../../src/ports/fakes/index.ts'
import { realRandom } from '../../src/ports/index.ts'
import {
  createMemoryJournal,
  createSealer,
  createStore,
  DATA_KEY_BYTES,
  type MemoryJournalState,
  sealJournal,
} from '../../src/store/index.ts'

const CANARY = 'canary-of-a-secret'
const data = Buffer.from(CANARY).toString('base64')

function open(state: MemoryJournalState, key: Uint8Array) {
  const journal = sealJournal(createMemoryJournal(state), createSealer(key, realRandom))
  return createStore({ clock: createVirtualClock(), journal, log: silentLogger })
}

const spec = { name: 's', labels: {}, data }

test('a secret is nowhere in the journal, and comes back after a restart', async () => {
  const state: MemoryJournalState = { seq: 0, entries: new Map() }
  const key = realRandom.bytes(DATA_KEY_BYTES)
  const store = await open(state, key)
  const { id } = await store.transact((tx) => tx.secrets.create({ id: 'a' as never, spec }))
  await store.close()
  for (const value of state.entries.values()) {
    const text = Buffer.from(value).toString('latin1')
    assert.ok(!text.includes(CANARY) && !text.includes(data))
  }
  const again = await open(state, key)
  assert.equal(again.view().secrets.get(id)?.spec.data, data)
})

test('another data key, a changed byte and an exchanged value are refused', async () => {
  const state: MemoryJournalState = { seq: 0, entries: new Map() }
  const key = realRandom.bytes(DATA_KEY_BYTES)
  const store = await open(state, key)
  await store.transact((tx) => {
    tx.secrets.create({ id: 'a' as never, spec })
    tx.secrets.create({ id: 'b' as never, spec: { ...spec, name: 't' } })
  })
  await assert.rejects(open(state, realRandom.bytes(DATA_KEY_BYTES)), /cannot be opened with this data key/)
  const a = state.entries.get('secret/a')!
  const b = state.entries.get('secret/b')!
  state.entries.set('secret/a', b)
  await assert.rejects(open(state, key), /cannot be opened/)
  const broken = Buffer.from(a)
  broken[20]! ^= 1
  state.entries.set('secret/a', broken)
  await assert.rejects(open(state, key), /cannot be opened/)
})

test('a store written before sealing is read, and its next change is sealed', async () => {
  const state: MemoryJournalState = { seq: 0, entries: new Map() }
  const plain = await createStore({ clock: createVirtualClock(), journal: createMemoryJournal(state), log: silentLogger })
  await plain.transact((tx) => tx.secrets.create({ id: 'a' as never, spec }))
  await plain.close()
  const store = await open(state, realRandom.bytes(DATA_KEY_BYTES))
  await store.transact((tx) => tx.secrets.update({ ...tx.secrets.get('a' as never)!, spec: { ...spec, labels: { x: 'y' } } }))
  assert.ok(!Buffer.from(state.entries.get('secret/a')!).toString('latin1').includes(data))
})
