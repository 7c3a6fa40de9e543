// Values of flags that name other objects: secrets, configs, networks; parsed on the command line, resolved to ids by asking the daemon.
import type { ApiClient, ConfigReference, FileTarget, NetworkAttachmentConfig, SecretReference } from '../../client/index.ts'
import { csvFields, keyValue } from '../flags/index.ts'
import { ExitError } from '../io.ts'

/** A secret or config as asked for: its name and where it appears in the container. */
export interface FileRequest {
  readonly source: string
  readonly file: FileTarget
}

const DEFAULT_MODE = 0o444

/** `NAME` or `source=NAME[,target=PATH][,uid=U][,gid=G][,mode=0400]`. */
export function parseFileRequest(kind: 'secret' | 'config'): (text: string) => FileRequest {
  return (text) => {
    const fields = csvFields(text)
    if (fields.length === 1 && !fields[0]?.includes('=')) return fileRequest(fields[0] as string, {})
    const options: Record<string, string> = {}
    for (const field of fields) {
      const [key, value] = keyValue(field)
      if (!field.includes('=')) throw new Error(`invalid field '${field}' must be a key=value pair`)
      options[key.toLowerCase() === 'src' ? 'source' : key.toLowerCase()] = value
    }
    const unknown = Object.keys(options).find((key) => !['source', 'target', 'uid', 'gid', 'mode'].includes(key))
    if (unknown) throw new Error(`invalid field in ${kind} request: ${unknown}`)
    if (!options.source) throw new Error('source is required')
    return fileRequest(options.source, options)
  }
}

function fileRequest(source: string, options: Readonly<Record<string, string>>): FileRequest {
  if (options.mode !== undefined && !/^0?[0-7]{1,4}$/.test(options.mode)) throw new Error(`invalid mode specified: ${options.mode}`)
  return {
    source,
    file: {
      Name: options.target || source,
      UID: options.uid ?? '0',
      GID: options.gid ?? '0',
      Mode: options.mode === undefined ? DEFAULT_MODE : Number.parseInt(options.mode, 8),
    },
  }
}

/** The references to put into a spec. Throws `secret not found: X` for one that the swarm does not have. */
export async function resolveSecrets(client: ApiClient, requests: readonly FileRequest[]): Promise<SecretReference[]> {
  const ids = await resolveFiles('secret', requests, (names) => client.secrets({ name: names }))
  return requests.map(({ source, file }) => ({ File: file, SecretID: ids.get(source) as string, SecretName: source }))
}

export async function resolveConfigs(client: ApiClient, requests: readonly FileRequest[]): Promise<ConfigReference[]> {
  const ids = await resolveFiles('config', requests, (names) => client.configs({ name: names }))
  return requests.map(({ source, file }) => ({ File: file, ConfigID: ids.get(source) as string, ConfigName: source }))
}

async function resolveFiles(
  kind: 'secret' | 'config',
  requests: readonly FileRequest[],
  list: (names: string[]) => Promise<{ ID: string; Spec: { Name: string } }[]>,
): Promise<Map<string, string>> {
  if (requests.length === 0) return new Map()
  const targets = new Set<string>()
  for (const { file, source } of requests) {
    if (targets.has(file.Name)) throw new ExitError(1, `duplicate ${kind} target for ${source} not allowed`)
    targets.add(file.Name)
  }
  // The filter matches prefixes, so the exact names are picked out here.
  const found = new Map((await list(requests.map(({ source }) => source))).map((object) => [object.Spec.Name, object.ID]))
  const missing = requests.find(({ source }) => !found.has(source))
  if (missing) throw new ExitError(1, `${kind} not found: ${missing.source}`)
  return found
}

/** `NAME` or `name=NAME[,alias=A]...[,driver-opt=K=V]...`. */
export function parseNetworkRequest(text: string): NetworkAttachmentConfig {
  if (!/\w+=/.test(text)) return { Target: text }
  const request: NetworkAttachmentConfig = {}
  for (const field of csvFields(text)) {
    const [key, value] = keyValue(field)
    if (!field.includes('=')) throw new Error(`invalid field ${field}`)
    if (key === 'name') request.Target = value
    else if (key === 'alias') request.Aliases = [...(request.Aliases ?? []), value]
    else if (key === 'driver-opt') {
      const [name, option] = keyValue(value)
      request.DriverOpts = { ...request.DriverOpts, [name]: option }
    } else throw new Error(`invalid field key ${key}`)
  }
  if (!request.Target) throw new Error('network name or ID is required: give name=NETWORK')
  return request
}

/** The attachments with network ids as targets. */
export async function resolveNetworks(client: ApiClient, requests: readonly NetworkAttachmentConfig[]): Promise<NetworkAttachmentConfig[]> {
  const resolved: NetworkAttachmentConfig[] = []
  for (const request of requests) resolved.push({ ...request, Target: await networkId(client, request.Target ?? '') })
  return resolved
}

export async function networkId(client: ApiClient, name: string): Promise<string> {
  return (await client.network(name, { scope: 'swarm' })).Id
}
