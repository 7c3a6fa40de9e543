// The real Issuer: ECDSA P-256 with WebCrypto and X.509 as SwarmKit's agents expect it (wire-protocol 4).
import type { webcrypto } from 'node:crypto'
import type * as X509 from '@peculiar/x509'
import { ShoalError } from '../lib/index.ts'
import type { CertificateFacts, Issuer, NodeSubject, RootCa } from '../ports/index.ts'

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
const ROOT_BACKDATE_MS = 5 * 60_000
const ROOT_LIFETIME_MS = 20 * 365 * 24 * 3_600_000
const OWN_HASHES: readonly string[] = ['SHA-256', 'SHA-384', 'SHA-512']

/** The library is large: only who handles certificates pays for it, and only then. It needs reflect-metadata first. */
let loading: Promise<typeof X509> | undefined
function x509(): Promise<typeof X509> {
  loading ??= import('reflect-metadata').then(() => import('@peculiar/x509'))
  return loading
}

export const realIssuer: Issuer = {
  async createRoot(now): Promise<RootCa> {
    const lib = await x509()
    const keys = await crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])
    const certificate = await lib.X509CertificateGenerator.createSelfSigned({
      name: 'CN=swarm-ca',
      serialNumber: serialNumber(),
      notBefore: date(now - ROOT_BACKDATE_MS),
      notAfter: date(now + ROOT_LIFETIME_MS),
      keys,
      signingAlgorithm: ALGORITHM,
      extensions: [
        new lib.KeyUsagesExtension(lib.KeyUsageFlags.keyCertSign | lib.KeyUsageFlags.cRLSign, true),
        new lib.BasicConstraintsExtension(true, undefined, true),
        await lib.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    })
    return { certificatePem: line(certificate.toString('pem')), privateKeyPem: await exportKey(lib, keys.privateKey) }
  },

  async createCsr() {
    const lib = await x509()
    const keys = await crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])
    const csr = await lib.Pkcs10CertificateRequestGenerator.create({ name: '', keys, signingAlgorithm: ALGORITHM })
    return { csrPem: line(csr.toString('pem')), privateKeyPem: await exportKey(lib, keys.privateKey) }
  },

  async verifyCsr(csrPem) {
    await readCsr(csrPem)
  },

  async issue(root, csrPem, subject, { notBefore, notAfter }) {
    const lib = await x509()
    const csr = await readCsr(csrPem)
    const issuer = new lib.X509Certificate(root.certificatePem)
    const signingKey = await importSigningKey(lib, root.privateKeyPem)
    const unit = `swarm-${subject.role}`
    const names = [unit, subject.nodeId, ...(subject.role === 'manager' ? ['swarm-ca'] : [])]
    const certificate = await lib.X509CertificateGenerator.create({
      subject: [{ O: [subject.clusterId] }, { OU: [unit] }, { CN: [subject.nodeId] }],
      issuer: issuer.subjectName,
      serialNumber: serialNumber(),
      notBefore: date(notBefore),
      notAfter: date(notAfter),
      publicKey: csr.publicKey,
      signingKey,
      signingAlgorithm: ALGORITHM,
      extensions: [
        new lib.KeyUsagesExtension(lib.KeyUsageFlags.digitalSignature | lib.KeyUsageFlags.keyEncipherment, true),
        new lib.ExtendedKeyUsageExtension([lib.ExtendedKeyUsage.serverAuth, lib.ExtendedKeyUsage.clientAuth]),
        new lib.BasicConstraintsExtension(false, undefined, true),
        await lib.SubjectKeyIdentifierExtension.create(csr.publicKey),
        await lib.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
        new lib.SubjectAlternativeNameExtension(names.map((value) => ({ type: 'dns', value }))),
      ],
    })
    return line(certificate.toString('pem'))
  },

  async inspect(certificatePem): Promise<CertificateFacts> {
    const lib = await x509()
    const certificate = parseOrRefuse('certificate', () => new lib.X509Certificate(firstPem(certificatePem)))
    return {
      subject: nodeSubject(certificate),
      notBefore: certificate.notBefore.getTime(),
      notAfter: certificate.notAfter.getTime(),
      subjectDer: Buffer.from(certificate.subjectName.toArrayBuffer()).toString('base64'),
      publicKeyDer: Buffer.from(certificate.publicKey.rawData).toString('base64'),
    }
  },
}

