// The data key of the store on this node: a file that root alone may read, sealed under the swarm's unlock key while autolock is on.
import { type RandomBytes, ShoalError } from '../lib/index.ts'
import type { Disk } from '../ports/index.ts'
import { createSealer, DATA_KEY_BYTES } from '../store/index.ts'

const FILE = 'data.key'
const SEALED = 'sealed:'
/** 32 bytes in base64 without the padding, behind Swarm's mark. */
const UNLOCK_KEY = /^SWMKEY-1-([A-Za-z0-9+/]{43})$/

export interface DataKeys {
  /** Made when there is none. 'failed-precondition' while it is locked. */
  get(): Promise<Uint8Array>
  /** That of a cluster which this node becomes a manager of. */
  keep(key: Uint8Array): Promise<void>
  isLocked(): Promise<boolean>
  /** 'unauthenticated' when it is not the key. */
  unlock(unlockKey: string): Promise<void>
  /** From now on the file is sealed under this key; '' = not sealed. */
  protect(unlockKey: string): Promise<void>
  /** With the store that it belongs to. */
  remove(): Promise<void>
}

export function createDataKeys(disk: Disk, random: RandomBytes): DataKeys {
  let known: Uint8Array | undefined
  const read = async () => {
    const content = await disk.read(FILE)
    return content && Buffer.from(content).toString('utf8').trim()
  }
  const write = (text: string) => disk.write(FILE, Buffer.from(`${text}\n`), 0o600)

  return {
    async get() {
      if (known) return known
      const text = await read()
      if (text?.startsWith(SEALED)) throw new ShoalError('failed-precondition', 'the data key is locked', { next: 'docker swarm unlock' })
      if (text === undefined) {
        known = random.bytes(DATA_KEY_BYTES)
        await write(base64(known))
      } else known = Buffer.from(text, 'base64')
      return known
    },
    async keep(key) {
      known = Buffer.from(key)
      await write(base64(known))
    },
    async isLocked() {
      return known === undefined && ((await read())?.startsWith(SEALED) ?? false)
    },
    async unlock(unlockKey) {
      const text = await read()
      if (!text?.startsWith(SEALED)) return
      try {
        known = createSealer(keyBytes(unlockKey), random).open(FILE, Buffer.from(text.slice(SEALED.length), 'base64'))
      } catch (error) {
        throw new ShoalError('unauthenticated', 'swarm could not be unlocked: invalid key provided', { cause: error })
      }
    },
    async protect(unlockKey) {
      const key = await this.get()
      await write(unlockKey === '' ? base64(key) : SEALED + base64(createSealer(keyBytes(unlockKey), random).seal(FILE, key)))
    },
    async remove() {
      known = undefined
      await disk.remove(FILE)
    },
  }
}

function keyBytes(unlockKey: string): Uint8Array {
  const encoded = UNLOCK_KEY.exec(unlockKey.trim())?.[1]
  if (!encoded) throw new ShoalError('invalid-argument', 'this is not an unlock key')
  return Buffer.from(encoded, 'base64')
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64')
}
