// Door of the certificate authority: join tokens, issuing and renewing on both sides, the real issuer.
export { type CertificateClaim, type CertificateDeps, fetchRootCa, renewalDelayMs, requestCertificate } from './client.ts'
export { crossSignRoot, issueMemberCertificate, type MemberCertificate, realIssuer } from './issuer.ts'
export { issueNodeCertificate, type NewNode, newNode } from './nodes.ts'
export { type CaDeps, caRoutes } from './server.ts'
export { type JoinToken, makeJoinToken, makeJoinTokens, parseJoinToken, rootDigest, sameToken } from './tokens.ts'
