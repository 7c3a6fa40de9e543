// Names: what a task is told, what it is not told, and that no bytes from the network can harm the responder.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { Frames, framed } from '../../src/dataplane/dns/frames.ts'
import { parseQuery, type Query, RCODE, TYPE, writeAnswer } from '../../src/dataplane/dns/message.ts'
import { changeBetween } from '../../src/dataplane/dns/nameServer.ts'
import { nameserversOf } from '../../src/dataplane/dns/upstream.ts'
import { type Asker, Zone, type ZoneChange } from '../../src/dataplane/dns/zone.ts'
import { applyMeshUpdate, emptyMeshState, type MeshEndpoint, type MeshService } from '../../src/dataplane/index.ts'
import { localTasks, meshStates } from './arbitrary.ts'
import { question, readReply } from './dnsClient.ts'
import { endpoint, INGRESS, meshUpdate, overlay, service } from './lab.ts'

const FRONT = { ...overlay('frontnetworkid00000000001', 4097, 4), name: 'front' }
const BACK = { ...overlay('backnetworkid000000000001', 4098, 5), name: 'back' }
const TASK = (n: number) => `task${n}`.padEnd(25, '0')
const NOTHING = changeBetween(undefined, { state: emptyMeshState, askers: [], listen: [] })

function task(n: number, of: string, addresses: [string, string][], more: Partial<MeshEndpoint> = {}): MeshEndpoint {
  return { ...endpoint(TASK(n), of, 'node2', addresses), slot: n, ...more }
}

function aliased(item: MeshEndpoint, ...aliases: string[]): MeshEndpoint {
  return { ...item, addresses: item.addresses.map((address) => ({ ...address, aliases })) }
}

const WEB: MeshService = {
  ...service('web', 8080, [{ networkId: FRONT.id, address: '10.0.4.100' }]),
  ports: [{ protocol: 'tcp', published: 8080, target: 80, name: 'http' }],
} as MeshService
const DB: MeshService = { ...service('db', 0, []), dnsrr: true, ports: [] } as MeshService

const ASKER: Asker = {
  addresses: [
    { networkId: INGRESS.id, address: '10.0.0.9' },
    { networkId: FRONT.id, address: '10.0.4.9' },
  ],
  nameservers: [],
  search: ['example.com'],
}
const BOTH: Asker = { ...ASKER, addresses: [...ASKER.addresses, { networkId: BACK.id, address: '10.0.5.9' }] }

function zone(change: Partial<ZoneChange> = {}): Zone {
  const result = new Zone()
  result.apply({
    ...NOTHING,
    networks: [INGRESS, FRONT, BACK],
    services: [WEB, DB],
    endpoints: [
      aliased(task(1, 'web', [[FRONT.id, '10.0.4.11']]), 'www'),
      aliased(task(2, 'web', [[FRONT.id, '10.0.4.12']], { serving: false }), 'www'),
      task(3, 'db', [
        [FRONT.id, '10.0.4.13'],
        [BACK.id, '10.0.5.13'],
      ]),
      task(4, 'db', [[FRONT.id, '10.0.4.14']]),
      aliased(task(5, '', [[BACK.id, '10.0.5.15']], { slot: 0 }), 'shell'),
    ],
    askers: [ASKER],
    ...change,
  })
  return result
}

/** Addresses, names of records, or what was said instead. */
function ask(names: Zone, name: string, { asker = ASKER, from = '10.0.4.9', type = TYPE.a as number } = {}): string[] | string {
  const resolution = names.resolve(asker, from, name, type)
  if (resolution.kind === 'forward') return 'forward'
  const { rcode, answers } = resolution.answer
  if (rcode !== RCODE.noError) return rcode === RCODE.nameError ? 'no such name' : `rcode ${rcode}`
  return answers
    .map((answer) => (answer.kind === 'a' ? answer.address : answer.kind === 'srv' ? `${answer.target}:${answer.port}` : answer.target))
    .sort()
}

