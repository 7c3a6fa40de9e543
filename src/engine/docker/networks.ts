// Engine-side networks: a `bridge` network that adopts the bridge which the data plane made.
import { isShoalError, ShoalError } from '../../lib/index.ts'
import type { EngineNetworkPlan } from '../../ports/index.ts'
import type { DockerHttp } from './http.ts'
import { array, labels, object, text } from './json.ts'

const BRIDGE_NAME = 'com.docker.network.bridge.name'
const MTU = 'com.docker.network.driver.mtu'

export interface DockerNetworks {
  ensure(plan: EngineNetworkPlan): Promise<void>
  remove(name: string): Promise<void>
  list(label: string): Promise<readonly { readonly name: string; readonly id: string; readonly labels: Readonly<Record<string, string>> }[]>
}

export function createNetworks(http: DockerHttp): DockerNetworks {
  /** Calls for one network run one after another: the engine would make two networks of one name. */
  const queues = new Map<string, Promise<void>>()

  const inTurn = (name: string, work: () => Promise<void>): Promise<void> => {
    const turn = (queues.get(name) ?? Promise.resolve()).then(work, work)
    const settled = turn
      .catch(() => {})
      .then(() => {
        if (queues.get(name) === settled) queues.delete(name)
      })
    queues.set(name, settled)
    return turn
  }

  return {
    ensure: (plan) => inTurn(plan.name, () => ensure(http, plan)),
    remove: (name) => inTurn(name, () => remove(http, name)),
    async list(label) {
      const found = await http.json({ method: 'GET', path: '/networks', query: { filters: JSON.stringify({ label: [label] }) } })
      return array(found).map((item) => {
        const network = object(item)
        return { name: text(network.Name), id: text(network.Id), labels: labels(network.Labels) }
      })
    },
  }
}

async function ensure(http: DockerHttp, plan: EngineNetworkPlan): Promise<void> {
  const present = await find(http, plan.name)
  if (present && matches(present, plan)) return
  if (present) await remove(http, plan.name) // of an earlier shape; 'failed-precondition' while containers use it
  try {
    await http.json({ method: 'POST', path: '/networks/create', body: createBody(plan) })
  } catch (error) {
    if (!isShoalError(error, 'already-exists') || !(await find(http, plan.name))) throw error
  }
}

function createBody(plan: EngineNetworkPlan): unknown {
  return {
    Name: plan.name,
    CheckDuplicate: true,
    Driver: 'bridge',
    Internal: plan.internal,
    IPAM: { Driver: 'default', Config: [{ Subnet: plan.subnet, Gateway: plan.gateway }] },
    Options: { [BRIDGE_NAME]: plan.bridge, ...(plan.mtu > 0 ? { [MTU]: String(plan.mtu) } : {}) },
    Labels: plan.labels,
  }
}

async function find(http: DockerHttp, name: string): Promise<Readonly<Record<string, unknown>> | undefined> {
  try {
    const network = object(await http.json({ method: 'GET', path: `/networks/${encodeURIComponent(name)}` }))
    return text(network.Name) === name ? network : undefined // the engine also finds by prefix of an id
  } catch (error) {
    if (isShoalError(error, 'not-found')) return undefined
    throw error
  }
}

function matches(network: Readonly<Record<string, unknown>>, plan: EngineNetworkPlan): boolean {
  const config = object(array(object(network.IPAM).Config)[0])
  const options = labels(network.Options)
  return (
    options[BRIDGE_NAME] === plan.bridge &&
    text(config.Subnet) === plan.subnet &&
    text(config.Gateway) === plan.gateway &&
    (network.Internal === true) === plan.internal &&
    (plan.mtu === 0 || options[MTU] === String(plan.mtu))
  )
}

async function remove(http: DockerHttp, name: string): Promise<void> {
  try {
    await http.json({ method: 'DELETE', path: `/networks/${encodeURIComponent(name)}` })
  } catch (error) {
    if (isShoalError(error, 'not-found')) return
    if (isShoalError(error, 'permission-denied')) throw new ShoalError('failed-precondition', error.message, { cause: error })
    throw error
  }
}
