// The store's promises: savepoints, order, durability, what watchers see.
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { isShoalError, type NodeId, type ServiceId, silentLogger, type TaskId } from '../../src/lib/index.ts'
import { type Service, type Task, TaskState } from '../../src/model/index.ts'
import type { Clock } from '../../src/ports/index.ts'
import {
  type Change,
  createMemoryJournal,
  createStore,
  type Fresh,
  type Journal,
  openLmdbJournal,
  type Store,
} from '../../src/store/index.ts'

let wall = 1_000
const clock = { now: () => wall } as Clock
const open = (journal: Journal) => createStore({ clock, journal, log: silentLogger })

const service = (name: string): Fresh<Service> => ({
  id: `id-${name}` as ServiceId,
  spec: { name, labels: {}, task: { forceUpdate: 0 }, mode: { kind: 'global' } },
  specVersion: 1,
})
const task = (id: string, serviceId: string, nodeId?: string, slot = 1): Fresh<Task> => ({
  id: id as TaskId,
  serviceId: serviceId as ServiceId,
  slot,
  nodeId: nodeId as NodeId | undefined,
  specVersion: 1,
  desiredState: TaskState.RUNNING,
  status: { state: TaskState.NEW, at: 1, message: 'created', error: '' },
  attachments: [],
})
const ids = (items: Iterable<{ id: string }>) => [...items].map((item) => item.id).sort()

test('a transaction sees its own writes and those queued before it; readers see them only when durable', async () => {
  const store = await open(createMemoryJournal())
  const first = store.transact((tx) => tx.services.create(service('web')))
  const second = store.transact((tx) => tx.services.byName('WEB')?.id)
  assert.equal(store.view().services.size, 0)
  assert.equal((await first).version, 1)
  assert.equal(await second, 'id-web')
  assert.equal(store.view().services.byName('web')?.id, 'id-web')
  assert.equal(store.view().services.size, 1)
})

test('a transaction that throws is undone alone', async () => {
  const store = await open(createMemoryJournal())
  const good = store.transact((tx) => tx.services.create(service('a')))
  const bad = store.transact((tx) => {
    tx.services.create(service('b'))
    tx.services.delete('id-a' as ServiceId)
    throw new Error('changed my mind')
  })
  const after = store.transact((tx) => ids(tx.services.values()))
  await good
  await assert.rejects(bad, /changed my mind/)
  assert.deepEqual(await after, ['id-a'])
  assert.deepEqual(ids(store.view().services.values()), ['id-a'])
})

test('names are unique without regard to case, and free again after removal', async () => {
  const store = await open(createMemoryJournal())
  await store.transact((tx) => tx.services.create(service('web')))
  await assert.rejects(
    store.transact((tx) => tx.services.create({ ...service('WEB'), id: 'other' as ServiceId })),
    (error) => isShoalError(error, 'already-exists') && /already exists/.test(error.message),
  )
  await store.transact((tx) => {
    tx.services.delete('id-web' as ServiceId)
    tx.services.create({ ...service('web'), id: 'other' as ServiceId })
  })
  assert.equal(store.view().services.byName('web')?.id, 'other')
})

test('a stale version is out of sequence and changes nothing', async () => {
  const store = await open(createMemoryJournal())
  const made = await store.transact((tx) => tx.services.create(service('web')))
  const newer = await store.transact((tx) => tx.services.updateIfVersion({ ...made, specVersion: 2 }, made.version))
  await assert.rejects(
    store.transact((tx) => tx.services.updateIfVersion({ ...made, specVersion: 3 }, made.version)),
    (error) => isShoalError(error, 'unknown') && error.message === 'update out of sequence',
  )
  assert.equal(store.view().services.get(made.id), newer)
})

test('every transaction has a sequence number of its own, even within one batch', async () => {
  const store = await open(createMemoryJournal())
  const made = await Promise.all(['a', 'b', 'c'].map((name) => store.transact((tx) => tx.services.create(service(name)))))
  assert.deepEqual(
    made.map((object) => object.version),
    [1, 2, 3],
  )
  assert.equal(store.view().seq, 3)
})

test('instants do not run backwards when the wall clock does', async () => {
  const store = await open(createMemoryJournal())
  wall = 5_000
  const a = await store.transact((tx) => tx.services.create(service('a')))
  wall = 4_000
  const b = await store.transact((tx) => tx.services.create(service('b')))
  assert.ok(b.createdAt >= a.createdAt)
})

test('a journal that refuses loses nothing that was acknowledged and shows nothing that was not', async () => {
  const memory = createMemoryJournal()
  let refuse = false
  let lost: string | undefined
  const journal: Journal = { ...memory, commit: async (seq, writes) => (refuse ? 'in-doubt' : memory.commit(seq, writes)) }
  const store = await createStore({ clock, journal, log: silentLogger, onLost: (reason) => (lost = reason) })
  await store.transact((tx) => tx.services.create(service('kept')))
  refuse = true
  const failing = store.transact((tx) => tx.services.create(service('dropped')))
  await assert.rejects(failing, (error) => isShoalError(error, 'unavailable'))
  assert.equal(lost, 'in-doubt')
  assert.deepEqual(ids(store.view().services.values()), ['id-kept'])
  await assert.rejects(
    store.transact(() => 1),
    (error) => isShoalError(error, 'unavailable'),
  )
})

