// The composition root of shoald: real clock, disk, engine, kernel and network put together.
import { mkdir, rm } from 'node:fs/promises'
import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import { type Agent, createAgent } from '../agent/index.ts'
import { createApi, createEventFile, serveApi } from '../api/index.ts'
import { realIssuer } from '../ca/index.ts'
import { createDataPlane, createLinuxKernel, createNameServer, type DataPlane, runTool } from '../dataplane/index.ts'
import { createDockerEngine } from '../engine/index.ts'
import { createEtcdHost } from '../etcd/index.ts'
import { createLogger, errorText, type Logger, logfmt, rfc3339 } from '../lib/index.ts'
import { type AgentSetup, createDataKeys, createNode, type InterfaceAddress, type SwarmNode } from '../node/index.ts'
import { createDisk, realClock, realRandom } from '../ports/index.ts'
import { createSealer, openLmdbJournal, openReplicaCache, sealJournal } from '../store/index.ts'
import { createWireRpc } from '../wire/index.ts'
import { examine } from './doctor/index.ts'
import { lockState, type StateLock, writePidFile } from './lock.ts'
import type { DaemonOptions } from './options.ts'
import { createProcessFigures } from './processFigures.ts'
import { serveOptions } from './serveOptions.ts'
import { VERSION } from './version.ts'

/** SIGTERM must end the process within 20 s; what hangs is left behind after this. */
const STOP_LIMIT_MS = 15_000

export interface Daemon {
  stop(): Promise<void>
}

/** Rejects when the state is in use, a socket is taken, or the state cannot be read. */
export async function startDaemon(options: DaemonOptions): Promise<Daemon> {
  const log = createLogger(options.logLevel, (level, message, fields) =>
    process.stderr.write(`${logfmt(rfc3339(realClock.now()), level, message, fields)}\n`),
  )
  const cleanUp: (() => Promise<void>)[] = []
  const stop = async () => {
    for (const step of cleanUp.splice(0).reverse()) await step().catch((error) => log.error('stopping', { error: errorText(error) }))
  }
  const held = (lock: StateLock) => cleanUp.push(() => lock.release())
  try {
    held(await lockState(options.stateDir))
    if (options.pidFile) held(await writePidFile(options.pidFile))
    const current: Current = { dataPlane: undefined, agent: undefined }
    const node = composeNode(options, log, current)
    let ready = false
    const eventFile = createEventFile(join(options.stateDir, 'events.jsonl'), log)
    cleanUp.push(() => eventFile.close())
    const { processFigures, stop: stopFigures } = createProcessFigures()
    cleanUp.push(async () => stopFigures())
    const api = createApi({
      node,
      engineSocket: options.engineSocket,
      ownSocket: ownSocket(options),
      clock: realClock,
      log,
      ready: () => ready,
      version: VERSION,
      eventFile,
      processFigures,
      doctor: () =>
        examine({
          stateDir: options.stateDir,
          node: () => node.status(),
          dataPlane: () => current.dataPlane,
          clockSkewMs: () => current.agent?.status().clockSkewMs,
          run: runTool,
        }),
      localNetworks: () => current.dataPlane?.networks() ?? [],
      knownNetworks: () => current.dataPlane?.knownNetworks() ?? [],
      attachments: () => current.agent,
    })
    const server = await serveApi(api, options.hosts, await serveOptions(options))
    cleanUp.push(() => server.close())
    cleanUp.push(() => node.stop())
    // A swarm that does not come up must not take the engine's API away: `info` shows the error, `swarm leave --force` still works.
    await node.start().catch((error) => log.error('could not go on with the swarm', { error: errorText(error) }))
    ready = true
    log.info('shoald is ready', { version: VERSION, pid: process.pid, hosts: options.hosts.join(' ') })
    return { stop: () => bounded(stop(), log) }
  } catch (error) {
    await stop()
    throw error
  }
}

