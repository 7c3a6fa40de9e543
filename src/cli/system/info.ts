// `shoal info`: the daemon, its engine and its place in the swarm.
import type { SwarmInfo, SystemInfo } from '../../client/index.ts'
import { type Command, NO_ARGS } from '../command.ts'
import { INSPECT_FORMAT } from '../flags/index.ts'
import { bytesSize, compileTemplate, goJson, humanDuration } from '../format/index.ts'
import { SHOAL_VERSION } from './version.ts'

export const info: Command = {
  name: 'info',
  usage: '[OPTIONS]',
  short: 'Display system-wide information',
  flags: [INSPECT_FORMAT],
  args: NO_ARGS,
  async run({ io, client, flags }) {
    const data = await client.info()
    const format = flags.string('format')
    if (format === 'json') io.stdout.write(`${goJson(data)}\n`)
    else if (format) io.stdout.write(`${compileTemplate(format)(data)}\n`)
    else io.stdout.write(infoText(data))
    return 0
  },
}

const NS_PER_MS = 1e6

function infoText(data: SystemInfo): string {
  const lines = [
    'Client:',
    ` Version:    ${SHOAL_VERSION}`,
    '',
    'Server:',
    ` Containers: ${text(data.Containers)}`,
    `  Running: ${text(data.ContainersRunning)}`,
    `  Paused: ${text(data.ContainersPaused)}`,
    `  Stopped: ${text(data.ContainersStopped)}`,
    ` Images: ${text(data.Images)}`,
    ` Server Version: ${text(data.ServerVersion)}`,
    ` Storage Driver: ${text(data.Driver)}`,
    ` Logging Driver: ${text(data.LoggingDriver)}`,
    ` Cgroup Driver: ${text(data.CgroupDriver)}`,
    ` Cgroup Version: ${text(data.CgroupVersion)}`,
    ...pluginLines(data.Plugins),
    ...swarmLines(data.Swarm ?? {}),
    ` Default Runtime: ${text(data.DefaultRuntime)}`,
    ` Kernel Version: ${text(data.KernelVersion)}`,
    ` Operating System: ${text(data.OperatingSystem)}`,
    ` OSType: ${text(data.OSType)}`,
    ` Architecture: ${text(data.Architecture)}`,
    ` CPUs: ${text(data.NCPU)}`,
    ` Total Memory: ${bytesSize(Number(data.MemTotal ?? 0))}`,
    ` Name: ${text(data.Name)}`,
    ` ID: ${text(data.ID)}`,
    ` Docker Root Dir: ${text(data.DockerRootDir)}`,
    ...(Array.isArray(data.Labels) && data.Labels.length > 0 ? [' Labels:', ...data.Labels.map((label) => `  ${label}`)] : []),
    ` Live Restore Enabled: ${text(data.LiveRestoreEnabled)}`,
    ...(Array.isArray(data.Warnings) ? data.Warnings.map(text) : []),
  ]
  return `${lines.join('\n')}\n\n`
}

function text(value: unknown): string {
  return value === undefined || value === null ? '' : String(value)
}

function pluginLines(plugins: unknown): string[] {
  if (typeof plugins !== 'object' || plugins === null) return []
  const kinds = plugins as Readonly<Record<string, readonly string[] | null>>
  return [' Plugins:', ...['Volume', 'Network', 'Log'].map((kind) => `  ${kind}: ${(kinds[kind] ?? []).join(' ')}`)]
}

/** The swarm's part in the words of `docker info`. */
export function swarmLines(swarm: SwarmInfo): string[] {
  const lines = [` Swarm: ${swarm.LocalNodeState ?? 'inactive'}`]
  if (!swarm.LocalNodeState || swarm.LocalNodeState === 'inactive' || swarm.LocalNodeState === 'locked') return lines
  lines.push(`  NodeID: ${swarm.NodeID ?? ''}`)
  if (swarm.Error) lines.push(`  Error: ${swarm.Error}`)
  lines.push(`  Is Manager: ${swarm.ControlAvailable === true}`)
  const cluster = swarm.Cluster
  if (cluster && swarm.ControlAvailable && !swarm.Error) {
    const { Spec: spec } = cluster
    lines.push(`  ClusterID: ${cluster.ID}`, `  Managers: ${swarm.Managers ?? 0}`, `  Nodes: ${swarm.Nodes ?? 0}`)
    if (cluster.DefaultAddrPool?.length)
      lines.push(`  Default Address Pool: ${cluster.DefaultAddrPool.join('  ')}`, `  SubnetSize: ${cluster.SubnetSize ?? 24}`)
    if (cluster.DataPathPort) lines.push(`  Data Path Port: ${cluster.DataPathPort}`)
    lines.push('  Orchestration:', `   Task History Retention Limit: ${spec.Orchestration?.TaskHistoryRetentionLimit ?? 0}`)
    lines.push('  Raft:', `   Snapshot Interval: ${spec.Raft?.SnapshotInterval ?? 0}`)
    if (spec.Raft?.KeepOldSnapshots !== undefined) lines.push(`   Number of Old Snapshots to Retain: ${spec.Raft.KeepOldSnapshots}`)
    lines.push(`   Heartbeat Tick: ${spec.Raft?.HeartbeatTick ?? 0}`, `   Election Tick: ${spec.Raft?.ElectionTick ?? 0}`)
    lines.push('  Dispatcher:', `   Heartbeat Period: ${humanDuration((spec.Dispatcher?.HeartbeatPeriod ?? 0) / NS_PER_MS).toLowerCase()}`)
    lines.push(
      '  CA Configuration:',
      `   Expiry Duration: ${humanDuration((spec.CAConfig?.NodeCertExpiry ?? 0) / NS_PER_MS).toLowerCase()}`,
    )
    lines.push(`   Force Rotate: ${spec.CAConfig?.ForceRotate ?? 0}`)
    lines.push(`  Autolock Managers: ${spec.EncryptionConfig?.AutoLockManagers === true}`)
    lines.push(`  Root Rotation In Progress: ${cluster.RootRotationInProgress === true}`)
  }
  lines.push(`  Node Address: ${swarm.NodeAddr ?? ''}`)
  const managers = (swarm.RemoteManagers ?? []).map(({ Addr }) => Addr).sort()
  if (managers.length > 0) lines.push('  Manager Addresses:', ...managers.map((address) => `   ${address}`))
  return lines
}
