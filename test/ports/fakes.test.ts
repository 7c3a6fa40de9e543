// The seeded random source and the disk in memory.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createFakeDisk, createRandom, createVirtualClock } from '../../src/ports/fakes/index.ts'

test('the same seed gives the same numbers, another seed others, a fork its own', () => {
  const draw = (seed: number) => {
    const random = createRandom(seed)
    return [...random.bytes(9), random.int(1000), random.float()].join()
  }
  assert.equal(draw(7), draw(7))
  assert.notEqual(draw(7), draw(8))
  const random = createRandom(7)
  const before = random.fork('x').float()
  random.bytes(100)
  assert.equal(random.fork('x').float(), before)
  assert.notEqual(random.fork('y').float(), before)
})

test('whole numbers fall evenly and inside their bounds', () => {
  const random = createRandom('even')
  const counts = new Array<number>(10).fill(0)
  for (let i = 0; i < 20_000; i += 1) counts[random.int(10)]! += 1
  for (const count of counts) assert.ok(Math.abs(count - 2_000) < 250, String(counts))
  for (let i = 0; i < 1_000; i += 1) assert.ok([3, 4, 5].includes(random.between(3, 5)))
})

test('what the disk acknowledged survives a crash, what it did not is there wholly or not at all, and its caller hears nothing', async () => {
  const clock = createVirtualClock()
  for (let seed = 0; seed < 30; seed += 1) {
    const disk = createFakeDisk({ clock, random: createRandom(seed) })
    const bytes = (n: number) => new Uint8Array(4).fill(n)
    const first = disk.write('a/x', bytes(1))
    await clock.advance(10)
    await first
    let heard = false
    disk.write('a/x', bytes(2)).then(() => {
      heard = true
    })
    await clock.settle()
    disk.crash()
    await clock.advance(100)
    assert.equal(heard, false)
    const value = await disk.read('a/x')
    assert.ok(value && (value.join() === '1,1,1,1' || value.join() === '2,2,2,2'))
    const third = disk.write('b', bytes(3))
    await clock.advance(10)
    await third
    assert.deepEqual(disk.names(), ['a/x', 'b'])
  }
})

test('a folder goes with all it holds', async () => {
  const disk = createFakeDisk()
  await disk.write('a/x', new Uint8Array(1))
  await disk.write('a/y', new Uint8Array(1))
  await disk.write('ab', new Uint8Array(1))
  await disk.remove('a')
  await disk.remove('never')
  assert.deepEqual(disk.names(), ['ab'])
  assert.equal(await disk.read('a/x'), undefined)
})
