// What the control operations work with, and the look-up and refusal helpers that they share.
import { type RandomBytes, ShoalError } from '../../lib/index.ts'
import type { Cluster } from '../../model/index.ts'
import type { Store } from '../../store/index.ts'

export interface ControlDeps {
  readonly store: Store
  readonly random: RandomBytes
  /** A new root beside this one, for a rotation. */
  readonly newRoot?: (present: {
    readonly certificatePem: string
    readonly privateKeyPem: string
  }) => Promise<NonNullable<Cluster['rootRotation']>>
}

export type ObjectKind = 'service' | 'node' | 'task' | 'network' | 'secret' | 'config'

interface LookUpTable<T> {
  lookUp(text: string): readonly T[]
}

/** The one object that a person means; refused when there is none or several. */
export function find<T>(kind: ObjectKind, table: LookUpTable<T>, text: string): T {
  const [found, other] = text === '' ? [] : table.lookUp(text)
  if (found === undefined) throw new ShoalError('not-found', `${kind} ${text} not found`)
  if (other !== undefined) throw new ShoalError('invalid-argument', `${kind} ${text} is ambiguous (2 matches found)`)
  return found
}

export function invalid(message: string): ShoalError {
  return new ShoalError('invalid-argument', message)
}

export function precondition(message: string): ShoalError {
  return new ShoalError('failed-precondition', message)
}

/** Stale versions are refused before anything else is looked at. */
export function requireVersion(stored: { readonly version: number }, expected: number): void {
  if (stored.version !== expected) throw new ShoalError('unknown', 'update out of sequence')
}
