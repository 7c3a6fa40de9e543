// `shoal ps`: the containers of this node.
import { type Command, NO_ARGS } from '../command.ts'
import { FILTER, filtersOf, LIST_FORMAT, NO_TRUNC } from '../flags/index.ts'
import { decimalSize, ellipsis, humanDuration, type ListLayout, type Row, shortId, writeRows } from '../format/index.ts'

interface ContainerPort {
  readonly IP?: string
  readonly PrivatePort: number
  readonly PublicPort?: number
  readonly Type: string
}

interface Container {
  readonly Id: string
  readonly Names: readonly string[]
  readonly Image: string
  readonly ImageID: string
  readonly Command: string
  /** Unix seconds. */
  readonly Created: number
  readonly Ports?: readonly ContainerPort[] | null
  readonly SizeRw?: number
  readonly SizeRootFs?: number
  readonly Labels?: Readonly<Record<string, string>> | null
  readonly State: string
  readonly Status: string
  readonly NetworkSettings?: { readonly Networks?: Readonly<Record<string, unknown>> | null }
  readonly Mounts?: readonly { readonly Type?: string; readonly Name?: string; readonly Source?: string; readonly Driver?: string }[] | null
}

const TABLE = '{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}'
const HEADERS = {
  ID: 'CONTAINER ID',
  Names: 'NAMES',
  Image: 'IMAGE',
  Command: 'COMMAND',
  CreatedAt: 'CREATED AT',
  RunningFor: 'CREATED',
  Ports: 'PORTS',
  State: 'STATE',
  Status: 'STATUS',
  Size: 'SIZE',
  Labels: 'LABELS',
  Mounts: 'MOUNTS',
  LocalVolumes: 'LOCAL VOLUMES',
  Networks: 'NETWORKS',
  Platform: 'PLATFORM',
}
const MAX_COMMAND_LENGTH = 20
const MAX_MOUNT_LENGTH = 15

export const ps: Command = {
  name: 'ps',
  usage: '[OPTIONS]',
  short: 'List containers of this node',
  flags: [
    { name: 'all', short: 'a', kind: 'bool', help: 'Show all containers (default shows just running)' },
    FILTER,
    LIST_FORMAT,
    { name: 'last', short: 'n', kind: 'int', help: 'Show n last created containers (includes all states)', default: '-1' },
    { name: 'latest', short: 'l', kind: 'bool', help: 'Show the latest created container (includes all states)' },
    NO_TRUNC,
    { name: 'quiet', short: 'q', kind: 'bool', help: 'Only display container IDs' },
    { name: 'size', short: 's', kind: 'bool', help: 'Display total file sizes' },
  ],
  args: NO_ARGS,
  async run({ io, client, flags }) {
    const format = flags.string('format')
    const size = flags.bool('size') || /\.Size\b/.test(format ?? '') || format?.trim() === 'json'
    const filters = filtersOf(flags)
    const last = flags.bool('latest') ? 1 : flags.number('last')
    const containers = await client.request<Container[]>('GET', '/containers/json', {
      query: {
        all: flags.bool('all') ? 1 : undefined,
        limit: last !== undefined && last > 0 ? last : undefined,
        size: size ? 1 : undefined,
        filters: Object.keys(filters).length > 0 ? JSON.stringify(filters) : undefined,
      },
    })
    const truncate = !flags.bool('no-trunc')
    if (flags.bool('quiet') && !format) {
      for (const { Id } of containers) io.stdout.write(`${truncate ? shortId(Id) : Id}\n`)
      return 0
    }
    const layout: ListLayout = { headers: HEADERS, table: flags.bool('size') ? `${TABLE}\t{{.Size}}` : TABLE }
    writeRows(
      io.stdout,
      layout,
      containers.map((container) => row(container, truncate, io.now())),
      format,
    )
    return 0
  },
}

function row(container: Container, truncate: boolean, nowMs: number): Row {
  const names = container.Names.map((name) => name.replace(/^\//, '')).filter((name) => !truncate || !name.includes('/'))
  const mounts = (container.Mounts ?? []).map((mount) => mount.Name || mount.Source || '')
  return {
    ID: truncate ? shortId(container.Id) : container.Id,
    Names: names.join(','),
    Image: image(container, truncate),
    Command: `"${truncate ? ellipsis(container.Command, MAX_COMMAND_LENGTH) : container.Command}"`,
    CreatedAt: `${new Date(container.Created * 1000).toISOString().replace('T', ' ').slice(0, 19)} +0000 UTC`,
    RunningFor: `${humanDuration(nowMs - container.Created * 1000)} ago`,
    Ports: portsText(container.Ports ?? []),
    State: container.State,
    Status: container.Status,
    Size: sizeText(container),
    Labels: Object.entries(container.Labels ?? {})
      .map(([key, value]) => `${key}=${value}`)
      .join(','),
    Mounts: mounts.map((mount) => (truncate ? ellipsis(mount, MAX_MOUNT_LENGTH) : mount)).join(','),
    LocalVolumes: String((container.Mounts ?? []).filter(({ Driver }) => Driver === 'local').length),
    Networks: Object.keys(container.NetworkSettings?.Networks ?? {}).join(','),
    // Only engines from 28 on know it, and docker shows null elsewhere, too.
    Platform: null,
  }
}

function image({ Image, ImageID }: Container, truncate: boolean): string {
  if (Image === '') return '<no image>'
  if (!truncate) return Image
  if (Image === ImageID) return shortId(ImageID)
  const [name, digest] = Image.split('@', 2) as [string, string?]
  return digest !== undefined && /:[^/]*$/.test(name) ? name : Image
}

function sizeText({ SizeRw = 0, SizeRootFs = 0 }: Container): string {
  const own = decimalSize(SizeRw)
  return SizeRootFs > 0 ? `${own} (virtual ${decimalSize(SizeRootFs)})` : own
}

/** Ports as docker shows them: exposed ones alone, published ones as `IP:PORT->PORT`, neighbours as ranges. */
export function portsText(ports: readonly ContainerPort[]): string {
  const sorted = [...ports].sort(
    (a, b) =>
      a.PrivatePort - b.PrivatePort ||
      compareText(a.IP ?? '', b.IP ?? '') ||
      (a.PublicPort ?? 0) - (b.PublicPort ?? 0) ||
      compareText(a.Type, b.Type),
  )
  const groups = new Map<string, { port: ContainerPort; last: ContainerPort }[]>()
  for (const port of sorted) {
    const key = `${port.IP ?? ''}/${port.Type}`
    const runs = groups.get(key) ?? []
    const run = runs.at(-1)
    const follows =
      run !== undefined &&
      port.PrivatePort === run.last.PrivatePort + 1 &&
      (port.PublicPort ?? 0) === (run.last.PublicPort ? run.last.PublicPort + 1 : 0)
    if (run && follows) run.last = port
    else runs.push({ port, last: port })
    groups.set(key, runs)
  }
  return [...groups.values()]
    .flat()
    .map(({ port, last }) => {
      const inside = span(port.PrivatePort, last.PrivatePort)
      if (!port.PublicPort) return `${inside}/${port.Type}`
      const host = port.IP?.includes(':') ? `[${port.IP}]` : (port.IP ?? '')
      return `${host}:${span(port.PublicPort, last.PublicPort ?? port.PublicPort)}->${inside}/${port.Type}`
    })
    .join(', ')
}

function span(from: number, to: number): string {
  return from === to ? `${from}` : `${from}-${to}`
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
