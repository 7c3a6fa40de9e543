// Scheduler with store commit: pending tasks, each a group of its own, until every one has a node and the commit is durable.
//   npm run bench:scheduler [-- --only 1000x10000] [--journal memory|lmdb]
// Shapes and reference figures: SwarmKit's own benchmark (manager/scheduler, BenchmarkScheduler*), recorded on this kind of machine in CPU seconds.
// SwarmKit's store in that benchmark is memory only; its tasks have no service and no reservations (`-bare` is the same here, and what memory is compared by).
// In the other shapes each task has a service and a spec revision of its own and reserves CPU and memory: three objects a task instead of one, and the harder
// case. Each shape runs in a fresh process.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { silentLogger, type TaskId } from '../src/lib/index.ts'
import { createRunner } from '../src/loops/index.ts'
import { scheduling } from '../src/loops/scheduling.ts'
import { specRevisionOf, TaskState } from '../src/model/index.ts'
import { realClock, realRandom } from '../src/ports/index.ts'
import { createMemoryJournal, createStore, openLmdbJournal } from '../src/store/index.ts'
import { cpuSeconds, line, mib, nodeObject, serviceObject } from './measure.ts'

interface Shape {
  readonly nodes: number
  readonly tasks: number
  /** Tasks may go to every third node only. */
  readonly constrained?: boolean
  /** Tasks without a service. */
  readonly bare?: boolean
  /** CPU seconds of SwarmKit, where it was recorded. */
  readonly swarmkit?: number
  readonly target: number
}

const SHAPES: Readonly<Record<string, Shape>> = {
  '1000x1000': { nodes: 1_000, tasks: 1_000, swarmkit: 0.42, target: 0.2 },
  '1000x10000': { nodes: 1_000, tasks: 10_000, swarmkit: 3.3, target: 1.1 },
  '1000x100000': { nodes: 1_000, tasks: 100_000, swarmkit: 41, target: 6 },
  '1000x100000-third': { nodes: 1_000, tasks: 100_000, constrained: true, target: 8 },
  '1000x100000-bare': { nodes: 1_000, tasks: 100_000, bare: true, swarmkit: 41, target: 6 },
  '10000x100000': { nodes: 10_000, tasks: 100_000, target: 12 },
}

const { values: options } = parseArgs({
  options: { only: { type: 'string' }, journal: { type: 'string' }, inside: { type: 'boolean' } },
})

if (options.inside) await run(options.only ?? '', options.journal ?? 'memory')
else {
  const names = options.only ? [options.only] : Object.keys(SHAPES)
  for (const journal of options.journal ? [options.journal] : ['memory', 'lmdb']) {
    for (const name of names) {
      const file = fileURLToPath(import.meta.url)
      spawnSync(process.execPath, [...process.execArgv, file, '--inside', '--only', name, '--journal', journal], { stdio: 'inherit' })
    }
  }
}

async function run(name: string, journalKind: string): Promise<void> {
  const shape = SHAPES[name]
  if (!shape) throw new Error(`no shape ${name}: ${Object.keys(SHAPES).join(' ')}`)
  const folder = mkdtempSync(join(tmpdir(), 'shoal-bench-'))
  try {
    const journal = journalKind === 'lmdb' ? await openLmdbJournal(folder) : createMemoryJournal()
    const store = await createStore({ clock: realClock, journal, log: silentLogger })
    await store.transact((tx) => {
      for (let i = 0; i < shape.nodes; i++) tx.nodes.create(nodeObject(i, { third: String(i % 3) }))
    })
    const constraints = shape.constrained ? ['node.labels.third==0'] : []
    for (let from = 0; from < shape.tasks; from += 1_000) {
      await store.transact((tx) => {
        for (let i = from; i < Math.min(from + 1_000, shape.tasks); i++) {
          const service = shape.bare ? undefined : tx.services.create(serviceObject(i, 1, constraints))
          if (service) tx.specRevisions.create(specRevisionOf(service))
          tx.tasks.create({
            id: `task${String(i).padStart(21, '0')}` as TaskId,
            serviceId: service?.id,
            slot: 1,
            nodeId: undefined,
            specVersion: 1,
            desiredState: TaskState.RUNNING,
            status: { state: TaskState.PENDING, at: tx.now, message: 'pending task scheduling', error: '' },
            attachments: [],
          })
        }
      })
    }
    const runner = createRunner({ store, clock: realClock, random: realRandom, log: silentLogger, loops: [scheduling()] })
    const start = process.cpuUsage()
    let left = shape.tasks
    const done = new Promise<void>((resolve) => {
      store.watch(({ changes }) => {
        for (const change of changes) if (change.table === 'task' && change.after?.status.state === TaskState.ASSIGNED) left--
        if (left === 0) resolve()
      })
    })
    runner.start()
    await done
    const used = cpuSeconds(start)
    const rss = process.memoryUsage.rss()
    await runner.stop()
    const perNode = [...store.view().nodes.ids()].map((id) => [...store.view().tasks.byNode(id)].length)
    await store.close()
    const title = `scheduler ${name} ${journalKind}`
    if (shape.swarmkit) line(title, used, 'CPU-s', 'SwarmKit', shape.swarmkit)
    line(title, used, 'CPU-s', 'target', shape.target)
    if (shape.bare) line(`${title}: RSS`, mib(rss), 'MiB', 'target', 400)
    else console.log(`${title}: RSS ${mib(rss).toFixed(0)} MiB`)
    console.log(
      `${title}: tasks per node ${Math.min(...perNode)}..${Math.max(...perNode)}, ${((used / shape.tasks) * 1e6).toFixed(0)} us per task`,
    )
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
