// The Issuer port: keys and certificates. Real ones are not deterministic, so the simulator has its own.
import type { Instant } from '../lib/index.ts'

/** A certificate authority: PEM, newline at the end. The private key is PKCS#8. */
export interface RootCa {
  readonly certificatePem: string
  readonly privateKeyPem: string
}

export interface CertificateRequest {
  readonly csrPem: string
  readonly privateKeyPem: string
}

/** What stands in a node's certificate. */
export interface NodeSubject {
  /** O */
  readonly clusterId: string
  /** CN */
  readonly nodeId: string
  /** OU is `swarm-worker` or `swarm-manager`. */
  readonly role: 'worker' | 'manager'
}

export interface CertificateFacts {
  /** Undefined for a certificate that is not a node's (a root, a stranger's). */
  readonly subject: NodeSubject | undefined
  readonly notBefore: Instant
  readonly notAfter: Instant
  /** Subject and public key of this certificate, DER in base64: what the API shows of an issuer. */
  readonly subjectDer: string
  readonly publicKeyDer: string
}

export interface Issuer {
  /** A new self-signed root, valid from shortly before `now` for 20 years. */
  createRoot(now: Instant): Promise<RootCa>
  /** A new key and a request to sign it; the subject is empty, because only the public key of a request counts. */
  createCsr(): Promise<CertificateRequest>
  /** Throws 'invalid-argument' unless the request is well formed and signed by its own key. */
  verifyCsr(csrPem: string): Promise<void>
  /** A node's certificate (PEM, newline at the end) for the public key in the request. Checks the request like `verifyCsr`. */
  issue(
    root: RootCa,
    csrPem: string,
    subject: NodeSubject,
    validity: { readonly notBefore: Instant; readonly notAfter: Instant },
  ): Promise<string>
  /** Reads the first certificate of a PEM text. Throws 'invalid-argument' when there is none. */
  inspect(certificatePem: string): Promise<CertificateFacts>
}
