// Networks, containers, events and logs: what is merged from the engine and the swarm.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { AttachRequest, NetworkAttachment } from '../../src/agent/index.ts'
import type { NetworkAttachments } from '../../src/api/index.ts'
import { type NodeId, type ServiceId, ShoalError, type TaskId } from '../../src/lib/index.ts'
import type { LogSource } from '../../src/manager/index.ts'
import { type Harness, reply, SPEC, startApi } from './harness.ts'

const NODE = 'worker00000000000000000001' as NodeId
const logs: LogSource = {
  async *subscribe() {
    const line = { nodeId: NODE, taskId: 't1' as TaskId, serviceId: 's1' as ServiceId, at: 1_000, atNs: 5, attrs: { b: 'x y' } }
    yield { ...line, stream: 'stdout', data: Buffer.from('hello\n') }
    yield { ...line, stream: 'stderr', data: Buffer.from('oops\n') }
    yield { gap: NODE, reason: 'it went away' }
  },
}

let h: Harness
before(async () => {
  h = await startApi({ logs })
  // The allocation loop of this test.
  h.store.watch(({ changes }) => {
    for (const { table, after } of changes) {
      if (table !== 'network' || !after || after.subnets.length > 0) continue
      void h.store.transact((tx) => tx.networks.update({ ...after, vni: 4097, subnets: [{ subnet: '10.0.1.0/24', gateway: '10.0.1.1' }] }))
    }
  })
})
after(() => h.close())

test('the list has the engine’s networks and the swarm’s, without the bridges that carry ours', async () => {
  const ingress = [...h.store.view().networks.values()].find(({ spec }) => spec.ingress)!
  h.engine.networks.push({
    Id: 'e'.repeat(64),
    Name: 'shoal-a-ingress',
    Driver: 'bridge',
    Labels: { 'shoal.network.id': ingress.id },
    Containers: { c1: {} },
  })
  const list = (await h.call('GET', '/networks')).json
  assert.deepEqual(
    list.map((network: { Name: string; Scope: string }) => [network.Name, network.Scope]),
    [
      ['ingress', 'swarm'],
      ['bridge', 'local'],
    ],
  )
  const inspect = (await h.call('GET', '/networks/ingress')).json
  assert.deepEqual([inspect.Ingress, inspect.Driver, inspect.IPAM.Config[0].Subnet], [true, 'overlay', '10.0.0.0/24'])
  assert.deepEqual(inspect.Options, { 'com.docker.network.driver.overlay.vxlanid_list': '4096' })
  assert.deepEqual(inspect.Containers, { c1: {} })
  assert.equal((await h.call('GET', '/networks/shoal-a-ingress')).status, 404)
  assert.equal((await h.call('GET', `/networks/${ingress.id.slice(0, 8)}`)).json.Id, ingress.id)
  assert.equal((await h.call('GET', '/networks/host?scope=swarm')).json.Driver, 'host')
})

test('a worker shows ingress and the networks whose bridges are there', async () => {
  h.place = 'worker'
  const list = (await h.call('GET', '/networks')).json
  assert.deepEqual(
    list.map((network: { Name: string }) => network.Name),
    ['ingress', 'bridge'],
  )
  h.place = 'inactive'
  assert.deepEqual(
    (await h.call('GET', '/networks')).json.map((network: { Name: string }) => network.Name),
    ['bridge'],
  )
  h.place = 'manager'
})

test('overlay networks are the swarm’s, others go to the engine, names are taken once', async () => {
  h.engine.routes.set('POST /networks/create', reply(201, { Id: 'local', Warning: '' }))
  assert.equal((await h.call('POST', '/networks/create', { Name: 'l', Driver: 'bridge' })).json.Id, 'local')
  const created = await h.call('POST', '/networks/create', {
    Name: 'ov1',
    Driver: 'overlay',
    IPAM: { Config: [{ Subnet: '10.77.0.0/24' }] },
  })
  assert.match(created.json.Id, /^[0-9a-z]{25}$/)
  const again = await h.call('POST', '/networks/create', { Name: 'ov1', Driver: 'overlay' })
  assert.deepEqual([again.status, again.json.message], [409, 'network with name ov1 already exists'])
  const overlap = await h.call('POST', '/networks/create', {
    Name: 'ov2',
    Driver: 'overlay',
    IPAM: { Config: [{ Subnet: '10.77.0.0/16' }] },
  })
  assert.match(overlap.json.message, /Pool overlaps with other one/)
  assert.equal((await h.call('DELETE', '/networks/ov1')).status, 204)
  const gone = await h.call('DELETE', '/networks/ov1')
  assert.deepEqual([gone.status, gone.json.message], [404, 'network ov1 not found'])
})

