// A group of real etcd members on loopback, for the second ring.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { issueMemberCertificate, realIssuer } from '../../src/ca/index.ts'
import {
  addLearner,
  createEtcdHost,
  type EtcdHost,
  MEMBER_SUBJECT,
  type MemberConfig,
  type MemberCredentials,
  peerUrl,
  promoteMember,
} from '../../src/etcd/index.ts'
import { HOUR_MS, silentLogger } from '../../src/lib/index.ts'
import { type Etcd, type RootCa, realClock } from '../../src/ports/index.ts'

export interface Group {
  readonly hosts: EtcdHost[]
  readonly clients: Etcd[]
  leader(): Promise<number>
  stop(): Promise<void>
}

/** `basePort` and the ports after it, two for each member. */
export async function startGroup(size: number, basePort: number): Promise<Group> {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-etcd-'))
  const root = await realIssuer.createRoot(realClock.now())
  const hosts: EtcdHost[] = []
  const clients: Etcd[] = []
  const deps = { clock: realClock, log: silentLogger }
  let cluster = ''
  for (let n = 0; n < size; n += 1) {
    const host = createEtcdHost({ folder: join(folder, `m${n}`), ...deps })
    const port = basePort + 2 * n
    const url = peerUrl('127.0.0.1', port)
    const learner = n > 0 ? await addLearner(deps, clients[0] as Etcd, url) : undefined
    cluster += `${n > 0 ? ',' : ''}m${n}=${url}`
    const config: MemberConfig = {
      name: `m${n}`,
      advertiseHost: '127.0.0.1',
      listenHost: '127.0.0.1',
      peerPort: port,
      clientPort: port + 1,
      initialCluster: cluster,
      initialState: n > 0 ? 'existing' : 'new',
      groupToken: 'test',
    }
    clients.push(await host.create(config, await memberCredentials(root)))
    hosts.push(host)
    if (learner) await promoteMember(deps, clients[0] as Etcd, learner.id)
  }
  return {
    hosts,
    clients,
    async leader() {
      for (const [index, client] of clients.entries()) {
        const status = await client.status()
        if (status.leaderId === status.memberId) return index
      }
      return -1
    },
    async stop() {
      for (const host of hosts) await host.stop()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

export async function memberCredentials(root: RootCa): Promise<MemberCredentials> {
  const { csrPem, privateKeyPem } = await realIssuer.createCsr()
  const now = realClock.now()
  const certificatePem = await issueMemberCertificate(root, csrPem, {
    subject: MEMBER_SUBJECT,
    addresses: ['127.0.0.1'],
    notBefore: now - HOUR_MS,
    notAfter: now + HOUR_MS,
  })
  return { certificatePem, privateKeyPem, caPem: root.certificatePem }
}
