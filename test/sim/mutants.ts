// Faults seeded into the program: each is a mistake that somebody could make, and each must be caught by a checker within a few seeds.
import { type AnyLoop, allLoops, type BatchLoop, type Context, type Loop } from '../../src/loops/index.ts'
import { startManager } from '../../src/manager/index.ts'
import { isTerminal, type Node, type Service, type Task, TaskState } from '../../src/model/index.ts'
import type { Channel } from '../../src/ports/index.ts'
import { Dispatcher } from '../../src/proto/index.ts'
import type { Tamper } from '../../src/sim/index.ts'
import type { Commit, View } from '../../src/store/index.ts'

export interface Mutant {
  readonly name: string
  /** Rules of which at least one must be broken first. */
  readonly caughtBy: readonly string[]
  /** Made anew for each run. */
  tamper(): Tamper
}

const mutants: Mutant[] = []
const mutant = (name: string, caughtBy: readonly string[], tamper: () => Tamper) => mutants.push({ name, caughtBy, tamper })
export const MUTANTS: readonly Mutant[] = mutants

/** A manager with changed loops. */
const withLoops = (change: (loops: readonly AnyLoop[]) => readonly AnyLoop[]) => (): Tamper => ({
  manager: (deps) => startManager({ ...deps, loops: (acknowledgements) => change(allLoops(acknowledgements)) }),
})

const without = (name: string) => withLoops((loops) => loops.filter((loop) => loop.name !== name))

const changeLoop = (name: string, change: (loop: Loop) => Loop) =>
  withLoops((loops) => loops.map((loop) => (loop.name === name && loop.kind === 'loop' ? change(loop) : loop)))

const changeBatch = (name: string, change: (loop: BatchLoop) => BatchLoop) =>
  withLoops((loops) => loops.map((loop) => (loop.name === name && loop.kind === 'batch' ? change(loop) : loop)))