/** What exists only while this node is in a swarm. */
interface Current {
  dataPlane: DataPlane | undefined
  agent: Agent | undefined
}

function composeNode(options: DaemonOptions, log: Logger, current: Current): SwarmNode {
  const rpc = createWireRpc({ logger: log })
  const disk = createDisk(options.stateDir)
  const journalFolder = join(options.stateDir, 'store')
  const dataKeys = createDataKeys(disk, realRandom)
  const socket = ownSocket(options)
  const engine = createDockerEngine({
    host: `unix://${options.engineSocket}`,
    clock: realClock,
    log,
    filesDir: join(options.stateDir, 'files'),
    // what mounts Docker's socket (Portainer, Traefik) must see the swarm
    rewriteMountSource: (source) => (socket && /^\/(var\/)?run\/docker\.sock$/.test(source) ? socket : source),
  })

  const makeAgent = (setup: AgentSetup): Agent => {
    const dataPlane = createDataPlane({
      kernel: createLinuxKernel(),
      clock: realClock,
      log,
      nodeId: setup.nodeId,
      address: setup.address,
      mode: options.dataPlane,
      nameServer: createNameServer({ clock: realClock, log }),
    })
    current.dataPlane = dataPlane
    const agent = createAgent({
      clock: realClock,
      random: realRandom,
      rpc,
      engine,
      disk,
      log,
      issuer: realIssuer,
      dataPlane,
      daemonVersion: VERSION,
      ...setup,
    })
    current.agent = agent
    return {
      ...agent,
      connected: () => agent.connected(),
      attachNetwork: (request) => agent.attachNetwork(request),
      detachNetwork: (attachmentId) => agent.detachNetwork(attachmentId),
      attachments: () => agent.attachments(),
      setContainers: (containers) => agent.setContainers(containers),
      status: () => agent.status(),
      async start() {
        await dataPlane.start()
        await agent.start()
      },
      async stop() {
        await agent.stop()
        await dataPlane.stop()
      },
      async destroy() {
        await agent.destroy()
        await dataPlane.start() // it was stopped with the agent; what it left in the kernel goes now
        await dataPlane.teardown()
        current.dataPlane = undefined
        current.agent = undefined
      },
    }
  }

  return createNode({
    disk,
    clock: realClock,
    random: realRandom,
    log,
    rpc,
    issuer: realIssuer,
    addresses: ipv4Addresses,
    defaultAdvertise: options.defaultAdvertise,
    openJournal: async () => {
      await mkdir(options.stateDir, { recursive: true, mode: 0o700 })
      return sealJournal(await openLmdbJournal(journalFolder), createSealer(await dataKeys.get(), realRandom))
    },
    group: {
      host: createEtcdHost({ folder: join(options.stateDir, 'etcd'), clock: realClock, log }),
      openCache: () => openReplicaCache(journalFolder),
    },
    dataKeys,
    removeJournal: async () => {
      await rm(journalFolder, { recursive: true, force: true })
      await dataKeys.remove()
    },
    createAgent: makeAgent,
  })
}

/** The first unix socket that we serve. */
function ownSocket(options: DaemonOptions): string | undefined {
  return options.hosts.find((host) => host.startsWith('unix://'))?.slice('unix://'.length)
}

function ipv4Addresses(): InterfaceAddress[] {
  return Object.entries(networkInterfaces()).flatMap(([device, addresses]) =>
    (addresses ?? []).filter(({ family }) => family === 'IPv4').map(({ address, internal }) => ({ device, address, loopback: internal })),
  )
}

async function bounded(stopping: Promise<void>, log: Logger): Promise<void> {
  const limit = new AbortController()
  const late = realClock.sleep(STOP_LIMIT_MS, limit.signal).then(
    () => log.error('stopping takes too long: the rest is left behind'),
    () => {},
  )
  await Promise.race([stopping, late])
  limit.abort()
}
