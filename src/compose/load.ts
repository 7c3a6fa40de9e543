// From Compose files to a project: variables, extends, include, merging, profiles, environment files; then the checks.
import path from 'node:path'
import { type Checked, checkProject } from './check.ts'
import { parseDotenv, type Variables } from './dotenv.ts'
import { interpolateTree, type Lookup } from './interpolate.ts'
import { ComposeError, type Place, type Problem, Problems } from './problems.ts'
import {
  type Config,
  emptyProject,
  type Network,
  project as projectSchema,
  type Secret,
  type Service,
  type Volume,
} from './schema/project.ts'
import { type FileContext, mergeWith, type Schema } from './schema/schema.ts'
import { service as serviceSchema } from './schema/service.ts'
import { child, childEntries, type Entry, isNull, list, type MapTree, scalar, type Tree, withEntry, withoutEntry } from './tree.ts'
import { parseYaml } from './yaml.ts'

/** Where files come from. `read` rejects when there is no such file. */
export interface FileSource {
  read(path: string): Promise<Uint8Array>
  exists(path: string): boolean
}

export interface LoadOptions {
  /** Compose files, later ones override earlier ones; `-` is for the source to understand. Relative paths start at `directory`. */
  readonly files: readonly string[]
  readonly directory: string
  readonly source: FileSource
  readonly environment: Readonly<Record<string, string | undefined>>
  /** Instead of the .env file beside the first Compose file. */
  readonly envFiles?: readonly string[]
  /** Besides those in COMPOSE_PROFILES; `*` is all of them. */
  readonly profiles?: readonly string[]
}

/** What the files say, in the long form of the specification, for the services that the profiles enable. */
export interface Project {
  /** The name that the files give, if any. */
  readonly name: string | undefined
  readonly services: ReadonlyMap<string, Service>
  readonly networks: ReadonlyMap<string, Network>
  readonly volumes: ReadonlyMap<string, Volume>
  readonly secrets: ReadonlyMap<string, Secret>
  readonly configs: ReadonlyMap<string, Config>
  readonly warnings: readonly Problem[]
  /** The same as a tree, for places and for printing. */
  readonly tree: Tree
  /** A variable of the environment or the .env file. */
  readonly variable: Lookup
}

const MAX_INCLUDES = 100

/** Reads the files; rejects with ComposeError, which names every error with file, line and column. */
export async function loadProject(options: LoadOptions): Promise<Project> {
  const problems = new Problems()
  const files = options.files.map((file) => (file === '-' ? file : path.resolve(options.directory, file)))
  const directory = files[0] === undefined || files[0] === '-' ? options.directory : path.dirname(files[0])
  const loader = new Loader(options, problems)
  const lookup = await loader.environment(
    options.envFiles?.map((file) => path.resolve(options.directory, file)),
    directory,
    (name) => options.environment[name],
  )
  const model = await loader.model(files, directory, lookup)
  if (problems.hasErrors) throw new ComposeError(problems.list)
  const profiles = [...(options.profiles ?? []), ...(lookup('COMPOSE_PROFILES') ?? '').split(',')].filter((name) => name !== '')
  const tree = enabledOnly(withoutTags(model) as MapTree, new Set(profiles))
  const checked: Checked = checkProject(tree, problems)
  if (problems.hasErrors) throw new ComposeError(problems.list)
  const { name, services, networks, volumes, secrets, configs } = projectSchema.read(checked.tree)
  return {
    name,
    services: services ?? new Map(),
    networks: networks ?? new Map(),
    volumes: volumes ?? new Map(),
    secrets: secrets ?? new Map(),
    configs: configs ?? new Map(),
    warnings: problems.list,
    tree: checked.tree,
    variable: lookup,
  }
}

class Loader {
  readonly #options: LoadOptions
  readonly #problems: Problems
  readonly #documents = new Map<string, Promise<MapTree[]>>()
  #includes = 0

  constructor(options: LoadOptions, problems: Problems) {
    this.#options = options
    this.#problems = problems
  }

