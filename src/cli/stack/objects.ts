// The networks, secrets and configs of a stack, as the Docker API wants them: named and labelled as docker stack deploy does.
import type { ConfigReference, Labels, SecretReference } from '../../client/index.ts'
import type { Config, Network, Project, Secret } from '../../compose/index.ts'
import { ExitError } from '../io.ts'

export const NAMESPACE_LABEL = 'com.docker.stack.namespace'
export const IMAGE_LABEL = 'com.docker.stack.image'

/** Body of POST /networks/create. */
export interface NetworkBody {
  readonly Name: string
  readonly Driver: string
  readonly Labels: Labels
  readonly Options?: Record<string, string>
  readonly Internal?: boolean
  readonly Attachable?: boolean
  readonly EnableIPv4?: boolean
  readonly EnableIPv6?: boolean
  readonly IPAM?: {
    readonly Driver: string
    readonly Options?: Record<string, string>
    readonly Config?: readonly Readonly<Record<string, unknown>>[]
  }
}

export interface FileObjectSpec {
  readonly Name: string
  readonly Labels: Labels
  /** base64; absent where a driver has the content. */
  readonly Data?: string
  readonly Driver?: { readonly Name: string; readonly Options?: Record<string, string> }
  readonly Templating?: { readonly Name: string }
}

export type ReadFile = (path: string) => Promise<Uint8Array>

/** The name of an object in the swarm: its own if the file gives one, otherwise with the stack's name before it. */
export function scopedName(
  stack: string,
  key: string,
  object: { readonly name?: string; readonly external?: boolean } | undefined,
): string {
  return object?.name ?? (object?.external ? key : `${stack}_${key}`)
}

export function stackLabels(stack: string, labels: ReadonlyMap<string, string | null> | undefined): Labels {
  return textRecord(new Map(labels).set(NAMESPACE_LABEL, stack))
}

/** A dictionary of the file, sorted by key. */
export function textRecord(map: ReadonlyMap<string, string | null> | undefined): Record<string, string> {
  return Object.fromEntries([...(map ?? [])].map(([key, value]) => [key, value ?? ''] as const).sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** Networks that services are attached to: those to create, and the names of those that must exist. */
export function stackNetworks(stack: string, project: Project): { create: NetworkBody[]; external: string[] } {
  const used = new Set<string>()
  for (const service of project.services.values()) {
    if (service.network_mode) continue
    for (const name of service.networks?.size ? service.networks.keys() : ['default']) used.add(name)
  }
  const create: NetworkBody[] = []
  const external: string[] = []
  for (const key of [...used].sort()) {
    const network = project.networks.get(key)
    if (network?.external) external.push(scopedName(stack, key, network))
    else create.push(networkBody(stack, key, network))
  }
  return { create, external }
}

function networkBody(stack: string, key: string, network: Network | undefined): NetworkBody {
  const { ipam } = network ?? {}
  const options = textRecord(network?.driver_opts)
  return {
    Name: scopedName(stack, key, network),
    Driver: network?.driver ?? 'overlay',
    Labels: stackLabels(stack, network?.labels),
    ...(Object.keys(options).length > 0 ? { Options: options } : {}),
    ...(network?.internal ? { Internal: true } : {}),
    ...(network?.attachable ? { Attachable: true } : {}),
    ...(network?.enable_ipv4 === false ? { EnableIPv4: false } : {}),
    ...(network?.enable_ipv6 ? { EnableIPv6: true } : {}),
    ...(ipam
      ? {
          IPAM: {
            Driver: ipam.driver ?? 'default',
            ...(ipam.options?.size ? { Options: textRecord(ipam.options) } : {}),
            Config: (ipam.config ?? []).map((config) => ({
              ...(config.subnet ? { Subnet: config.subnet } : {}),
              ...(config.ip_range ? { IPRange: config.ip_range } : {}),
              ...(config.gateway ? { Gateway: config.gateway } : {}),
              ...(config.aux_addresses?.size ? { AuxiliaryAddresses: textRecord(config.aux_addresses) } : {}),
            })),
          },
        }
      : {}),
  }
}

/** The secrets or configs that the stack brings along, with their content. */
export async function stackFileObjects(
  stack: string,
  kind: 'secrets' | 'configs',
  project: Project,
  readFile: ReadFile,
): Promise<FileObjectSpec[]> {
  const specs: FileObjectSpec[] = []
  for (const [key, object] of project[kind] as ReadonlyMap<string, Secret & Config>) {
    if (object.external) continue
    const driver = object.driver
      ? { Driver: { Name: object.driver, ...(object.driver_opts?.size ? { Options: textRecord(object.driver_opts) } : {}) } }
      : undefined
    specs.push({
      Name: scopedName(stack, key, object),
      Labels: stackLabels(stack, object.labels),
      ...(driver ?? { Data: Buffer.from(await contentOf(`${kind}.${key}`, object, project, readFile)).toString('base64') }),
      ...(object.template_driver ? { Templating: { Name: object.template_driver } } : {}),
    })
  }
  return specs.sort((a, b) => (a.Name < b.Name ? -1 : 1))
}

async function contentOf(name: string, object: Secret & Config, project: Project, readFile: ReadFile): Promise<Uint8Array> {
  if (object.content !== undefined) return Buffer.from(object.content)
  if (object.environment !== undefined) {
    const value = project.variable(object.environment)
    if (value === undefined)
      throw new ExitError(1, `${name}: the variable ${object.environment} is not set\nSet it in the environment or in the .env file.`)
    return Buffer.from(value)
  }
  try {
    return await readFile(object.file ?? '')
  } catch (error) {
    throw new ExitError(1, `${name}: cannot read ${object.file}: ${error instanceof Error ? error.message : String(error)}`)
  }
}

const DEFAULT_MODE = 0o444

interface FileReference {
  readonly source?: string
  readonly target?: string
  readonly uid?: string
  readonly gid?: string
  readonly mode?: number
}

/** References by name, sorted by it; ids are put in when they are known. */
export function secretReferences(stack: string, project: Project, references: readonly FileReference[] = []): SecretReference[] {
  return references
    .map((reference) => ({
      File: fileTarget(reference, reference.source ?? ''),
      SecretID: '',
      SecretName: scopedName(stack, reference.source ?? '', project.secrets.get(reference.source ?? '')),
    }))
    .sort((a, b) => compare(a.SecretName, b.SecretName) || compare(a.File.Name, b.File.Name))
}

export function configReferences(stack: string, project: Project, references: readonly FileReference[] = []): ConfigReference[] {
  return references
    .map((reference) => ({
      File: fileTarget(reference, reference.source ?? ''),
      ConfigID: '',
      ConfigName: scopedName(stack, reference.source ?? '', project.configs.get(reference.source ?? '')),
    }))
    .sort((a, b) => compare(a.ConfigName, b.ConfigName) || compare(a.File.Name, b.File.Name))
}

function fileTarget({ target, uid, gid, mode }: FileReference, name: string) {
  return { Name: target ?? name, UID: uid ?? '0', GID: gid ?? '0', Mode: mode ?? DEFAULT_MODE }
}

export function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
