// What goes through to the engine goes through unchanged: streams, uploads, upgrades, half-closed and broken connections.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { rm } from 'node:fs/promises'
import { request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { after, before, test } from 'node:test'
import { serveApi } from '../../src/api/index.ts'
import type { ShoalError } from '../../src/lib/index.ts'
import { type Harness, startApi } from '../api/harness.ts'

let h: Harness
before(async () => {
  h = await startApi()
})
after(() => h.close())

const dial = (text: string): { socket: Socket; received: () => string; until(pattern: RegExp): Promise<void>; ended: Promise<void> } => {
  const socket = connect({ path: h.socket, allowHalfOpen: true })
  let got = ''
  const waiting = new Set<() => void>()
  socket.on('data', (chunk) => {
    got += chunk.toString('latin1')
    for (const check of waiting) check()
  })
  socket.on('error', () => {})
  const ended = new Promise<void>((resolve) => socket.on('end', resolve).on('close', resolve))
  socket.write(text)
  return {
    socket,
    received: () => got,
    ended,
    until: (pattern) =>
      new Promise((resolve) => {
        const check = () => {
          if (!pattern.test(got)) return
          waiting.delete(check)
          resolve()
        }
        waiting.add(check)
        check()
      }),
  }
}
const attach = (body = '') =>
  `POST /v1.41/containers/x/attach?stream=1 HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: ${body.length}\r\n\r\n${body}`

test('method, path, version, headers and body arrive as they were sent, and so does the answer', async () => {
  h.engine.routes.set('POST /images/load', (_req, res, body) => {
    res.writeHead(202, 'Fine So Far', { 'X-Two': ['a', 'b'], 'Content-Type': 'application/x-tar' })
    res.end(body.toUpperCase())
  })
  const answer = await h.call('POST', '/v1.24/images/load?quiet=1&x=%2F', 'abc', { 'X-Registry-Auth': 'e30=' })
  assert.deepEqual(
    [answer.status, answer.text, answer.headers['x-two'], answer.headers['content-type']],
    [202, 'ABC', 'a, b', 'application/x-tar'],
  )
  const call = h.engine.calls.at(-1)!
  assert.deepEqual([call.method, call.url, call.headers['x-registry-auth']], ['POST', '/v1.24/images/load?quiet=1&x=%2F', 'e30='])
})

test('an empty body stays empty, because dockerd takes a chunked one for a body', async () => {
  await h.call('POST', '/containers/x/start')
  const { headers } = h.engine.calls.at(-1)!
  assert.deepEqual([headers['content-length'], headers['transfer-encoding']], ['0', undefined])
})

test('a stream is passed on piece by piece, and the engine learns when the client goes', async () => {
  let gone = () => {}
  const left = new Promise<void>((resolve) => {
    gone = resolve
  })
  h.engine.routes.set('GET /containers/x/logs', (_req, res) => {
    res.writeHead(200)
    res.write('first')
    res.on('close', gone)
  })
  const stream = await h.open('GET', '/containers/x/logs?follow=1')
  const [chunk] = await new Promise<Buffer[]>((resolve) => stream.once('data', (data) => resolve([data])))
  assert.equal(String(chunk), 'first')
  stream.destroy()
  await left
})

test('a slow reader slows the engine down', async () => {
  const block = Buffer.alloc(1 << 20)
  let sent = 0
  h.engine.routes.set('GET /images/get', (_req, res) => {
    res.writeHead(200)
    const more = () => {
      while (sent < 64) {
        sent += 1
        if (!res.write(block)) return void res.once('drain', more)
      }
      res.end()
    }
    more()
  })
  const stream = await h.open('GET', '/images/get')
  await new Promise((resolve) => setTimeout(resolve, 300))
  assert.ok(sent < 30, `the engine sent ${sent} MiB to a client that reads nothing`)
  let size = 0
  for await (const chunk of stream as AsyncIterable<Buffer>) size += chunk.length
  assert.equal(size, 64 << 20)
})

test('an answer that breaks off is broken off for the client, too', async () => {
  h.engine.routes.set('GET /containers/x/stats', (_req, res) => {
    res.writeHead(200, { 'Content-Length': 100 })
    res.write('half')
    setImmediate(() => res.destroy())
  })
  await assert.rejects(h.call('GET', '/containers/x/stats'))
  assert.equal((await h.call('GET', '/_ping')).status, 200)
})

test('attach: bytes before and after the 101 arrive, and closing standard input leaves the output open', async () => {
  h.engine.onUpgrade = (req, socket, head) => {
    assert.equal(req.headers.upgrade, 'tcp')
    let input = head.toString()
    socket.write(
      'HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nready\n',
    )
    socket.on('data', (chunk) => {
      input += chunk
      socket.write(`got ${chunk}`)
    })
    socket.on('end', () => socket.end(`all: ${input}`))
  }
  const client = dial(attach())
  await client.until(/ready\n/)
  assert.match(client.received(), /^HTTP\/1.1 101 UPGRADED\r\n(.*\r\n)*Upgrade: tcp\r\n/)
  client.socket.write('one\n')
  await client.until(/got one/)
  client.socket.end('two\n')
  await client.ended
  assert.match(client.received(), /all: one\ntwo\n$/)
})

test('exec start: the JSON body goes to the engine, what follows is input', async () => {
  h.engine.onUpgrade = (req, socket, head) => {
    let input = head.toString()
    const look = () => {
      if (input === '{"Tty":true}')
        socket.write(`HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n${req.headers['content-length']}|`)
      if (input.endsWith('!')) socket.end(input)
    }
    look()
    socket.on('data', (chunk) => {
      input += chunk
      look()
    })
  }
  const client = dial(attach('{"Tty":true}').slice(0, -4))
  client.socket.write('rue}!')
  await client.ended
  assert.match(client.received(), /12\|\{"Tty":true\}!$/)
})

test('an upgrade that the engine refuses is an ordinary answer, and the connection ends', async () => {
  h.engine.onUpgrade = (_req, socket) => {
    socket.end(
      'HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 38\r\n\r\n{"message":"No such container: xxxxx"}',
    )
  }
  const client = dial(attach())
  await client.ended
  assert.match(client.received(), /^HTTP\/1.1 404 Not Found\r\n/)
  assert.match(client.received(), /\{"message":"No such container: xxxxx"\}$/)
})

test('when either end of a joined connection vanishes, so does the other', async () => {
  let engineSide: Socket | undefined
  const joined = () =>
    new Promise<void>((resolve) => {
      h.engine.onUpgrade = (_req, socket) => {
        engineSide = socket
        socket.on('error', () => {})
        socket.write('HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n')
        resolve()
      }
    })
  let ready = joined()
  const first = dial(attach())
  await ready
  await first.until(/101/)
  engineSide?.destroy()
  await first.ended

  ready = joined()
  const second = dial(attach())
  await ready
  await second.until(/101/)
  const engineEnded = new Promise<void>((resolve) => engineSide?.on('close', () => resolve()))
  // To the engine a client that has gone looks like one that only closed its input, until output has nowhere to go.
  const output = setInterval(() => engineSide?.write('output'), 5)
  engineSide?.resume()
  second.socket.destroy()
  await engineEnded
  clearInterval(output)
})

test('with the engine away every call says so and what to do', async () => {
  const alone = await startApi({ deps: { engineSocket: '/nonexistent/engine.sock' } })
  try {
    for (const path of ['/containers/json', '/images/json', '/info', '/networks', '/v1.41/containers/x/json']) {
      const answer = await alone.call('GET', path)
      assert.equal(answer.status, 503)
      assert.match(
        answer.json.message,
        /^cannot reach the container engine at unix:\/\/\/nonexistent\/engine.sock .*Check that dockerd runs there/,
      )
    }
    assert.equal((await alone.call('GET', '/v1.41/services')).status, 200)
    const attached = await new Promise<string>((resolve) => {
      const outgoing = request(
        { socketPath: alone.socket, method: 'POST', path: '/exec/x/start', headers: { Connection: 'Upgrade', Upgrade: 'tcp' } },
        (res) => resolve(String(res.statusCode)),
      )
      outgoing.end()
    })
    assert.equal(attached, '503')
  } finally {
    await alone.close()
  }
})

test('a stale socket file is replaced, a live one is not', async () => {
  const other = await startApi()
  try {
    const api = { deps: { clock: { sleep: async () => {} } }, handle: async () => {}, upgrade: async () => {}, close() {} } as never
    await assert.rejects(serveApi(api, [`unix://${other.socket}`]), /another daemon listens on unix:/)
    await assert.rejects(serveApi(api, ['tcp://0.0.0.0:4243']), ({ next }: ShoalError) => /--tlsverify/.test(next ?? ''))
    await assert.rejects(serveApi(api, ['unix:///etc/hostname']), /is no socket/)
    const stale = `${other.socket}.stale`
    execFileSync('python3', ['-c', 'import socket,sys; s=socket.socket(socket.AF_UNIX); s.bind(sys.argv[1])', stale])
    const server = await serveApi(api, [`unix://${stale}`])
    await server.close()
    await rm(stale, { force: true })
  } finally {
    await other.close()
  }
})
