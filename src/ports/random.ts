// The Random port.
export interface Random {
  bytes(length: number): Uint8Array
  /** 0 <= x < 1 */
  float(): number
  /** Whole number, 0 <= x < bound. */
  int(bound: number): number
}
