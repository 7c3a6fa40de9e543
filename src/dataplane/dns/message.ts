// DNS messages as the responder needs them (RFC 1035, EDNS0 by RFC 6891): one question in, a few kinds of records out.

export const TYPE = { a: 1, ptr: 12, aaaa: 28, srv: 33, opt: 41, any: 255 } as const
export const RCODE = { noError: 0, formatError: 1, serverFailure: 2, nameError: 3, notImplemented: 4 } as const
export type Rcode = (typeof RCODE)[keyof typeof RCODE]

const CLASS_IN = 1
const HEADER_BYTES = 12
const MAX_NAME_BYTES = 255
const MAX_LABEL_BYTES = 63
/** What a client without EDNS0 takes, and the most that we send by UDP: larger datagrams would be fragmented (DNS flag day 2020). */
const PLAIN_UDP_BYTES = 512
const MAX_UDP_BYTES = 1232
export const MAX_TCP_BYTES = 65_535

/** A standard query with one question; `name` without the last dot, in lower case. */
export interface Query {
  readonly id: number
  readonly recursionDesired: boolean
  readonly name: string
  readonly type: number
  /** Internet class: everything else is not ours to answer. */
  readonly internet: boolean
  /** The question as it came, to be sent back as it is. */
  readonly question: Buffer
  /** The client understands EDNS0. */
  readonly edns: boolean
  /** Most bytes of an answer by UDP. */
  readonly udpBytes: number
}

export type DnsRecord =
  | { readonly kind: 'a'; readonly name: string; readonly address: string }
  | { readonly kind: 'ptr'; readonly name: string; readonly target: string }
  | { readonly kind: 'srv'; readonly name: string; readonly port: number; readonly target: string }

/** `ignore`: not a query (an answer, or too short), to which nothing is said. */
export type Parsed =
  | { readonly kind: 'query'; readonly query: Query }
  | { readonly kind: 'refuse'; readonly id: number; readonly rcode: Rcode }
  | { readonly kind: 'ignore' }

/** Never throws, whatever the bytes. */
export function parseQuery(bytes: Buffer): Parsed {
  if (bytes.length < HEADER_BYTES) return { kind: 'ignore' }
  const id = bytes.readUInt16BE(0)
  const flags = bytes.readUInt16BE(2)
  if ((flags & 0x8000) !== 0) return { kind: 'ignore' }
  if (((flags >> 11) & 0xf) !== 0) return { kind: 'refuse', id, rcode: RCODE.notImplemented }
  const name = bytes.readUInt16BE(4) === 1 ? readName(bytes, HEADER_BYTES) : undefined
  if (!name || name.end + 4 > bytes.length) return { kind: 'refuse', id, rcode: RCODE.formatError }
  const end = name.end + 4
  const edns = ednsBytes(bytes, end)
  return {
    kind: 'query',
    query: {
      id,
      recursionDesired: (flags & 0x0100) !== 0,
      name: name.text,
      type: bytes.readUInt16BE(name.end),
      internet: bytes.readUInt16BE(name.end + 2) === CLASS_IN,
      question: bytes.subarray(HEADER_BYTES, end),
      edns: edns !== undefined,
      udpBytes: Math.min(Math.max(edns ?? PLAIN_UDP_BYTES, PLAIN_UDP_BYTES), MAX_UDP_BYTES),
    },
  }
}

/** A question's name has no compression: there is nothing before it to point to. */
function readName(bytes: Buffer, start: number): { readonly text: string; readonly end: number } | undefined {
  let text = ''
  for (let at = start; at < bytes.length && at - start < MAX_NAME_BYTES; ) {
    const length = bytes[at]!
    if (length === 0) return { text: text.toLowerCase(), end: at + 1 }
    if (length > MAX_LABEL_BYTES || at + 1 + length > bytes.length) return undefined
    const label = bytes.toString('latin1', at + 1, at + 1 + length)
    text = text === '' ? label : `${text}.${label}`
    at += 1 + length
  }
  return undefined
}

/** The UDP size of an OPT record right behind the question, where all clients put it; undefined without one. */
function ednsBytes(bytes: Buffer, at: number): number | undefined {
  const additional = bytes.readUInt16BE(10)
  const others = bytes.readUInt16BE(6) + bytes.readUInt16BE(8)
  if (additional === 0 || others > 0 || at + 11 > bytes.length) return undefined
  return bytes[at] === 0 && bytes.readUInt16BE(at + 1) === TYPE.opt ? bytes.readUInt16BE(at + 3) : undefined
}

