// A deterministic Issuer for the simulator and tests: certificates are readable records with the same rules, but no cryptography.
import { base36, ShoalError } from '../../lib/index.ts'
import type { CertificateFacts, Issuer, NodeSubject } from '../issuer.ts'
import type { Random } from '../random.ts'

const YEAR_MS = 365 * 24 * 3_600_000
const ROOT_BACKDATE_MS = 5 * 60_000

interface Record_ {
  readonly kind: 'CERTIFICATE' | 'CERTIFICATE REQUEST' | 'PRIVATE KEY'
  /** Stands for the key pair. */
  readonly key: string
  readonly issuerKey?: string
  readonly subject?: NodeSubject
  readonly notBefore?: number
  readonly notAfter?: number
}

export function createFakeIssuer(random: Random): Issuer {
  const newKey = () => base36(random.bytes(16), 25)
  return {
    async createRoot(now) {
      const key = newKey()
      const certificate: Record_ = {
        kind: 'CERTIFICATE',
        key,
        issuerKey: key,
        notBefore: now - ROOT_BACKDATE_MS,
        notAfter: now + 20 * YEAR_MS,
      }
      return { certificatePem: pem(certificate), privateKeyPem: pem({ kind: 'PRIVATE KEY', key }) }
    },

    async createCsr() {
      const key = newKey()
      return { csrPem: pem({ kind: 'CERTIFICATE REQUEST', key }), privateKeyPem: pem({ kind: 'PRIVATE KEY', key }) }
    },

    async verifyCsr(csrPem) {
      parse(csrPem, 'CERTIFICATE REQUEST')
    },

    async issue(root, csrPem, subject, { notBefore, notAfter }) {
      const { key } = parse(csrPem, 'CERTIFICATE REQUEST')
      const issuerKey = parse(root.privateKeyPem, 'PRIVATE KEY').key
      return pem({ kind: 'CERTIFICATE', key, issuerKey, subject, notBefore, notAfter })
    },

    async inspect(certificatePem): Promise<CertificateFacts> {
      const { key, subject, notBefore, notAfter } = parse(certificatePem, 'CERTIFICATE')
      const name = subject ? `${subject.clusterId}/${subject.role}/${subject.nodeId}` : 'swarm-ca'
      return { subject, notBefore: notBefore ?? 0, notAfter: notAfter ?? 0, subjectDer: btoa(name), publicKeyDer: btoa(key) }
    },
  }
}

function pem(record: Record_): string {
  return `-----BEGIN ${record.kind}-----\n${btoa(JSON.stringify(record))}\n-----END ${record.kind}-----\n`
}

function parse(text: string, kind: Record_['kind']): Record_ {
  const match = new RegExp(`-----BEGIN ${kind}-----\n([A-Za-z0-9+/=]+)\n`).exec(text)
  try {
    const record = JSON.parse(atob(match?.[1] ?? '')) as Record_
    if (record.kind === kind) return record
  } catch {
    // falls through to the refusal
  }
  throw new ShoalError('invalid-argument', `this is not a ${kind.toLowerCase()}`)
}

/** Whose certificate this is, if one of the roots in `rootPem` signed it and it is valid at `now`: the check that TLS makes with real ones. */
export function verifyFakeCertificate(certificatePem: string, rootPem: string, now: number): NodeSubject | undefined {
  const { issuerKey, subject, notBefore = 0, notAfter = 0 } = parse(certificatePem, 'CERTIFICATE')
  const roots = rootPem.split(/(?<=-----END CERTIFICATE-----\n)/).filter((part) => part.trim() !== '')
  const signed = roots.some((root) => parse(root, 'CERTIFICATE').key === issuerKey)
  return signed && notBefore <= now && now < notAfter ? subject : undefined
}
