// Streams into tasks: asked by managers, opened by the task's node, joined byte by byte.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDispatcher } from '../../src/dispatcher/index.ts'
import { ShoalError, silentLogger, type TaskId } from '../../src/lib/index.ts'
import type { TunnelChunk } from '../../src/proto/index.ts'
import { TunnelEnd } from '../../src/wire/index.ts'
import { testCluster } from './harness.ts'

/** Two ends joined as a call would do it. */
function pair(): { near: TunnelEnd; far: TunnelEnd; over: Promise<unknown> } {
  const near = new TunnelEnd()
  const far = new TunnelEnd({ id: 'x' })
  const full = async function* (chunks: AsyncIterable<object>): AsyncGenerator<TunnelChunk> {
    for await (const chunk of chunks) yield { id: '', data: new Uint8Array(), end: false, refused: '', ...chunk } as TunnelChunk
  }
  const over = Promise.all([near.receive(full(far.outgoing())), far.receive(full(near.outgoing()))])
  near.on('error', () => {})
  far.on('error', () => {})
  return { near, far, over }
}

/** Not by iteration, which would destroy the stream with its other direction. */
const all = (end: TunnelEnd) =>
  new Promise<Buffer>((resolve, reject) => {
    const chunks: Buffer[] = []
    end.on('data', (chunk: Buffer) => chunks.push(chunk))
    end.on('end', () => resolve(Buffer.concat(chunks)))
    end.on('error', reject)
  })

test('bytes arrive in order both ways, whatever their number', async () => {
  const { near, far, over } = pair()
  const data = Buffer.alloc(3_000_000, 'abcdefg')
  near.end(data)
  far.end('answer')
  const [there, back] = await Promise.all([all(far), all(near)])
  assert.ok(there.equals(data))
  assert.equal(back.toString(), 'answer')
  await over
})

test('one direction may end while the other goes on', async () => {
  const { near, far } = pair()
  near.end('question')
  assert.equal((await all(far)).toString(), 'question')
  far.write('late ')
  far.end('answer')
  assert.equal((await all(near)).toString(), 'late answer')
})

test('a slow reader holds the writer back', async () => {
  const { near, far } = pair()
  let written = 0
  const more = (): void => {
    while (written < 4_000 && near.write(Buffer.alloc(16_384))) written += 1
  }
  near.on('drain', more)
  more()
  for (let turn = 0; turn < 200; turn++) await new Promise((resolve) => setImmediate(resolve))
  assert.ok(written < 100, `${written} chunks are on their way although nobody reads`)
  far.destroy()
})

test('who vanishes takes the other end along, and a refusal says why', async () => {
  const { near, far } = pair()
  const ended = new Promise<void>((resolve) => far.on('close', () => resolve()))
  near.destroy()
  await ended
  const refused = new TunnelEnd()
  const failed = new Promise<Error>((resolve) => refused.on('error', resolve))
  const said = async function* () {
    yield { id: '', data: new Uint8Array(), end: false, refused: 'the task does not run' } as TunnelChunk
  }
  await refused.receive(said())
  assert.match((await failed).message, /the task does not run/)
  await assert.rejects(refused.opened())
})

test('a stream into a task that is not there is refused at once', async () => {
  const b = await testCluster()
  const dispatcher = createDispatcher({ ...b, logger: silentLogger, self: () => undefined })
  dispatcher.start()
  const { signal } = new AbortController()
  await assert.rejects(
    dispatcher.tunnels.open({ taskId: 'nosuch' as TaskId, port: 0 }, signal),
    (error: unknown) => error instanceof ShoalError && error.code === 'not-found',
  )
  await b.addNode('n1')
  await b.addTask('t1', 'n1')
  await assert.rejects(dispatcher.tunnels.open({ taskId: 't1' as TaskId, port: 0 }, signal), /not connected to this manager/)
  await dispatcher.stop()
})