  /** The environment with the variables of .env files behind it. */
  async environment(files: readonly string[] | undefined, directory: string, outer: Lookup): Promise<Lookup> {
    const paths = files ?? [path.join(directory, '.env')]
    const found = new Map<string, string>()
    const lookup: Lookup = (name) => outer(name) ?? found.get(name)
    for (const file of paths) {
      if (!files && !this.#options.source.exists(file)) continue
      for (const [name, value] of await this.#variables(file, { file, line: 1, column: 1 }, '', lookup, false)) {
        const actual = value ?? outer(name)
        if (actual !== undefined) found.set(name, actual)
      }
    }
    return lookup
  }

  /** Several files as one: each with its variables and extends, merged in order, then its includes. */
  async model(files: readonly string[], directory: string, lookup: Lookup, trail: readonly string[] = []): Promise<MapTree> {
    let merged: Tree | undefined
    for (const file of files) {
      for (const document of await this.#normalized(file, directory, lookup)) {
        const extended = await this.#extendAll(document, file, directory, lookup, merged)
        merged = merged ? mergeWith(projectSchema, merged, extended) : extended
      }
    }
    const own = (merged ?? emptyProject(files[0] ?? '')) as MapTree
    return this.#included(await this.#withEnvironments(own, lookup), directory, lookup, [...trail, ...files])
  }

  async #text(file: string, at: Place, name: string): Promise<string | undefined> {
    try {
      return Buffer.from(await this.#options.source.read(file)).toString('utf8')
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined
      const reason = code === 'ENOENT' ? 'there is no such file' : error instanceof Error ? error.message : String(error)
      this.#problems.error(at, name, `cannot read ${file}: ${reason}`)
      return undefined
    }
  }

  async #variables(file: string, at: Place, name: string, lookup: Lookup, raw: boolean): Promise<Variables> {
    const text = await this.#text(file, at, name)
    return text === undefined ? new Map() : parseDotenv(text, { file, lookup, problems: this.#problems, raw })
  }

  /** The documents of a file with variables put in, in the long form; paths in it start at `directory`. */
  #normalized(file: string, directory: string, lookup: Lookup): Promise<MapTree[]> {
    // A file that several services extend is read once, unless it stands in another folder's place.
    const key = `${directory}\0${file}`
    let found = this.#documents.get(key)
    if (!found) {
      found = this.#read(file, directory, lookup)
      this.#documents.set(key, found)
    }
    return found
  }

  async #read(file: string, directory: string, lookup: Lookup): Promise<MapTree[]> {
    const top = { file, line: 1, column: 1 }
    const text = await this.#text(file, top, '')
    if (text === undefined) return []
    const context = this.#context(directory)
    const documents: MapTree[] = []
    for (const tree of parseYaml(file, text, this.#problems)) {
      if (tree.kind !== 'map') this.#problems.error(tree.at, '', 'a Compose file is a mapping with `services:` in it')
      else {
        const good = projectSchema.normalize(interpolateTree(tree, lookup, this.#problems), '', context)
        if (good?.kind === 'map') documents.push(good)
      }
    }
    return documents
  }

  #context(directory: string): FileContext {
    const home = this.#options.environment.HOME
    return {
      problems: this.#problems,
      resolvePath: (text) =>
        /^~(?:\/|$)/.test(text) && home
          ? path.join(home, text.slice(1))
          : /^[a-zA-Z]:[\\/]/.test(text)
            ? text
            : path.resolve(directory, text),
    }
  }

  async #extendAll(document: MapTree, file: string, directory: string, lookup: Lookup, earlier: Tree | undefined): Promise<MapTree> {
    const services = child(document, 'services')
    if (services?.kind !== 'map') return document
    const find = async (name: string): Promise<Tree | undefined> => services.entries.get(name)?.value ?? child(earlier, 'services', name)
    const entries = new Map<string, Entry>()
    for (const [name, { at, value }] of services.entries) {
      entries.set(name, { at, value: await this.#extend(value, `services.${name}`, file, directory, lookup, find, [`${file}\0${name}`]) })
    }
    return withEntry(document, 'services', { ...services, entries })
  }

  async #extend(
    tree: Tree,
    name: string,
    file: string,
    directory: string,
    lookup: Lookup,
    find: (name: string) => Promise<Tree | undefined>,
    trail: readonly string[],
  ): Promise<Tree> {
    const extending = child(tree, 'extends')
    if (tree.kind !== 'map' || extending?.kind !== 'map') return tree
    const own = withoutEntry(tree, 'extends')
    const baseName = textAt(extending, 'service') ?? ''
    const otherFile = textAt(extending, 'file')
    const isOther = otherFile !== undefined && otherFile !== file
    const baseFile = isOther ? otherFile : file
    const baseDirectory = isOther ? path.dirname(otherFile) : directory
    const key = `${baseFile}\0${baseName}`
    if (trail.includes(key)) {
      this.#problems.error(
        extending.at,
        `${name}.extends`,
        `${baseName} extends itself through ${[...trail, key].map((step) => step.split('\0')[1]).join(' > ')}`,
      )
      return own
    }
    if (isOther && !this.#options.source.exists(otherFile)) {
      this.#problems.error(extending.at, `${name}.extends`, `there is no file ${otherFile}`)
      return own
    }
    const findBase = isOther ? await this.#finder(otherFile, baseDirectory, lookup) : find
    const base = await findBase(baseName)
    if (!base) {
      this.#problems.error(extending.at, `${name}.extends`, `there is no service ${baseName}${isOther ? ` in ${otherFile}` : ''}`)
      return own
    }
    const whole = await this.#extend(base, `services.${baseName}`, baseFile, baseDirectory, lookup, findBase, [...trail, key])
    return mergeWith(serviceSchema as Schema<unknown>, whole, own)
  }

  /** Finds services of another file by name. */
  async #finder(file: string, directory: string, lookup: Lookup): Promise<(name: string) => Promise<Tree | undefined>> {
    let merged: Tree | undefined
    for (const document of await this.#normalized(file, directory, lookup))
      merged = merged ? mergeWith(projectSchema, merged, document) : document
    return async (name) => child(merged, 'services', name)
  }

  /** Puts env_file and label_file into environment and labels, and gives bare variables their values. */
  async #withEnvironments(tree: MapTree, lookup: Lookup): Promise<MapTree> {
    const services = child(tree, 'services')
    if (services?.kind !== 'map') return tree
    const entries = new Map<string, Entry>()
    for (const [name, { at, value }] of services.entries) {
      entries.set(name, { at, value: value.kind === 'map' ? await this.#withEnvironment(value, `services.${name}`, lookup) : value })
    }
    return withEntry(tree, 'services', { ...services, entries })
  }

  async #withEnvironment(tree: MapTree, name: string, lookup: Lookup): Promise<MapTree> {
    let result = await this.#fromFiles(tree, 'env_file', 'environment', name, lookup)
    result = await this.#fromFiles(result, 'label_file', 'labels', name, lookup)
    const environment = child(result, 'environment')
    if (environment?.kind !== 'map') return result
    const entries = new Map<string, Entry>()
    for (const [key, { at, value }] of environment.entries) {
      const inherited = isNull(value) && value.tag === undefined ? lookup(key) : undefined
      entries.set(key, { at, value: inherited === undefined ? value : scalar(value.at, inherited) })
    }
    return withEntry(result, 'environment', { ...environment, entries })
  }

  async #fromFiles(tree: MapTree, field: string, into: string, name: string, lookup: Lookup): Promise<MapTree> {
    const files = child(tree, field)
    if (files?.kind !== 'list') return tree
    const entries = new Map<string, Entry>()
    for (const [i, item] of files.items.entries()) {
      const file = textAt(item, 'path') ?? (item.kind === 'scalar' ? String(item.value) : '')
      const required = child(item, 'required')
      const isOptional = required?.kind === 'scalar' && required.value === false
      if (isOptional && !this.#options.source.exists(file)) continue
      const raw = textAt(item, 'format') === 'raw'
      for (const [key, value] of await this.#variables(file, item.at, `${name}.${field}[${i}]`, lookup, raw)) {
        entries.set(key, { at: item.at, value: scalar(item.at, value ?? (into === 'labels' ? '' : null)) })
      }
    }
    for (const [key, entry] of childEntries(tree, into)) entries.set(key, entry)
    return withEntry(withoutEntry(tree, field), into, { kind: 'map', at: child(tree, into)?.at ?? files.at, entries })
  }

  async #included(tree: MapTree, directory: string, lookup: Lookup, trail: readonly string[]): Promise<MapTree> {
    const includes = child(tree, 'include')
    let result = withoutEntry(tree, 'include')
    if (includes?.kind !== 'list') return result
    for (const [i, item] of includes.items.entries()) {
      const name = `include[${i}]`
      const files = textsAt(item, 'path')
      const loop = files.find((file) => trail.includes(file))
      this.#includes += 1
      if (loop !== undefined || this.#includes > MAX_INCLUDES) {
        this.#problems.error(item.at, name, loop === undefined ? `more than ${MAX_INCLUDES} files are included` : `${loop} includes itself`)
        continue
      }
      const missing = files.find((file) => !this.#options.source.exists(file))
      if (missing !== undefined) {
        this.#problems.error(item.at, name, `there is no file ${missing}`)
        continue
      }
      const own = textAt(item, 'project_directory') ?? path.dirname(files[0] ?? directory)
      const envFiles = textsAt(item, 'env_file')
      const inner = await this.environment(envFiles.length > 0 ? envFiles : undefined, own, lookup)
      result = this.#adopt(result, await this.model(files, own, inner, trail), item.at, name)
    }
    return result
  }

  /** Takes over what an included model defines. The same name twice is an error, unless it comes from the same place. */
  #adopt(tree: MapTree, included: MapTree, at: Place, name: string): MapTree {
    let result = tree
    for (const section of ['services', 'networks', 'volumes', 'secrets', 'configs']) {
      const theirs = child(included, section)
      if (theirs?.kind !== 'map') continue
      const entries = new Map<string, Entry>(childEntries(result, section))
      for (const [key, entry] of theirs.entries) {
        const known = entries.get(key)
        if (known && !samePlace(known.at, entry.at)) {
          const other = `${known.at.file}:${known.at.line}`
          this.#problems.error(
            at,
            name,
            `${section}.${key} is also defined in ${other}`,
            'Give one of the two another name, or override it with a second -c file',
          )
        } else entries.set(key, entry)
      }
      result = withEntry(result, section, { kind: 'map', at: child(result, section)?.at ?? theirs.at, entries })
    }
    return result
  }
}

