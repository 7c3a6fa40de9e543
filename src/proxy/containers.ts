// What is changed in bodies about containers on their way: the engine's socket as a bind source, and the names of our networks.

/** A network of the swarm as the proxy needs to know it. */
export interface NetworkFacts {
  readonly id: string
  readonly name: string
  readonly attachable: boolean
}

/** Paths under which programs in containers expect the engine's API. */
const ENGINE_SOCKETS = new Set(['/var/run/docker.sock', '/run/docker.sock'])

interface CreateBody {
  HostConfig?: { Binds?: unknown; Mounts?: unknown; NetworkMode?: unknown }
  NetworkingConfig?: { EndpointsConfig?: unknown }
}

/** The body of a container create with our socket in the place of the engine's; undefined when there is nothing to change. */
export function withOwnSocket(body: unknown, ownSocket: string): unknown {
  const hostConfig = (body as CreateBody | undefined)?.HostConfig
  if (typeof hostConfig !== 'object' || hostConfig === null) return undefined
  let changed = false
  const bind = (text: unknown) => {
    if (typeof text !== 'string') return text
    const colon = text.indexOf(':')
    if (colon < 0 || !ENGINE_SOCKETS.has(text.slice(0, colon))) return text
    changed = true
    return ownSocket + text.slice(colon)
  }
  const mount = (one: unknown) => {
    const { Type, Source } = (one ?? {}) as { Type?: unknown; Source?: unknown }
    if (Type !== 'bind' || typeof Source !== 'string' || !ENGINE_SOCKETS.has(Source)) return one
    changed = true
    return { ...(one as object), Source: ownSocket }
  }
  const next = {
    ...hostConfig,
    ...(Array.isArray(hostConfig.Binds) && { Binds: hostConfig.Binds.map(bind) }),
    ...(Array.isArray(hostConfig.Mounts) && { Mounts: hostConfig.Mounts.map(mount) }),
  }
  return changed ? { ...(body as object), HostConfig: next } : undefined
}

/** Names and ids of the networks that a container create asks for. */
export function requestedNetworks(body: unknown): string[] {
  const { HostConfig, NetworkingConfig } = (body ?? {}) as CreateBody
  const mode = HostConfig?.NetworkMode
  const endpoints = NetworkingConfig?.EndpointsConfig
  const named = typeof endpoints === 'object' && endpoints !== null ? Object.keys(endpoints) : []
  return [...new Set([...(typeof mode === 'string' && mode !== '' ? [mode] : []), ...named])]
}

/** A container (of a list or an inspect) with its networks under the names of the swarm. `names`: engine-side name -> network. */
export function withSwarmNetworkNames(container: unknown, names: ReadonlyMap<string, NetworkFacts>): unknown {
  if (typeof container !== 'object' || container === null) return container
  const { NetworkSettings, HostConfig } = container as { NetworkSettings?: { Networks?: unknown }; HostConfig?: { NetworkMode?: unknown } }
  const networks = NetworkSettings?.Networks
  const mode = HostConfig?.NetworkMode
  return {
    ...container,
    ...(typeof networks === 'object' &&
      networks !== null && { NetworkSettings: { ...NetworkSettings, Networks: renamed(networks, names) } }),
    ...(typeof mode === 'string' && names.has(mode) && { HostConfig: { ...HostConfig, NetworkMode: names.get(mode)!.name } }),
  }
}

function renamed(networks: object, names: ReadonlyMap<string, NetworkFacts>): Record<string, unknown> {
  const result: Record<string, unknown> = {}
  for (const [engineName, settings] of Object.entries(networks)) {
    const network = names.get(engineName)
    result[network?.name ?? engineName] = network ? { ...settings, NetworkID: network.id } : settings
  }
  return result
}

/** A place on a network of ours, as a container create needs it. */
export interface PlaceFacts {
  readonly engineName: string
  readonly address: string
  readonly mac: string
  /** Name server there. */
  readonly dns: string | undefined
  readonly label: readonly [key: string, value: string]
}

interface EndpointConfig {
  readonly IPAMConfig?: { readonly IPv4Address?: string } | null
  readonly Aliases?: readonly string[] | null
}

/** What a container create or a connect says about its place on one network. */
export function requestedPlace(endpoint: unknown): { readonly aliases: readonly string[]; readonly address: string | undefined } {
  const { IPAMConfig, Aliases } = (endpoint ?? {}) as EndpointConfig
  const aliases = Array.isArray(Aliases) ? Aliases.filter((alias) => typeof alias === 'string') : []
  const address = IPAMConfig?.IPv4Address
  return { aliases, address: typeof address === 'string' && address !== '' ? address : undefined }
}

/** The endpoint's settings with the address that the container has to have. */
export function endpointAt(endpoint: unknown, { address, mac }: Pick<PlaceFacts, 'address' | 'mac'>): Record<string, unknown> {
  const { IPAMConfig, ...rest } = (endpoint ?? {}) as EndpointConfig
  return { ...rest, IPAMConfig: { ...IPAMConfig, IPv4Address: address }, MacAddress: mac }
}

/** What a container create says about one network, by the name or id that it uses. */
export function requestedEndpoint(body: unknown, network: string): unknown {
  const endpoints = (body as CreateBody | undefined)?.NetworkingConfig?.EndpointsConfig
  return typeof endpoints === 'object' && endpoints !== null ? (endpoints as Record<string, unknown>)[network] : undefined
}

/** The body of a container create on the engine-side networks. `places`: by the name or id that the body uses. */
export function withPlaces(body: unknown, places: ReadonlyMap<string, PlaceFacts>): unknown {
  const {
    HostConfig,
    NetworkingConfig,
    Labels,
    MacAddress: _,
    ...rest
  } = body as CreateBody & { Labels?: object | null; MacAddress?: unknown }
  const endpoints: Record<string, unknown> = {}
  const named = NetworkingConfig?.EndpointsConfig
  for (const [name, endpoint] of Object.entries(typeof named === 'object' && named !== null ? named : {})) {
    const place = places.get(name)
    endpoints[place?.engineName ?? name] = place ? endpointAt(endpoint, place) : endpoint
  }
  const mode = HostConfig?.NetworkMode
  const main = typeof mode === 'string' ? places.get(mode) : undefined
  if (main) endpoints[main.engineName] ??= endpointAt(undefined, main)
  const servers = [...new Set([...places.values()].flatMap(({ dns }) => (dns === undefined ? [] : [dns])))].slice(0, 1)
  const own = (HostConfig as { Dns?: unknown } | undefined)?.Dns
  return {
    ...rest,
    Labels: { ...Labels, ...Object.fromEntries([...places.values()].map(({ label }) => label)) },
    HostConfig: {
      ...HostConfig,
      ...(main && { NetworkMode: main.engineName }),
      Dns: [...servers, ...(Array.isArray(own) ? own : [])],
    },
    NetworkingConfig: { ...NetworkingConfig, EndpointsConfig: endpoints },
  }
}
