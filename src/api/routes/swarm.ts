// /swarm: init, join, leave, inspect, update, unlock.
import { ShoalError } from '../../lib/index.ts'
import { type ClusterSpec, DEFAULT_CLUSTER_SPEC } from '../../model/index.ts'
import type { View } from '../../store/index.ts'
import { type App, managerOf } from '../app.ts'
import { flag, type RequestContext, readJson, sendEmpty, sendJson, versionOf } from '../http/context.ts'
import { asManager, HttpError } from '../http/errors.ts'
import type { Route } from '../http/router.ts'
import { mergeClusterSpec, parseClusterSpec, printCluster, type TlsFacts } from '../json/cluster.ts'
import { array, boolean, object, oneOf, required, string, unsigned } from '../json/codec.ts'
import { ensureGatewayBridge } from './gatewayBridge.ts'

type Availability = 'active' | 'pause' | 'drain'

interface InitBody {
  readonly listenAddr: string
  readonly advertiseAddr: string
  readonly dataPathAddr: string
  readonly dataPathPort: number
  readonly pools: readonly string[]
  readonly subnetSize: number
  readonly forceNewCluster: boolean
  readonly autoLockManagers: boolean
  readonly availability: Availability
  readonly spec: ClusterSpec
}

const availability = oneOf(['active', 'pause', 'drain'], 'active')

const initBody = object<InitBody>([
  required('ListenAddr', 'listenAddr', string, ''),
  required('AdvertiseAddr', 'advertiseAddr', string, ''),
  required('DataPathAddr', 'dataPathAddr', string, ''),
  required('DataPathPort', 'dataPathPort', unsigned, 0),
  required('DefaultAddrPool', 'pools', array(string), []),
  required('SubnetSize', 'subnetSize', unsigned, 0),
  required('ForceNewCluster', 'forceNewCluster', boolean, false),
  required('AutoLockManagers', 'autoLockManagers', boolean, false),
  required('Availability', 'availability', availability, 'active'),
  required(
    'Spec',
    'spec',
    { parse: (json, path) => mergeClusterSpec(DEFAULT_CLUSTER_SPEC, parseClusterSpec(json, path)), print: (value) => value },
    DEFAULT_CLUSTER_SPEC,
  ),
])

interface JoinBody {
  readonly listenAddr: string
  readonly advertiseAddr: string
  readonly dataPathAddr: string
  readonly remoteAddrs: readonly string[]
  readonly joinToken: string
  readonly availability: Availability
}

const joinBody = object<JoinBody>([
  required('ListenAddr', 'listenAddr', string, ''),
  required('AdvertiseAddr', 'advertiseAddr', string, ''),
  required('DataPathAddr', 'dataPathAddr', string, ''),
  required('RemoteAddrs', 'remoteAddrs', array(string), []),
  required('JoinToken', 'joinToken', string, ''),
  required('Availability', 'availability', availability, 'active'),
])

export function swarmRoutes(app: App): Route[] {
  const { node } = app.deps
  return [
    { method: 'POST', pattern: '/swarm/init', handler: (context) => init(app, context) },
    { method: 'POST', pattern: '/swarm/join', handler: (context) => join(app, context) },
    {
      method: 'POST',
      pattern: '/swarm/leave',
      handler: async ({ res, query }) => {
        await node.leave({ force: flag(query, 'force') })
        app.events.follow()
        sendEmpty(res, 200)
      },
    },
    { method: 'GET', pattern: '/swarm', handler: ({ res }) => inspect(app, res) },
    { method: 'POST', pattern: '/swarm/update', handler: (context) => update(app, context) },
    {
      method: 'GET',
      pattern: '/swarm/unlockkey',
      handler: ({ res }) => sendJson(res, 200, { UnlockKey: managerOf(app.deps).control.cluster().unlockKey ?? '' }),
    },
    { method: 'POST', pattern: '/swarm/unlock', handler: (context) => unlock(app, context) },
  ]
}

