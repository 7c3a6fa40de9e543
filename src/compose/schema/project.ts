// The top level of a Compose file: services, networks, volumes, secrets, configs.
import { isNull, mapOfTrees, scalar, type Tree } from '../tree.ts'
import { dictionary, type Fields, mapOf, object } from './maps.ts'
import { anything, bool, type FileContext, type Infer, listOf, path, type Schema, scalarText, text, wrongType } from './schema.ts'
import { service } from './service.ts'
import { shortAs } from './short.ts'

/**
 * `external: true`, or the old `external: {name: X}`. Kept as true with the name beside it, which is where the specification has it now.
 */
function withExternal<F extends Fields>(fields: F) {
  const schema = object({ ...fields, name: text(), external: bool() }, { empty: true })
  const normalize: typeof schema.normalize = (tree, name, context) => {
    const external = tree.kind === 'map' ? tree.entries.get('external') : undefined
    if (tree.kind !== 'map' || external?.value.kind !== 'map') return schema.normalize(tree, name, context)
    const entries = new Map(tree.entries)
    entries.set('external', { at: external.at, value: scalar(external.at, true) })
    const inner = external.value.entries.get('name')
    if (inner) entries.set('name', inner)
    return schema.normalize({ ...tree, entries }, name, context)
  }
  return { ...schema, normalize }
}

const ipam = object({
  driver: text(),
  options: dictionary(''),
  config: listOf(object({ subnet: text(), ip_range: text(), gateway: text(), aux_addresses: dictionary('') })),
})

const network = withExternal({
  driver: text(),
  driver_opts: dictionary(''),
  attachable: bool(),
  internal: bool(),
  enable_ipv4: bool(),
  enable_ipv6: bool(),
  ipam,
  labels: dictionary(''),
})

const volume = withExternal({ driver: text(), driver_opts: dictionary(''), labels: dictionary('') })

const secret = withExternal({
  file: path(),
  environment: text(),
  driver: text(),
  driver_opts: dictionary(''),
  template_driver: text(),
  labels: dictionary(''),
})

const config = withExternal({
  file: path(),
  environment: text(),
  content: text({ loose: true }),
  template_driver: text(),
  labels: dictionary(''),
})

const include = object(
  {
    path: listOf(path(), { single: true }),
    project_directory: path(),
    env_file: listOf(path(), { single: true }),
  },
  { short: shortAs('path'), required: ['path'] },
)

/** An old file without `services:` at its top is told apart from a misspelt field by what is in it. */
const version: Schema<string> = {
  ...text({ loose: true }),
  normalize(tree: Tree, name: string, context: FileContext) {
    if (isNull(tree)) return undefined
    const written = scalarText(tree)
    if (written === undefined) return wrongType(tree, name, 'a text', context)
    if (/^[12](?:\.|$)/.test(written)) {
      context.problems.error(
        tree.at,
        name,
        `files of version ${written} are not for swarms`,
        'Move the services under `services:`, and take the version away',
      )
    }
    return scalar(tree.at, written)
  },
}

export const project = object({
  version,
  name: text(),
  include: listOf(include),
  services: mapOf(service),
  networks: mapOf(network),
  volumes: mapOf(volume),
  secrets: mapOf(secret),
  configs: mapOf(config),
  models: anything(),
})

export type Service = Infer<typeof service>
export type Network = Infer<typeof network>
export type Volume = Infer<typeof volume>
export type Secret = Infer<typeof secret>
export type Config = Infer<typeof config>
export type ProjectFile = Infer<typeof project>

/** A file without anything in it. */
export function emptyProject(file: string): Tree {
  return mapOfTrees({ file, line: 1, column: 1 }, {})
}
