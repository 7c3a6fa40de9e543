// Hollow nodes: many real agents with fake engines in one process. Arguments: manager address, token, first number, count.
import { createLogger, errorText, logfmt } from '../../src/lib/index.ts'
import { type Order, tell, usage } from './messages.ts'
import { createSwarmNode } from './swarmNode.ts'

/** Joins at a time: each is a handful of calls, keys and certificates included. */
const JOINS_AT_ONCE = 2
const MOST_TRIES = 20
const REST_MS = 500

const [manager = '', token = '', first = '0', count = '0'] = process.argv.slice(2)
const log = createLogger('error', (level, message, fields) => process.stderr.write(`${logfmt(`nodes ${first}`, level, message, fields)}\n`))

process.on('message', (order: Order) => {
  if (order.kind === 'usage') tell({ kind: 'usage', ...usage() })
  if (order.kind === 'stop') process.exit(0)
})
process.on('disconnect', () => process.exit(1))

const waiting = Array.from({ length: Number(count) }, (_, n) => Number(first) + n)
await Promise.all(Array.from({ length: JOINS_AT_ONCE }, join))
tell({ kind: 'nodes-ready' })

async function join(): Promise<void> {
  for (let n = waiting.pop(); n !== undefined; n = waiting.pop()) {
    for (let tries = 1; ; tries++) {
      const node = createSwarmNode({ hostname: `hollow${n}`, log })
      try {
        await node.join({
          listenAddr: '',
          advertiseAddr: '',
          dataPathAddr: '',
          remoteAddrs: [manager],
          joinToken: token,
          availability: 'active',
        })
        break
      } catch (error) {
        if (tries === MOST_TRIES) throw error
        await new Promise((resolve) => setTimeout(resolve, REST_MS))
        log.warn('joining again', { node: n, error: errorText(error) })
      }
    }
  }
}
