// Managers over the model of etcd: leadership, journal, store and replica are the real ones. One run is one seed.
import type { EtcdHost } from '../../src/etcd/index.ts'
import { type SecretId, silentLogger } from '../../src/lib/index.ts'
// Leadership is not part of the manager's door: the simulator of it looks behind
import { Leadership } from '../../src/manager/leadership.ts'
import { createRandom, createVirtualClock } from '../../src/ports/fakes/index.ts'
import type { Etcd } from '../../src/ports/index.ts'
import { createSimEtcd } from '../../src/sim/etcd.ts'
import { createSealer, createStore, type Journal, openEntries, type ReplicaCache, type ReplicaStore } from '../../src/store/index.ts'

export interface RunOptions {
  readonly seed: number
  readonly managers: number
  readonly seconds: number
  /** A fault put between the managers and their members. */
  readonly mutant?: (etcd: Etcd) => Etcd
  readonly mutantStore?: (store: ReplicaStore) => ReplicaStore
}

export interface RunResult {
  readonly problems: readonly string[]
  readonly acknowledged: number
  readonly takeovers: number
}

interface Manager {
  readonly leadership: Leadership
  readonly store: ReplicaStore
}

export async function runManagers(options: RunOptions): Promise<RunResult> {
  const clock = createVirtualClock()
  const random = createRandom(`managers/${options.seed}`)
  const etcd = createSimEtcd({ clock, random, members: options.managers, lossy: 0.02 })
  const dataKey = random.bytes(32)
  const caches = Array.from({ length: options.managers }, () => memoryCache())
  const managers: (Manager | undefined)[] = []
  const problems: string[] = []
  const acknowledged = new Set<string>()
  let doubtful = 0
  let counted = 0
  let takeovers = 0

  const start = async (index: number): Promise<void> => {
    const sealer = createSealer(dataKey, random)
    const cache = caches[index] as ReplicaCache
    const journal: Journal = {
      load: async () => {
        const { seq, entries } = await cache.load()
        return { seq, entries: openEntries(entries, sealer) }
      },
      commit: () => Promise.reject(new Error('a replica is not written')),
      close: async () => {},
    }
    let leadership: Leadership | undefined
    const made = await createStore({ clock, log: silentLogger, journal, following: true, onLost: () => leadership?.storeLost() })
    const store = (options.mutantStore ?? ((one) => one))(made)
    const own = etcd.members[index] as Etcd
    leadership = new Leadership({
      store,
      clock,
      random,
      log: silentLogger,
      group: {
        host: { etcd: (options.mutant ?? ((one) => one))(own) } as EtcdHost,
        cache,
        dataKey: async () => dataKey,
        openCache: async () => cache,
        enter: async () => {},
      },
      self: () => ({ nodeId: `n${index}`, address: `m${index}:2377` }),
      onLead: () => {
        takeovers += 1
      },
      onFollow: async () => {},
    })
    await leadership.start()
    managers[index] = { leadership, store }
  }
  for (let index = 0; index < options.managers; index += 1) await start(index)

  let names = 0
  const write = (store: ReplicaStore): void => {
    const id = `s${++names}` as SecretId
    store
      .transact((tx) => {
        const counter = tx.secrets.get('counter' as SecretId)
        const count = Number(counter?.spec.labels.count ?? 0) + 1
        const spec = { name: 'counter', labels: { count: String(count) }, data: '' }
        if (counter) tx.secrets.update({ ...counter, spec })
        else tx.secrets.create({ id: 'counter' as SecretId, spec })
        tx.secrets.create({ id, spec: { name: id, labels: {}, data: '' } })
      })
      .then(
        () => {
          acknowledged.add(id)
          counted += 1
        },
        () => {
          doubtful += 1
        },
      )
  }

  const ticks = options.seconds * 20
  for (let tick = 0; tick < ticks; tick += 1) {
    for (const manager of managers) if (manager?.store.leading && random.float() < 0.8) write(manager.store)
    const chance = random.float()
    if (chance < 0.012) etcd.isolate(random.int(options.managers), true)
    else if (chance < 0.03) etcd.isolate(random.int(options.managers), false)
    else if (chance < 0.04) etcd.elect()
    else if (chance < 0.044) await etcd.members[0]?.compact(Math.max(0, etcd.revision - random.int(50)))
    else if (chance < 0.052) {
      // a manager is killed and starts again from its replica, which may be behind
      const index = random.int(options.managers)
      const manager = managers[index]
      if (manager) {
        managers[index] = undefined
        const stopping = manager.leadership.stop()
        await clock.runUntil(() => false, 500)
        await clock.advance(4_000)
        await stopping
        await start(index)
      }
    }
    await clock.advance(50)
  }

  for (let index = 0; index < options.managers; index += 1) etcd.isolate(index, false)
  await clock.advance(40_000)

  const live = managers.filter((manager): manager is Manager => manager !== undefined)
  const views = live.map(({ store }) =>
    [...store.view().secrets.values()]
      .map((secret) => `${secret.id}@${secret.version}`)
      .sort()
      .join(' '),
  )
  if (live.filter(({ store }) => store.leading).length !== 1)
    problems.push(`${live.filter(({ store }) => store.leading).length} managers lead in the end`)
  if (new Set(views).size > 1) problems.push('replicas differ')
  for (const { store } of live) {
    const lost = [...acknowledged].filter((id) => !store.view().secrets.get(id as SecretId))
    if (lost.length > 0) problems.push(`${lost.length} acknowledged writes are lost, ${lost[0]} first`)
    const count = Number(store.view().secrets.get('counter' as SecretId)?.spec.labels.count ?? 0)
    const made = store.view().secrets.size - 1
    if (count !== made) problems.push(`${made} writes counted as ${count}: one was made on a state that was not the last`)
    if (count < counted || count > counted + doubtful) problems.push(`${count} writes, ${counted} acknowledged, ${doubtful} in doubt`)
  }
  checkHistory(etcd.history, problems)
  for (const { leadership } of live) {
    const stopping = leadership.stop()
    await clock.advance(10_000)
    await stopping
  }
  return { problems: [...new Set(problems)], acknowledged: acknowledged.size, takeovers }
}

