// The real Etcd: gRPC with mutual TLS to one member, changes and watches on connections of their own.
import { readFileSync } from 'node:fs'
import { connect as tlsConnect } from 'node:tls'
import type { DescMethodUnary, MessageInitShape, MessageShape } from '@bufbuild/protobuf'
import { Code, ConnectError, type Transport } from '@connectrpc/connect'
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node'
import { errorText, ShoalError } from '../lib/index.ts'
import type { Etcd, EtcdEvents, EtcdKeyValue, EtcdMember, EtcdOp } from '../ports/index.ts'
import { etcdpb } from '../proto/index.ts'

const { KV, Watch, Cluster, Maintenance } = etcdpb

/** etcd closes connections that are pinged more often than each 5 s (store.md 2). */
const PING_INTERVAL_MS = 15_000
const PING_TIMEOUT_MS = 5_000
const IDLE_TIMEOUT_MS = 15 * 60_000
/** Node's default of 10 MB breaks streams as soon as a few large transactions are under way. */
const SESSION_MEMORY_MB = 256
const CONNECT_TIMEOUT_MS = 3_000
const CALL_TIMEOUT_MS = 5_000
/** Changes of the membership wait for the group to be healthy, and for the disk of a new member. */
const MEMBER_TIMEOUT_MS = 12_000
const READ_MAX_BYTES = 1 << 30

export interface EtcdTls {
  /** PEM files; read anew for each connection, so that renewed ones are taken up. */
  readonly certificateFile: string
  readonly keyFile: string
  readonly caFile: string
}

/** `endpoint`: `host:port` of a member's client listener. Nothing is connected until the first call. */
export function createEtcdClient(endpoint: string, tls: EtcdTls): Etcd {
  const changes = openTransport(endpoint, tls)
  const watches = openTransport(endpoint, tls)
  const call = <M extends DescMethodUnary>(
    method: M,
    request: MessageInitShape<M['input']>,
    options: { readonly timeoutMs?: number; readonly signal?: AbortSignal } = {},
  ) => unary(changes.transport, method, request, options)

  return {
    async txn(txn, options) {
      const response = await call(
        KV.method.txn,
        {
          compare: txn.compare.map(({ key, modRevision }) => ({
            result: etcdpb.Compare_CompareResult.EQUAL,
            target: etcdpb.Compare_CompareTarget.MOD,
            key: bytes(key),
            targetUnion: { case: 'modRevision' as const, value: BigInt(modRevision) },
          })),
          success: txn.success.map(wireOp),
          failure: txn.failure.map(wireOp),
        },
        options,
      )
      const got = response.responses.flatMap(({ response: { case: kind, value } }) =>
        kind === 'responseRange' ? [value.kvs[0] && keyValue(value.kvs[0])] : [],
      )
      return { succeeded: response.succeeded, revision: Number(response.header?.revision ?? 0), got }
    },

    async range(prefix, options = {}) {
      const response = await call(
        KV.method.range,
        { key: bytes(prefix), rangeEnd: prefixEnd(prefix), revision: BigInt(options.revision ?? 0) },
        { timeoutMs: 60_000, ...options },
      )
      return { revision: Number(response.header?.revision ?? 0), items: response.kvs.map(keyValue) }
    },

    watch: (prefix, fromRevision, signal) => watch(watches.transport, prefix, fromRevision, signal),

    async compact(revision) {
      await call(KV.method.compact, { revision: BigInt(revision) }, { timeoutMs: 60_000 })
    },

    async status(options) {
      const status = await call(Maintenance.method.status, {}, { timeoutMs: 2_000, ...options })
      return {
        clusterId: String(status.header?.clusterId ?? 0),
        memberId: String(status.header?.memberId ?? 0),
        leaderId: String(status.leader),
        isLearner: status.isLearner,
        revision: Number(status.header?.revision ?? 0),
        version: status.version,
        dbBytes: Number(status.dbSize),
        dbBytesInUse: Number(status.dbSizeInUse),
        errors: status.errors,
      }
    },

    members: async (options) => (await call(Cluster.method.memberList, {}, options)).members.map(member),

    async addLearner(peerUrl) {
      const response = await call(Cluster.method.memberAdd, { peerURLs: [peerUrl], isLearner: true }, { timeoutMs: MEMBER_TIMEOUT_MS })
      if (!response.member) throw new ShoalError('internal', 'etcd added a member and does not say which')
      return member(response.member)
    },

    async promote(id) {
      await call(Cluster.method.memberPromote, { ID: BigInt(id) }, { timeoutMs: MEMBER_TIMEOUT_MS })
    },

    async remove(id) {
      await call(Cluster.method.memberRemove, { ID: BigInt(id) }, { timeoutMs: MEMBER_TIMEOUT_MS })
    },

    async moveLeader(id) {
      await call(Maintenance.method.moveLeader, { targetID: BigInt(id) }, { timeoutMs: MEMBER_TIMEOUT_MS })
    },

    async *snapshot(signal) {
      try {
        const response = await watches.transport.stream(Maintenance.method.snapshot, signal, undefined, undefined, once({}))
        for await (const part of response.message) yield part.blob
      } catch (error) {
        throw etcdError(error)
      }
    },

    close() {
      changes.sessions.abort()
      watches.sessions.abort()
    },
  }
}

