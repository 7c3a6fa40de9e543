// Identifiers as Swarm draws them: 25 characters, base 36, lower case.

/** Where random bytes come from; the Random port has this shape. */
export interface RandomBytes {
  bytes(length: number): Uint8Array
}

export const ID_LENGTH = 25

/** A new id of 25 characters 0-9a-z from 128 random bits. The caller says what kind of id it is: `newId<TaskId>(random)`. */
export function newId<T extends string = string>(random: RandomBytes): T {
  return base36(random.bytes(16), ID_LENGTH) as T
}

/** The bytes as one big-endian number in base 36, left-padded with zeros to `length` characters. */
export function base36(bytes: Uint8Array, length: number): string {
  let hex = ''
  for (const byte of bytes) hex += byte.toString(16).padStart(2, '0')
  return BigInt(`0x${hex || '0'}`)
    .toString(36)
    .padStart(length, '0')
}

export function isId(text: string): boolean {
  return /^[0-9a-z]{25}$/.test(text)
}