describe('names', () => {
  test('a service is its virtual address, or its serving tasks where it has none', () => {
    assert.deepEqual(ask(zone(), 'web'), ['10.0.4.100'])
    assert.deepEqual(ask(zone(), 'db'), ['10.0.4.13', '10.0.4.14'])
  })

  test('tasks.NAME and the names of single tasks lead to tasks; only what serves is told', () => {
    assert.deepEqual(ask(zone(), 'tasks.web'), ['10.0.4.11'])
    assert.deepEqual(ask(zone(), 'tasks.www'), ['10.0.4.11'])
    assert.deepEqual(ask(zone(), `web.1.${TASK(1)}`), ['10.0.4.11'])
    assert.deepEqual(ask(zone(), `web.2.${TASK(2)}`), ['10.0.4.12'], 'asked for by its own name it may still be starting')
    assert.deepEqual(ask(zone(), 'db.4'), ['10.0.4.14'])
    assert.equal(ask(zone(), 'db.2.abcdefghijklmnopqrstuvwxy'), 'no such name')
  })

  test('an alias of the tasks leads to the service', () => {
    assert.deepEqual(ask(zone(), 'www'), ['10.0.4.100'])
  })

  test('only names on the asking task’s own networks are told; its own network comes first, NAME.NETWORK says which', () => {
    assert.equal(ask(zone(), 'shell'), 'no such name')
    assert.deepEqual(ask(zone(), 'shell', { asker: BOTH }), ['10.0.5.15'])
    assert.deepEqual(ask(zone(), 'db', { asker: BOTH, from: '10.0.5.9' }), ['10.0.5.13'])
    assert.deepEqual(ask(zone(), 'db.front', { asker: BOTH, from: '10.0.5.9' }), ['10.0.4.13', '10.0.4.14'])
    assert.equal(ask(zone(), 'db.back'), 'forward')
    assert.equal(ask(zone(), 'web', { asker: { ...ASKER, addresses: [{ networkId: INGRESS.id, address: '10.0.0.9' }] } }), 'no such name')
  })

  test('a name that is there has no other records; unknown single names are nobody’s at once, all others go on', () => {
    assert.deepEqual(ask(zone(), 'web', { type: TYPE.aaaa }), [])
    assert.deepEqual(ask(zone(), 'web', { type: 15 }), [])
    assert.equal(ask(zone(), 'nosuch'), 'no such name')
    assert.equal(ask(zone(), 'tasks.nosuch'), 'no such name')
    assert.equal(ask(zone(), 'nosuch.example.org'), 'forward')
  })

  test('below the task’s own search domains services are found, too; what is not a service there goes on', () => {
    assert.deepEqual(ask(zone(), 'web.example.com'), ['10.0.4.100'])
    assert.equal(ask(zone(), 'mail.example.com'), 'forward')
    assert.equal(ask(zone(), 'web.example.org'), 'forward')
  })

  test('addresses have names, named ports have places', () => {
    assert.deepEqual(ask(zone(), '11.4.0.10.in-addr.arpa', { type: TYPE.ptr }), [`web.1.${TASK(1)}.front`])
    assert.deepEqual(ask(zone(), '100.4.0.10.in-addr.arpa', { type: TYPE.ptr }), ['web.front'])
    assert.deepEqual(ask(zone(), '15.5.0.10.in-addr.arpa', { type: TYPE.ptr, asker: BOTH }), ['shell.back'])
    assert.equal(ask(zone(), '77.4.0.10.in-addr.arpa', { type: TYPE.ptr }), 'no such name')
    assert.equal(ask(zone(), '8.8.8.8.in-addr.arpa', { type: TYPE.ptr }), 'forward')
    assert.deepEqual(ask(zone(), '_http._tcp.web', { type: TYPE.srv }), ['web:80'])
    assert.deepEqual(ask(zone(), '_http._tcp.tasks.web', { type: TYPE.srv }), [`web.1.${TASK(1)}:80`])
    assert.equal(ask(zone(), '_http._udp.web', { type: TYPE.srv }), 'no such name')
  })

  test('what goes is not told any more', () => {
    const names = zone()
    names.apply({ ...NOTHING, snapshot: false, goneEndpoints: [TASK(3)] })
    assert.deepEqual(ask(names, 'db'), ['10.0.4.14'])
    names.apply({ ...NOTHING, snapshot: false, services: [{ ...WEB, name: 'site' }] })
    assert.equal(ask(names, 'web'), 'no such name')
    assert.deepEqual(ask(names, 'site'), ['10.0.4.100'])
    assert.deepEqual(ask(names, `site.1.${TASK(1)}`), ['10.0.4.11'])
    names.apply({ ...NOTHING, snapshot: false, goneServices: ['web'] })
    assert.equal(ask(names, 'site'), 'no such name')
    names.apply(NOTHING)
    assert.equal(ask(names, 'db'), 'no such name')
  })

  test('several addresses begin with another one each time', () => {
    const names = zone()
    const firsts = Array.from({ length: 4 }, () => {
      const resolution = names.resolve(ASKER, '10.0.4.9', 'db', TYPE.a)
      return resolution.kind === 'answer' && resolution.answer.answers[0]?.kind === 'a' ? resolution.answer.answers[0].address : ''
    })
    assert.deepEqual(new Set(firsts), new Set(['10.0.4.13', '10.0.4.14']))
  })

  test('a zone that follows changes says the same as one made afresh', () => {
    fc.assert(
      fc.property(fc.array(meshStates, { minLength: 1, maxLength: 5 }), localTasks, (states, _tasks) => {
        const following = new Zone()
        let before: Parameters<typeof changeBetween>[0]
        for (const state of states) {
          const view = { state, askers: [BOTH], listen: [] }
          following.apply(changeBetween(before, view))
          before = view
        }
        const afresh = new Zone()
        afresh.apply(changeBetween(undefined, before!))
        const networks = [...states.at(-1)!.networks.keys()].map((networkId, i) => ({ networkId, address: `10.9.9.${i}` }))
        const asker: Asker = { addresses: networks, nameservers: [], search: [] }
        for (const name of ['web', 'db', 'log', 'tasks.web', 'web.1', 'nosuch', '12.4.0.10.in-addr.arpa'])
          for (const type of [TYPE.a, TYPE.ptr]) assert.deepEqual(ask(following, name, { asker, type }), ask(afresh, name, { asker, type }))
      }),
      { numRuns: 200 },
    )
  })

  test('an update that changes nothing sends nothing', () => {
    const state = applyMeshUpdate(emptyMeshState, meshUpdate({ snapshot: true, version: 1n, networks: [FRONT], services: [WEB] }))
    const askers: Asker[] = []
    const next = applyMeshUpdate(state, meshUpdate({ base: 1n, version: 2n, services: [{ ...DB }] }))
    const change = changeBetween({ state, askers, listen: [] }, { state: next, askers, listen: [] })
    assert.deepEqual([change.networks.length, change.services.length, change.askers, change.snapshot], [0, 1, undefined, false])
  })
})

