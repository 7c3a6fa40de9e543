// `shoal task stats`: what tasks use of processor, memory, network and disks, wherever they run.
import type { ApiClient, Task } from '../../client/index.ts'
import { ANY_ARGS, type Command } from '../command.ts'
import { bytesSize, decimalSize, type ListLayout, type Row, writeRows } from '../format/index.ts'
import { findTask } from './find.ts'
import { nameResolver } from './rows.ts'

interface Stats {
  cpu_stats?: Cpu
  precpu_stats?: Cpu
  memory_stats?: { usage?: number; limit?: number; stats?: Record<string, number> }
  networks?: Record<string, { rx_bytes: number; tx_bytes: number }>
  blkio_stats?: { io_service_bytes_recursive?: { op: string; value: number }[] | null }
  pids_stats?: { current?: number }
}

interface Cpu {
  cpu_usage?: { total_usage?: number; percpu_usage?: number[] | null }
  system_cpu_usage?: number
  online_cpus?: number
}

const LAYOUT: ListLayout = {
  headers: {
    ID: 'TASK ID',
    Name: 'NAME',
    Node: 'NODE',
    CPUPerc: 'CPU %',
    MemUsage: 'MEM USAGE / LIMIT',
    MemPerc: 'MEM %',
    NetIO: 'NET I/O',
    BlockIO: 'BLOCK I/O',
    PIDs: 'PIDS',
  },
  table: '{{.ID}}\t{{.Name}}\t{{.Node}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}',
}
const AT_ONCE = 16

export const taskStats: Command = {
  name: 'stats',
  usage: '[OPTIONS] [TASK|SERVICE[.SLOT]...]',
  short: 'Show what tasks use now; all running ones without a name',
  flags: [
    { name: 'format', kind: 'string', help: "Format output using a custom template: 'table' (default), 'json', or a Go template" },
    { name: 'no-stream', kind: 'bool', help: 'For compatibility: the figures are always shown once' },
  ],
  args: ANY_ARGS,
  async run({ io, client, flags, args }) {
    const tasks = args.length > 0 ? await named(client, args) : await client.tasks({ 'desired-state': ['running'] })
    const running = tasks.filter(({ Status }) => Status.State === 'running')
    const names = nameResolver(client, true)
    const rows: Row[] = []
    for (let at = 0; at < running.length; at += AT_ONCE)
      rows.push(...(await Promise.all(running.slice(at, at + AT_ONCE).map((task) => row(client, task, names)))))
    writeRows(io.stdout, LAYOUT, rows, flags.string('format'))
    return 0
  },
}

/** A service's name stands for all of its tasks. */
async function named(client: ApiClient, args: readonly string[]): Promise<Task[]> {
  const found: Task[] = []
  for (const name of args) {
    const services = await client.services({ filters: { name: [name] } })
    const service = services.find(({ Spec }) => Spec.Name === name)
    if (service) found.push(...(await client.tasks({ service: [service.ID], 'desired-state': ['running'] })))
    else found.push(await findTask(client, name))
  }
  return found
}

async function row(client: ApiClient, task: Task, names: ReturnType<typeof nameResolver>): Promise<Row> {
  const service = await names.service(task.ServiceID)
  const head = {
    ID: task.ID.slice(0, 12),
    Name: task.Slot ? `${service}.${task.Slot}` : `${service}.${task.NodeID ?? ''}`,
    Node: await names.node(task.NodeID ?? ''),
  }
  const none = { CPUPerc: '--', MemUsage: '-- / --', MemPerc: '--', NetIO: '--', BlockIO: '--', PIDs: '--' }
  try {
    const stats = await client.request<Stats>('GET', `/shoal/tasks/${task.ID}/container/stats`, { query: { stream: false } })
    return { ...head, ...figures(stats) }
  } catch {
    return { ...head, ...none } // it has ended, or its node does not answer
  }
}

function figures({ cpu_stats, precpu_stats, memory_stats, networks, blkio_stats, pids_stats }: Stats): Record<string, string> {
  const used = (cpu_stats?.cpu_usage?.total_usage ?? 0) - (precpu_stats?.cpu_usage?.total_usage ?? 0)
  const all = (cpu_stats?.system_cpu_usage ?? 0) - (precpu_stats?.system_cpu_usage ?? 0)
  const cpus = cpu_stats?.online_cpus || cpu_stats?.cpu_usage?.percpu_usage?.length || 1
  // the page cache does not count, as in `docker stats`
  const memory = Math.max(
    0,
    (memory_stats?.usage ?? 0) - (memory_stats?.stats?.total_inactive_file ?? memory_stats?.stats?.inactive_file ?? 0),
  )
  const limit = memory_stats?.limit ?? 0
  const cards = Object.values(networks ?? {})
  const sum = (key: 'rx_bytes' | 'tx_bytes') => cards.reduce((total, card) => total + card[key], 0)
  const disk = (op: string) =>
    (blkio_stats?.io_service_bytes_recursive ?? []).reduce((total, entry) => total + (entry.op.toLowerCase() === op ? entry.value : 0), 0)
  return {
    CPUPerc: `${(all > 0 && used > 0 ? (used / all) * cpus * 100 : 0).toFixed(2)}%`,
    MemUsage: `${bytesSize(memory)} / ${bytesSize(limit)}`,
    MemPerc: `${(limit > 0 ? (memory / limit) * 100 : 0).toFixed(2)}%`,
    NetIO: `${decimalSize(sum('rx_bytes'))} / ${decimalSize(sum('tx_bytes'))}`,
    BlockIO: `${decimalSize(disk('read'))} / ${decimalSize(disk('write'))}`,
    PIDs: String(pids_stats?.current ?? 0),
  }
}
