// The networks that this node shows: the engine's own, and the swarm's in the place of the bridges that carry them here.
import { ShoalError } from '../lib/index.ts'
import type { Network } from '../model/index.ts'
import type { NetworkFacts } from '../proxy/index.ts'
import type { App, LocalNetwork } from './app.ts'
import { printNetwork } from './json/network.ts'

/** Label of the engine-side bridges of our networks; the value is the id of the network (dataplane/engineNetwork.ts). */
const NETWORK_ID_LABEL = 'shoal.network.id'
const INGRESS_ENGINE_NAME = 'shoal-a-ingress'

/** A network of the swarm, from the store on a manager or from the data plane on a worker. */
export interface SwarmNetwork extends NetworkFacts {
  readonly predefined: boolean
  readonly driver: string
  readonly labels: Readonly<Record<string, string>>
  print(): Record<string, unknown>
}

/** What the engine says of a network, as far as we look at it. */
export interface EngineNetwork {
  readonly Id: string
  readonly Name: string
  readonly Labels?: Readonly<Record<string, string>> | null
  readonly Containers?: Readonly<Record<string, unknown>> | null
}

export type Resolved =
  | { readonly kind: 'engine'; readonly network: EngineNetwork }
  | { readonly kind: 'swarm'; readonly network: SwarmNetwork }
  | { readonly kind: 'none' }

export function isOurs(network: EngineNetwork): boolean {
  return network.Labels?.[NETWORK_ID_LABEL] !== undefined
}

/** All of the swarm's networks that this node knows of, those that every node has by itself (host, bridge) included. */
export async function swarmNetworks(app: App): Promise<SwarmNetwork[]> {
  const manager = app.deps.node.manager()
  if (manager) return [...manager.store.view().networks.values()].filter((network) => !network.removing).map(fromStore)
  if (app.deps.node.status().role === undefined) return []
  // A worker shows what it uses; ingress is everywhere.
  const bridges = await engineBridges(app)
  const known = app.deps.localNetworks?.() ?? []
  // one without a name is being removed
  const shown = known.filter(({ id, name, ingress }) => name !== '' && (ingress || bridges.has(id)))
  const unknown = [...bridges].filter(([id]) => !known.some((network) => network.id === id))
  return [...shown, ...unknown.map(([id, bridge]) => fromBridge(id, bridge))].map(fromLocal)
}

/** Engine-side bridges of our networks by the id of the network. */
export async function engineBridges({ engine }: App): Promise<Map<string, EngineNetwork>> {
  const filters = encodeURIComponent(JSON.stringify({ label: [NETWORK_ID_LABEL] }))
  const list = (await engine.json({ method: 'GET', path: `/networks?filters=${filters}` })) as EngineNetwork[] | null
  const bridges = new Map<string, EngineNetwork>()
  for (const network of list ?? []) {
    const id = network.Labels?.[NETWORK_ID_LABEL]
    if (id !== undefined) bridges.set(id, network)
  }
  return bridges
}

/** Engine-side names of our networks, for what is shown of containers. */
export async function engineNames(app: App): Promise<Map<string, NetworkFacts>> {
  const [bridges, networks] = await Promise.all([engineBridges(app), swarmNetworks(app)])
  const names = new Map<string, NetworkFacts>()
  for (const [id, { Name }] of bridges) {
    const network = networks.find((one) => one.id === id)
    if (network) names.set(Name, network)
  }
  return names
}

/** Exact id, exact name, prefix of an id; the engine's own before the swarm's. 'invalid-argument' when several begin so. */
export async function resolveNetwork(app: App, text: string, scope: string): Promise<Resolved> {
  const local = scope === 'swarm' || scope === 'global' ? undefined : await engineNetwork(app, text)
  if (local && (local.Id === text || local.Name === text)) return { kind: 'engine', network: local }
  const networks = scope === 'local' ? [] : await swarmNetworks(app)
  const exact = networks.find(({ id }) => id === text) ?? networks.find(({ name }) => name === text)
  if (exact) return { kind: 'swarm', network: exact }
  const byPrefix = networks.filter(({ id }) => id.startsWith(text))
  const hits = byPrefix.length + (local ? 1 : 0)
  if (hits > 1) throw new ShoalError('invalid-argument', `network ${text} is ambiguous (${hits} matches found based on ID prefix)`)
  if (local) return { kind: 'engine', network: local }
  return byPrefix[0] ? { kind: 'swarm', network: byPrefix[0] } : { kind: 'none' }
}

/**
 * A network of the swarm by its id or name, whether or not this node serves it now: a container may want to be the first on it. Undefined when the engine has one
 * of that name, or nobody has.
 */
export async function attachableNetwork(app: App, text: string): Promise<{ readonly id: string; readonly name: string } | undefined> {
  const manager = app.deps.node.manager()
  const known = manager
    ? [...manager.store.view().networks.values()]
        .filter((one) => !one.predefined && !one.removing)
        .map(({ id, spec }) => ({ id, name: spec.name }))
    : (app.deps.knownNetworks?.() ?? [])
  const found = known.find(({ id }) => id === text) ?? known.find(({ name }) => name === text)
  if (!found) return undefined
  const local = await engineNetwork(app, text)
  return local && (local.Id === text || local.Name === text) ? undefined : found
}

export function networkNotFound(text: string): ShoalError {
  return new ShoalError('not-found', `network ${text} not found`)
}

async function engineNetwork({ engine }: App, text: string): Promise<EngineNetwork | undefined> {
  const answer = await engine.ask({ method: 'GET', path: `/networks/${encodeURIComponent(text)}` })
  if (answer.status !== 200) return undefined
  const network = JSON.parse(answer.body.toString('utf8')) as EngineNetwork
  return isOurs(network) ? undefined : network
}

function fromStore(network: Network): SwarmNetwork {
  const { id, spec, predefined } = network
  return {
    id,
    name: spec.name,
    attachable: spec.attachable,
    predefined: predefined !== undefined,
    driver: spec.driver,
    labels: spec.labels,
    print: () => printNetwork(network),
  }
}

function fromBridge(id: string, bridge: EngineNetwork): LocalNetwork {
  const ingress = bridge.Name === INGRESS_ENGINE_NAME
  return { id, name: ingress ? 'ingress' : id, vni: 0, subnet: '', gateway: '', internal: false, ingress }
}

function fromLocal(network: LocalNetwork): SwarmNetwork {
  const { id, name, vni, subnet, gateway, internal, ingress, attachable = false } = network
  return {
    id,
    name,
    attachable,
    predefined: false,
    driver: 'overlay',
    labels: {},
    print: () => ({
      Name: name,
      Id: id,
      Created: '0001-01-01T00:00:00Z',
      Scope: 'swarm',
      Driver: 'overlay',
      EnableIPv6: false,
      IPAM: { Driver: 'default', Options: null, Config: subnet ? [{ Subnet: subnet, Gateway: gateway }] : [] },
      Internal: internal,
      Attachable: attachable,
      Ingress: ingress,
      ConfigFrom: { Network: '' },
      ConfigOnly: false,
      Containers: null,
      Options: vni > 0 ? { 'com.docker.network.driver.overlay.vxlanid_list': String(vni) } : {},
      Labels: null,
    }),
  }
}