describe('DNS messages', () => {
  const query = (name: string, edns?: number): Query => {
    const parsed = parseQuery(question(name, TYPE.a, { edns }))
    assert.ok(parsed.kind === 'query')
    return parsed.query
  }

  test('a question is understood, in any case of letters', () => {
    const { name, type, udpBytes, recursionDesired } = query('Tasks.WEB')
    assert.deepEqual([name, type, udpBytes, recursionDesired], ['tasks.web', TYPE.a, 512, true])
    assert.equal(query('web', 4096).udpBytes, 1232)
    assert.equal(query('web', 100).udpBytes, 512)
  })

  test('an answer can be read, and repeats the question letter by letter', () => {
    const reply = readReply(
      writeAnswer(
        query('Web', 1232),
        { rcode: RCODE.noError, answers: [{ kind: 'a', name: 'web', address: '10.0.4.100' }], ttlSeconds: 2 },
        1232,
      ),
    )
    assert.deepEqual([reply.name, reply.rcode, reply.truncated, reply.edns], ['Web', 0, false, true])
    assert.deepEqual(reply.answers, [{ name: 'Web', type: TYPE.a, ttlSeconds: 2, data: '10.0.4.100' }])
  })

  test('what does not fit is left out, and the client told to ask by TCP', () => {
    const answers = Array.from({ length: 100 }, (_, i) => ({ kind: 'a' as const, name: 'web', address: `10.0.4.${i}` }))
    const small = writeAnswer(query('web'), { rcode: RCODE.noError, answers, ttlSeconds: 2 }, 512)
    assert.ok(small.length <= 512)
    const reply = readReply(small)
    assert.ok(reply.truncated && reply.answers.length > 20)
    assert.equal(readReply(writeAnswer(query('web'), { rcode: RCODE.noError, answers, ttlSeconds: 2 }, 65_535)).answers.length, 100)
  })

  test('garbage never throws, and gets no answer that could be mistaken for one', () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 600 }),
      // nearly a question
      fc
        .tuple(fc.uint8Array({ minLength: 2, maxLength: 2 }), fc.uint8Array({ maxLength: 300 }))
        .map(([id, rest]) => Uint8Array.from([...id, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1, ...rest])),
    )
    fc.assert(
      fc.property(bytes, (data) => {
        const parsed = parseQuery(Buffer.from(data))
        if (parsed.kind !== 'query') return
        const resolution = zone().resolve(ASKER, '10.0.4.9', parsed.query.name, parsed.query.type)
        const answer = resolution.kind === 'answer' ? resolution.answer : { rcode: RCODE.nameError, answers: [], ttlSeconds: 0 }
        assert.ok(writeAnswer(parsed.query, answer, 512).length <= 512)
      }),
      { numRuns: 2_000 },
    )
  })

  test('any name that can be asked comes back as it was asked', () => {
    const label = fc.stringMatching(/^[a-zA-Z0-9_-]{1,20}$/)
    fc.assert(
      fc.property(fc.array(label, { minLength: 1, maxLength: 6 }), fc.integer({ min: 0, max: 65_535 }), (labels, type) => {
        const parsed = parseQuery(question(labels.join('.'), type))
        assert.ok(parsed.kind === 'query')
        assert.deepEqual([parsed.query.name, parsed.query.type], [labels.join('.').toLowerCase(), type])
      }),
    )
  })

  test('messages over TCP come whole, however they are cut', () => {
    const message = fc.uint8Array({ maxLength: 60 })
    fc.assert(
      fc.property(
        fc.array(message, { maxLength: 8 }),
        fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 20 }),
        (messages, cuts) => {
          const stream = Buffer.concat(messages.map((bytes) => framed(Buffer.from(bytes))))
          const frames = new Frames()
          const taken: Buffer[] = []
          for (let at = 0, i = 0; at < stream.length; i++) {
            const end = at + cuts[i % cuts.length]!
            taken.push(...frames.take(stream.subarray(at, end)))
            at = end
          }
          assert.deepEqual(
            taken.map((bytes) => [...bytes]),
            messages.map((bytes) => [...bytes]),
          )
        },
      ),
    )
  })

  test('name servers are read from a resolv.conf, whatever else stands there', () => {
    assert.deepEqual(nameserversOf('# x\nnameserver 10.0.0.2\n  nameserver fe80::1 \nnameserver nonsense\nsearch a b\noptions ndots:2'), [
      '10.0.0.2',
      'fe80::1',
    ])
  })
})