/** The certificate of a new root, signed by the old one: who trusts either trusts what the new one signs. */
export async function crossSignRoot(old: RootCa, fresh: RootCa): Promise<string> {
  const lib = await x509()
  const issuer = new lib.X509Certificate(old.certificatePem)
  const root = new lib.X509Certificate(fresh.certificatePem)
  const certificate = await lib.X509CertificateGenerator.create({
    subject: root.subjectName,
    issuer: issuer.subjectName,
    serialNumber: serialNumber(),
    notBefore: root.notBefore,
    notAfter: issuer.notAfter,
    publicKey: root.publicKey,
    signingKey: await importSigningKey(lib, old.privateKeyPem),
    signingAlgorithm: ALGORITHM,
    extensions: [
      new lib.KeyUsagesExtension(lib.KeyUsageFlags.keyCertSign | lib.KeyUsageFlags.cRLSign, true),
      new lib.BasicConstraintsExtension(true, undefined, true),
      await lib.SubjectKeyIdentifierExtension.create(root.publicKey),
      await lib.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
    ],
  })
  return line(certificate.toString('pem'))
}

export interface MemberCertificate {
  /** CN and first DNS name. */
  readonly subject: string
  /** IP addresses that the member may be reached at and call from. */
  readonly addresses: readonly string[]
  readonly notBefore: number
  readonly notAfter: number
}

/** A certificate for a member of the group that keeps the store. etcd checks addresses, so node certificates would not do. */
export async function issueMemberCertificate(root: RootCa, csrPem: string, member: MemberCertificate): Promise<string> {
  const lib = await x509()
  const csr = await readCsr(csrPem)
  const issuer = new lib.X509Certificate(root.certificatePem)
  const certificate = await lib.X509CertificateGenerator.create({
    subject: [{ CN: [member.subject] }],
    issuer: issuer.subjectName,
    serialNumber: serialNumber(),
    notBefore: date(member.notBefore),
    notAfter: date(member.notAfter),
    publicKey: csr.publicKey,
    signingKey: await importSigningKey(lib, root.privateKeyPem),
    signingAlgorithm: ALGORITHM,
    extensions: [
      new lib.KeyUsagesExtension(lib.KeyUsageFlags.digitalSignature | lib.KeyUsageFlags.keyEncipherment, true),
      new lib.ExtendedKeyUsageExtension([lib.ExtendedKeyUsage.serverAuth, lib.ExtendedKeyUsage.clientAuth]),
      new lib.BasicConstraintsExtension(false, undefined, true),
      await lib.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
      new lib.SubjectAlternativeNameExtension([
        { type: 'dns', value: member.subject },
        ...member.addresses.map((value) => ({ type: 'ip' as const, value })),
      ]),
    ],
  })
  return line(certificate.toString('pem'))
}

function importSigningKey(lib: typeof X509, privateKeyPem: string): Promise<webcrypto.CryptoKey> {
  return crypto.subtle.importKey('pkcs8', lib.PemConverter.decodeFirst(privateKeyPem), { name: 'ECDSA', namedCurve: 'P-256' }, false, [
    'sign',
  ])
}

async function readCsr(csrPem: string): Promise<X509.Pkcs10CertificateRequest> {
  const lib = await x509()
  const csr = parseOrRefuse('certificate request', () => new lib.Pkcs10CertificateRequest(firstPem(csrPem)))
  const { name, hash } = csr.signatureAlgorithm as { name: string; hash?: { name: string } }
  if (hash !== undefined && !OWN_HASHES.includes(hash.name))
    throw new ShoalError('invalid-argument', `certificate requests signed with ${name} and ${hash.name} are too weak`)
  let valid = false
  try {
    valid = await csr.verify()
  } catch {
    // an unknown algorithm or a broken key is as good as a wrong signature
  }
  if (!valid) throw new ShoalError('invalid-argument', 'the certificate request is not signed by its own key')
  return csr
}

function parseOrRefuse<T>(what: string, parse: () => T): T {
  try {
    return parse()
  } catch (error) {
    throw new ShoalError('invalid-argument', `this is not a ${what}`, { cause: error })
  }
}

function firstPem(text: string): string {
  return /-----BEGIN [^-]+-----[^-]+-----END [^-]+-----/.exec(text)?.[0] ?? ''
}

/** One value each, or it is none of ours. */
function nodeSubject(certificate: X509.X509Certificate): NodeSubject | undefined {
  const one = (field: string) => {
    const values = certificate.subjectName.getField(field)
    return values.length === 1 ? values[0] : undefined
  }
  const [clusterId, unit, nodeId] = [one('O'), one('OU'), one('CN')]
  if (!clusterId || !nodeId || (unit !== 'swarm-worker' && unit !== 'swarm-manager')) return undefined
  return { clusterId, nodeId, role: unit === 'swarm-manager' ? 'manager' : 'worker' }
}

async function exportKey(lib: typeof X509, key: webcrypto.CryptoKey): Promise<string> {
  return line(lib.PemConverter.encode(await crypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY'))
}

/** 16 random bytes, positive. */
function serialNumber(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  bytes[0] = (bytes[0]! & 0x7f) | 0x40
  return Buffer.from(bytes).toString('hex')
}

function date(instant: number): Date {
  return new Date(instant) // real-time: formats a given instant
}

function line(pem: string): string {
  return pem.endsWith('\n') ? pem : `${pem}\n`
}
