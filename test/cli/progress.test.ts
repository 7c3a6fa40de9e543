// Following a service: what is shown, when it ends, and with which status.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fakeDaemon, runShoal } from './harness.ts'

const NODE = { ID: 'n1'.padEnd(25, '0'), Status: { State: 'ready' }, Description: { Hostname: 'm1' }, Spec: {}, Version: { Index: 1 } }

function serviceOf(replicas: number, update?: { State: string; Message: string }) {
  return {
    ID: 's1'.padEnd(25, '0'),
    Version: { Index: 7 },
    Spec: {
      Name: 'web',
      TaskTemplate: { ContainerSpec: { Image: 'x' } },
      Mode: { Replicated: { Replicas: replicas } },
      UpdateConfig: { Monitor: 2e9 },
    },
    UpdateStatus: update,
  }
}

function taskOf(slot: number, state: string, error = '') {
  return {
    ID: `t${slot}`.padEnd(25, '0'),
    Slot: slot,
    NodeID: NODE.ID,
    DesiredState: 'running',
    Status: { State: state, Err: error, Timestamp: '2026-01-01T00:00:00Z' },
    Spec: {},
    ServiceID: 's1'.padEnd(25, '0'),
  }
}

/** A daemon whose service and tasks are what `at(round)` says in each round of polling. */
async function follow(at: (round: number) => { service: unknown; tasks: unknown[] }, args: string[], tty = false) {
  let round = 0
  const daemon = await fakeDaemon(({ method, path }) => {
    if (method === 'POST') return { status: 200, body: { ID: 's1'.padEnd(25, '0'), Warnings: null } }
    if (path.startsWith('/services/')) return { status: 200, body: at(round).service }
    if (path.startsWith('/nodes')) return { status: 200, body: [NODE] }
    if (path.startsWith('/tasks')) {
      const body = at(round).tasks
      round += 1
      return { status: 200, body }
    }
    return undefined
  })
  try {
    return await runShoal(daemon.host, args, { tty })
  } finally {
    await daemon.close()
  }
}

test('a scale shows the tasks as they come, waits until they are stable and says so', async () => {
  const result = await follow(
    (round) => ({ service: serviceOf(2), tasks: [taskOf(1, 'running'), taskOf(2, round < 3 ? 'starting' : 'running')] }),
    ['service', 'scale', 'web=2'],
  )
  assert.equal(result.status, 0)
  assert.equal(
    result.stdout,
    [
      'web scaled to 2',
      'overall progress: 1 out of 2 tasks',
      'overall progress: 2 out of 2 tasks',
      'verify: Waiting 2 seconds to verify that tasks are stable...',
      'verify: Waiting 1 seconds to verify that tasks are stable...',
      'verify: Service web converged',
      '',
    ].join('\n'),
  )
})

test('the reason why a task does not run stands on its line', async () => {
  const reason = 'no suitable node (scheduling constraints not satisfied on 3 nodes)'
  const result = await follow(
    (round) => ({ service: serviceOf(1), tasks: [round < 2 ? { ...taskOf(1, 'pending', reason), NodeID: '' } : taskOf(1, 'running')] }),
    ['service', 'update', '--force', 'web'],
  )
  assert.match(result.stdout, /^1\/1: no suitable node \(scheduling constraints not satisfied on 3 nodes\)$/m)
  assert.match(result.stdout, /converged\n$/)
})

test('a task that fails during verification starts the waiting anew', async () => {
  const result = await follow(
    (round) => ({
      service: serviceOf(1),
      tasks: [taskOf(1, round === 3 ? 'failed' : 'running', round === 3 ? 'task: non-zero exit (1)' : '')],
    }),
    ['service', 'scale', 'web=1'],
  )
  assert.match(result.stdout, /verify: Detected task failure/)
  assert.equal(result.status, 0)
})

test('a paused update ends with its reason and status 1', async () => {
  const paused = { State: 'paused', Message: 'update paused due to failure or early termination of task x' }
  const result = await follow(
    (round) => ({ service: serviceOf(1, round > 1 ? paused : undefined), tasks: [taskOf(1, 'starting')] }),
    ['service', 'update', 'web'],
  )
  assert.equal(result.status, 1)
  assert.match(result.stderr, /^service update paused: update paused due to failure or early termination of task x$/m)
})

test('a roll-back says why once, and its end is a success', async () => {
  const started = { State: 'rollback_started', Message: 'manually requested rollback' }
  const completed = { State: 'rollback_completed', Message: 'rollback completed' }
  const result = await follow(
    (round) => ({ service: serviceOf(1, round < 4 ? started : completed), tasks: [taskOf(1, 'running')] }),
    ['service', 'rollback', 'web'],
  )
  assert.equal(result.status, 0)
  assert.equal(result.stdout.match(/^rollback: manually requested rollback$/gm)?.length, 1)
  assert.match(result.stdout, /^overall progress: rolling back update: 1 out of 1 tasks$/m)
})

test('a terminal gets bars that are redrawn in place', async () => {
  const result = await follow(
    (round) => ({ service: serviceOf(1), tasks: [taskOf(1, round < 2 ? 'preparing' : 'running')] }),
    ['service', 'scale', 'web=1'],
    true,
  )
  assert.match(result.stdout, /1\/1: preparing \[=+> +\]/)
  assert.match(result.stdout, /1\/1: running {3}\[={49}>\]/)
  assert.ok(result.stdout.includes('\x1b[2A'))
})

test('tasks on nodes that are down do not count', async () => {
  const result = await follow(
    (round) => ({ service: serviceOf(1), tasks: round < 2 ? [{ ...taskOf(1, 'running'), NodeID: 'gone' }] : [taskOf(1, 'running')] }),
    ['service', 'scale', 'web=1'],
  )
  assert.match(result.stdout, /0 out of 1 tasks\noverall progress: 1 out of 1 tasks/)
})

test('quiet waits but shows nothing; detach does not wait', async () => {
  const world = () => ({ service: serviceOf(1), tasks: [taskOf(1, 'running')] })
  assert.equal((await follow(world, ['service', 'update', '-q', 'web'])).stdout, 'web\n')
  assert.equal((await follow(world, ['service', 'scale', '-d', 'web=1'])).stdout, 'web scaled to 1\n')
})
