// Checks a whole project: what a swarm cannot do, names that lead nowhere, dependencies in a circle.
import type { Problems } from './problems.ts'
import { ATTACHMENT_LIMITS, type Limit, NODE_NETWORKS, SERVICE_LIMITS } from './swarm.ts'
import { child, childEntries, type Entry, isNull, type MapTree, scalar, type Tree, withEntry, withoutEntry } from './tree.ts'

export interface Checked {
  /** The project without dependencies on services that the profiles disable. */
  readonly tree: MapTree
}

export function checkProject(tree: MapTree, problems: Problems): Checked {
  const disabled = new Set(itemsAt(tree, 'x-shoal-disabled').map((item) => textOf(item)))
  let result = withoutEntry(tree, 'x-shoal-disabled')
  if (child(result, 'services') === undefined || childEntries(result, 'services').length === 0) {
    problems.error(
      tree.at,
      '',
      disabled.size > 0 ? 'no service is enabled' : 'there are no services',
      disabled.size > 0 ? 'Give --profile' : undefined,
    )
  }
  result = dropDisabledDependencies(result, disabled, problems)
  for (const [name, { value }] of childEntries(result, 'services')) checkService(result, name, value, problems)
  for (const kind of ['secrets', 'configs'] as const) {
    for (const [name, { at, value }] of childEntries(result, kind)) checkFileObject(kind, name, value, at, problems)
  }
  for (const kind of ['networks', 'volumes'] as const) {
    for (const [name, { at, value }] of childEntries(result, kind)) checkExternal(kind, name, value, at, problems)
  }
  checkCircles(result, problems)
  return { tree: result }
}

function tell(problems: Problems, limit: Limit, at: Entry['at'], name: string): void {
  if (limit.severity === 'error') problems.error(at, name, limit.message, limit.advice)
  else problems.warn(at, name, limit.message, limit.advice)
}

function checkService(project: Tree, name: string, tree: Tree, problems: Problems): void {
  const path = `services.${name}`
  for (const [field, { at }] of childEntries(tree)) {
    const limit = Object.hasOwn(SERVICE_LIMITS, field) ? SERVICE_LIMITS[field] : undefined
    if (limit) tell(problems, limit, at, `${path}.${field}`)
  }
  if (!child(tree, 'image')) {
    problems.error(
      tree.at,
      path,
      'image is missing',
      child(tree, 'build') ? 'A swarm does not build: name the image that you have pushed' : undefined,
    )
  }
  checkNetworks(project, path, tree, problems)
  checkVolumes(project, path, tree, problems)
  for (const kind of ['secrets', 'configs'] as const) checkFileReferences(project, kind, path, tree, problems)
  checkDeploy(path, tree, problems)
  for (const [i, item] of itemsAt(tree, 'security_opt').entries()) {
    if (/^no-new-privileges(?:[:=]?true)?$/.test(textOf(item))) continue
    problems.warn(item.at, `${path}.security_opt[${i}]`, 'ignored: of these options a swarm knows only no-new-privileges')
  }
  for (const [i, item] of itemsAt(tree, 'ports').entries()) {
    const address = child(item, 'host_ip')
    const port = `${path}.ports[${i}]`
    if (address && !/^(?:0\.0\.0\.0|::)$/.test(textOf(address))) {
      problems.warn(
        address.at,
        port,
        `the address ${textOf(address)} is ignored: the port is open on all addresses of the nodes`,
        'Close it in the firewall, or do not publish it',
      )
    }
    if (child(item, 'app_protocol')) problems.warn(item.at, port, 'app_protocol is ignored')
  }
  for (const [dependency, { value }] of childEntries(tree, 'depends_on')) {
    if (textOf(child(value, 'restart')) === 'true') {
      problems.warn(value.at, `${path}.depends_on.${dependency}.restart`, 'ignored: an update of one service does not restart another')
    }
  }
  for (const [i, item] of itemsAt(tree, 'tmpfs').entries()) {
    if (!textOf(item).startsWith('/'))
      problems.error(item.at, `${path}.tmpfs[${i}]`, 'must be an absolute path, with options after a colon')
  }
}