function openTransport(endpoint: string, tls: EtcdTls) {
  const [host = '', port = ''] = endpoint.split(/:(?=\d+$)/)
  const baseUrl = `https://${endpoint}`
  const sessions = new Http2SessionManager(
    baseUrl,
    { pingIntervalMs: PING_INTERVAL_MS, pingTimeoutMs: PING_TIMEOUT_MS, idleConnectionTimeoutMs: IDLE_TIMEOUT_MS },
    {
      maxSessionMemory: SESSION_MEMORY_MB,
      createConnection: () => {
        const socket = tlsConnect({
          host,
          port: Number(port),
          ALPNProtocols: ['h2'],
          minVersion: 'TLSv1.2',
          ca: readFileSync(tls.caFile),
          cert: readFileSync(tls.certificateFile),
          key: readFileSync(tls.keyFile),
        })
        const tooLong = () => socket.destroy(new Error(`no connection to etcd at ${endpoint} within ${CONNECT_TIMEOUT_MS / 1000} s`))
        socket.setTimeout(CONNECT_TIMEOUT_MS, tooLong) // real-time: an option of the socket
        socket.once('secureConnect', () => socket.setTimeout(0)) // real-time: an option of the socket
        return socket
      },
    },
  )
  const transport = createGrpcTransport({ baseUrl, sessionManager: sessions, acceptCompression: [], readMaxBytes: READ_MAX_BYTES })
  return { transport, sessions }
}

async function unary<M extends DescMethodUnary>(
  transport: Transport,
  method: M,
  request: MessageInitShape<M['input']>,
  options: { readonly timeoutMs?: number; readonly signal?: AbortSignal },
): Promise<MessageShape<M['output']>> {
  try {
    const response = await transport.unary(method, options.signal, options.timeoutMs ?? CALL_TIMEOUT_MS, undefined, request)
    return response.message as MessageShape<M['output']>
  } catch (error) {
    throw etcdError(error)
  }
}

