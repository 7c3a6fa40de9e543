// The always-on checkers of a simulated world.
import { addresses } from './addresses.ts'
import { slots } from './containers.ts'
import { durability } from './durability.ts'
import { withdrawal } from './mesh.ts'
import { assignment, history, taskLife } from './tasks.ts'
import type { Checker, Complain, WorldFacts } from './types.ts'

export { unconverged } from './convergence.ts'
export type { Checker, Complain, ContainerChange, WorldFacts } from './types.ts'

export function allCheckers(world: WorldFacts, complain: Complain): readonly Checker[] {
  return [
    taskLife(world, complain),
    assignment(complain),
    history(complain),
    durability(complain),
    addresses(complain),
    slots(world, complain),
    withdrawal(world, complain),
  ]
}
