// What a client may do that may only look: read what the swarm and its containers are, but no keys, no files, no changes.
import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'

/** The unit (OU) in a client certificate that makes it a read-only one. */
const READ_ONLY_UNIT = 'read-only'

/** Reads that give more than a look: keys that let others in, and files of containers and images. */
const SECRET_READS = [
  /^\/swarm$/,
  /^\/swarm\/unlockkey$/,
  /\/archive$/,
  /\/export$/,
  /^\/images\/(.*\/)?get$/,
  /\/attach\/ws$/,
  /^\/shoal\/tasks\/[^/]+\/container\//,
]

export function isReadOnly(socket: Socket, listener: 'all' | 'read-only'): boolean {
  if (listener === 'read-only') return true
  if (!(socket instanceof TLSSocket)) return false
  const units: unknown = socket.getPeerCertificate().subject?.OU
  return Array.isArray(units) ? units.includes(READ_ONLY_UNIT) : units === READ_ONLY_UNIT
}

/** `path` without the version. */
export function mayRead(method: string, path: string): boolean {
  return (method === 'GET' || method === 'HEAD') && !SECRET_READS.some((pattern) => pattern.test(path))
}
