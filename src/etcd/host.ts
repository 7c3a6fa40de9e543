// This node's member of the group that keeps the store: its folder, its certificate, its process and the client to it.
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { errorText, type Logger, SECOND_MS, ShoalError } from '../lib/index.ts'
import type { Clock, Etcd, EtcdStatus } from '../ports/index.ts'
import { createEtcdClient, type EtcdTls } from './client.ts'
import { type EtcdProcess, requireEtcd, superviseEtcd } from './process.ts'

/** A big log is replayed before etcd answers (store.md 6: 11 s with a million keys). */
const START_MS = 60 * SECOND_MS
const START_POLL_MS = 50
/** Subject of every member's certificate; node certificates of the same root never carry it. */
export const MEMBER_SUBJECT = 'shoal-etcd'

/** What a member is started with; kept in its folder. */
export interface MemberConfig {
  readonly name: string
  /** Address that peers reach this member at, and its port. */
  readonly advertiseHost: string
  readonly listenHost: string
  readonly peerPort: number
  /** Preferred port on 127.0.0.1 for our own client. */
  readonly clientPort: number
  /** `name=url,...` of all members, this one included. */
  readonly initialCluster: string
  readonly initialState: 'new' | 'existing'
  /** Keeps members of different groups apart. */
  readonly groupToken: string
}

export interface MemberCredentials {
  readonly certificatePem: string
  readonly privateKeyPem: string
  readonly caPem: string
}

export interface EtcdHost {
  /** Throws 'failed-precondition' with the next step when this computer has no fitting etcd. */
  check(): Promise<void>
  /** Whether there is a member in the folder. */
  exists(): Promise<boolean>
  /** Empties the folder and starts a new member. Resolves when it answers (a learner does, too). */
  create(config: MemberConfig, credentials: MemberCredentials): Promise<Etcd>
  /** Starts the member that is there. It may answer only after a while. */
  resume(options?: { readonly forceNewCluster?: boolean }): Promise<Etcd>
  /** New files for the next connections; running ones go on. */
  renew(credentials: MemberCredentials): Promise<void>
  credentials(): Promise<MemberCredentials | undefined>
  config(): Promise<MemberConfig | undefined>
  /** Called when the member was removed from the group by the others. */
  onRemoved: (() => void) | undefined
  readonly etcd: Etcd | undefined
  stop(): Promise<void>
  /** Stops and removes everything. */
  destroy(): Promise<void>
}

export interface EtcdHostDeps {
  readonly folder: string
  readonly clock: Clock
  readonly log: Logger
  readonly program?: string
}

export function createEtcdHost(deps: EtcdHostDeps): EtcdHost {
  return new Host(deps)
}

export function peerUrl(host: string, port: number): string {
  return `https://${host}:${port}`
}

class Host implements EtcdHost {
  onRemoved: (() => void) | undefined
  readonly #deps: EtcdHostDeps
  #process: EtcdProcess | undefined
  #etcd: Etcd | undefined

  constructor(deps: EtcdHostDeps) {
    this.#deps = deps
  }

  get etcd(): Etcd | undefined {
    return this.#etcd
  }

