// The fields of a service, in the words of the Compose Specification (github.com/compose-spec/compose-spec, 05-services.md and its JSON schema).
import { isNull, type ListTree, list, scalar, type Tree } from '../tree.ts'
import { shellWords } from '../values.ts'
import { deploy, duration, size, sizeOrUnlimited } from './deploy.ts'
import { dictionary, mapOf, names, object } from './maps.ts'
import { anything, bool, type FileContext, int, listOf, number, path, type Schema, scalarText, text, wrongType } from './schema.ts'
import { hostLines, longUlimit, longVolume, shortAs, spreadPorts } from './short.ts'

const texts = listOf(text({ loose: true }))
const textOrTexts = listOf(text({ loose: true }), { single: true })

/** A command: words, or a text that is split like a shell splits it. Nothing stands for the image's own. */
export const command: Schema<readonly string[]> = {
  normalize(tree, name, context) {
    if (isNull(tree)) return undefined
    if (tree.kind === 'list') return texts.normalize(tree, name, context)
    const written = scalarText(tree)
    if (written === undefined) return wrongType(tree, name, 'a text or a list of texts', context)
    return words(tree, name, context, () => shellWords(written))
  },
  merge: (_base, override) => override,
  read: (tree) => texts.read(tree),
}

function words(tree: Tree, name: string, context: FileContext, split: () => string[]): ListTree | undefined {
  try {
    return {
      ...list(
        tree.at,
        split().map((word) => scalar(tree.at, word)),
      ),
      ...(tree.tag ? { tag: tree.tag } : {}),
    }
  } catch (error) {
    context.problems.error(tree.at, name, error instanceof Error ? error.message : String(error))
    return undefined
  }
}

/** A test of health: a text for a shell, or a list that begins with NONE, CMD or CMD-SHELL. */
const healthTest: Schema<readonly string[]> = {
  ...command,
  normalize(tree, name, context) {
    if (isNull(tree)) return undefined
    const written = scalarText(tree)
    if (written !== undefined) return words(tree, name, context, () => ['CMD-SHELL', written])
    const good = texts.normalize(tree, name, context)
    const first = good?.kind === 'list' && good.items[0] ? scalarText(good.items[0]) : undefined
    if (good && !['NONE', 'CMD', 'CMD-SHELL'].includes(first ?? '')) {
      context.problems.error(
        tree.at,
        name,
        'the first word must be NONE, CMD or CMD-SHELL',
        'CMD runs the words, CMD-SHELL gives the text to a shell',
      )
      return undefined
    }
    return good
  },
}

/** A file mode: a number, or a text of octal digits. */
const fileMode: Schema<number> = {
  normalize(tree, name, context) {
    if (isNull(tree)) return undefined
    const mode =
      tree.kind === 'scalar' && typeof tree.value === 'string'
        ? /^0?o?[0-7]{1,4}$/.test(tree.value)
          ? Number.parseInt(tree.value.replace('o', ''), 8)
          : Number.NaN
        : Number(scalarText(tree))
    if (!Number.isInteger(mode) || mode < 0 || mode > 0o7777) return wrongType(tree, name, 'a file mode such as 0440', context)
    return scalar(tree.at, mode)
  },
  merge: (_base, override) => override,
  read: (tree) => (tree.kind === 'scalar' ? Number(tree.value) : 0),
}

function fileReferences(defaultTarget: (source: string) => string) {
  const id = text({ loose: true })
  const reference = object(
    { source: text(), target: text(), uid: id, gid: id, mode: fileMode },
    { short: shortAs('source'), required: ['source'] },
  )
  return listOf(reference, {
    keyOf: (tree) => fieldText(tree, 'target') || defaultTarget(fieldText(tree, 'source')),
  })
}

function fieldText(tree: Tree, field: string): string {
  const value = tree.kind === 'map' ? tree.entries.get(field)?.value : undefined
  return value ? (scalarText(value) ?? '') : ''
}

const port = object(
  {
    target: int({ min: 1, max: 65_535 }),
    published: int({ min: 0, max: 65_535 }),
    protocol: text({ oneOf: ['tcp', 'udp', 'sctp'] }),
    mode: text({ oneOf: ['ingress', 'host'] }),
    host_ip: text(),
    name: text(),
    app_protocol: text(),
  },
  { required: ['target'] },
)

const plainVolume = object(
  {
    type: text({ oneOf: ['volume', 'bind', 'tmpfs', 'image', 'cluster', 'npipe'] }),
    source: text(),
    target: text(),
    read_only: bool(),
    consistency: text(),
    bind: object({
      propagation: text({ oneOf: ['private', 'rprivate', 'shared', 'rshared', 'slave', 'rslave'] }),
      create_host_path: bool(),
      recursive: text({ oneOf: ['enabled', 'disabled', 'writable', 'readonly'] }),
      selinux: text({ oneOf: ['z', 'Z'] }),
    }),
    volume: object({ nocopy: bool(), subpath: text(), labels: dictionary('') }),
    tmpfs: object({ size, mode: fileMode }),
    image: object({ subpath: text() }),
  },
  { short: longVolume, required: ['type', 'target'] },
)

