// The log demultiplexer and hosts: whole, cut anywhere, and garbage.
import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import fc from 'fast-check'
import { demultiplex, parseEndpoint, rawFrames, resolveHost } from '../../src/client/index.ts'
import { isShoalError } from '../../src/lib/index.ts'

function frame(kind: 1 | 2, data: Uint8Array): Buffer {
  const header = Buffer.alloc(8)
  header[0] = kind
  header.writeUInt32BE(data.length, 4)
  return Buffer.concat([header, data])
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}

/** The bytes in pieces of the given lengths, over and over. */
function pieces(bytes: Buffer, lengths: readonly number[]): Readable {
  const parts: Buffer[] = []
  for (let offset = 0, i = 0; offset < bytes.length; i += 1) {
    const length = lengths[i % lengths.length] ?? 1
    parts.push(bytes.subarray(offset, offset + length))
    offset += length
  }
  return Readable.from(parts)
}

test('frames come out whole and in order, wherever the network cut the stream', async () => {
  const frames = fc.array(fc.record({ kind: fc.constantFrom(1 as const, 2 as const), data: fc.uint8Array({ maxLength: 40 }) }), {
    maxLength: 20,
  })
  await fc.assert(
    fc.asyncProperty(frames, fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1 }), async (sent, lengths) => {
      const bytes = Buffer.concat(sent.map(({ kind, data }) => frame(kind, data)))
      const received = await collect(demultiplex(pieces(bytes, lengths)))
      assert.deepEqual(
        received.map(({ stream, data }) => [stream, [...data]]),
        sent.map(({ kind, data }) => [kind === 1 ? 'stdout' : 'stderr', [...data]]),
      )
    }),
    { numRuns: 100 },
  )
})

test('a stream that is not multiplexed is refused instead of waited for', async () => {
  await assert.rejects(collect(demultiplex(Readable.from([Buffer.from('plain text, no frames')]))), (error) =>
    isShoalError(error, 'invalid-argument'),
  )
})

test('raw logs are cut at line ends and the last line may have none', async () => {
  const frames = await collect(rawFrames(Readable.from([Buffer.from('a\nb'), Buffer.from('c\nd')])))
  assert.deepEqual(
    frames.map(({ data }) => data.toString()),
    ['a\n', 'bc\n', 'd'],
  )
})

test('SHOAL_HOST wins over DOCKER_HOST, and a Shoal socket that is there over the engine', () => {
  const nothing = () => false
  assert.equal(resolveHost({ SHOAL_HOST: 'unix:///a', DOCKER_HOST: 'unix:///b' }, nothing), 'unix:///a')
  assert.equal(resolveHost({ DOCKER_HOST: 'unix:///b' }, nothing), 'unix:///b')
  assert.equal(
    resolveHost({}, (path) => path === '/run/shoal/shoal.sock'),
    'unix:///run/shoal/shoal.sock',
  )
  assert.equal(resolveHost({}, nothing), 'unix:///var/run/docker.sock')
})

test('any text as host is either understood or refused with the next step', () => {
  fc.assert(
    fc.property(fc.string(), (host) => {
      try {
        parseEndpoint(host)
      } catch (error) {
        assert.ok(isShoalError(error, 'invalid-argument') && error.next)
      }
    }),
  )
  assert.deepEqual(parseEndpoint('tcp://127.0.0.1:2999'), { kind: 'tcp', hostname: '127.0.0.1', port: 2999, host: 'tcp://127.0.0.1:2999' })
})
