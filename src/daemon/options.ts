// The command line of shoald.
import { parseArgs } from 'node:util'
import { errorText, type LogLevel, ShoalError } from '../lib/index.ts'

export interface DaemonOptions {
  readonly stateDir: string
  /** `unix:///path` or `tcp://127.0.0.1:port`. */
  readonly hosts: readonly string[]
  /** Path of the engine's unix socket. */
  readonly engineSocket: string
  readonly defaultAdvertise: string | undefined
  readonly dataPlane: 'auto' | 'off'
  readonly logLevel: LogLevel
  readonly pidFile: string | undefined
  /** Name or number of the group that owns the API's unix sockets. */
  readonly group: string | undefined
  readonly readOnlyHosts: readonly string[]
  /** Paths of PEM files; TCP needs client certificates then. */
  readonly tls: { readonly ca: string; readonly cert: string; readonly key: string } | undefined
}

export const USAGE = `Usage: shoald [OPTIONS]

Swarm mode for the Docker-compatible engine of this computer.

Options:
      --state-dir DIR                 Where this node keeps its state (default /var/lib/shoal)
  -H, --host URL                      Where to serve the Docker API: unix:///PATH, tcp://127.0.0.1:PORT, or with --tlsverify
                                      any tcp://ADDRESS:PORT; may be repeated (default unix:///run/shoal/shoal.sock)
      --read-only-host URL            Another address, whose clients may only read; may be repeated
      --group GROUP                   Group that owns the unix sockets, by name or number
      --tlsverify                     Serve TCP with TLS and accept only clients with a certificate of --tlscacert;
                                      one with the unit (OU) "read-only" may only read
      --tlscacert FILE                Authority of the clients (default /etc/shoal/ca.pem)
      --tlscert FILE                  Certificate of this daemon (default /etc/shoal/server-cert.pem)
      --tlskey FILE                   Its key (default /etc/shoal/server-key.pem)
      --engine URL                    The engine that runs the containers (default unix:///var/run/docker.sock)
      --default-advertise-addr ADDR   IP address or network interface that "swarm init" and "swarm join" advertise
      --data-plane auto|off           Routing mesh and overlay networks: where this computer can (auto), or not at all
      --log-level LEVEL               debug, info, warn or error (default info)
  -p, --pid-file FILE                 Write the process id there
      --help                          This text
      --version                       The version
`

const LEVELS: readonly LogLevel[] = ['debug', 'info', 'warn', 'error']

/** 'help' and 'version' when asked for; ShoalError 'invalid-argument' with the next step otherwise. */
export function parseOptions(argv: readonly string[]): DaemonOptions | 'help' | 'version' {
  const { values, positionals } = parse(argv)
  if (values.help) return 'help'
  if (values.version) return 'version'
  if (positionals.length > 0) throw invalid(`unexpected argument "${positionals[0]}"`)
  const dataPlane = values['data-plane']
  if (dataPlane !== 'auto' && dataPlane !== 'off') throw invalid(`--data-plane must be auto or off, not "${dataPlane}"`)
  const logLevel = LEVELS.find((level) => level === values['log-level'])
  if (!logLevel) throw invalid(`--log-level must be one of ${LEVELS.join(', ')}, not "${values['log-level']}"`)
  const hosts = values.host ?? ['unix:///run/shoal/shoal.sock']
  const tls = values.tlsverify ? { ca: values.tlscacert, cert: values.tlscert, key: values.tlskey } : undefined
  const readOnlyHosts = values['read-only-host'] ?? []
  for (const host of [...hosts, ...readOnlyHosts]) checkHost(host, tls !== undefined)
  return {
    stateDir: values['state-dir'],
    hosts,
    engineSocket: unixPath(values.engine, '--engine'),
    defaultAdvertise: values['default-advertise-addr'],
    dataPlane,
    logLevel,
    pidFile: values['pid-file'],
    group: values.group,
    readOnlyHosts,
    tls,
  }
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        'state-dir': { type: 'string', default: '/var/lib/shoal' },
        host: { type: 'string', short: 'H', multiple: true },
        engine: { type: 'string', default: 'unix:///var/run/docker.sock' },
        'default-advertise-addr': { type: 'string' },
        'data-plane': { type: 'string', default: 'auto' },
        'log-level': { type: 'string', default: 'info' },
        'read-only-host': { type: 'string', multiple: true },
        group: { type: 'string' },
        tlsverify: { type: 'boolean', default: false },
        tlscacert: { type: 'string', default: '/etc/shoal/ca.pem' },
        tlscert: { type: 'string', default: '/etc/shoal/server-cert.pem' },
        tlskey: { type: 'string', default: '/etc/shoal/server-key.pem' },
        'pid-file': { type: 'string', short: 'p' },
        help: { type: 'boolean', short: 'h', default: false },
        version: { type: 'boolean', default: false },
      },
    })
  } catch (error) {
    throw invalid(errorText(error))
  }
}

function checkHost(host: string, secure: boolean): void {
  if (host.startsWith('unix://')) {
    unixPath(host, '--host')
    return
  }
  const match = /^tcp:\/\/(\[[0-9a-f:]+\]|[^:/]+):(\d{1,5})\/?$/.exec(host)
  if (!match || Number(match[2]) > 65_535) throw invalid(`--host must be unix:///PATH or tcp://127.0.0.1:PORT, not "${host}"`)
  if (secure) return
  const address = match[1] as string
  if (!/^(127(\.\d{1,3}){3}|localhost|\[::1\])$/.test(address)) {
    throw new ShoalError(
      'invalid-argument',
      `--host ${host}: plain tcp is accepted on loopback only, because it would give root on this computer to everybody who reaches it`,
      {
        next: 'use --tlsverify with certificates, tcp://127.0.0.1:PORT, or reach the unix socket through ssh',
      },
    )
  }
}

function unixPath(url: string, flag: string): string {
  const path = url.startsWith('unix://') ? url.slice('unix://'.length) : url
  if (!path.startsWith('/')) throw invalid(`${flag} must be unix:///ABSOLUTE/PATH, not "${url}"`)
  // sun_path of the kernel holds 108 bytes with the final zero
  if (Buffer.byteLength(path) > 107) throw invalid(`${flag}: the path ${path} is longer than the 107 bytes that a unix socket can have`)
  return path
}

function invalid(message: string): ShoalError {
  return new ShoalError('invalid-argument', message, { next: 'see "shoald --help"' })
}