/** Sources of binds are paths, which belong to the file that names them. */
const volume: typeof plainVolume = {
  ...plainVolume,
  normalize(tree, name, context) {
    const good = plainVolume.normalize(tree, name, context)
    if (good?.kind !== 'map' || fieldText(good, 'type') !== 'bind') return good
    const source = good.entries.get('source')
    const written = source ? scalarText(source.value) : undefined
    if (!source || !written) return good
    return {
      ...good,
      entries: new Map(good.entries).set('source', { at: source.at, value: scalar(source.value.at, context.resolvePath(written)) }),
    }
  },
}

const ulimit = object({ soft: int({ min: -1 }), hard: int({ min: -1 }) }, { short: longUlimit, required: ['soft', 'hard'] })

const dependency = object(
  {
    condition: text({ oneOf: ['service_started', 'service_healthy', 'service_completed_successfully'] }),
    required: bool(),
    restart: bool(),
  },
  { empty: true },
)

const attachment = object(
  {
    aliases: texts,
    driver_opts: dictionary(''),
    ipv4_address: text(),
    ipv6_address: text(),
    link_local_ips: texts,
    mac_address: text(),
    interface_name: text(),
    priority: int(),
    gw_priority: int(),
  },
  { empty: true },
)

const environmentFile = object(
  { path: path(), required: bool(), format: text({ oneOf: ['raw'] }) },
  { short: shortAs('path'), required: ['path'] },
)

/** HOST=IP items, whatever they were written like. */
const extraHosts: Schema<readonly string[]> = {
  normalize(tree, name, context) {
    if (isNull(tree)) return undefined
    const lines = hostLines(tree, name, context)
    return lines && list(tree.at, lines)
  },
  merge: (base, override) => texts.merge(base, override),
  read: (tree) => texts.read(tree),
}

const wordOrNumber = text({ loose: true })

export const service = object({
  annotations: dictionary(''),
  attach: bool(),
  blkio_config: anything(),
  build: anything(),
  cap_add: texts,
  cap_drop: texts,
  cgroup: text(),
  cgroup_parent: text(),
  command,
  configs: fileReferences((source) => `/${source}`),
  container_name: text(),
  cpu_count: wordOrNumber,
  cpu_percent: wordOrNumber,
  cpu_period: wordOrNumber,
  cpu_quota: wordOrNumber,
  cpu_rt_period: wordOrNumber,
  cpu_rt_runtime: wordOrNumber,
  cpu_shares: wordOrNumber,
  cpus: number({ min: 0 }, false),
  cpuset: wordOrNumber,
  credential_spec: object({ config: text(), file: text(), registry: text() }),
  depends_on: mapOf(dependency, { fromList: names }),
  deploy,
  develop: anything(),
  device_cgroup_rules: texts,
  devices: anything(),
  dns: textOrTexts,
  dns_opt: texts,
  dns_search: textOrTexts,
  domainname: text(),
  entrypoint: command,
  env_file: listOf(environmentFile, { single: true }),
  environment: dictionary(null),
  expose: texts,
  extends: object({ service: text(), file: path() }, { short: shortAs('service'), required: ['service'] }),
  external_links: texts,
  extra_hosts: extraHosts,
  gpus: anything(),
  group_add: texts,
  healthcheck: object({
    disable: bool(),
    test: healthTest,
    interval: duration,
    timeout: duration,
    start_period: duration,
    start_interval: duration,
    retries: int({ min: 0 }),
  }),
  hostname: text(),
  image: text(),
  init: bool(),
  ipc: text(),
  isolation: text(),
  label_file: listOf(path(), { single: true }),
  labels: dictionary(''),
  links: texts,
  logging: object({ driver: text(), options: dictionary('') }),
  mac_address: text(),
  mem_limit: size,
  mem_reservation: size,
  mem_swappiness: wordOrNumber,
  memswap_limit: sizeOrUnlimited,
  models: anything(),
  network_mode: text(),
  networks: mapOf(attachment, { fromList: names }),
  oom_kill_disable: bool(),
  oom_score_adj: int({ min: -1000, max: 1000 }),
  pid: text(),
  pids_limit: int({ min: -1 }),
  platform: text(),
  ports: listOf(port, {
    spread: spreadPorts,
    keyOf: (tree) =>
      ['host_ip', 'target', 'published', 'protocol']
        .map((field) => fieldText(tree, field) || (field === 'protocol' ? 'tcp' : ''))
        .join('|'),
  }),
  post_start: anything(),
  pre_start: anything(),
  pre_stop: anything(),
  privileged: bool(),
  profiles: texts,
  provider: anything(),
  pull_policy: text(),
  pull_refresh_after: text(),
  read_only: bool(),
  restart: text(),
  runtime: text(),
  scale: int({ min: 0 }),
  secrets: fileReferences((source) => source),
  security_opt: texts,
  shm_size: size,
  stdin_open: bool(),
  stop_grace_period: duration,
  stop_signal: text(),
  storage_opt: anything(),
  sysctls: dictionary(''),
  tmpfs: textOrTexts,
  tty: bool(),
  ulimits: mapOf(ulimit, { keys: /^[a-z]+$/ }),
  use_api_socket: bool(),
  user: text({ loose: true }),
  userns_mode: text(),
  uts: text(),
  volumes: listOf(volume, { keyOf: (tree) => fieldText(tree, 'target') }),
  volumes_from: texts,
  working_dir: text(),
})
