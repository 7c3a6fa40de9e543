// The real adapter of the Rpc port passes the port's conformance test.
import { realIssuer } from '../../src/ca/index.ts'
import { silentLogger } from '../../src/lib/index.ts'
import { realClock } from '../../src/ports/index.ts'
import { createWireRpc } from '../../src/wire/index.ts'
import { rpcConformance } from '../ports/rpc-conformance.ts'

const now = realClock.now()
const roots = { ours: await realIssuer.createRoot(now), foreign: await realIssuer.createRoot(now) }

rpcConformance('gRPC over TLS', async () => {
  const rpc = createWireRpc({ logger: silentLogger })
  return {
    server: rpc,
    client: rpc,
    listenAddress: '127.0.0.1:0',
    reach: (address) => address,
    deadAddress: '127.0.0.1:9',
    async identity(role, nodeId, root = 'ours') {
      const { csrPem, privateKeyPem } = await realIssuer.createCsr()
      const subject = { role, nodeId, clusterId: 'cluster' }
      const certificatePem = await realIssuer.issue(roots[root], csrPem, subject, { notBefore: now - 60_000, notAfter: now + 3_600_000 })
      return { ...subject, certificatePem, privateKeyPem, rootCaPem: roots[root].certificatePem }
    },
    settle: (promise) => promise,
    sleep: (ms) => realClock.sleep(ms),
    close: async () => {},
  }
})