test('prune removes unused networks of the swarm and spares the bridges of ours', async () => {
  h.engine.routes.set('POST /networks/prune', reply(200, { NetworksDeleted: ['l'] }))
  await h.call('POST', '/networks/create', { Name: 'ova', Driver: 'overlay' })
  assert.deepEqual((await h.call('POST', '/networks/prune')).json, { NetworksDeleted: ['l', 'ova'] })
  const prune = h.engine.calls.find(({ url }) => url.startsWith('/networks/prune'))
  assert.match(decodeURIComponent(prune?.url ?? ''), /"label!":\["shoal.network.id"\]/)
})

test('containers get our socket in the place of the engine’s, other bodies go through byte by byte', async () => {
  h.engine.routes.set('POST /containers/create', reply(201, { Id: 'c' }))
  const send = async (body: unknown) => {
    assert.equal((await h.call('POST', '/v1.41/containers/create?name=x', body)).status, 201)
    return h.engine.calls.findLast(({ url }) => url === '/v1.41/containers/create?name=x')!.body
  }
  const body = JSON.parse(
    await send({
      Image: 'i',
      HostConfig: { Binds: ['/var/run/docker.sock:/s:ro', '/a:/b'], Mounts: [{ Type: 'bind', Source: '/run/docker.sock', Target: '/t' }] },
    }),
  )
  assert.deepEqual(body.HostConfig, { Binds: [`${h.socket}:/s:ro`, '/a:/b'], Mounts: [{ Type: 'bind', Source: h.socket, Target: '/t' }] })
  assert.equal(
    await send('{ "Image":"i",  "HostConfig":{"Memory":9223372036854775807} }'),
    '{ "Image":"i",  "HostConfig":{"Memory":9223372036854775807} }',
  )
  assert.equal(await send('{not json'), '{not json')
})

test('containers show the swarm’s names of their networks', async () => {
  const container = {
    Id: 'c',
    HostConfig: { NetworkMode: 'shoal-a-ingress' },
    NetworkSettings: { Networks: { 'shoal-a-ingress': { NetworkID: 'e', IPAddress: '10.0.0.9' }, bridge: {} } },
  }
  h.engine.routes.set('GET /containers/c/json', reply(200, container))
  h.engine.routes.set('GET /containers/json', reply(200, [container]))
  const shown = (await h.call('GET', '/containers/c/json')).json
  assert.deepEqual(Object.keys(shown.NetworkSettings.Networks), ['ingress', 'bridge'])
  assert.equal(shown.HostConfig.NetworkMode, 'ingress')
  assert.match(shown.NetworkSettings.Networks.ingress.NetworkID, /^[0-9a-z]{25}$/)
  assert.deepEqual(Object.keys((await h.call('GET', '/containers/json')).json[0].NetworkSettings.Networks), ['ingress', 'bridge'])
})