function samePlace(a: Place, b: Place): boolean {
  return a.file === b.file && a.line === b.line && a.column === b.column
}

function textAt(tree: Tree, key: string): string | undefined {
  const value = child(tree, key)
  return value?.kind === 'scalar' && value.value !== null ? String(value.value) : undefined
}

function textsAt(tree: Tree, key: string): string[] {
  const value = child(tree, key)
  return value?.kind === 'list' ? value.items.flatMap((item) => (item.kind === 'scalar' ? [String(item.value)] : [])) : []
}

/** What is reset is gone, what overrides is there. */
function withoutTags(tree: Tree): Tree {
  if (tree.kind === 'scalar') return scalar(tree.at, tree.value)
  if (tree.kind === 'list') return list(tree.at, tree.items.filter((item) => item.tag !== 'reset').map(withoutTags))
  const entries = new Map<string, Entry>()
  for (const [key, { at, value }] of tree.entries) if (value.tag !== 'reset') entries.set(key, { at, value: withoutTags(value) })
  return { kind: 'map', at: tree.at, entries }
}

/** Services without profiles, and those with an active one. */
function enabledOnly(tree: MapTree, active: ReadonlySet<string>): MapTree {
  const services = child(tree, 'services')
  if (services?.kind !== 'map') return tree
  const entries = new Map<string, Entry>()
  for (const [name, entry] of services.entries) {
    const profiles = textsAt(entry.value, 'profiles')
    if (profiles.length === 0 || active.has('*') || profiles.some((profile) => active.has(profile))) entries.set(name, entry)
  }
  return withEntry(withEntry(tree, 'services', { ...services, entries }), 'x-shoal-disabled', disabledNames(services, entries))
}

/** Kept for the checks, which tell a disabled service from one that does not exist; taken away by them. */
function disabledNames(services: MapTree, enabled: ReadonlyMap<string, Entry>): Tree {
  return list(
    services.at,
    [...services.entries].filter(([name]) => !enabled.has(name)).map(([name, { at }]) => scalar(at, name)),
  )
}
