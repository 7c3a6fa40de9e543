// The adapter of the real kernel keeps to the Kernel port. It works on its own network namespace, so the tests run in a process inside a scratch one.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { describe, test } from 'node:test'
import { createLinuxKernel } from '../../src/dataplane/index.ts'
import { kernelConformance } from './conformance.ts'

const INSIDE = 'SHOAL_TEST_IN_NAMESPACE'

if (process.env[INSIDE]) {
  describe('linux kernel, inside', () => {
    const kernel = createLinuxKernel()
    kernelConformance(() => kernel)
  })
} else {
  test('the real kernel passes the conformance tests of the Kernel port', { skip: process.getuid?.() === 0 ? false : 'needs root' }, () => {
    const script = new URL(import.meta.url).pathname
    const command = `ip link set lo up && exec ${process.execPath} --test --test-isolation=none --test-reporter=tap ${script}`
    const { NODE_TEST_CONTEXT: _, ...env } = process.env
    const { status, stdout, stderr } = spawnSync('unshare', ['--net', 'sh', '-c', command], {
      env: { ...env, [INSIDE]: '1' },
      timeout: 60_000,
    })
    assert.equal(status, 0, `${stdout}\n${stderr}`)
    assert.match(stdout.toString(), /# pass 8\b/)
  })
}
