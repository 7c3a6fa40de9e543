// The data key of a manager: plain, sealed under the unlock key, and opened by nothing else.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { makeUnlockKey } from '../../src/manager/index.ts'
import { createDataKeys } from '../../src/node/index.ts'
import { createFakeDisk, createRandom } from '../../src/ports/fakes/index.ts'

const random = createRandom('data keys')

test('a sealed data key is not on the disk, a restart needs the unlock key, and only that one opens it', async () => {
  const disk = createFakeDisk()
  const keys = createDataKeys(disk, random)
  const key = await keys.get()
  const unlockKey = makeUnlockKey(random)
  assert.match(unlockKey, /^SWMKEY-1-[A-Za-z0-9+/]{43}$/)
  await keys.protect(unlockKey)
  const stored = Buffer.from((await disk.read('data.key')) ?? []).toString()
  assert.ok(!stored.includes(Buffer.from(key).toString('base64')))
  assert.equal(await keys.isLocked(), false, 'who has it goes on')

  const again = createDataKeys(disk, random)
  assert.equal(await again.isLocked(), true)
  await assert.rejects(again.get(), { code: 'failed-precondition' })
  await assert.rejects(again.unlock(makeUnlockKey(random)), { code: 'unauthenticated' })
  await assert.rejects(again.unlock('nonsense'), { code: 'unauthenticated' })
  await again.unlock(unlockKey)
  assert.deepEqual(Buffer.from(await again.get()), Buffer.from(key))

  await again.protect('')
  assert.equal(await createDataKeys(disk, random).isLocked(), false)
})

test('the key of a cluster that a node becomes a manager of takes the place of its own', async () => {
  const disk = createFakeDisk()
  const keys = createDataKeys(disk, random)
  await keys.get()
  const theirs = random.bytes(32)
  await keys.keep(theirs)
  assert.deepEqual(Buffer.from(await createDataKeys(disk, random).get()), Buffer.from(theirs))
})
