// Generic resources that a task was given reach its container.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { planContainer } from '../../src/agent/plan.ts'
import type { AssignedTask, GenericResource } from '../../src/model/index.ts'

test('a container is told its generic resources: names in a row, pieces as a number, after its own environment', () => {
  const task = (genericResources: readonly GenericResource[]) =>
    ({
      id: 't1',
      serviceId: 's1',
      serviceName: 'web',
      serviceLabels: {},
      slot: 1,
      nodeId: 'n1',
      spec: { forceUpdate: 0, container: { image: 'app:1', env: ['A=b'] } },
      attachments: [],
      ports: [],
      genericResources,
    }) as unknown as AssignedTask
  const envOf = (resources: readonly GenericResource[]) => {
    const node = { id: 'n1', hostname: 'n1', os: 'linux', architecture: 'amd64' } as never
    return planContainer(task(resources), node, [], { secret: () => undefined, config: () => undefined }).env
  }
  assert.deepEqual(envOf([]), ['A=b'])
  const given: GenericResource[] = [
    { kind: 'gpu', named: 'UUID1' },
    { kind: 'ssd', discrete: 2 },
    { kind: 'gpu', named: 'UUID2' },
  ]
  assert.deepEqual(envOf(given), ['A=b', 'DOCKER_RESOURCE_GPU=UUID1,UUID2', 'DOCKER_RESOURCE_SSD=2'])
})
