// All control operations of a leading manager in one object.
import { clusterControl } from './cluster.ts'
import type { ControlDeps } from './context.ts'
import { networkControl } from './networks.ts'
import { nodeControl } from './nodes.ts'
import { configControl, secretControl } from './objects.ts'
import { registryControl } from './registries.ts'
import { serviceControl } from './services.ts'
import { taskControl } from './tasks.ts'
import type { Control } from './types.ts'

export function createControl(deps: ControlDeps): Control {
  return {
    ...clusterControl(deps),
    ...registryControl(deps),
    ...nodeControl(deps),
    ...serviceControl(deps),
    ...taskControl(deps),
    ...networkControl(deps),
    ...secretControl(deps),
    ...configControl(deps),
  }
}
