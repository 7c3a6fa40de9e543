// Keeps what must not be read off a disk sealed in the journal: the values of sensitive tables, with AES-256-GCM under the cluster's data key.
import { createCipheriv, createDecipheriv } from 'node:crypto'
import { type RandomBytes, ShoalError } from '../../lib/index.ts'
import type { Journal, JournalState, JournalWrite } from './types.ts'

/** Seals and opens single values. The key of the value is bound to it, so that sealed values cannot be exchanged for each other. */
export interface Sealer {
  seal(key: string, plain: Uint8Array): Uint8Array
  /** ShoalError 'failed-precondition' when it was sealed under another data key or was changed. */
  open(key: string, sealed: Uint8Array): Uint8Array
}

export const DATA_KEY_BYTES = 32
/** Random nonces of 96 bits are safe for 2^32 values under one key (NIST SP 800-38D 8.3). */
const NONCE_BYTES = 12
const TAG_BYTES = 16
/** First byte of a sealed value. Values that older versions wrote are JSON, which never begins so. */
const SEALED = 1

/** Secrets and configs, the root key and join tokens (cluster), registry credentials (services and their revisions). */
const SENSITIVE_TABLES = new Set(['cluster', 'secret', 'config', 'service', 'specRevision'])

export function createSealer(dataKey: Uint8Array, random: RandomBytes): Sealer {
  if (dataKey.length !== DATA_KEY_BYTES) throw new ShoalError('invalid-argument', `a data key has ${DATA_KEY_BYTES} bytes`)
  return {
    seal(key, plain) {
      const nonce = random.bytes(NONCE_BYTES)
      const cipher = createCipheriv('aes-256-gcm', dataKey, nonce)
      cipher.setAAD(Buffer.from(key))
      return Buffer.concat([Buffer.of(SEALED), nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()])
    },
    open(key, sealed) {
      const body = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.byteLength)
      try {
        const decipher = createDecipheriv('aes-256-gcm', dataKey, body.subarray(1, 1 + NONCE_BYTES))
        decipher.setAAD(Buffer.from(key))
        decipher.setAuthTag(body.subarray(-TAG_BYTES))
        return Buffer.concat([decipher.update(body.subarray(1 + NONCE_BYTES, -TAG_BYTES)), decipher.final()])
      } catch (cause) {
        throw new ShoalError('failed-precondition', `the stored ${key.slice(0, key.indexOf('/'))} cannot be opened with this data key`, {
          next: 'Put back the data key that belongs to this store (it lies beside it in the state directory).',
          cause,
        })
      }
    },
  }
}

/** The journal with its sensitive tables sealed. Values that were written unsealed are still read; their next change seals them. */
export function sealJournal(journal: Journal, sealer: Sealer): Journal {
  return {
    async load() {
      const { seq, entries } = await journal.load()
      return { seq, entries: openEntries(entries, sealer) }
    },
    commit: (seq, writes) => journal.commit(seq, sealWrites(writes, sealer)),
    close: () => journal.close(),
  }
}

/** For journals that are written or followed in other ways too (a replica of another manager's). */
export function sealWrites(writes: readonly JournalWrite[], sealer: Sealer): readonly JournalWrite[] {
  return writes.map(({ key, value }) => ({ key, value: value && isSensitive(key) ? sealer.seal(key, value) : value }))
}

export function openWrites(writes: readonly JournalWrite[], sealer: Sealer): readonly JournalWrite[] {
  return writes.map(({ key, value }) => ({ key, value: value && openValue(key, value, sealer) }))
}

export function* openEntries(entries: JournalState['entries'], sealer: Sealer): Generator<{ key: string; value: Uint8Array }> {
  for (const { key, value } of entries) yield { key, value: openValue(key, value, sealer) }
}

function openValue(key: string, value: Uint8Array, sealer: Sealer): Uint8Array {
  return value[0] === SEALED && isSensitive(key) ? sealer.open(key, value) : value
}

function isSensitive(key: string): boolean {
  return SENSITIVE_TABLES.has(key.slice(0, key.indexOf('/')))
}