export interface Answer {
  readonly rcode: Rcode
  readonly answers: readonly DnsRecord[]
  readonly additional?: readonly DnsRecord[]
  readonly ttlSeconds: number
}

/** An answer of at most `maxBytes`. Answers that do not fit are left out and the client is told to ask by TCP; additional records just go. */
export function writeAnswer(query: Query, answer: Answer, maxBytes: number): Buffer {
  const opt = query.edns ? OPT : NOTHING
  const parts: Buffer[] = [NOTHING, query.question]
  let size = HEADER_BYTES + query.question.length + opt.length
  let truncated = false
  const counts = [0, 0]
  const lists = [answer.answers, answer.additional ?? []] as const
  for (const [which, list] of lists.entries()) {
    for (const item of list) {
      const bytes = writeRecord(item, query, answer.ttlSeconds)
      if (size + bytes.length > maxBytes) {
        truncated ||= which === 0
        break
      }
      parts.push(bytes)
      size += bytes.length
      counts[which]!++
    }
    if (truncated) break
  }
  parts[0] = header(query.id, answer.rcode, query.recursionDesired, truncated, 1, counts[0]!, counts[1]! + (query.edns ? 1 : 0))
  parts.push(opt)
  return Buffer.concat(parts)
}

/** An answer without a question, for what could not be read. */
export function writeRefusal(id: number, rcode: Rcode): Buffer {
  return header(id, rcode, false, false, 0, 0, 0)
}

const NOTHING = Buffer.alloc(0)
/** EDNS0, version 0, no options. */
const OPT = Buffer.from([0, 0, TYPE.opt, MAX_UDP_BYTES >> 8, MAX_UDP_BYTES & 0xff, 0, 0, 0, 0, 0, 0])

function header(id: number, rcode: Rcode, rd: boolean, truncated: boolean, questions: number, answers: number, additional: number): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES)
  bytes.writeUInt16BE(id, 0)
  // an authoritative answer, recursion available
  bytes.writeUInt16BE(0x8480 | (truncated ? 0x0200 : 0) | (rd ? 0x0100 : 0) | rcode, 2)
  bytes.writeUInt16BE(questions, 4)
  bytes.writeUInt16BE(answers, 6)
  bytes.writeUInt16BE(additional, 10)
  return bytes
}

function writeRecord(record: DnsRecord, query: Query, ttlSeconds: number): Buffer {
  // most records are about the name that was asked for: a pointer to the question
  const name = record.name.toLowerCase() === query.name ? POINTER : writeName(record.name)
  const data = dataOf(record)
  const bytes = Buffer.alloc(name.length + 10 + data.length)
  name.copy(bytes)
  let at = name.length
  at = bytes.writeUInt16BE(TYPE[record.kind], at)
  at = bytes.writeUInt16BE(CLASS_IN, at)
  at = bytes.writeUInt32BE(ttlSeconds, at)
  at = bytes.writeUInt16BE(data.length, at)
  data.copy(bytes, at)
  return bytes
}

const POINTER = Buffer.from([0xc0, HEADER_BYTES])

function dataOf(record: DnsRecord): Buffer {
  switch (record.kind) {
    case 'a':
      return Buffer.from(record.address.split('.').map(Number))
    case 'ptr':
      return writeName(record.target)
    case 'srv': {
      const target = writeName(record.target)
      const bytes = Buffer.alloc(6 + target.length) // priority and weight are 0
      bytes.writeUInt16BE(record.port, 4)
      target.copy(bytes, 6)
      return bytes
    }
  }
}

/** Labels that are too long are cut: such names cannot be asked for either. */
function writeName(name: string): Buffer {
  const labels = name.split('.').filter((label) => label !== '')
  const parts: Buffer[] = []
  let size = 1
  for (const label of labels) {
    const bytes = Buffer.from(label.slice(0, MAX_LABEL_BYTES), 'latin1')
    size += bytes.length + 1
    if (size > MAX_NAME_BYTES) break
    parts.push(Buffer.from([bytes.length]), bytes)
  }
  parts.push(Buffer.from([0]))
  return Buffer.concat(parts)
}