test('events of the swarm and the engine come in one stream, live and replayed', async () => {
  const line = JSON.stringify({ Type: 'container', Action: 'start', scope: 'local', time: 1, timeNano: 1 })
  h.engine.routes.set('GET /events', (req, res) => {
    res.writeHead(200, { 'Content-Type': 'application/json' })
    res.write(`${line}\n`)
    if (req.url?.includes('until')) res.end()
  })
  const stream = await h.open('GET', '/events')
  let text = ''
  const seen = new Promise<void>((resolve) => {
    stream.on('data', (chunk) => {
      text += chunk
      if (text.includes('"Action":"remove"')) resolve()
    })
  })
  await h.call('POST', '/services/create', { ...SPEC, Name: 'evs' })
  const { Version, Spec } = (await h.call('GET', '/services/evs')).json
  await h.call('POST', `/services/evs/update?version=${Version.Index}`, { ...Spec, Mode: { Replicated: { Replicas: 3 } } })
  await h.call('DELETE', '/services/evs')
  await seen
  stream.destroy()
  const events = text
    .trim()
    .split('\n')
    .map((one) => JSON.parse(one))
  assert.deepEqual(
    events.map(({ Type, Action, scope }) => `${Type} ${Action} ${scope}`),
    ['container start local', 'service create swarm', 'service update swarm', 'service remove swarm'],
  )
  assert.deepEqual(events[2].Actor.Attributes, { name: 'evs', 'replicas.old': '2', 'replicas.new': '3' })
  assert.match(text, /"timeNano":\d{19}\b/)

  const now = Math.floor(Date.now() / 1000) + 1
  const replay = async (filter: unknown) =>
    (await h.call('GET', `/events?since=1&until=${now - 1}.999&filters=${encodeURIComponent(JSON.stringify(filter))}`)).text
      .trim()
      .split('\n')
      .filter(Boolean)
      .map((one) => JSON.parse(one))
  await new Promise((resolve) => setTimeout(resolve, 1_000 - (Date.now() % 1_000))) // until lies in the past
  assert.ok((await replay({ type: ['service'] })).length >= 3)
  assert.ok((await replay({ scope: ['swarm'] })).every(({ Type }) => Type !== 'container'))
  assert.ok((await replay({})).some(({ Type }) => Type === 'container'))
  assert.ok((await replay({ service: ['evs'], event: ['remove'] })).every(({ Action }) => Action === 'remove'))
})

test('an event stream ends at its `until`', async () => {
  const until = (Date.now() + 150) / 1000
  const answer = await h.call('GET', `/events?until=${until}&filters=${encodeURIComponent('{"scope":["swarm"]}')}`)
  assert.equal(answer.status, 200)
})

test('logs are framed, carry details and times, and a lost node leaves a marked gap', async () => {
  const { ID } = (await h.call('POST', '/services/create', { ...SPEC, Name: 'lg' })).json
  const none = await h.call('GET', '/services/lg/logs')
  assert.deepEqual([none.status, none.json.message], [400, 'Bad parameters: you must choose at least one stream'])
  assert.equal((await h.call('GET', '/services/nosuch/logs?stdout=1')).status, 404)
  await h.store.transact((tx) =>
    tx.tasks.create({
      id: 't1' as TaskId,
      serviceId: ID,
      slot: 1,
      nodeId: NODE,
      specVersion: 1,
      desiredState: 512,
      status: { state: 512, at: 1, message: '', error: '' },
      attachments: [],
    }),
  )
  const { text, headers } = await h.call('GET', '/services/lg/logs?stdout=1&stderr=1&details=1&timestamps=1')
  assert.equal(headers['content-type'], 'application/vnd.docker.multiplexed-stream')
  assert.equal((await h.call('GET', '/v1.41/services/lg/logs?stdout=1')).headers['content-type'], undefined)
  const first =
    '1970-01-01T00:00:01.000000005Z b=x%20y,com.docker.swarm.node.id=worker00000000000000000001,com.docker.swarm.service.id=s1,com.docker.swarm.task.id=t1 hello\n'
  assert.ok(text.startsWith(`\u0001\0\0\0\0\0\0${String.fromCharCode(first.length)}`) || text.includes(first))
  assert.match(text, /com.docker.swarm.task.id=t1 shoal: lines of node worker00000000000000000001 are missing from here on: it went away/)
  assert.equal((await h.call('GET', '/tasks/t1/logs?stdout=1')).status, 200)
})

/** Places as the agent of this node would give them. */
function fakePlaces(refuse?: ShoalError) {
  const places = new Map<string, NetworkAttachment>()
  const asked: AttachRequest[] = []
  const attachments: NetworkAttachments = {
    async attachNetwork(request) {
      asked.push(request)
      if (refuse) throw refuse
      const id = `place${asked.length}`
      const place: NetworkAttachment = {
        id,
        containerId: request.containerId ?? `new-${id}`,
        networkId: request.target,
        engineNetwork: { name: 'shoal-n-x', subnet: '', gateway: '', bridge: '', mtu: 0, internal: false, labels: {} },
        bridge: 'ov-x',
        address: '10.77.0.5',
        mac: '02:42:0a:4d:00:05',
        gateway: '10.77.0.1',
        dns: '10.77.0.1',
      }
      places.set(id, place)
      return place
    },
    async detachNetwork(id) {
      places.delete(id)
    },
    attachments: () => [...places.values()],
    setContainers: async () => {},
  }
  return { attachments, asked, places }
}

