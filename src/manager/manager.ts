// A manager while it leads: control loops, dispatcher, certificate authority and log broker over one store, served on the swarm port.
import { caRoutes } from '../ca/index.ts'
import { createDispatcher } from '../dispatcher/index.ts'
import type { Logger } from '../lib/index.ts'
import { type Acknowledgements, type AnyLoop, allLoops, createRunner } from '../loops/index.ts'
import type { Clock, Identity, Issuer, Random, Rpc } from '../ports/index.ts'
import type { Store } from '../store/index.ts'
import { MeshAcknowledgements } from './acknowledge.ts'
import { createControl } from './control/control.ts'
import type { Control } from './control/types.ts'
import type { LogSource } from './logs.ts'

export interface ManagerDeps {
  /** Owned by the manager from here on: closed by `stop`. */
  readonly store: Store
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly rpc: Rpc
  readonly issuer: Issuer
  readonly identity: () => Identity
  /** `host:port` */
  readonly listen: string
  readonly advertise: string
  /** Without it all loops; the simulator puts broken ones in to see that they are caught. */
  readonly loops?: (acknowledgements: Acknowledgements) => readonly AnyLoop[]
}

/** What API and simulator see of a manager. */
export interface ManagerFace {
  readonly store: Store
  readonly control: Control
  readonly logs: LogSource
}

export interface Manager {
  readonly face: ManagerFace
  stop(): Promise<void>
}

/** Rejects when the port is taken. */
export async function startManager(deps: ManagerDeps): Promise<Manager> {
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
  const runner = createRunner({ store, clock, random, log, loops: (deps.loops ?? allLoops)(acknowledgements) })
  const control = createControl({ store, random })
  const server = await deps.rpc.serve(deps.listen, deps.identity, [
    ...caRoutes({ store, issuer, clock, random, logger: log }),
    ...dispatcher.routes(),
  ])
  dispatcher.start()
  runner.start()
  log.info('manager started', { listen: server.address })
  return {
    face: { store, control, logs: dispatcher.logs },
    async stop() {
      await runner.stop()
      acknowledgements.stop()
      await dispatcher.stop()
      await server.close()
      await store.close()
      log.info('manager stopped')
    },
  }
}
