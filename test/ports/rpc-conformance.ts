// What every adapter of the Rpc port must do, as tests: run by the wire's own and by the simulator's.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { ShoalError } from '../../src/lib/index.ts'
import { type CallContext, handle, type Identity, type Route, type Rpc, type RpcServer } from '../../src/ports/index.ts'
import { CA, Dispatcher, LogBroker, Mesh } from '../../src/proto/index.ts'

export interface RpcBench {
  /** Two hosts (or two instances on one). */
  readonly server: Rpc
  readonly client: Rpc
  /** Where `server` can listen; port 0 is allowed. */
  readonly listenAddress: string
  /** How `client` reaches a server that said `address`. */
  reach(address: string): string
  identity(role: 'worker' | 'manager', nodeId: string, root?: 'ours' | 'foreign'): Promise<Identity>
  /** Waits for a promise, moving virtual time where there is one. */
  settle<T>(promise: Promise<T>): Promise<T>
  sleep(ms: number): Promise<void>
  /** An address where nobody listens. */
  readonly deadAddress: string
  close(): Promise<void>
}

/** Registers the tests. `open` makes a fresh bench for each. */
export function rpcConformance(name: string, open: () => Promise<RpcBench>): void {
  const scene = (title: string, body: (stage: Stage) => Promise<void>) =>
    test(`${name}: ${title}`, { timeout: 30_000 }, async () => {
      const bench = await open()
      const stage = await createStage(bench)
      try {
        await body(stage)
      } finally {
        await stage.close()
        await bench.close()
      }
    })

  scene('a unary call arrives with its fields and the proved identity of its caller', async ({ serve, channel, settle }) => {
    let seen: CallContext | undefined
    await serve([
      handle(Dispatcher.method.heartbeat, async (request, ctx) => {
        seen = ctx
        assert.equal(request.sessionId, 'abc')
        return { period: { seconds: 7n, nanos: 0 } }
      }),
    ])
    const answer = await settle((await channel('worker', 'w1')).unary(Dispatcher.method.heartbeat, { sessionId: 'abc' }))
    assert.equal(answer.period?.seconds, 7n)
    assert.equal(seen?.peer.nodeId, 'w1')
    assert.equal(seen?.peer.role, 'worker')
    assert.equal(seen?.peer.clusterId, 'cluster')
    assert.equal(seen?.peer.ownAgent, true)
  })

  scene(
    'an error keeps its code, sentence and next step; one that is not ours says nothing of our inside',
    async ({ serve, channel, settle }) => {
      let call = 0
      await serve([
        handle(Dispatcher.method.heartbeat, async () => {
          call += 1
          if (call === 1) throw new ShoalError('not-found', 'no such node', { next: 'join again' })
          throw new Error('secret detail')
        }),
      ])
      const worker = await channel('worker', 'w1')
      await assert.rejects(settle(worker.unary(Dispatcher.method.heartbeat, {})), {
        code: 'not-found',
        message: 'no such node',
        next: 'join again',
      })
      await assert.rejects(settle(worker.unary(Dispatcher.method.heartbeat, {})), { code: 'internal', message: 'internal error' })
    },
  )

  scene('unknown methods are unimplemented', async ({ serve, channel, settle }) => {
    await serve([])
    await assert.rejects(settle((await channel('worker', 'w1')).unary(Dispatcher.method.heartbeat, {})), { code: 'unimplemented' })
  })

  scene('without a certificate only what joiners need is served', async ({ serve, connect, settle }) => {
    await serve([
      handle(CA.method.getRootCACertificate, async () => ({ certificate: new Uint8Array([1]) })),
      handle(Dispatcher.method.heartbeat, async () => ({})),
    ])
    const stranger = connect({ kind: 'bootstrap' })
    assert.equal((await settle(stranger.unary(CA.method.getRootCACertificate, {}))).certificate.length, 1)
    await assert.rejects(settle(stranger.unary(Dispatcher.method.heartbeat, {})), { code: 'permission-denied' })
  })

  scene(
    'a foreign certificate is no certificate, and a foreign server is not talked to',
    async ({ serve, bench, connect, channel, settle }) => {
      await serve([handle(Dispatcher.method.heartbeat, async () => ({}))])
      const foreign = await bench.identity('worker', 'w1', 'foreign')
      const ours = await bench.identity('worker', 'w1')
      const intruder = connect({ kind: 'mutual', serverName: 'swarm-manager', identity: () => ({ ...foreign, rootCaPem: ours.rootCaPem }) })
      await assert.rejects(settle(intruder.unary(Dispatcher.method.heartbeat, {})), { code: 'permission-denied' })
      const stranger = connect({ kind: 'mutual', serverName: 'swarm-manager', identity: () => foreign })
      await assert.rejects(settle(stranger.unary(Dispatcher.method.heartbeat, {})), { code: 'unavailable' })
      await settle((await channel('worker', 'w1')).unary(Dispatcher.method.heartbeat, {}))
    },
  )

  scene(
    'a call that takes too long ends with deadline-exceeded, and its handler hears of it',
    async ({ serve, channel, settle, bench }) => {
      let aborted = false
      await serve([
        handle(Dispatcher.method.heartbeat, async (_request, ctx) => {
          await aborts(ctx.signal)
          aborted = true
          return {}
        }),
      ])
      const worker = await channel('worker', 'w1')
      await assert.rejects(settle(worker.unary(Dispatcher.method.heartbeat, {}, { timeoutMs: 100 })), { code: 'deadline-exceeded' })
      await bench.sleep(100)
      assert.equal(aborted, true)
    },
  )

  scene('a caller who cancels gets canceled, and the handler hears of it', async ({ serve, channel, settle, bench }) => {
    let aborted = false
    await serve([
      handle(Dispatcher.method.session, async function* (_request, ctx) {
        yield { sessionId: 's' }
        await aborts(ctx.signal)
        aborted = true
      }),
    ])
    const worker = await channel('worker', 'w1')
    const controller = new AbortController()
    const seen: string[] = []
    await assert.rejects(
      settle(
        (async () => {
          for await (const message of worker.serverStream(Dispatcher.method.session, {}, { signal: controller.signal })) {
            seen.push(message.sessionId)
            controller.abort()
          }
        })(),
      ),
      { code: 'canceled' },
    )
    await bench.sleep(100)
    assert.deepEqual(seen, ['s'])
    assert.equal(aborted, true)
    await assert.rejects(settle(worker.unary(Dispatcher.method.heartbeat, {}, { signal: controller.signal })), { code: 'canceled' })
  })

  scene('leaving a stream early ends the call on the other side too', async ({ serve, channel, settle, bench }) => {
    let aborted = false
    await serve([
      handle(Dispatcher.method.session, async function* (_request, ctx) {
        yield { sessionId: 'first' }
        await aborts(ctx.signal)
        aborted = true
      }),
    ])
    const worker = await channel('worker', 'w1')
    await settle(
      (async () => {
        for await (const _message of worker.serverStream(Dispatcher.method.session, {})) break
      })(),
    )
    await bench.sleep(100)
    assert.equal(aborted, true)
  })

  scene('a stream brings its messages in order, and then its end or its error', async ({ serve, channel, settle }) => {
    await serve([
      handle(Dispatcher.method.session, async function* (request) {
        for (let i = 0; i < 300; i += 1) yield { sessionId: String(i) }
        if (request.sessionId === 'fail') throw new ShoalError('aborted', 'enough')
      }),
    ])
    const worker = await channel('worker', 'w1')
    const read = async (sessionId: string) => {
      const seen: string[] = []
      for await (const message of worker.serverStream(Dispatcher.method.session, { sessionId })) seen.push(message.sessionId)
      return seen
    }
    const seen = await settle(read(''))
    assert.deepEqual(
      seen,
      Array.from({ length: 300 }, (_, i) => String(i)),
    )
    await assert.rejects(settle(read('fail')), { code: 'aborted', message: 'enough' })
  })

  scene('a bidirectional stream carries both ways at once', async ({ serve, channel, settle }) => {
    await serve([
      handle(Mesh.method.stream, async function* (requests) {
        for await (const { msg } of requests)
          if (msg.case === 'pong') yield { msg: { case: 'ping' as const, value: { seq: msg.value.seq } } }
      }),
    ])
    const worker = await channel('worker', 'w1')
    const heard: number[] = []
    let say: (() => void) | undefined
    async function* ups() {
      for (let i = 0; i < 5; i += 1) {
        yield { msg: { case: 'pong' as const, value: { seq: BigInt(i) } } }
        await new Promise<void>((resolve) => {
          say = resolve
        })
      }
    }
    await settle(
      (async () => {
        for await (const { msg } of worker.bidiStream(Mesh.method.stream, ups())) {
          heard.push(msg.case === 'ping' ? Number(msg.value.seq) : -1)
          say?.()
        }
      })(),
    )
    assert.deepEqual(heard, [0, 1, 2, 3, 4])
  })

  scene('a stream of requests is answered once', async ({ serve, channel, settle }) => {
    await serve([
      handle(LogBroker.method.publishLogs, async (requests) => {
        let count = 0
        for await (const request of requests) count += request.messages.length
        assert.equal(count, 6)
        return create(LogBroker.method.publishLogs.output)
      }),
    ])
    async function* logs() {
      for (let i = 0; i < 3; i += 1) yield { messages: [{ data: new Uint8Array([i]) }, { data: new Uint8Array([i]) }] }
    }
    await settle((await channel('worker', 'w1')).clientStream(LogBroker.method.publishLogs, logs()))
  })

  scene('where nobody listens, calls are unavailable', async ({ bench, settle }) => {
    const identity = await bench.identity('worker', 'w1')
    const lost = bench.client.connect(bench.deadAddress, { kind: 'mutual', serverName: 'swarm-manager', identity: () => identity })
    await assert.rejects(settle(lost.unary(Dispatcher.method.heartbeat, {})), { code: 'unavailable' })
    lost.close()
  })

  scene(
    'a server that stops ends its streams as unavailable, and a channel finds its successor',
    async ({ serve, channel, settle, bench }) => {
      const routes = [
        handle(Dispatcher.method.session, async function* (_request, ctx) {
          yield { sessionId: 's' }
          await aborts(ctx.signal)
        }),
        handle(Dispatcher.method.heartbeat, async () => ({})),
      ]
      const first = await serve(routes)
      const worker = await channel('worker', 'w1')
      let open = false
      const stream = (async () => {
        for await (const _message of worker.serverStream(Dispatcher.method.session, {})) open = true
      })()
      const ended = assert.rejects(stream, { code: 'unavailable' })
      for (let i = 0; i < 100 && !open; i += 1) await bench.sleep(20)
      await settle(first.close())
      await settle(ended)
      await serve(routes, bench.reach(first.address))
      let answered = false
      for (let i = 0; i < 20 && !answered; i += 1) {
        answered = await settle(worker.unary(Dispatcher.method.heartbeat, {})).then(
          () => true,
          () => false,
        )
        if (!answered) await bench.sleep(50)
      }
      assert.equal(answered, true)
    },
  )

  scene('an address that is taken is refused', async ({ serve, bench, settle }) => {
    const first = await serve([])
    const identity = await bench.identity('manager', 'm2')
    await assert.rejects(settle(bench.server.serve(first.address, () => identity, [])), { code: 'unavailable' })
  })
}