async function withPlaces(refuse: ShoalError | undefined, run: (h: Harness, fake: ReturnType<typeof fakePlaces>) => Promise<void>) {
  const fake = fakePlaces(refuse)
  const own = await startApi({ deps: { attachments: () => fake.attachments } })
  try {
    const body = { Name: 'ov', Driver: 'overlay', Attachable: true, IPAM: { Config: [{ Subnet: '10.77.0.0/24' }] } }
    assert.equal((await own.call('POST', '/networks/create', body)).status, 201)
    await run(own, fake)
  } finally {
    await own.close()
  }
}

test('a container that is made on a network of the swarm gets its place, address and name server; without a container the place goes back', async () => {
  await withPlaces(undefined, async (own, { asked, places }) => {
    own.engine.routes.set('POST /containers/create', reply(201, { Id: 'c' }))
    const made = await own.call('POST', '/v1.41/containers/create?name=db1', {
      Image: 'i',
      Labels: { a: 'b' },
      HostConfig: { NetworkMode: 'ov', Dns: ['9.9.9.9'] },
      NetworkingConfig: { EndpointsConfig: { ov: { Aliases: ['db'] } } },
    })
    assert.equal(made.status, 201)
    assert.deepEqual([asked[0]?.aliases, asked[0]?.containerId], [['db1', 'db'], undefined])
    const sent = JSON.parse(own.engine.calls.findLast(({ method }) => method === 'POST')!.body)
    assert.deepEqual(sent.HostConfig, { NetworkMode: 'shoal-n-x', Dns: ['10.77.0.1', '9.9.9.9'] })
    assert.deepEqual(sent.NetworkingConfig.EndpointsConfig, {
      'shoal-n-x': { Aliases: ['db'], IPAMConfig: { IPv4Address: '10.77.0.5' }, MacAddress: '02:42:0a:4d:00:05' },
    })
    assert.equal(sent.Labels.a, 'b')
    assert.equal(sent.Labels[`shoal.attachment.${asked[0]?.target}`], 'place1')

    own.engine.routes.set('POST /containers/create', reply(409, { message: 'name is taken' }))
    assert.equal((await own.call('POST', '/containers/create', { Image: 'i', HostConfig: { NetworkMode: 'ov' } })).status, 409)
    assert.deepEqual([...places.keys()], ['place1'])
  })
})

test('connect puts a container onto the engine-side network, disconnect gives its place back', async () => {
  await withPlaces(undefined, async (own, { asked, places }) => {
    own.engine.routes.set('GET /containers/web/json', reply(200, { Id: 'c'.repeat(64), Name: '/web' }))
    own.engine.routes.set('POST /networks/shoal-n-x/connect', reply(200, {}))
    const connected = await own.call('POST', '/networks/ov/connect', {
      Container: 'web',
      EndpointConfig: { Aliases: ['www'], IPAMConfig: { IPv4Address: '10.77.0.99' } },
    })
    assert.equal(connected.status, 200)
    assert.deepEqual([asked[0]?.aliases, asked[0]?.address], [['web', 'cccccccccccc', 'www'], '10.77.0.99'])
    const sent = JSON.parse(own.engine.calls.findLast(({ url }) => url.endsWith('/connect'))!.body)
    assert.equal(sent.EndpointConfig.IPAMConfig.IPv4Address, '10.77.0.5')

    own.engine.networks.push({ Id: 'e', Name: 'shoal-n-x', Labels: { 'shoal.network.id': asked[0]?.target } })
    own.engine.routes.set('POST /networks/e/disconnect', reply(200, {}))
    assert.equal((await own.call('POST', '/networks/ov/disconnect', { Container: 'web' })).status, 200)
    assert.equal(places.size, 0)
  })
})

test('a network that is not attachable is refused in Docker’s words', async () => {
  await withPlaces(new ShoalError('permission-denied', 'network ov not manually attachable'), async (own) => {
    const refused = await own.call('POST', '/containers/create', { Image: 'i', HostConfig: { NetworkMode: 'ov' } })
    const text = 'Could not attach to network ov: rpc error: code = PermissionDenied desc = network ov not manually attachable'
    assert.deepEqual([refused.status, refused.json.message], [403, text])
  })
})
