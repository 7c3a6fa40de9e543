// Short forms of what a service refers to (ports, volumes, secrets, ulimits, hosts) and the long forms that they stand for.
import { isIP } from 'node:net'
import type { Place } from '../problems.ts'
import { mapOfTrees, scalar, type Tree } from '../tree.ts'
import { type FileContext, scalarText, wrongType } from './schema.ts'

const MAX_PORT = 65_535
/** A range that spells out to more ports than this is a mistake. */
const MAX_PORTS = 4096

/** `[[HOST_IP:]PUBLISHED:]TARGET[/PROTOCOL]`, where PUBLISHED and TARGET may be ranges; a long form is given back as it is. */
export function spreadPorts(item: Tree, name: string, context: FileContext): readonly Tree[] {
  const written = scalarText(item)
  if (written === undefined || item.kind !== 'scalar') return [item]
  const wrong = (message: string, advice?: string): readonly Tree[] => {
    context.problems.error(item.at, name, message, advice)
    return []
  }
  const match = /^(?:(?:(?<ip>\[[^\]]*\]|[^:]*):)?(?<published>[\d-]*):)?(?<target>[\d-]+)(?:\/(?<protocol>[a-z]+))?$/i.exec(written.trim())
  if (!match?.groups)
    return wrong(`${JSON.stringify(written)} is no port`, 'Write it like "8080:80", "80", "53:53/udp" or "9000-9002:9000-9002"')
  const { ip = '', published: publishedText = '', protocol = 'tcp' } = match.groups
  const address = ip.replace(/^\[|\]$/g, '')
  if (address !== '' && isIP(address) === 0) return wrong(`${JSON.stringify(ip)} is no address`)
  const target = portRange(match.groups.target as string)
  const published = publishedText === '' ? undefined : portRange(publishedText)
  if (!target || (publishedText !== '' && !published))
    return wrong(
      `${JSON.stringify(written)} has a port that is none`,
      `Ports go from 1 to ${MAX_PORT}, ranges from the lower to the higher`,
    )
  const isOneTarget = target.length === 1
  if (published && !isOneTarget && published.length !== target.length)
    return wrong(`the ranges in ${JSON.stringify(written)} differ in length`)
  if (Math.max(target.length, published?.length ?? 0) > MAX_PORTS)
    return wrong(`${JSON.stringify(written)} is a range of more than ${MAX_PORTS} ports`)
  const port = (targetPort: number, publishedPort: number | undefined): Tree =>
    mapOfTrees(item.at, {
      target: scalar(item.at, targetPort),
      published: publishedPort === undefined ? undefined : scalar(item.at, publishedPort),
      protocol: scalar(item.at, protocol.toLowerCase()),
      mode: scalar(item.at, 'ingress'),
      host_ip: address === '' ? undefined : scalar(item.at, address),
    })
  if (!published) return target.map((each) => port(each, undefined))
  return published.map((each, i) => port((isOneTarget ? target[0] : target[i]) as number, each))
}

function portRange(text: string): number[] | undefined {
  const match = /^(\d+)(?:-(\d+))?$/.exec(text)
  if (!match) return undefined
  const from = Number(match[1])
  const to = Number(match[2] ?? match[1])
  if (from < 1 || to < from || to > MAX_PORT) return undefined
  return Array.from({ length: Math.min(to - from + 1, MAX_PORTS + 1) }, (_, i) => from + i)
}

const PROPAGATIONS = new Set(['private', 'rprivate', 'shared', 'rshared', 'slave', 'rslave'])
const CONSISTENCIES = new Set(['cached', 'delegated', 'consistent'])

/** Does this source stand for a path of the host? Otherwise it is the name of a volume. */
export function isHostPath(source: string): boolean {
  return /^(?:[./~\\]|[a-zA-Z]:[\\/])/.test(source)
}

