// Which daemon to talk to: environment, then the usual sockets; and what a host string means.
import { ShoalError } from '../lib/index.ts'

/** PEM, as in the folder that DOCKER_CERT_PATH names. */
export interface ClientTls {
  readonly ca: string
  readonly cert: string
  readonly key: string
}

export type Endpoint =
  | { readonly kind: 'unix'; readonly path: string; readonly host: string }
  | { readonly kind: 'tcp'; readonly hostname: string; readonly port: number; readonly host: string; readonly tls?: ClientTls }

const SHOAL_SOCKET = '/run/shoal/shoal.sock'
const DOCKER_SOCKET = '/var/run/docker.sock'
const DEFAULT_TCP_PORT = 2375
const DEFAULT_TLS_PORT = 2376

/**
 * The host string to use: SHOAL_HOST, DOCKER_HOST, Shoal's socket where there is one, Docker's socket.
 * `exists` tells whether a path is there.
 */
export function resolveHost(env: Readonly<Record<string, string | undefined>>, exists: (path: string) => boolean): string {
  if (env.SHOAL_HOST) return env.SHOAL_HOST
  if (env.DOCKER_HOST) return env.DOCKER_HOST
  return `unix://${exists(SHOAL_SOCKET) ? SHOAL_SOCKET : DOCKER_SOCKET}`
}

/** The client's certificates when DOCKER_TLS_VERIFY asks for TLS; they lie in DOCKER_CERT_PATH, else in ~/.docker. */
export function tlsOf(env: Readonly<Record<string, string | undefined>>, read: (path: string) => string): ClientTls | undefined {
  if (!env.DOCKER_TLS_VERIFY) return undefined
  const folder = env.DOCKER_CERT_PATH || `${env.HOME ?? ''}/.docker`
  return { ca: read(`${folder}/ca.pem`), cert: read(`${folder}/cert.pem`), key: read(`${folder}/key.pem`) }
}

/** Reads unix:///path, tcp://host[:port] or http://host[:port]; throws invalid-argument for anything else. */
export function parseEndpoint(host: string, tls?: ClientTls): Endpoint {
  if (host.startsWith('unix://') && host.length > 'unix://'.length) return { kind: 'unix', path: host.slice('unix://'.length), host }
  if (host.startsWith('/')) return { kind: 'unix', path: host, host: `unix://${host}` }
  const url = /^(?:tcp|http):\/\//.test(host) ? tryUrl(host.replace(/^tcp:/, 'http:')) : undefined
  if (!url?.hostname) {
    throw new ShoalError('invalid-argument', `cannot use the host "${host}"`, {
      next: 'Give unix:///path/to/socket or tcp://address:port.',
    })
  }
  const hostname = url.hostname.replace(/^\[|\]$/g, '')
  return {
    kind: 'tcp',
    hostname,
    port: url.port ? Number(url.port) : tls ? DEFAULT_TLS_PORT : DEFAULT_TCP_PORT,
    host,
    ...(tls ? { tls } : {}),
  }
}

function tryUrl(text: string): URL | undefined {
  return URL.canParse(text) ? new URL(text) : undefined
}
