// The Disk port: a few small files of a node (state, certificates). Bulk data goes through the journal port of the store.
export interface Disk {
  /** Undefined when the file does not exist. `name` is relative to the directory of this disk and may contain `/`. */
  read(name: string): Promise<Uint8Array | undefined>
  /** All or nothing and durable on return (write aside, fsync, rename, fsync of the folder). Default mode 0600. */
  write(name: string, data: Uint8Array, mode?: number): Promise<void>
  /** No error when it is not there. A folder goes with all it holds. */
  remove(name: string): Promise<void>
}