/** `[SOURCE:]TARGET[:OPTION,...]`. */
export function longVolume(item: Tree, name: string, context: FileContext): Tree | undefined {
  const written = scalarText(item)
  if (written === undefined || item.kind !== 'scalar') return wrongType(item, name, 'a text or a mapping', context)
  const parts = written.split(':')
  const isWrong = written === '' || parts.length > 3 || parts.some((part) => part === '')
  if (isWrong) {
    context.problems.error(
      item.at,
      name,
      `${JSON.stringify(written)} is no volume`,
      'Write it like "data:/var/lib/data", "./conf:/etc/conf:ro" or "/cache"',
    )
    return undefined
  }
  if (parts.length === 1) return mapOfTrees(item.at, { type: scalar(item.at, 'volume'), target: scalar(item.at, written) })
  const [source, target, options = ''] = parts as [string, string, string?]
  const isBind = isHostPath(source)
  const fields: Record<string, Tree> = {
    type: scalar(item.at, isBind ? 'bind' : 'volume'),
    source: scalar(item.at, source),
    target: scalar(item.at, target),
  }
  for (const option of options === '' ? [] : options.split(',')) {
    if (!setVolumeOption(fields, option, item.at)) {
      context.problems.error(
        item.at,
        name,
        `${JSON.stringify(option)} is no option of a volume`,
        'Options are ro, rw, nocopy, z, Z, a propagation or a consistency',
      )
    }
  }
  return mapOfTrees(item.at, fields)
}

function setVolumeOption(fields: Record<string, Tree>, option: string, at: Place): boolean {
  if (option === 'ro') fields.read_only = scalar(at, true)
  else if (option === 'nocopy') fields.volume = mapOfTrees(at, { nocopy: scalar(at, true) })
  else if (PROPAGATIONS.has(option)) fields.bind = mapOfTrees(at, { propagation: scalar(at, option) })
  else if (option === 'z' || option === 'Z') fields.bind = mapOfTrees(at, { selinux: scalar(at, option) })
  else if (CONSISTENCIES.has(option)) fields.consistency = scalar(at, option)
  else return option === 'rw'
  return true
}

/** A scalar as the one field of a mapping. */
export function shortAs(field: string): (item: Tree, name: string, context: FileContext) => Tree | undefined {
  return (item, name, context) => {
    const written = scalarText(item)
    return written === undefined
      ? wrongType(item, name, 'a text or a mapping', context)
      : mapOfTrees(item.at, { [field]: scalar(item.at, written) })
  }
}

/** One number is the soft and the hard limit. */
export function longUlimit(item: Tree, name: string, context: FileContext): Tree | undefined {
  if (item.kind !== 'scalar') return wrongType(item, name, 'a number or a mapping with soft and hard', context)
  return mapOfTrees(item.at, { soft: item, hard: item })
}

/** `HOST=IP`, `HOST:IP`, or a mapping from hosts to one or several addresses: one item for each pair, written HOST=IP. */
export function hostLines(tree: Tree, name: string, context: FileContext): Tree[] | undefined {
  const pairs: [host: string, address: string | undefined, at: Place][] = []
  if (tree.kind === 'list') {
    for (const item of tree.items) {
      const match = /^([^=:]+)[=:](.+)$/.exec(scalarText(item) ?? '')
      pairs.push([match?.[1] ?? '', match?.[2], item.at])
    }
  } else if (tree.kind === 'map') {
    for (const [host, { at, value }] of tree.entries) {
      for (const address of value.kind === 'list' ? value.items : [value]) pairs.push([host, scalarText(address), at])
    }
  } else return wrongType(tree, name, 'a list of HOST=IP or a mapping', context)
  const lines: Tree[] = []
  for (const [host, written, at] of pairs) {
    const address = written?.trim().replace(/^\[|\]$/g, '')
    if (host === '' || address === undefined)
      context.problems.error(at, name, 'this is no host with an address', 'Write it like "db=10.0.0.7"')
    else if (address === 'host-gateway') {
      context.problems.error(at, name, 'host-gateway means another address on each node', 'Give an address that all nodes can reach')
    } else if (isIP(address) === 0) context.problems.error(at, name, `${JSON.stringify(address)} is no address`)
    else lines.push(scalar(at, `${host.trim()}=${address}`))
  }
  return lines
}
