// DNS over TCP: each message behind its length in two bytes (RFC 1035 4.2.2).

export function framed(message: Buffer): Buffer {
  const frame = Buffer.alloc(2 + message.length)
  frame.writeUInt16BE(message.length, 0)
  message.copy(frame, 2)
  return frame
}

/** Puts together what came in pieces; keeps at most one message of 64 KiB. */
export class Frames {
  #rest: Buffer = Buffer.alloc(0)

  /** The messages that are complete now. */
  take(data: Buffer): Buffer[] {
    let bytes = this.#rest.length === 0 ? data : Buffer.concat([this.#rest, data])
    const messages: Buffer[] = []
    while (bytes.length >= 2 && bytes.length >= 2 + bytes.readUInt16BE(0)) {
      const end = 2 + bytes.readUInt16BE(0)
      messages.push(bytes.subarray(2, end))
      bytes = bytes.subarray(end)
    }
    this.#rest = Buffer.from(bytes)
    return messages
  }
}
