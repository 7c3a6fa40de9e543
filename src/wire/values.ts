// Small conversions between the domain's plain values and protobuf's: instants, durations, 64-bit numbers, enums, "absent".
import { create } from '@bufbuild/protobuf'
import { type Duration, DurationSchema, type Timestamp, TimestampSchema } from '@bufbuild/protobuf/wkt'
import { type Instant, ShoalError } from '../lib/index.ts'

/** What would crash or strand a stock engine is not sent (wire-protocol 7). A mistake of ours, never of the user. */
export function mustSend(condition: unknown, what: string): asserts condition {
  if (!condition) throw new ShoalError('internal', `refusing to send a message that would break a node: ${what}`)
}

/** Whole numbers only; 'invalid-argument' otherwise. */
export function int64(value: number, what: string): bigint {
  if (!Number.isSafeInteger(value)) throw new ShoalError('invalid-argument', `${what} must be a whole number, not ${value}`)
  return BigInt(value)
}

export function uint64(value: number, what: string): bigint {
  if (value < 0) throw new ShoalError('invalid-argument', `${what} must not be negative`)
  return int64(value, what)
}

/** int32 or uint32 of the wire. */
export function int32(value: number, what: string): number {
  if (!Number.isInteger(value) || value < -(2 ** 31) || value >= 2 ** 32)
    throw new ShoalError('invalid-argument', `${what} is out of range: ${value}`)
  return value
}

/** 'out-of-range' for numbers that JavaScript cannot hold. */
export function fromInt64(value: bigint): number {
  const number = Number(value)
  if (!Number.isSafeInteger(number)) throw new ShoalError('out-of-range', `${value} is too large`)
  return number
}

export function timestamp(at: Instant, extraNs = 0): Timestamp {
  const ms = Math.floor(at)
  const seconds = Math.floor(ms / 1000)
  return create(TimestampSchema, { seconds: BigInt(seconds), nanos: (ms - seconds * 1000) * 1_000_000 + extraNs })
}

export function instantOf(value: Timestamp | undefined): Instant | undefined {
  return value && Number(value.seconds) * 1000 + Math.floor(value.nanos / 1_000_000)
}

export function duration(ns: number, what: string): Duration {
  const total = int64(ns, what)
  return create(DurationSchema, { seconds: total / 1_000_000_000n, nanos: Number(total % 1_000_000_000n) })
}

export function durationNs(value: Duration | undefined): number | undefined {
  return value && fromInt64(value.seconds * 1_000_000_000n + BigInt(value.nanos))
}

/** '' on the wire is "not given" in the domain. */
export function text(value: string): string | undefined {
  return value === '' ? undefined : value
}

export function list<T>(values: readonly T[]): readonly T[] | undefined {
  return values.length === 0 ? undefined : values
}

export function labels(map: Readonly<Record<string, string>>): Readonly<Record<string, string>> | undefined {
  return Object.keys(map).length === 0 ? undefined : map
}

/** 0 and false on the wire are "not given" in the domain. */
export function given<T extends number | boolean>(value: T): T | undefined {
  return value ? value : undefined
}

/** The object without its undefined members: undefined and missing are one in the domain. */
export function compact<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as T
}

/** Undefined when no member is given. */
export function compactOrNone<T extends object>(value: T): T | undefined {
  const object = compact(value)
  return Object.keys(object).length === 0 ? undefined : object
}

/** A table between names of the domain and numbers of the wire. */
export interface EnumTable<N extends string> {
  toWire(name: N): number
  /** 'invalid-argument' for a number that we do not know. */
  fromWire(value: number): N
}

export function enumTable<N extends string>(what: string, table: Readonly<Record<N, number>>): EnumTable<N> {
  const names = new Map(Object.entries(table).map(([name, value]) => [value as number, name as N]))
  return {
    toWire: (name) => {
      const value = table[name]
      if (value === undefined) throw new ShoalError('invalid-argument', `unknown ${what}: ${name}`)
      return value
    },
    fromWire: (value) => {
      const name = names.get(value)
      if (name === undefined) throw new ShoalError('invalid-argument', `unknown ${what}: ${value}`)
      return name
    },
  }
}

export function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}

export function bytesOf(base64Text: string): Uint8Array {
  return new Uint8Array(Buffer.from(base64Text, 'base64'))
}
