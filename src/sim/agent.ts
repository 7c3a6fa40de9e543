// The agent of a simulated host: the production agent with its production data plane over the fake kernel.
import { type Agent, createAgent } from '../agent/index.ts'
import { createDataPlane } from '../dataplane/index.ts'
import type { Logger } from '../lib/index.ts'
import type { AgentSetup } from '../node/index.ts'
import type { Clock, Disk, Engine, Issuer, Kernel, Random, Rpc } from '../ports/index.ts'

export interface SimAgentDeps {
  readonly setup: AgentSetup
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly rpc: Rpc
  readonly engine: Engine
  readonly disk: Disk
  readonly issuer: Issuer
  readonly kernel: Kernel
}

/** As the daemon puts them together. */
export function createSimAgent({ setup, kernel, ...deps }: SimAgentDeps): Agent {
  const dataPlane = createDataPlane({
    kernel,
    clock: deps.clock,
    log: deps.log,
    nodeId: setup.nodeId,
    address: setup.address,
    mode: 'auto',
  })
  const agent = createAgent({
    ...deps,
    dataPlane,
    nodeId: setup.nodeId,
    identity: setup.identity,
    managers: setup.managers,
    daemonVersion: 'sim',
    onManagers: (managers) => setup.onManagers(managers),
    onRotateCertificate: () => setup.onRotateCertificate(),
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
}