function checkNetworks(project: Tree, path: string, tree: Tree, problems: Problems): void {
  const mode = child(tree, 'network_mode')
  if (mode && child(tree, 'networks'))
    problems.error(mode.at, `${path}.network_mode`, 'does not go together with networks', 'Keep one of the two')
  if (mode && !NODE_NETWORKS.has(textOf(mode))) {
    problems.error(
      mode.at,
      `${path}.network_mode`,
      `${JSON.stringify(textOf(mode))} cannot work in a swarm`,
      'Use networks, host or bridge',
    )
  }
  for (const [name, { at, value }] of childEntries(tree, 'networks')) {
    if (name !== 'default' && !child(project, 'networks', name)) {
      problems.error(at, `${path}.networks.${name}`, 'there is no such network', `Add ${name}: under networks:`)
    }
    for (const [field, entry] of childEntries(value)) {
      const limit = Object.hasOwn(ATTACHMENT_LIMITS, field) ? ATTACHMENT_LIMITS[field] : undefined
      if (limit) tell(problems, limit, entry.at, `${path}.networks.${name}.${field}`)
    }
  }
}

const VOLUME_OPTIONS = ['bind', 'volume', 'tmpfs', 'image'] as const

function checkVolumes(project: Tree, path: string, tree: Tree, problems: Problems): void {
  for (const [i, item] of itemsAt(tree, 'volumes').entries()) {
    const name = `${path}.volumes[${i}]`
    const type = textOf(child(item, 'type'))
    const source = child(item, 'source')
    for (const options of VOLUME_OPTIONS) {
      const wrong = options === type ? undefined : child(item, options)
      if (wrong) problems.error(wrong.at, `${name}.${options}`, `a volume of type ${type} has no ${options} options`)
    }
    if (type === 'tmpfs' && source) problems.error(source.at, name, 'a tmpfs has no source')
    if (type !== 'tmpfs' && type !== 'volume' && !source) problems.error(item.at, name, `a volume of type ${type} needs a source`)
    if (type === 'volume' && source && !child(project, 'volumes', textOf(source))) {
      problems.error(source.at, name, `there is no volume ${textOf(source)}`, `Add ${textOf(source)}: under volumes:`)
    }
    if (type === 'npipe' || type === 'cluster') problems.error(item.at, name, `volumes of type ${type} do not work here`)
    if (child(item, 'bind', 'selinux')) problems.warn(item.at, name, 'SELinux labels are ignored: services of a swarm cannot have them')
    if (textOf(child(item, 'bind', 'create_host_path')) === 'true') {
      problems.warn(item.at, name, 'create_host_path is ignored: the folder must be there on each node that may run the service')
    }
  }
}

function checkFileReferences(project: Tree, kind: 'secrets' | 'configs', path: string, tree: Tree, problems: Problems): void {
  for (const [i, item] of itemsAt(tree, kind).entries()) {
    const source = child(item, 'source')
    if (!source || child(project, kind, textOf(source))) continue
    problems.error(
      item.at,
      `${path}.${kind}[${i}]`,
      `there is no ${kind.slice(0, -1)} ${textOf(source)}`,
      `Add ${textOf(source)}: under ${kind}:`,
    )
  }
}

function checkDeploy(path: string, tree: Tree, problems: Problems): void {
  const mode = child(tree, 'deploy', 'mode')
  const replicas = child(tree, 'deploy', 'replicas') ?? child(tree, 'scale')
  const isGlobal = textOf(mode).startsWith('global')
  if (isGlobal && replicas)
    problems.error(replicas.at, `${path}.deploy.replicas`, 'a global service has one task on each node, not a number of replicas')
  if (textOf(mode).endsWith('-job')) {
    for (const field of ['update_config', 'rollback_config']) {
      const rollout = child(tree, 'deploy', field)
      if (rollout) problems.error(rollout.at, `${path}.deploy.${field}`, 'jobs are not updated in steps', 'Take it away')
    }
  }
  const devices = child(tree, 'deploy', 'resources', 'reservations', 'devices')
  if (devices) {
    problems.warn(
      devices.at,
      `${path}.deploy.resources.reservations.devices`,
      'ignored: services of a swarm cannot ask for devices',
      'Use generic_resources',
    )
  }
  const twice: [string, string[]][] = [
    ['scale', ['replicas']],
    ['cpus', ['resources', 'limits', 'cpus']],
    ['mem_limit', ['resources', 'limits', 'memory']],
    ['mem_reservation', ['resources', 'reservations', 'memory']],
    ['pids_limit', ['resources', 'limits', 'pids']],
  ]
  for (const [old, at] of twice) {
    const first = child(tree, old)
    const second = child(tree, 'deploy', ...at)
    if (first && second && textOf(first) !== textOf(second)) {
      problems.error(first.at, `${path}.${old}`, `says something else than deploy.${at.join('.')}`, 'Keep one of the two')
    }
  }
}

