// --publish in both of docker's forms: [HOSTPORT:]PORT[/PROTOCOL] with ranges, and published=...,target=...,mode=...,protocol=...
import { isIP } from 'node:net'
import type { PortConfig } from '../../client/index.ts'
import { csvFields } from '../flags/index.ts'

const PROTOCOLS = ['tcp', 'udp', 'sctp']
const MAX_PORT = 65535
const SHORT_FORM = /^(?:(.*):)?([^:]*)$/

/** The ports that one --publish value stands for; throws with docker's reasons. */
export function parsePublish(text: string): PortConfig[] {
  return /\w+=/.test(text) ? [parseLongForm(text)] : parseShortForm(text)
}

function parseLongForm(text: string): PortConfig {
  const port: PortConfig = { Protocol: 'tcp', PublishMode: 'ingress' }
  for (const field of csvFields(text)) {
    const [key = '', value] = field.toLowerCase().split('=', 2)
    if (value === undefined || value === '') throw new Error(`invalid field: ${field}`)
    if (key === 'protocol') {
      if (!PROTOCOLS.includes(value)) throw new Error(`invalid protocol value '${value}'`)
      port.Protocol = value
    } else if (key === 'mode') {
      if (value !== 'ingress' && value !== 'host')
        throw new Error(`invalid publish mode value (${value}): must be either 'ingress' or 'host'`)
      port.PublishMode = value
    } else if (key === 'target') port.TargetPort = portNumber(value, 'target')
    else if (key === 'published') port.PublishedPort = portNumber(value, 'published')
    else throw new Error(`invalid field key: ${key}`)
  }
  if (!port.TargetPort) throw new Error("missing mandatory field 'target'")
  return port
}

function portNumber(text: string, name: string): number {
  if (!/^\d+$/.test(text)) throw new Error(`invalid ${name} port (${text}): value must be an integer: invalid syntax`)
  if (Number(text) > MAX_PORT) throw new Error(`invalid ${name} port (${text}): value must be an integer: value out of range`)
  return Number(text)
}

function parseShortForm(text: string): PortConfig[] {
  const [address = '', protocol = 'tcp'] = text.split('/', 2)
  const match = SHORT_FORM.exec(address) as RegExpExecArray
  const target = range(match[2] as string)
  if (!target) throw new Error(match[2] ? `invalid containerPort: ${match[2]}` : `no port specified: ${text}<empty>`)
  if (!PROTOCOLS.includes(protocol.toLowerCase())) throw new Error(`invalid proto: ${protocol}`)
  const published = publishedRange(match[1])
  const targets = target[1] - target[0] + 1
  const publishedCount = published ? published[1] - published[0] + 1 : targets
  // One container port may take a range of host ports; otherwise the ranges are of one length.
  if (publishedCount !== targets && targets !== 1)
    throw new Error(`invalid ranges specified for container and host Ports: ${match[2]} and ${match[1]}`)
  return Array.from({ length: publishedCount }, (_, i) => ({
    Protocol: protocol.toLowerCase(),
    TargetPort: target[0] + (targets === 1 ? 0 : i),
    ...(published ? { PublishedPort: published[0] + i } : {}),
    PublishMode: 'ingress',
  }))
}

function publishedRange(text: string | undefined): [number, number] | undefined {
  if (text === undefined || text === '') return undefined
  const colon = text.lastIndexOf(':')
  if (colon >= 0) {
    const host = text.slice(0, colon).replace(/^\[|\]$/g, '')
    if (host !== '' && isIP(host) === 0) throw new Error(`invalid IP address: ${host}`)
    // The routing mesh listens on all addresses of a node.
    if (host !== '') throw new Error('hostip is not supported')
    text = text.slice(colon + 1)
  }
  const found = range(text)
  if (!found) throw new Error(`invalid hostPort: ${text}`)
  return found
}

function range(text: string): [number, number] | undefined {
  const match = /^(\d+)(?:-(\d+))?$/.exec(text)
  if (!match) return undefined
  const from = Number(match[1])
  const to = Number(match[2] ?? match[1])
  return from <= to && to <= MAX_PORT ? [from, to] : undefined
}

/** What --publish-rm names: TARGET[/PROTOCOL] or PUBLISHED:TARGET[/PROTOCOL]. */
export function parsePublishRemoval(text: string): (port: PortConfig) => boolean {
  const [wanted] = parsePublish(text)
  if (!wanted) throw new Error(`invalid port: ${text}`)
  return (port) =>
    port.TargetPort === wanted.TargetPort &&
    (port.Protocol ?? 'tcp') === wanted.Protocol &&
    (wanted.PublishedPort === undefined || port.PublishedPort === wanted.PublishedPort)
}

/** The published ports as `service ls` shows them: neighbours as ranges. */
export function portSummary(ports: readonly PortConfig[]): string {
  const ingress = ports.filter((port) => port.PublishMode !== 'host' && port.PublishedPort)
  ingress.sort((a, b) => (a.Protocol === b.Protocol ? published(a) - published(b) : (a.Protocol ?? '') < (b.Protocol ?? '') ? -1 : 1))
  const runs: { first: PortConfig; last: PortConfig }[] = []
  for (const port of ingress) {
    const run = runs.at(-1)
    const follows =
      run !== undefined &&
      run.last.Protocol === port.Protocol &&
      published(port) === published(run.last) + 1 &&
      target(port) === target(run.last) + 1
    if (run && follows) run.last = port
    else runs.push({ first: port, last: port })
  }
  return runs
    .map(({ first, last }) => {
      const span = (from: number, to: number) => (from === to ? `${from}` : `${from}-${to}`)
      return `*:${span(published(first), published(last))}->${span(target(first), target(last))}/${first.Protocol}`
    })
    .join(', ')
}

function published(port: PortConfig): number {
  return port.PublishedPort ?? 0
}

function target(port: PortConfig): number {
  return port.TargetPort ?? 0
}
