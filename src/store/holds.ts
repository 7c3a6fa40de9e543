// Writes an address hold, or prolongs the one that is there.
import type { AddressHold } from '../model/index.ts'
import type { WriteTx } from './types.ts'

export function putHold(tx: WriteTx, hold: Pick<AddressHold, 'id' | 'networkId' | 'address' | 'until'>): void {
  const present = tx.addressHolds.get(hold.id)
  if (present) tx.addressHolds.update({ ...present, ...hold })
  else tx.addressHolds.create(hold)
}
