// The data key of the store: what seals secrets, keys and credentials in the journal. A file beside the journal, readable by root alone.
import { type Disk, realRandom } from '../ports/index.ts'
import { DATA_KEY_BYTES } from '../store/index.ts'

export const DATA_KEY_FILE = 'data.key'

/** The key of this node's store; made at the first call. */
export async function dataKey(disk: Disk): Promise<Uint8Array> {
  const present = await disk.read(DATA_KEY_FILE)
  if (present) return Buffer.from(Buffer.from(present).toString('utf8').trim(), 'base64')
  const made = realRandom.bytes(DATA_KEY_BYTES)
  await keepDataKey(disk, made)
  return made
}

/** The key of a cluster that this node has become a manager of. */
export function keepDataKey(disk: Disk, key: Uint8Array): Promise<void> {
  return disk.write(DATA_KEY_FILE, Buffer.from(`${Buffer.from(key).toString('base64')}\n`), 0o600)
}
