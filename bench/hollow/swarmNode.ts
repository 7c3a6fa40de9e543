// One node of the bench: production code of node, agent, manager and wire, with a fake engine and without a data plane.
import type { Agent } from '../../src/agent/index.ts'
import { createAgent } from '../../src/agent/index.ts'
import { realIssuer } from '../../src/ca/index.ts'
import { createDataPlane } from '../../src/dataplane/index.ts'
import type { Logger } from '../../src/lib/index.ts'
import { type AgentSetup, createNode, type SwarmNode } from '../../src/node/index.ts'
import { createFakeDisk, createFakeEngine, FakeKernel } from '../../src/ports/fakes/index.ts'
import { type Disk, realClock, realRandom } from '../../src/ports/index.ts'
import { createMemoryJournal, type Journal } from '../../src/store/index.ts'
import { createWireRpc } from '../../src/wire/index.ts'

export interface SwarmNodeOptions {
  readonly hostname: string
  readonly log: Logger
  readonly disk?: Disk
  readonly openJournal?: () => Promise<Journal>
}

/** Containers start at once: what is measured is the cluster, not the engine. */
export function createSwarmNode({ hostname, log, disk = createFakeDisk(), openJournal }: SwarmNodeOptions): SwarmNode {
  const rpc = createWireRpc({ logger: log })
  const engine = createFakeEngine({ clock: realClock, hostname, behaviour: () => ({ startMs: 1, stopMs: 1 }) })
  return createNode({
    disk,
    clock: realClock,
    random: realRandom,
    log,
    rpc,
    issuer: realIssuer,
    addresses: () => [{ device: 'lo', address: '127.0.0.1', loopback: false }],
    defaultAdvertise: undefined,
    openJournal: openJournal ?? (async () => createMemoryJournal()),
    removeJournal: async () => {},
    createAgent: (setup: AgentSetup): Agent => {
      const dataPlane = createDataPlane({
        kernel: new FakeKernel({ underlays: {} }),
        clock: realClock,
        log,
        nodeId: setup.nodeId,
        address: setup.address,
        mode: 'off',
      })
      const agent = createAgent({
        clock: realClock,
        random: realRandom,
        rpc,
        engine,
        disk,
        log,
        issuer: realIssuer,
        dataPlane,
        daemonVersion: 'bench',
        ...setup,
      })
      return {
        connected: () => agent.connected(),
        attachNetwork: (request) => agent.attachNetwork(request),
        detachNetwork: (attachmentId) => agent.detachNetwork(attachmentId),
        attachments: () => agent.attachments(),
        setContainers: (containers) => agent.setContainers(containers),
        status: () => agent.status(),
        start: async () => {
          await dataPlane.start()
          await agent.start()
        },
        stop: async () => {
          await agent.stop()
          await dataPlane.stop()
        },
        destroy: async () => {
          await agent.destroy()
          await dataPlane.teardown()
        },
      }
    },
  })
}
