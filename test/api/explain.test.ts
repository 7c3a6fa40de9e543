// Explanations and plans over HTTP: what programs can rely on.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { type Harness, SPEC, startApi } from './harness.ts'

let h: Harness
before(async () => {
  h = await startApi()
})
after(() => h.close())

test('a plan changes nothing, refuses what the change would refuse, and names the version that it was made for', async () => {
  const created = await h.call('POST', '/shoal/services/plan', { ...SPEC, Name: 'planned' })
  assert.deepEqual(
    [created.status, created.json.action, created.json.added, created.json.version],
    [200, 'create', SPEC.Mode?.Replicated?.Replicas ?? 1, undefined],
  )
  assert.equal((await h.call('GET', '/v1.41/services/planned')).status, 404)
  const { ID } = (await h.call('POST', '/v1.41/services/create', { ...SPEC, Name: 'planned' })).json
  assert.equal((await h.call('POST', '/shoal/services/plan', { ...SPEC, Name: 'planned' })).status, 409)
  const present = (await h.call('GET', `/v1.41/services/${ID}`)).json
  const scaled = { ...SPEC, Name: 'planned', Mode: { Replicated: { Replicas: 9 } } }
  const plan = await h.call('POST', '/shoal/services/plan?service=planned', scaled)
  assert.deepEqual([plan.json.action, plan.json.version], ['update', present.Version.Index])
  assert.deepEqual(plan.json.differences, [{ path: 'mode.replicas', before: SPEC.Mode?.Replicated?.Replicas ?? 1, after: 9 }])
  assert.deepEqual((await h.call('GET', `/v1.41/services/${ID}`)).json, present)
  assert.equal((await h.call('POST', '/shoal/services/plan?service=absent', scaled)).status, 404)
  const bad = { ...scaled, TaskTemplate: { ...SPEC.TaskTemplate, Placement: { Constraints: ['nonsense'] } } }
  assert.equal((await h.call('POST', '/shoal/services/plan?service=planned', bad)).status, 500)
})

test('services and tasks are explained by id, name and prefix', async () => {
  const { ID } = (await h.call('POST', '/v1.41/services/create', { ...SPEC, Name: 'told' })).json
  const byName = await h.call('GET', '/shoal/services/told/explain')
  assert.deepEqual([byName.status, byName.json.serviceId, byName.json.name], [200, ID, 'told'])
  assert.equal(typeof byName.json.placement.fits, 'number')
  assert.equal((await h.call('GET', '/shoal/services/absent/explain')).status, 404)
  const task = await h.call('GET', '/shoal/tasks/absent/explain')
  assert.deepEqual([task.status, task.json.message], [404, 'task absent not found'])
})