/** Every commit is of the epoch that had taken over last, and follows the one before. */
function checkHistory(
  history: readonly { readonly events: readonly { readonly key: string; readonly value: Uint8Array | undefined }[] }[],
  problems: string[],
): void {
  let epoch = 0
  let seq = 0
  const parse = (value: Uint8Array) => JSON.parse(Buffer.from(value).toString()) as { epoch: number; seq: number }
  for (const { events } of history) {
    for (const { key, value } of events) {
      if (!value) continue
      if (key === 'shoal/leader') {
        const next = parse(value).epoch
        if (next !== epoch + 1) problems.push(`epoch ${next} follows ${epoch}`)
        epoch = next
      }
      if (key === 'shoal/head') {
        const head = parse(value)
        if (head.epoch !== epoch) problems.push(`a commit of epoch ${head.epoch} was applied under epoch ${epoch}`)
        if (head.seq <= seq) problems.push(`commit ${head.seq} follows ${seq}`)
        seq = head.seq
      }
    }
  }
}

function memoryCache(): ReplicaCache {
  let state = { seq: 0, revision: 0, group: '', entries: new Map<string, Uint8Array>() }
  return {
    load: async () => ({ ...state, entries: [...state.entries].map(([key, value]) => ({ key, value })) }),
    async apply({ revision, seq, writes }) {
      for (const { key, value } of writes) {
        if (value) state.entries.set(key, value)
        else state.entries.delete(key)
      }
      state.revision = revision
      state.seq = seq
    },
    async replace(group, { revision, seq, entries }) {
      state = { group, revision, seq, entries: new Map([...entries].map(({ key, value }) => [key, value])) }
    },
    async adopt(group, revision, seq) {
      state = { ...state, group, revision, seq }
    },
    flush: async () => {},
    close: async () => {},
  }
}
