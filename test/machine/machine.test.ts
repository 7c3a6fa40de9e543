// What machines promise without a kernel: names, ranges, archives, the command line's manners.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { saveArchive } from '../../src/machine/images/image.ts'
import { tar } from '../../src/machine/images/tar.ts'
import { machineSet, runMachineCommand } from '../../src/machine/index.ts'
import { processRef, run, withLock } from '../../src/machine/process.ts'
import { resolvConf } from '../../src/machine/resolver.ts'
import { vethName } from '../../src/machine/set.ts'

async function command(...argv: string[]) {
  let stdout = ''
  let stderr = ''
  const status = await runMachineCommand(argv, {
    stdout: { write: (text) => (stdout += text) },
    stderr: { write: (text) => (stderr += text) },
  })
  return { status, stdout, stderr }
}

test('names of kernel objects fit their limits for the longest set name', () => {
  const set = machineSet({ name: 'abcdefgh', subnet: '10.1.2.0/24' })
  assert.ok(set.bridge.length <= 15)
  assert.ok(vethName(set, '10.1.2.254').length <= 15)
  assert.equal(set.gateway, '10.1.2.1')
})

test('a set refuses names and ranges that it cannot use', () => {
  assert.throws(() => machineSet({ name: 'Upper' }), /not a name/)
  assert.throws(() => machineSet({ name: 'waytoolong' }), /not a name/)
  for (const subnet of ['10.0.0.0/16', '300.1.1.0/24', 'x', '10.1.1.1/24']) assert.throws(() => machineSet({ subnet }), /not a \/24/)
})

test('the same image gives the same archive, and tar can read it', async () => {
  const layer = () =>
    tar([
      { kind: 'dir', path: 'bin' },
      { kind: 'file', path: `bin/${'x'.repeat(90)}/${'y'.repeat(80)}`, content: 'hi' },
      { kind: 'link', path: 'bin/l', target: '/bin/x' },
    ])
  const archive = () => saveArchive([{ tags: ['a:1'], layers: [layer()], config: { cmd: ['x'] } }])
  assert.deepEqual(archive(), archive())
  const listed = await run('tar', ['-tf', '-'], { input: layer().toString('latin1') })
  assert.equal(listed.status, 0, listed.stderr)
  assert.equal(listed.stdout, `bin/\nbin/${'x'.repeat(90)}/${'y'.repeat(80)}\nbin/l\n`)
})

test('a machine without an outside asks itself for names, because that is refused at once', () => {
  assert.match(resolvConf([], '10.1.2.3'), /^nameserver 10\.1\.2\.3\noptions timeout:1 attempts:1\n$/)
  assert.match(resolvConf(['9.9.9.9'], '10.1.2.3'), /^nameserver 9\.9\.9\.9\n/)
})

test('a lock is held by one at a time', async () => {
  let inside = 0
  const visit = () =>
    withLock('test:one-at-a-time', 5_000, async () => {
      inside++
      assert.equal(inside, 1)
      await new Promise((resolve) => setImmediate(resolve))
      inside--
    })
  await Promise.all([visit(), visit(), visit()])
})

test('a process is recognised by pid and start time, and one that is gone is undefined', () => {
  const me = processRef(process.pid)
  assert.equal(me?.pid, process.pid)
  assert.match(me?.startTicks ?? '', /^\d+$/)
  assert.equal(processRef(2 ** 22 + 1), undefined)
})

test('wrong calls get status 125 and a way to help', async () => {
  for (const argv of [
    ['bogus'],
    ['create'],
    ['create', '--bogus', 'x'],
    ['ls', 'x'],
    ['ssh'],
    ['link', 'a'],
    ['create', '--memory', 'lots', 'x'],
  ]) {
    const { status, stderr } = await command(...argv)
    assert.equal(status, 125, argv.join(' '))
    assert.match(stderr, /See 'shoal machine/)
  }
})

test('help goes to stdout with status 0', async () => {
  assert.match((await command('--help')).stdout, /ssh .* machine/)
  const { status, stdout } = await command('create', '--help')
  assert.equal(status, 0)
  assert.match(stdout, /--driver/)
})

test('asking for a machine that is not there says so with status 1', async () => {
  const { status, stderr } = await command('ip', 'no-such-machine')
  assert.equal(status, 1)
  assert.match(stderr, /there is no machine "no-such-machine"/)
})
