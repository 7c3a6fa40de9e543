// What a command may touch of the world: streams, environment, clock. Tests pass their own.
import type { Readable } from 'node:stream'

export interface Output {
  write(text: string | Uint8Array): void
  readonly isTTY: boolean
  /** Width in characters, for help texts and redrawing. */
  readonly columns: number
}

/** Standard input as a person types it. */
export interface Terminal {
  readonly input: Readable
  readonly isTTY: boolean
  setRawMode(on: boolean): void
  size(): { readonly rows: number; readonly columns: number }
  /** Returns the unsubscriber. */
  onResize(listener: () => void): () => void
}

export interface Io {
  readonly stdout: Output
  readonly stderr: Output
  readonly env: Readonly<Record<string, string | undefined>>
  /** Standard input piece by piece; undefined where there is none. */
  readonly terminal?: Terminal
  /** All of standard input. */
  readStdin(): Promise<Uint8Array>
  readFile(path: string): Promise<Uint8Array>
  exists(path: string): boolean
  /** Unix time in milliseconds. */
  now(): number
  sleep(milliseconds: number, signal?: AbortSignal): Promise<void>
  /** Aborted when the user presses Ctrl-C. */
  readonly interrupted: AbortSignal
}

/** An end with this exit status; the message, if any, has been or will be written to stderr as it stands. */
export class ExitError extends Error {
  readonly status: number

  constructor(status: number, message = '') {
    super(message)
    this.name = 'ExitError'
    this.status = status
  }
}
