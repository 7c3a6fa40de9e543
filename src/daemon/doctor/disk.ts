// How long the disk of the state takes until something is really on it.
import { open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type Finding, ok, warn } from './types.ts'

const WRITES = 10
const BLOCK_BYTES = 4096
/** etcd's own advice for its log. */
const SLOW_MS = 50

export async function diskLatency(folder: string): Promise<Finding[]> {
  const path = join(folder, `.doctor-${process.pid}`)
  const file = await open(path, 'w', 0o600)
  const took: number[] = []
  try {
    for (let i = 0; i < WRITES; i += 1) {
      const began = performance.now() // real-time: a disk is measured
      await file.write(Buffer.alloc(BLOCK_BYTES, i), 0, BLOCK_BYTES, i * BLOCK_BYTES)
      await file.datasync()
      took.push(performance.now() - began) // real-time: a disk is measured
    }
  } finally {
    await file.close()
    await rm(path, { force: true })
  }
  took.sort((a, b) => a - b)
  const median = took[WRITES / 2]!
  const text = `a durable write to ${folder} takes ${median.toFixed(1)} ms (the slowest of ${WRITES}: ${took.at(-1)!.toFixed(1)} ms)`
  return [
    median <= SLOW_MS
      ? ok('disk', text)
      : warn('disk', text, 'put the state directory on a faster disk: managers wait for it with every change'),
  ]
}
