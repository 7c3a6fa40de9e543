// When faults stop, everything comes to rest as people asked for it; until then this says what is still missing.
import { type Node, type Service, type Task, TaskState, taskStateName } from '../../model/index.ts'
import type { View } from '../../store/index.ts'
import type { WorldFacts } from './types.ts'

const LABEL = { task: 'com.docker.swarm.task.id', name: 'com.docker.swarm.task.name' } as const

/** What is not yet as it should be; empty when the swarm has converged. Stops after `limit` reasons. */
export function unconverged(world: WorldFacts, limit = 10): readonly string[] {
  const view = world.view()
  if (!view) return ['no manager runs']
  const reasons: string[] = []
  for (const reason of shortcomings(world, view)) {
    reasons.push(reason)
    if (reasons.length >= limit) break
  }
  return reasons
}

function* shortcomings(world: WorldFacts, view: View): Generator<string> {
  for (const node of view.nodes.values()) {
    if (node.status.state !== 'ready') yield `node ${node.id} is ${node.status.state} (${node.status.message})`
  }
  const running = new Map<string, { host: number; count: number }>()
  for (let host = 0; host < world.hosts; host += 1) {
    for (const container of world.containers(host)) {
      const taskId = container.labels[LABEL.task]
      if (taskId === undefined) continue
      const task = view.tasks.get(taskId as Task['id'])
      if (!task) yield `host ${host} keeps container ${container.labels[LABEL.name]} (${container.status}), whose task is gone`
      if (container.status !== 'running') continue
      if (task && task.desiredState > TaskState.RUNNING) {
        yield `container ${container.labels[LABEL.name]} still runs on host ${host}; its task is to be ${taskStateName(task.desiredState)}`
      }
      const known = running.get(taskId)
      running.set(taskId, { host, count: (known?.count ?? 0) + 1 })
    }
  }
  for (const service of view.services.values()) yield* serviceShortcomings(world, view, service, running)
  for (const task of view.tasks.values()) {
    if (task.serviceId !== undefined && !view.services.get(task.serviceId)) yield `task ${task.id} of a removed service is still there`
  }
}

function* serviceShortcomings(
  world: WorldFacts,
  view: View,
  service: Service,
  running: ReadonlyMap<string, { host: number; count: number }>,
): Generator<string> {
  const { name, mode } = service.spec
  const state = service.updateStatus?.state
  const eligible = [...view.nodes.values()].filter((node) => isEligible(service, node))
  // Tasks that find no node hold an update up for ever, and rightly so.
  if (eligible.length > 0 && (state === 'updating' || state === 'rollback_started')) yield `${name} is still ${state}`
  const live: Task[] = []
  for (const task of view.tasks.byService(service.id)) {
    if (task.desiredState <= TaskState.RUNNING) live.push(task)
    // One that was given up before it was placed needs no end: it is history as it stands.
    else if (task.status.state >= TaskState.ASSIGNED && task.status.state <= TaskState.RUNNING) {
      yield `task ${task.id} of ${name} is ${taskStateName(task.status.state)}, to be ${taskStateName(task.desiredState)}`
    }
  }
  if (mode.kind === 'replicated-job') {
    yield* jobShortcomings(view, service, mode.totalCompletions, eligible.length > 0)
    return
  }
  const wanted = mode.kind === 'replicated' ? mode.replicas : eligible.length
  if (live.length !== wanted) yield `${name} has ${live.length} live tasks, wanted ${wanted}`
  if (mode.kind === 'replicated' && eligible.length === 0) {
    for (const task of live) if (task.status.error === '') yield `task ${task.id} of ${name} waits and does not say why`
    return
  }
  const places = new Set<string>()
  for (const task of live) {
    const where = `task ${task.id} of ${name} (slot ${task.slot}, node ${task.nodeId})`
    const place = mode.kind === 'replicated' ? String(task.slot) : (task.nodeId ?? '')
    if (places.has(place)) yield `${where}: another live task has its ${mode.kind === 'replicated' ? 'slot' : 'node'}`
    places.add(place)
    if (task.status.state !== TaskState.RUNNING) {
      yield `${where} is ${taskStateName(task.status.state)}, desired ${taskStateName(task.desiredState)}: ${task.status.message} ${task.status.error}`
      continue
    }
    const node = task.nodeId === undefined ? undefined : view.nodes.get(task.nodeId)
    if (!node || !isEligible(service, node)) yield `${where} runs on a node that is not eligible`
    const container = running.get(task.id)
    if (!container) yield `${where} is said to run, but no engine has its container`
    else if (container.count > 1 || container.host !== world.hostOfNode(task.nodeId ?? '')) yield `${where} runs somewhere else or twice`
    if (task.specVersion !== service.specVersion && !state?.endsWith('paused'))
      yield `${where} has spec ${task.specVersion}, the service is at ${service.specVersion}`
    if (task.servedAt === undefined) yield `${where} runs, but is not served`
  }
}

/** A job is done when each completion of its present iteration has been had. */
function* jobShortcomings(view: View, service: Service, wanted: number, placeable: boolean): Generator<string> {
  const completed = new Set<number>()
  for (const task of view.tasks.byService(service.id)) {
    if ((task.jobIteration ?? 0) !== (service.job?.iteration ?? 0)) continue
    if (task.status.state === TaskState.COMPLETE) completed.add(task.slot)
  }
  if (placeable && completed.size !== wanted) yield `job ${service.spec.name} has completed ${completed.size} of ${wanted} times`
}

function isEligible(service: Service, node: Node): boolean {
  if (node.status.state !== 'ready' || node.spec.availability !== 'active') return false
  return (service.spec.task.placement?.constraints ?? []).every((constraint) => {
    const zone = /^node\.labels\.zone==(\w+)$/.exec(constraint)?.[1]
    return zone === undefined || node.spec.labels.zone === zone
  })
}