async function init(app: App, { req, res }: RequestContext): Promise<void> {
  const body = initBody.parse(await readJson(req), '')
  const nodeId = await app.deps.node.init({
    listenAddr: body.listenAddr,
    advertiseAddr: body.advertiseAddr,
    dataPathAddr: body.dataPathAddr,
    dataPathPort: body.dataPathPort,
    defaultAddressPools: body.pools,
    subnetSize: body.subnetSize,
    forceNewCluster: body.forceNewCluster,
    autoLockManagers: body.autoLockManagers || body.spec.autoLockManagers,
    availability: body.availability,
    spec: body.spec,
  })
  app.events.follow()
  await ensureGatewayBridge(app)
  sendJson(res, 200, nodeId)
}

async function join(app: App, { req, res }: RequestContext): Promise<void> {
  await app.deps.node.join(joinBody.parse(await readJson(req), ''))
  app.events.follow()
  await ensureGatewayBridge(app)
  sendEmpty(res, 200)
}

function inspect(app: App, res: RequestContext['res']): void {
  const { control, store } = managerOf(app.deps)
  const cluster = control.cluster()
  sendJson(res, 200, {
    ...printCluster(cluster, tlsFacts(store.view())),
    JoinTokens: { Worker: cluster.joinTokens.worker, Manager: cluster.joinTokens.manager },
  })
}

async function update(app: App, { req, res, query }: RequestContext): Promise<void> {
  const { control } = managerOf(app.deps)
  const version = versionOf(query, 'swarm')
  const rotateWorkerToken = strictFlag(query, 'rotateWorkerToken')
  const rotateManagerToken = strictFlag(query, 'rotateManagerToken')
  const rotateManagerUnlockKey = strictFlag(query, 'rotateManagerUnlockKey')
  const draft = parseClusterSpec(await readJson(req), '')
  await asManager(() => {
    const spec = mergeClusterSpec(control.cluster().spec, draft)
    return control.updateCluster(version, spec, { rotateWorkerToken, rotateManagerToken, rotateManagerUnlockKey })
  })
  sendEmpty(res, 200)
}

const unlockBody = object<{ readonly key: string }>([required('UnlockKey', 'key', string, '')])

async function unlock({ deps }: App, { req, res }: RequestContext): Promise<void> {
  const { key } = unlockBody.parse(await readJson(req), '')
  const { state } = deps.node.status()
  if (state === 'inactive') throw new ShoalError('unavailable', 'This node is not part of a swarm')
  if (state !== 'locked' || !deps.node.unlock) throw new HttpError(409, 'swarm is not locked')
  await deps.node.unlock(key)
  sendEmpty(res, 200)
}

/** As Go's ParseBool: other words are refused. */
function strictFlag(query: URLSearchParams, name: string): boolean {
  const text = query.get(name) ?? ''
  if (text === '' || /^(0|f|F|false|False|FALSE)$/.test(text)) return false
  if (/^(1|t|T|true|True|TRUE)$/.test(text)) return true
  throw new ShoalError('invalid-argument', `invalid value for ${name}: strconv.ParseBool: parsing ${JSON.stringify(text)}: invalid syntax`)
}

/** What is known of the root certificate's issuer: every node has reported it. */
export function tlsFacts(view: View): TlsFacts {
  const trustRoot = view.cluster?.rootCaPem ?? ''
  for (const { description } of view.nodes.values())
    if (description?.tls.issuerSubject && description.tls.trustRoot === trustRoot) return description.tls
  return { trustRoot, issuerSubject: '', issuerPublicKey: '' }
}

/** The `Swarm` of GET /info (docker-api.md 1.4). */
export function swarmInfo({ deps }: App): Record<string, unknown> {
  const { state, error, nodeId, address, managers } = deps.node.status()
  const view = deps.node.manager()?.store.view()
  const cluster = view?.cluster
  return {
    NodeID: nodeId ?? '',
    NodeAddr: address,
    LocalNodeState: state,
    ControlAvailable: cluster !== undefined,
    Error: error,
    RemoteManagers: managers.length > 0 ? managers.map((manager) => ({ NodeID: manager.nodeId, Addr: manager.address })) : null,
    ...(view &&
      cluster && {
        Nodes: view.nodes.size,
        Managers: [...view.nodes.values()].filter((one) => one.spec.desiredRole === 'manager').length,
        Cluster: printCluster(cluster, tlsFacts(view)),
      }),
  }
}
