// Real etcd: the journal of several managers, membership, and what happens when a member is lost.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { whyUnfit } from '../../src/etcd/index.ts'
import { realClock } from '../../src/ports/index.ts'
import { createEtcdJournal, followEtcd, type JournalWrite, loadEtcd, type ReplicaEvent, takeOver } from '../../src/store/index.ts'
import { type Group, startGroup } from './group.ts'

let group: Group
before(async () => {
  group = await startGroup(3, 23_400)
})
after(async () => {
  await group.stop()
})

const self = { nodeId: 'n1', address: '127.0.0.1:2377' }
const write = (key: string, text: string): JournalWrite => ({ key, value: Buffer.from(text) })

test('commits of a term arrive at a replica in order and whole, and a takeover ends the term', async () => {
  const etcd = group.clients[await group.leader()]!
  const term = await takeOver(etcd, self)
  assert.ok(term)
  const stop = new AbortController()
  const seen: ReplicaEvent[] = []
  const done = (async () => {
    const replica = group.clients[((await group.leader()) + 1) % 3]!
    for await (const event of followEtcd(replica, term.revision, stop.signal)) {
      seen.push(event)
      if (event.seq === 3) break
    }
  })()
  const journal = createEtcdJournal({ etcd, clock: realClock, term })
  assert.equal(await journal.commit(1, [write('node/a', '1'), write('node/b', '1')]), 'durable')
  assert.equal(await journal.commit(2, [write('node/a', '2'), { key: 'node/b', value: undefined }]), 'durable')
  assert.equal(
    await journal.commit(
      3,
      Array.from({ length: 1000 }, (_, n) => write(`task/${n}`, 'x'.repeat(600))),
    ),
    'durable',
  )
  await done
  stop.abort()
  assert.deepEqual(
    seen.map(({ seq, writes, leader }) => [seq, writes.length, leader?.epoch]),
    [
      [undefined, 0, 1],
      [1, 2, undefined],
      [2, 2, undefined],
      [3, 1000, undefined],
    ],
  )

  const next = await takeOver(etcd, { ...self, nodeId: 'n2' })
  assert.equal(next?.seq, 3)
  assert.equal(next?.leader.epoch, 2)
  assert.equal(await journal.commit(4, [write('node/a', 'late')]), 'deposed')
  const state = await loadEtcd(etcd, ['node', 'task'])
  assert.equal(state.entries.length, 1001)
  assert.equal(Buffer.from(state.entries[0]!.value).toString(), '2')
  assert.equal(state.leader?.nodeId, 'n2')
})

test('a commit whose answer was lost is repeated and applied once', async () => {
  const etcd = group.clients[await group.leader()]!
  const term = await takeOver(etcd, self)
  assert.ok(term)
  let lost = 0
  const lossy = {
    ...etcd,
    async txn(...args: Parameters<typeof etcd.txn>) {
      const result = await etcd.txn(...args)
      lost += 1
      if (lost % 2 === 1) throw Object.assign(new (await import('../../src/lib/index.ts')).ShoalError('deadline-exceeded', 'lost'))
      return result
    },
  }
  const journal = createEtcdJournal({ etcd: lossy, clock: realClock, term })
  const revisionBefore = term.revision
  for (let n = 1; n <= 5; n += 1) assert.equal(await journal.commit(term.seq + n, [write('node/once', String(n))]), 'durable')
  assert.equal(lost, 10)
  assert.equal(journal.revision, revisionBefore + 5, 'each was applied once')
})

test('replicas that fell behind a compaction are told so', async () => {
  const etcd = group.clients[await group.leader()]!
  const { revision } = await etcd.status()
  await etcd.compact(revision)
  await assert.rejects(
    async () => {
      for await (const _ of followEtcd(etcd, 2, new AbortController().signal)) break
    },
    { code: 'out-of-range' },
  )
})

test('the loss of the leading member costs an election and no acknowledged commit', async () => {
  const first = await group.leader()
  const term = await takeOver(group.clients[first]!, self)
  assert.ok(term)
  const journal = createEtcdJournal({ etcd: group.clients[first]!, clock: realClock, term })
  assert.equal(await journal.commit(term.seq + 1, [write('node/kept', 'yes')]), 'durable')
  await group.hosts[first]!.stop()
  let leader = -1
  while (leader < 0) {
    await realClock.sleep(100)
    for (const [index, client] of group.clients.entries()) {
      if (index === first) continue
      const status = await client.status().catch(() => undefined)
      if (status && status.leaderId === status.memberId) leader = index
    }
  }
  const state = await loadEtcd(group.clients[leader]!, ['node'])
  assert.equal(state.seq, term.seq + 1)
  assert.ok(state.entries.some(({ key }) => key === 'node/kept'))
  const next = await takeOver(group.clients[leader]!, { ...self, nodeId: 'n3' })
  assert.equal(next?.leader.epoch, term.leader.epoch + 1)
})

test('etcd versions that lose promotions are refused by name', () => {
  for (const good of ['3.4.23', '3.4.45', '3.5.31', '3.6.12', '3.7.1']) assert.equal(whyUnfit(good), undefined)
  for (const bad of ['3.3.27', '3.4.22', '3.5.30', '3.6.11', '']) assert.ok(whyUnfit(bad))
})
