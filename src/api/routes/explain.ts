// /shoal/.../explain and /shoal/services/plan: why things are as they are, and what a change would do. Extensions of ours: JSON in our own words.
import { rfc3339, ShoalError } from '../../lib/index.ts'
import { explainService, explainTask } from '../../loops/index.ts'
import type { Task } from '../../model/index.ts'
import { type App, managerOf } from '../app.ts'
import { readJson, sendJson } from '../http/context.ts'
import { asManager } from '../http/errors.ts'
import type { Route } from '../http/router.ts'
import { gateServiceSpec } from '../json/gates.ts'
import { serviceSpec } from '../json/spec.ts'

export function explainRoutes({ deps }: App): Route[] {
  return [
    {
      method: 'GET',
      pattern: '/shoal/services/{id}/explain',
      handler: ({ res, params }) => {
        const { control, store } = managerOf(deps)
        const { replaced, ...rest } = explainService(store.view(), control.service(params.id!), deps.clock.now())
        sendJson(res, 200, { ...rest, replaced: replaced.map((task) => ({ ...task, at: rfc3339(task.at) })) })
      },
    },
    {
      method: 'GET',
      pattern: '/shoal/tasks/{id}/explain',
      handler: ({ res, params }) => {
        const { store } = managerOf(deps)
        const found = store.view().tasks.lookUp(params.id!)
        sendJson(res, 200, explainTask(store.view(), theOne(found, params.id!), deps.clock.now()))
      },
    },
    {
      // The body is that of /services/create; `service=` makes it a plan of an update.
      method: 'POST',
      pattern: '/shoal/services/plan',
      handler: async ({ req, res, query, version }) => {
        const { control } = managerOf(deps)
        const spec = gateServiceSpec(serviceSpec.parse(await readJson(req), ''), version)
        sendJson(res, 200, await asManager(() => control.planService(spec, query.get('service') || undefined)))
      },
    },
  ]
}

function theOne(found: readonly Task[], text: string): Task {
  const [task, other] = found
  if (!task) throw new ShoalError('not-found', `task ${text} not found`)
  if (other) throw new ShoalError('invalid-argument', `task ${text} is ambiguous`, { next: 'Give more of its id' })
  return task
}