test('what is made and removed within one batch leaves no trace for watchers and journal', async () => {
  const state = { seq: 0, entries: new Map<string, Uint8Array>() }
  const store = await open(createMemoryJournal(state))
  const seen: Change[] = []
  store.watch((commit) => seen.push(...commit.changes))
  const a = store.transact((tx) => tx.services.create(service('brief')))
  const b = store.transact((tx) => tx.services.delete('id-brief' as ServiceId))
  await Promise.all([a, b])
  assert.equal(seen.length, 0)
  assert.equal(state.entries.size, 0)
})

type Model = Map<string, { service: string; node: string | undefined; slot: number }>

test('indexes, size and look-ups agree with a plain model through random transactions, undone ones and reloads', async () => {
  const op = fc.record({
    kind: fc.constantFrom('put', 'delete', 'fail', 'move', 'await'),
    id: fc.integer({ min: 0, max: 9 }),
    service: fc.constantFrom('s1', 's2'),
    node: fc.constantFrom('n1', 'n2', undefined),
    slot: fc.nat(2),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(op, { maxLength: 60, size: 'max' }), async (ops) => {
      const state = { seq: 0, entries: new Map<string, Uint8Array>() }
      const store = await open(createMemoryJournal(state))
      const model: Model = new Map()
      let pending: Promise<unknown>[] = []
      for (const { kind, id: n, service: serviceId, node, slot } of ops) {
        const id = `t${n}`
        if (kind === 'await') {
          await Promise.all(pending)
          pending = []
          check(store, model)
        } else if (kind === 'delete') {
          model.delete(id)
          pending.push(store.transact((tx) => tx.tasks.delete(id as TaskId)))
        } else if (kind === 'fail') {
          pending.push(
            store
              .transact((tx) => {
                write(tx.tasks, task(id, serviceId, node, slot))
                tx.tasks.delete('t0' as TaskId)
                throw new Error('undo')
              })
              .catch(() => {}),
          )
        } else {
          model.set(id, { service: serviceId, node, slot })
          pending.push(store.transact((tx) => write(tx.tasks, task(id, serviceId, node, slot))))
        }
      }
      pending.push(
        store.transact((tx) => {
          for (const key of ['s1', 's2'])
            assert.deepEqual(
              ids(tx.tasks.byService(key as ServiceId)),
              [...model]
                .filter(([, value]) => value.service === key)
                .map(([id]) => id)
                .sort(),
            )
          assert.equal(tx.tasks.size, model.size)
          checkSlots(tx.tasks, model)
        }),
      )
      await Promise.all(pending)
      check(store, model)
      check(await open(createMemoryJournal(state)), model)
    }),
    { numRuns: 200 },
  )

  function write(
    tasks: { get(id: TaskId): Task | undefined; create(object: Fresh<Task>): Task; update(object: Task): Task },
    object: Fresh<Task>,
  ) {
    const current = tasks.get(object.id)
    return current ? tasks.update({ ...current, ...object }) : tasks.create(object)
  }

  function checkSlots(tasks: { bySlot(serviceId: ServiceId, slot: number): readonly Task[] }, model: Model) {
    for (const service of ['s1', 's2'])
      for (const slot of [0, 1, 2])
        assert.deepEqual(
          ids(tasks.bySlot(service as ServiceId, slot)),
          [...model]
            .filter(([, value]) => value.service === service && value.slot === slot)
            .map(([id]) => id)
            .sort(),
        )
  }

  function check(store: Store, model: Model) {
    const view = store.view()
    checkSlots(view.tasks, model)
    assert.equal(view.tasks.size, model.size)
    assert.deepEqual(ids(view.tasks.values()), [...model.keys()].sort())
    for (const key of ['s1', 's2'])
      assert.deepEqual(
        ids(view.tasks.byService(key as ServiceId)),
        [...model]
          .filter(([, value]) => value.service === key)
          .map(([id]) => id)
          .sort(),
      )
    for (const key of ['n1', 'n2'])
      assert.deepEqual(
        ids(view.tasks.byNode(key as NodeId)),
        [...model]
          .filter(([, value]) => value.node === key)
          .map(([id]) => id)
          .sort(),
      )
  }
})

test('lmdb gives back after a reopen what was acknowledged, and the sequence goes on', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-store-'))
  try {
    const store = await open(await openLmdbJournal(folder))
    await store.transact((tx) => tx.services.create(service('web')))
    await store.transact((tx) => tx.tasks.create(task('t1', 'id-web', 'n1')))
    await store.transact((tx) => tx.tasks.delete('t1' as TaskId))
    const kept = await store.transact((tx) => tx.tasks.create(task('t2', 'id-web', 'n1', 3)))
    await store.close()
    const again = await open(await openLmdbJournal(folder))
    assert.equal(again.view().seq, 4)
    assert.deepEqual(again.view().tasks.get('t2' as TaskId), kept)
    assert.deepEqual(ids(again.view().tasks.byNode('n1' as NodeId)), ['t2'])
    assert.equal((await again.transact((tx) => tx.services.create(service('next')))).version, 5)
    await again.close()
  } finally {
    await rm(folder, { recursive: true })
  }
})