function checkExternal(kind: string, name: string, tree: Tree, at: Entry['at'], problems: Problems): void {
  if (textOf(child(tree, 'external')) !== 'true') return
  for (const [field] of childEntries(tree)) {
    if (field === 'external' || field === 'name' || field.startsWith('x-')) continue
    problems.error(at, `${kind}.${name}`, `is external and has ${field}`, 'What exists elsewhere is only named here: take the field away')
  }
}

function checkFileObject(kind: 'secrets' | 'configs', name: string, tree: Tree, at: Entry['at'], problems: Problems): void {
  checkExternal(kind, name, tree, at, problems)
  if (textOf(child(tree, 'external')) === 'true') return
  const sources = ['file', 'environment', 'content', 'driver'].filter((field) => child(tree, field))
  const possible = kind === 'secrets' ? 'file, environment, driver or external' : 'file, environment, content or external'
  if (sources.length !== 1) {
    const message = sources.length === 0 ? 'has no content' : `has content from ${sources.join(' and ')}`
    problems.error(at, `${kind}.${name}`, message, `Give one of ${possible}`)
  }
}

/** A dependency that is not required goes when the profiles disable it; a required one is an error. */
function dropDisabledDependencies(tree: MapTree, disabled: ReadonlySet<string>, problems: Problems): MapTree {
  const services = child(tree, 'services')
  if (services?.kind !== 'map') return tree
  const entries = new Map<string, Entry>()
  for (const [name, entry] of services.entries) {
    const dependencies = child(entry.value, 'depends_on')
    if (entry.value.kind !== 'map' || dependencies?.kind !== 'map') {
      entries.set(name, entry)
      continue
    }
    const kept = new Map<string, Entry>()
    for (const [dependency, each] of dependencies.entries) {
      const isRequired = textOf(child(each.value, 'required')) !== 'false'
      const path = `services.${name}.depends_on.${dependency}`
      if (services.entries.has(dependency)) kept.set(dependency, withCondition(each))
      else if (!isRequired) continue
      else if (disabled.has(dependency))
        problems.error(each.at, path, 'the profiles disable this service', 'Enable it with --profile, or write required: false')
      else problems.error(each.at, path, 'there is no such service')
    }
    entries.set(name, { at: entry.at, value: withEntry(entry.value, 'depends_on', { ...dependencies, entries: kept }) })
  }
  return withEntry(tree, 'services', { ...services, entries })
}

function withCondition(entry: Entry): Entry {
  if (entry.value.kind !== 'map' || child(entry.value, 'condition')) return entry
  return { at: entry.at, value: withEntry(entry.value, 'condition', scalar(entry.at, 'service_started')) }
}

/** Services that wait for each other would wait for ever. */
function checkCircles(tree: Tree, problems: Problems): void {
  const services = new Map(childEntries(tree, 'services'))
  const done = new Set<string>()
  const visit = (name: string, trail: readonly string[]): void => {
    if (done.has(name)) return
    for (const [dependency, { at }] of childEntries(services.get(name)?.value, 'depends_on')) {
      const start = [...trail, name].indexOf(dependency)
      if (start >= 0) {
        const circle = [...[...trail, name].slice(start), dependency].join(' > ')
        problems.error(at, `services.${name}.depends_on.${dependency}`, `the services wait for each other: ${circle}`)
      } else visit(dependency, [...trail, name])
    }
    done.add(name)
  }
  for (const name of services.keys()) visit(name, [])
}

function itemsAt(tree: Tree, key: string): readonly Tree[] {
  const found = child(tree, key)
  return found?.kind === 'list' ? found.items : []
}

function textOf(tree: Tree | undefined): string {
  return tree?.kind === 'scalar' && !isNull(tree) ? String(tree.value) : ''
}
