// What only the leader runs: control loops, dispatcher, certificate authority, log broker. Made anew for each time it leads.
import { caRoutes, crossSignRoot } from '../ca/index.ts'
import { createDispatcher, type TunnelSource } from '../dispatcher/index.ts'
import type { Logger } from '../lib/index.ts'
import { type Acknowledgements, type AnyLoop, allLoops, createRunner } from '../loops/index.ts'
import type { Clock, Identity, Issuer, Random, Route } from '../ports/index.ts'
import type { Store } from '../store/index.ts'
import { MeshAcknowledgements } from './acknowledge.ts'
import { createControl } from './control/control.ts'
import type { Control } from './control/types.ts'
import type { LogSource } from './logs.ts'
import { type LoopFigures, timedLoops } from './timings.ts'

/** What an operator watches. */
export interface LeadingFigures {
  readonly loops: readonly LoopFigures[]
  /** The newest commit that every live node's kernel shows. */
  readonly meshAcked: number
}

export interface LeadingDeps {
  readonly store: Store
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly issuer: Issuer
  readonly identity: () => Identity
  readonly advertise: string
  readonly loops?: (acknowledgements: Acknowledgements) => readonly AnyLoop[]
}

export interface Leading {
  readonly control: Control
  readonly logs: LogSource
  /** How long changes of the mesh took until every live node had them. */
  readonly acknowledged: () => ReturnType<MeshAcknowledgements['times']>
  readonly tunnels: TunnelSource
  figures(): LeadingFigures
  readonly routes: readonly Route[]
  start(): void
  stop(): Promise<void>
}

/** Nothing runs before `start`; its routes refuse calls until then. */
export function createLeading(deps: LeadingDeps): Leading {
  const { store, clock, random, log, issuer } = deps
  const dispatcher = createDispatcher({
    store,
    clock,
    random,
    logger: log,
    self: () => ({ nodeId: deps.identity().nodeId, address: deps.advertise }),
  })
  const acknowledgements = new MeshAcknowledgements({
    mesh: dispatcher.mesh,
    clock,
    log,
    wake: (loop, keys) => runner.wake(loop, keys),
  })
  const timed = timedLoops((deps.loops ?? allLoops)(acknowledgements), clock)
  const runner = createRunner({ store, clock, random, log, loops: timed.loops })
  return {
    control: createControl({
      store,
      random,
      newRoot: async (present) => {
        const fresh = await issuer.createRoot(clock.now())
        return { ...fresh, crossSignedPem: await crossSignRoot(present, fresh) }
      },
    }),
    logs: dispatcher.logs,
    acknowledged: () => acknowledgements.times(),
    tunnels: dispatcher.tunnels,
    figures: () => ({ loops: timed.figures(), meshAcked: dispatcher.mesh.lowestAcked() }),
    routes: [...caRoutes({ store, issuer, clock, random, logger: log }), ...dispatcher.routes()],
    start() {
      dispatcher.start()
      runner.start()
    },
    async stop() {
      await runner.stop()
      acknowledgements.stop()
      await dispatcher.stop()
    },
  }
}
