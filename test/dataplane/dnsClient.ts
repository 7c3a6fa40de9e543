// A small resolver for tests: questions as clients send them, answers in a form that can be compared.
import { createSocket } from 'node:dgram'
import { connect } from 'node:net'

export interface Reply {
  readonly id: number
  readonly rcode: number
  readonly truncated: boolean
  readonly edns: boolean
  readonly name: string
  readonly answers: readonly { readonly name: string; readonly type: number; readonly ttlSeconds: number; readonly data: string }[]
}

export function question(name: string, type: number, { id = 7, edns }: { id?: number; edns?: number | undefined } = {}): Buffer {
  const labels = name.split('.').flatMap((label) => [Buffer.from([label.length]), Buffer.from(label, 'latin1')])
  const head = Buffer.from([id >> 8, id & 0xff, 1, 0, 0, 1, 0, 0, 0, 0, 0, edns === undefined ? 0 : 1])
  const tail = Buffer.from([0, type >> 8, type & 0xff, 0, 1])
  const opt = edns === undefined ? [] : [Buffer.from([0, 0, 41, edns >> 8, edns & 0xff, 0, 0, 0, 0, 0, 0])]
  return Buffer.concat([head, ...labels, tail, ...opt])
}

export function readReply(bytes: Buffer): Reply {
  const flags = bytes.readUInt16BE(2)
  const asked = nameAt(bytes, 12)
  let at = asked.end + 4
  const answers: Reply['answers'][number][] = []
  let edns = false
  const count = bytes.readUInt16BE(6)
  const all = count + bytes.readUInt16BE(8) + bytes.readUInt16BE(10)
  for (let i = 0; i < all; i++) {
    const name = nameAt(bytes, at)
    const type = bytes.readUInt16BE(name.end)
    const length = bytes.readUInt16BE(name.end + 8)
    const data = name.end + 10
    if (type === 41) edns = true
    else if (i < count)
      answers.push({ name: name.text, type, ttlSeconds: bytes.readUInt32BE(name.end + 4), data: dataAt(bytes, data, type, length) })
    at = data + length
  }
  return { id: bytes.readUInt16BE(0), rcode: flags & 15, truncated: (flags & 0x0200) !== 0, edns, name: asked.text, answers }
}

function dataAt(bytes: Buffer, at: number, type: number, length: number): string {
  if (type === 1) return [...bytes.subarray(at, at + 4)].join('.')
  if (type === 12) return nameAt(bytes, at).text
  if (type === 33) return `${nameAt(bytes, at + 6).text}:${bytes.readUInt16BE(at + 4)}`
  return bytes.subarray(at, at + length).toString('hex')
}

function nameAt(bytes: Buffer, start: number): { text: string; end: number } {
  const labels: string[] = []
  let at = start
  for (;;) {
    const length = bytes[at]!
    if (length === 0) return { text: labels.join('.'), end: at + 1 }
    if (length >= 0xc0) return { text: [...labels, nameAt(bytes, bytes.readUInt16BE(at) & 0x3fff).text].join('.'), end: at + 2 }
    labels.push(bytes.toString('latin1', at + 1, at + 1 + length))
    at += 1 + length
  }
}

/** Asks a server; undefined when it says nothing in time. */
export function resolveBy(
  server: string,
  port: number,
  name: string,
  { type = 1, tcp = false, edns, timeoutMs = 1_000 }: { type?: number; tcp?: boolean; edns?: number; timeoutMs?: number } = {},
): Promise<Reply | undefined> {
  return new Promise((resolve) => {
    const bytes = question(name, type, { edns })
    if (tcp) {
      const socket = connect({ host: server, port })
      const end = (reply: Reply | undefined) => {
        clearTimeout(timer)
        socket.destroy()
        resolve(reply)
      }
      const timer = setTimeout(() => end(undefined), timeoutMs)
      let data = Buffer.alloc(0)
      socket.on('error', () => end(undefined))
      socket.on('close', () => end(undefined))
      socket.on('data', (chunk: Buffer) => {
        data = Buffer.concat([data, chunk])
        if (data.length >= 2 && data.length >= 2 + data.readUInt16BE(0)) end(readReply(data.subarray(2)))
      })
      socket.write(Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 0xff]), bytes]))
      return
    }
    const socket = createSocket('udp4')
    const end = (reply: Reply | undefined) => {
      clearTimeout(timer)
      socket.close()
      resolve(reply)
    }
    const timer = setTimeout(() => end(undefined), timeoutMs)
    socket.on('error', () => end(undefined))
    socket.on('message', (message) => end(readReply(message)))
    socket.send(bytes, port, server)
  })
}