/** The same object, but for the members that are given. */
function lie<T extends object>(truth: T, lies: Partial<T>): T {
  return new Proxy(truth, {
    get(target, key) {
      if (key in lies) return Reflect.get(lies, key)
      const value = Reflect.get(target, key, target) as unknown
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

const lieIn = (ctx: Context, lies: Partial<Context['tx']>): Context => ({ ...ctx, tx: lie(ctx.tx, lies) })

/** A batch loop that sees other nodes than there are. */
function blindTo(loop: BatchLoop, see: (node: Node) => Node): BatchLoop {
  const view = <V extends View>(truth: V): V =>
    lie(truth, {
      nodes: lie(truth.nodes, {
        get: (id) => {
          const node = truth.nodes.get(id)
          return node && see(node)
        },
        values: () => [...truth.nodes.values()].map(see),
      }),
    } as Partial<V>)
  const commit = (truth: Commit): Commit => ({
    ...truth,
    changes: truth.changes.map((change) =>
      change.table === 'node'
        ? { ...change, before: change.before && see(change.before), after: change.after && see(change.after) }
        : change,
    ),
  })
  return {
    ...loop,
    reset: (truth) => loop.reset(view(truth)),
    observe: (truth, after) => loop.observe(commit(truth), view(after)),
    keys: (truth) => loop.keys(view(truth)),
    dirty: (change, truth) => loop.dirty(change, view(truth)),
    run: (ctx, keys) => loop.run({ ...ctx, tx: view(ctx.tx) }, keys),
  }
}

// Loops that are missing.
mutant('removed services keep their tasks', ['convergence'], without('removal'))
mutant('global services get no tasks', ['convergence'], without('global'))
mutant('history is never reaped', ['history'], without('reaper'))
mutant('updates are never rolled out', ['convergence'], without('rollout'))
mutant('tasks that end are never replaced', ['convergence'], without('restart'))
mutant('tasks are never reported as served', ['convergence'], without('release'))
mutant('jobs are never begun', ['convergence'], without('jobs'))
mutant('nobody gives tasks a node', ['convergence'], without('scheduling'))
mutant('nobody gives tasks their addresses and ports', ['convergence'], without('allocation'))

// A runner that does not look everywhere.
const everyLoop = (change: (loop: AnyLoop) => AnyLoop) => withLoops((loops) => loops.map(change))
mutant(
  'loops are not told of deletions',
  ['convergence'],
  everyLoop((loop) => ({
    ...loop,
    *dirty(change, view) {
      if (change.after) yield* loop.dirty(change, view)
    },
  })),
)
mutant(
  'loops are not told of changes of nodes',
  ['convergence'],
  everyLoop((loop) => ({
    ...loop,
    *dirty(change, view) {
      if (change.table !== 'node') yield* loop.dirty(change, view)
    },
  })),
)
mutant(
  'what does not fit into a turn is forgotten',
  ['convergence'],
  changeBatch('scheduling', (loop) => ({
    ...loop,
    run(ctx, keys) {
      loop.run(ctx, new Set([...keys].slice(0, 1)))
      for (const key of [...keys]) keys.delete(key)
      return 'done'
    },
  })),
)
mutant(
  'a task that was told to stop is wanted again',
  ['task-life'],
  withLoops((loops) => [
    ...loops,
    {
      kind: 'loop',
      name: 'mutant',
      keys: () => [],
      *dirty(change) {
        if (change.table === 'task' && change.after && change.after.desiredState > TaskState.COMPLETE && change.after.version % 5 === 0)
          yield change.id
      },
      reconcile(ctx, key) {
        const task = ctx.tx.tasks.get(key as Task['id'])
        if (task && task.desiredState > TaskState.COMPLETE && !isTerminal(task.status.state))
          ctx.tx.tasks.update({ ...task, desiredState: TaskState.RUNNING })
        return 'done'
      },
    },
  ]),
)

mutant('tasks are told to stop before the mesh has withdrawn them', ['withdrawn-before-stop'], () => ({
  manager: (deps) => startManager({ ...deps, loops: () => allLoops() }),
}))

// Planners that count or look wrongly.
mutant(
  'one replica too few',
  ['convergence'],
  changeLoop('replicated', (loop) => ({
    ...loop,
    reconcile: (ctx, key) => {
      const service = ctx.tx.services.get(key as Service['id'])
      if (service?.spec.mode.kind !== 'replicated' || service.spec.mode.replicas < 3) return loop.reconcile(ctx, key)
      const fewer: Service = {
        ...service,
        spec: { ...service.spec, mode: { ...service.spec.mode, replicas: service.spec.mode.replicas - 1 } },
      }
      return loop.reconcile(lieIn(ctx, { services: lie(ctx.tx.services, { get: () => fewer }) }), key)
    },
  })),
)
mutant(
  'the scheduler does not see that a node is drained or paused',
  ['assignment'],
  changeBatch('scheduling', (loop) => blindTo(loop, (node) => ({ ...node, spec: { ...node.spec, availability: 'active' } }))),
)
mutant(
  'the scheduler does not see that a node is down',
  ['assignment'],
  changeBatch('scheduling', (loop) => blindTo(loop, (node) => ({ ...node, status: { ...node.status, state: 'ready' } }))),
)
mutant(
  'the scheduler looks at a waiting task once and never again',
  ['convergence'],
  changeBatch('scheduling', (loop) => ({
    ...loop,
    *dirty(change, view) {
      if (change.table === 'task' && !change.before) yield* loop.dirty(change, view)
    },
  })),
)
mutant(
  'a replacement does not wait for the task that still stops',
  ['slots'],
  changeLoop('restart', (loop) => ({
    ...loop,
    reconcile: (ctx, key) => {
      const gone = (task: Task) => task.desiredState > TaskState.COMPLETE && !isTerminal(task.status.state)
      const { tasks } = ctx.tx
      const blind = lie(tasks, {
        bySlot: (id, slot) => tasks.bySlot(id, slot).filter((task) => !gone(task)),
        byNode: (id) => [...tasks.byNode(id)].filter((task) => !gone(task)),
      })
      return loop.reconcile(lieIn(ctx, { tasks: blind }), key)
    },
  })),
)
mutant(
  'a restart delay never ends',
  ['convergence'],
  changeLoop('restart', (loop) => ({
    ...loop,
    reconcile: (ctx, key) => {
      const outcome = loop.reconcile(ctx, key)
      return typeof outcome === 'object' ? 'done' : outcome
    },
  })),
)
mutant(
  'every update is carried out start-first',
  ['slots'],
  changeLoop('rollout', (loop) => ({
    ...loop,
    reconcile: (ctx, key) => {
      const { services } = ctx.tx
      const hurried = (service: Service | undefined): Service | undefined =>
        service?.spec.update && { ...service, spec: { ...service.spec, update: { ...service.spec.update, order: 'start-first' } } }
      const truth = services.get(key as Service['id'])
      const wrong = lie(services, {
        get: (id) => hurried(services.get(id)) ?? services.get(id),
        update: (service) => services.update(truth ? { ...service, spec: truth.spec } : service),
      })
      return loop.reconcile(lieIn(ctx, { services: wrong }), key)
    },
  })),
)
mutant(
  'the allocator forgets what tasks hold',
  ['one-owner-per-address'],
  changeBatch('allocation', (loop) => ({
    ...loop,
    run: (ctx, keys) => {
      loop.reset(lie(ctx.tx as View, { tasks: lie(ctx.tx.tasks, { values: () => [] }) as View['tasks'] }))
      return loop.run(ctx, keys)
    },
  })),
)
mutant(
  'servedAt is set again and again',
  ['task-life'],
  withLoops((loops) => [
    ...loops,
    {
      kind: 'loop',
      name: 'mutant',
      keys: () => [],
      *dirty(change) {
        if (change.table === 'task' && change.after?.servedAt !== undefined && change.before?.servedAt === undefined) yield change.id
      },
      reconcile(ctx, key) {
        const task = ctx.tx.tasks.get(key as Task['id'])
        if (task) ctx.tx.tasks.update({ ...task, servedAt: ctx.now + 1 })
        return 'done'
      },
    },
  ]),
)
mutant(
  'the reaper takes a task that runs',
  ['task-life', 'convergence'],
  withLoops((loops) => [
    ...loops,
    {
      kind: 'loop',
      name: 'mutant',
      keys: () => [],
      *dirty(change, view) {
        if (change.table === 'task' && change.before && !change.after && view.seq % 3 === 0) yield* [...view.tasks.ids()].slice(0, 1)
      },
      reconcile(ctx, key) {
        ctx.tx.tasks.delete(key as Task['id'])
        return 'done'
      },
    },
  ]),
)
mutant(
  'a task goes back to an earlier state',
  ['task-life'],
  withLoops((loops) => [
    ...loops,
    {
      kind: 'loop',
      name: 'mutant',
      keys: () => [],
      *dirty(change) {
        if (change.table === 'task' && change.after?.status.state === TaskState.RUNNING && change.after.version % 7 === 0) yield change.id
      },
      reconcile(ctx, key) {
        const task = ctx.tx.tasks.get(key as Task['id'])
        if (task?.status.state === TaskState.RUNNING)
          ctx.tx.tasks.update({ ...task, status: { ...task.status, state: TaskState.STARTING } })
        return 'done'
      },
    },
  ]),
)

// Journals that lie.
mutant('commits are acknowledged before they are on disk', ['acknowledged-is-durable', 'durability'], () => ({
  journal: (journal) => {
    let last: Promise<unknown> = Promise.resolve()
    return {
      ...journal,
      load: () => journal.load(),
      commit: (seq, writes) => {
        last = last.then(() => journal.commit(seq, writes))
        return Promise.resolve('durable')
      },
    }
  },
}))
mutant('now and then a write does not reach the disk', ['durability'], () => ({
  journal: (journal) => ({
    ...journal,
    load: () => journal.load(),
    commit: (seq, writes) => journal.commit(seq, seq % 20 === 0 ? writes.slice(1) : writes),
  }),
}))
mutant('deletions do not reach the disk', ['durability'], () => ({
  journal: (journal) => ({
    ...journal,
    load: () => journal.load(),
    commit: (seq, writes) =>
      journal.commit(
        seq,
        writes.filter(({ value }) => value !== undefined),
      ),
  }),
}))

// Agents and the wire.
mutant('the agent says that it stopped a container, and did not', ['slots', 'convergence', 'task-life', 'one-task-one-container'], () => ({
  engine: (engine) => lie(engine, { stop: async () => {}, kill: async () => {}, remove: async () => {} }),
}))
mutant('an agent that starts again does not find its containers', ['slots', 'convergence', 'one-task-one-container'], () => ({
  engine: (engine) => lie(engine, { list: async () => [] }),
}))
mutant('now and then a report of an agent is lost', ['convergence', 'slots'], () => ({
  rpc: (rpc) => ({
    ...rpc,
    connect: (address, security) => {
      const channel = rpc.connect(address, security)
      let reports = 0
      const unary = ((method: unknown, request: never, options: never) => {
        if (method === Dispatcher.method.updateTaskStatus) {
          reports += 1
          if (reports % 4 === 0) return Promise.resolve({})
        }
        return channel.unary(method as never, request, options)
      }) as Channel['unary']
      return lie(channel, { unary })
    },
  }),
}))