interface Stage {
  readonly bench: RpcBench
  serve(routes: readonly Route[], address?: string): Promise<RpcServer>
  connect(security: Parameters<Rpc['connect']>[1]): ReturnType<Rpc['connect']>
  channel(role: 'worker' | 'manager', nodeId: string): Promise<ReturnType<Rpc['connect']>>
  settle<T>(promise: Promise<T>): Promise<T>
  close(): Promise<void>
}

async function createStage(bench: RpcBench): Promise<Stage> {
  const servers: RpcServer[] = []
  const channels: { close(): void }[] = []
  const connect: Stage['connect'] = (security) => {
    const channel = bench.client.connect(bench.reach(servers.at(-1)!.address), security)
    channels.push(channel)
    return channel
  }
  return {
    bench,
    connect,
    settle: (promise) => bench.settle(promise),
    async serve(routes, address = bench.listenAddress) {
      const identity = await bench.identity('manager', 'm1')
      const server = await bench.settle(bench.server.serve(address, () => identity, routes))
      servers.push(server)
      return server
    },
    async channel(role, nodeId) {
      const identity = await bench.identity(role, nodeId)
      return connect({ kind: 'mutual', serverName: 'swarm-manager', identity: () => identity })
    },
    async close() {
      for (const channel of channels) channel.close()
      for (const server of servers) await bench.settle(server.close())
    },
  }
}

function aborts(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
