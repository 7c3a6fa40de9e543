// The command line of shoald and the lock on its state.
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { lockState } from '../../src/daemon/lock.ts'
import { parseOptions } from '../../src/daemon/options.ts'
import { isShoalError } from '../../src/lib/index.ts'

const refused = (pattern: RegExp) => (error: unknown) =>
  isShoalError(error, 'invalid-argument') && pattern.test(error.message) && error.next !== undefined

test('hosts may be repeated, the engine is a unix socket', () => {
  const options = parseOptions([
    '-H',
    'unix:///run/a.sock',
    '--host',
    'tcp://127.0.0.1:2375',
    '--engine',
    'unix:///run/e.sock',
    '--data-plane',
    'off',
  ])
  assert.ok(typeof options === 'object')
  assert.deepEqual(options.hosts, ['unix:///run/a.sock', 'tcp://127.0.0.1:2375'])
  assert.equal(options.engineSocket, '/run/e.sock')
  assert.equal(options.dataPlane, 'off')
})

test('plain tcp is refused on anything but loopback', () => {
  for (const host of ['tcp://0.0.0.0:2375', 'tcp://192.168.1.8:2375', 'tcp://:2375', 'http://x'])
    assert.throws(() => parseOptions(['--host', host]), refused(/--host/))
  parseOptions(['--host', 'tcp://localhost:2375'])
})

test('wrong flags and values are refused with the next step', () => {
  assert.throws(() => parseOptions(['--nosuch']), refused(/nosuch/))
  assert.throws(() => parseOptions(['--log-level', 'loud']), refused(/debug, info, warn, error/))
  assert.throws(() => parseOptions(['--data-plane', 'maybe']), refused(/auto or off/))
  assert.throws(() => parseOptions(['--host', `unix:///${'x'.repeat(120)}`]), refused(/107 bytes/))
  assert.throws(() => parseOptions(['extra']), refused(/extra/))
})

test('no command line crashes the parser', () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.string(), fc.constantFrom('--host', '--engine', '--state-dir', '-H', '--'))), (argv) => {
      try {
        parseOptions(argv)
      } catch (error) {
        assert.ok(isShoalError(error, 'invalid-argument'), String(error))
      }
    }),
  )
})

test('a second daemon on the same state is refused; a lock left by a dead process is no obstacle', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-lock-'))
  try {
    const lock = await lockState(folder)
    await assert.rejects(lockState(folder), (error) => isShoalError(error, 'failed-precondition') && /another shoald/.test(error.message))
    await lock.release()
    await writeFile(join(folder, 'shoald.lock'), `${process.pid} 1\n`) // the pid lives, but it is another process than the one that locked
    const again = await lockState(folder)
    assert.match(await readFile(join(folder, 'shoald.lock'), 'utf8'), new RegExp(`^${process.pid} `))
    await again.release()
  } finally {
    await rm(folder, { recursive: true })
  }
})