  async check(): Promise<void> {
    await requireEtcd(this.#deps.program)
  }

  async exists(): Promise<boolean> {
    return (await this.config()) !== undefined
  }

  async create(config: MemberConfig, credentials: MemberCredentials): Promise<Etcd> {
    await this.check()
    await this.destroy()
    await mkdir(this.#deps.folder, { recursive: true, mode: 0o700 })
    await this.renew(credentials)
    await this.#write('member.json', `${JSON.stringify(config, undefined, 2)}\n`)
    return this.#start(config, [], 'wait')
  }

  async resume({ forceNewCluster = false }: { readonly forceNewCluster?: boolean } = {}): Promise<Etcd> {
    await this.check()
    const config = await this.config()
    if (!config) throw new ShoalError('failed-precondition', 'the member of this manager is missing')
    // without a quorum it answers nothing at all: who resumes must be able to go on meanwhile
    return this.#start(config, forceNewCluster ? ['--force-new-cluster'] : [], 'go on')
  }

  async renew({ certificatePem, privateKeyPem, caPem }: MemberCredentials): Promise<void> {
    await this.#write('member.crt', certificatePem)
    await this.#write('member.key', privateKeyPem)
    await this.#write('ca.crt', caPem)
  }

  async credentials(): Promise<MemberCredentials | undefined> {
    const [certificatePem, privateKeyPem, caPem] = await Promise.all(['member.crt', 'member.key', 'ca.crt'].map((name) => this.#read(name)))
    return certificatePem && privateKeyPem && caPem ? { certificatePem, privateKeyPem, caPem } : undefined
  }

  async config(): Promise<MemberConfig | undefined> {
    const text = await this.#read('member.json')
    return text === undefined ? undefined : (JSON.parse(text) as MemberConfig)
  }

  async stop(): Promise<void> {
    const [etcd, running] = [this.#etcd, this.#process]
    this.#etcd = undefined
    this.#process = undefined
    etcd?.close()
    await running?.stop()
  }

  async destroy(): Promise<void> {
    await this.stop()
    await rm(this.#deps.folder, { recursive: true, force: true })
  }

  async #start(config: MemberConfig, more: readonly string[], how: 'wait' | 'go on'): Promise<Etcd> {
    await this.stop()
    const { folder, clock, log, program } = this.#deps
    const clientPort = await freePort(config.clientPort)
    const tls: EtcdTls = {
      certificateFile: join(folder, 'member.crt'),
      keyFile: join(folder, 'member.key'),
      caFile: join(folder, 'ca.crt'),
    }
    // a flag of recovery holds for the first start only: a child that is started again must not shrink the group a second time
    let first = more
    const process = superviseEtcd({
      clock,
      log: log.with({ room: 'etcd' }),
      program,
      args: () => {
        const args = [...memberArgs(config, folder, clientPort, tls), ...first]
        first = []
        return args
      },
      onRemoved: () => this.onRemoved?.(),
    })
    const etcd = createEtcdClient(`127.0.0.1:${clientPort}`, tls)
    this.#process = process
    this.#etcd = etcd
    if (how === 'go on') return etcd
    try {
      await this.#answers(etcd, process)
    } catch (error) {
      await this.stop()
      throw error
    }
    return etcd
  }

  async #answers(etcd: Etcd, process: EtcdProcess): Promise<EtcdStatus> {
    const { clock } = this.#deps
    const until = clock.monotonicMs() + START_MS
    let failure = ''
    for (;;) {
      try {
        return await etcd.status({ timeoutMs: SECOND_MS })
      } catch (error) {
        failure = process.problem || errorText(error)
      }
      // what fails twice before it has answered once will fail again
      if (clock.monotonicMs() > until || (process.ended >= 2 && process.problem !== ''))
        throw new ShoalError('unavailable', `etcd did not come up: ${failure}`, { next: 'look into the log of shoald' })
      await clock.sleep(START_POLL_MS)
    }
  }

  async #read(name: string): Promise<string | undefined> {
    try {
      return await readFile(join(this.#deps.folder, name), 'utf8')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw error
    }
  }

  async #write(name: string, content: string): Promise<void> {
    const path = join(this.#deps.folder, name)
    await writeFile(`${path}.new`, content, { mode: 0o600, flush: true })
    await rename(`${path}.new`, path)
  }
}

/** The flags of store.md 6. */
function memberArgs(config: MemberConfig, folder: string, clientPort: number, tls: EtcdTls): string[] {
  const client = `https://127.0.0.1:${clientPort}`
  return [
    `--name=${config.name}`,
    `--data-dir=${join(folder, 'data')}`,
    `--listen-client-urls=${client}`,
    `--advertise-client-urls=${client}`,
    `--listen-peer-urls=${peerUrl(config.listenHost, config.peerPort)}`,
    `--initial-advertise-peer-urls=${peerUrl(config.advertiseHost, config.peerPort)}`,
    `--initial-cluster=${config.initialCluster}`,
    `--initial-cluster-state=${config.initialState}`,
    `--initial-cluster-token=${config.groupToken}`,
    '--client-cert-auth=true',
    `--client-cert-allowed-hostname=${MEMBER_SUBJECT}`,
    `--trusted-ca-file=${tls.caFile}`,
    `--cert-file=${tls.certificateFile}`,
    `--key-file=${tls.keyFile}`,
    '--peer-client-cert-auth=true',
    `--peer-cert-allowed-cn=${MEMBER_SUBJECT}`,
    `--peer-trusted-ca-file=${tls.caFile}`,
    `--peer-cert-file=${tls.certificateFile}`,
    `--peer-key-file=${tls.keyFile}`,
    '--max-txn-ops=8192',
    '--max-request-bytes=8388608',
    '--quota-backend-bytes=8589934592',
    '--snapshot-count=5000',
    '--pre-vote=true',
    '--heartbeat-interval=100',
    '--election-timeout=1000',
    '--strict-reconfig-check=true',
    '--logger=zap',
    '--log-outputs=stderr',
  ]
}

/** The preferred port, or any when somebody has it. */
function freePort(preferred: number): Promise<number> {
  const probe = (port: number) =>
    new Promise<number>((resolve, reject) => {
      const server = createServer()
      server.on('error', reject)
      server.listen({ host: '127.0.0.1', port }, () => {
        const { port: got } = server.address() as { port: number }
        server.close(() => resolve(got))
      })
    })
  return probe(preferred).catch(() => probe(0))
}
