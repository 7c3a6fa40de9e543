// Looks at everything on this computer that a swarm needs, and says what is wrong and what to do about it.
import type { DataPlane } from '../../dataplane/index.ts'
import { errorText } from '../../lib/index.ts'
import type { LocalStatus } from '../../node/index.ts'
import { diskLatency } from './disk.ts'
import { firewall, type Run } from './firewall.ts'
import { managerPort, nameServers, peerPath } from './reach.ts'
import { type DoctorReport, type Finding, fail, ok, warn } from './types.ts'

export type { DoctorReport, Finding } from './types.ts'

export interface DoctorDeps {
  readonly stateDir: string
  readonly node: () => LocalStatus
  readonly dataPlane: () => Pick<DataPlane, 'status' | 'counters' | 'conflicts' | 'peers'> | undefined
  /** How far this computer's clock is ahead of the manager's; undefined when that is not known. */
  readonly clockSkewMs: () => number | undefined
  readonly run: Run
}

/** Certificates and order of events bear more; people who compare logs do not. */
const MOST_SKEW_MS = 1_000
/** The doctor asks the next peers only: a look must end in a few seconds. */
const MOST_PEERS = 50

/** Never rejects: a check that cannot be made is a finding too. */
export async function examine(deps: DoctorDeps): Promise<DoctorReport> {
  const { state, managers, nodeId } = deps.node()
  const plane = deps.dataPlane()
  const peers = (plane?.peers() ?? []).filter((peer) => peer.nodeId !== nodeId).slice(0, MOST_PEERS)
  const checks: (() => Promise<Finding[]>)[] = [
    async () => membership(deps.node()),
    async () => dataPlane(plane),
    async () => drift(plane),
    async () => clockSkew(deps.clockSkewMs()),
    () => firewall(deps.run),
    () => diskLatency(deps.stateDir),
    () => nameServers(),
    ...(state === 'active'
      ? managers.map(
          ({ address }) =>
            () =>
              managerPort(address),
        )
      : []),
    ...peers.map((peer) => () => peerPath(peer, deps.run)),
  ]
  const findings = await Promise.all(
    checks.map((check) =>
      check().catch((error: unknown) => [warn('doctor', `a check could not be made: ${errorText(error)}`, 'look into the log of shoald')]),
    ),
  )
  const all = findings.flat()
  return { healthy: all.every(({ level }) => level !== 'fail'), findings: all }
}

function membership({ state, error, role, managers }: LocalStatus): Finding[] {
  if (state === 'active')
    return [ok('swarm', `this node is a ${role} of a swarm with ${managers.length} manager${managers.length === 1 ? '' : 's'}`)]
  if (state === 'error')
    return [
      fail(
        'swarm',
        `this node cannot go on with its swarm: ${error}`,
        'repair what it says, or run `docker swarm leave --force` and join again',
      ),
    ]
  return [warn('swarm', `this node is in no swarm (${state})`, 'run `docker swarm init` or `docker swarm join`')]
}

function dataPlane(plane: ReturnType<DoctorDeps['dataPlane']>): Finding[] {
  if (!plane) return [warn('data plane', 'it runs only while this node is in a swarm', 'join a swarm and ask again')]
  const status = plane.status()
  if (!status.on) {
    return [
      fail(
        'data plane',
        `it is off: ${status.reason}`,
        'published ports and overlay networks do not work on this node until that is repaired; host-mode ports do',
      ),
    ]
  }
  const conflicts = plane
    .conflicts()
    .map(({ protocol, port }) =>
      warn(
        'ports',
        `${protocol} port ${port} is published by a service, and a process of this computer listens on it, too`,
        'callers reach the service; give one of them another port',
      ),
    )
  return [ok('data plane', 'kernel features are there: bridges, VXLAN, br_netfilter, nftables, conntrack'), ...conflicts]
}

function drift(plane: ReturnType<DoctorDeps['dataPlane']>): Finding[] {
  if (!plane?.status().on) return []
  const { driftRepairs, driftObjects, failures } = plane.counters()
  const findings: Finding[] = []
  if (driftRepairs === 0) findings.push(ok('drift', 'nobody has changed what is ours in the kernel'))
  else
    findings.push(
      warn(
        'drift',
        `others changed ${driftObjects} objects of ours in the kernel, repaired in ${driftRepairs} rounds since shoald started`,
        'find out which program flushes nftables or deletes devices; the log of shoald names the objects',
      ),
    )
  if (failures > 0)
    findings.push(
      warn(
        'kernel',
        `the kernel refused ${failures} changes, which were tried again`,
        'look for "the kernel did not take the plan" in the log of shoald',
      ),
    )
  return findings
}

function clockSkew(skewMs: number | undefined): Finding[] {
  if (skewMs === undefined) return []
  const text = `this computer's clock is ${Math.abs(Math.round(skewMs))} ms ${skewMs < 0 ? 'behind' : 'ahead of'} the manager's`
  return [Math.abs(skewMs) <= MOST_SKEW_MS ? ok('clock', text) : warn('clock', text, 'run chrony or systemd-timesyncd on all nodes')]
}