/** One response is one or more whole revisions (`fragment` is off); they are told apart by the events' own revisions. */
async function* watch(transport: Transport, prefix: string, fromRevision: number, signal: AbortSignal): AsyncGenerator<EtcdEvents> {
  const left = new AbortController()
  const both = AbortSignal.any([signal, left.signal])
  async function* requests() {
    yield {
      requestUnion: {
        case: 'createRequest' as const,
        value: { key: bytes(prefix), rangeEnd: prefixEnd(prefix), startRevision: BigInt(fromRevision), progressNotify: true },
      },
    }
    await new Promise<void>((resolve) => both.addEventListener('abort', () => resolve(), { once: true }))
  }
  let last = fromRevision - 1
  try {
    const response = await transport.stream(Watch.method.watch, both, undefined, undefined, requests())
    for await (const message of response.message) {
      if (message.compactRevision > 0n)
        throw new ShoalError('out-of-range', `revisions before ${message.compactRevision} have been compacted`)
      if (message.canceled) throw new ShoalError('unavailable', `etcd ended the watch: ${message.cancelReason || 'no reason given'}`)
      let current: { revision: number; events: { key: string; value: Uint8Array | undefined }[] } | undefined
      for (const { type, kv } of message.events) {
        if (!kv) continue
        const revision = Number(kv.modRevision)
        if (revision <= last) continue // 3.4 may repeat events after a change of leader (store.md 5)
        if (current && current.revision !== revision) {
          yield current
          last = current.revision
          current = undefined
        }
        current ??= { revision, events: [] }
        current.events.push({ key: text(kv.key), value: type === etcdpb.Event_EventType.DELETE ? undefined : kv.value })
      }
      if (current) {
        yield current
        last = current.revision
      }
    }
    if (!signal.aborted) throw new ShoalError('unavailable', 'etcd ended the watch')
  } catch (error) {
    if (signal.aborted) return
    throw etcdError(error)
  } finally {
    left.abort()
  }
}

function wireOp(op: EtcdOp) {
  switch (op.kind) {
    case 'put':
      return { request: { case: 'requestPut' as const, value: { key: bytes(op.key), value: op.value } } }
    case 'delete':
      return { request: { case: 'requestDeleteRange' as const, value: { key: bytes(op.key) } } }
    case 'delete-prefix':
      return { request: { case: 'requestDeleteRange' as const, value: { key: bytes(op.prefix), rangeEnd: prefixEnd(op.prefix) } } }
    case 'get':
      return { request: { case: 'requestRange' as const, value: { key: bytes(op.key) } } }
  }
}

function keyValue(kv: etcdpb.KeyValue): EtcdKeyValue {
  return { key: text(kv.key), value: kv.value, modRevision: Number(kv.modRevision) }
}

function member({ ID, name, peerURLs, isLearner }: etcdpb.Member): EtcdMember {
  return { id: String(ID), name, peerUrl: peerURLs[0] ?? '', isLearner }
}

/** The codes that tell "was not done" apart from "may have been done"; etcd's own words stay. */
function etcdError(error: unknown): ShoalError {
  if (error instanceof ShoalError) return error
  const { code, rawMessage, cause } = ConnectError.from(error, Code.Unavailable)
  const broken = cause instanceof Error && !(cause instanceof ConnectError)
  const words = broken ? errorText(cause) : rawMessage
  if (broken) return new ShoalError('unavailable', words, { cause: error })
  switch (code) {
    case Code.InvalidArgument:
      return new ShoalError('invalid-argument', words, { cause: error })
    case Code.NotFound:
      return new ShoalError('not-found', words, { cause: error })
    case Code.FailedPrecondition:
      return new ShoalError('failed-precondition', words, { cause: error })
    case Code.ResourceExhausted:
      return new ShoalError('resource-exhausted', words, { cause: error })
    case Code.OutOfRange:
      return new ShoalError('out-of-range', words, { cause: error })
    case Code.PermissionDenied:
      return new ShoalError('permission-denied', words, { cause: error })
    case Code.DeadlineExceeded:
      return new ShoalError('deadline-exceeded', words, { cause: error })
    default:
      return new ShoalError('unavailable', words, { cause: error })
  }
}

function bytes(key: string): Uint8Array {
  return Buffer.from(key)
}

function text(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString()
}

/** The first key after all that begin with the prefix. */
function prefixEnd(prefix: string): Uint8Array {
  const end = Buffer.from(prefix)
  const last = end.length - 1
  end[last] = (end[last] ?? 0) + 1
  return end
}

async function* once<T>(item: T): AsyncGenerator<T> {
  yield item
}
