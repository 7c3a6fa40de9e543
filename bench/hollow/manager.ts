// The manager of the bench: lmdb journal, real wire, the Docker API on a unix socket. Arguments: folder, address.
import { join } from 'node:path'
import { createApi, serveApi } from '../../src/api/index.ts'
import { createLogger, logfmt } from '../../src/lib/index.ts'
import { TaskState, taskStateName } from '../../src/model/index.ts'
import { createDisk, realClock } from '../../src/ports/index.ts'
import { openLmdbJournal, type Store } from '../../src/store/index.ts'
import { type Order, tell, usage } from './messages.ts'
import { createSwarmNode } from './swarmNode.ts'

const [folder = '', address = ''] = process.argv.slice(2)
const log = createLogger('warn', (level, message, fields) => process.stderr.write(`${logfmt('manager', level, message, fields)}\n`))
const node = createSwarmNode({
  hostname: 'manager',
  log,
  disk: createDisk(folder),
  openJournal: () => openLmdbJournal(join(folder, 'store')),
})
await node.init({
  listenAddr: address,
  advertiseAddr: address,
  dataPathAddr: '',
  dataPathPort: 0,
  defaultAddressPools: [],
  subnetSize: 0,
  forceNewCluster: false,
  autoLockManagers: false,
  availability: 'drain',
  spec: {},
})
const face = node.manager()
if (!face) throw new Error('no manager')
const api = createApi({ node, engineSocket: join(folder, 'no-engine.sock'), clock: realClock, log, ready: () => true, version: 'bench' })
const server = await serveApi(api, [`unix://${join(folder, 'api.sock')}`])

let commits = 0
let wanted: number | undefined
let running = 0
follow(face.store)
setInterval(() => {
  const states: Record<string, number> = {}
  if (wanted === undefined) return
  for (const task of face.store.view().tasks.values()) {
    const name = taskStateName(task.status.state)
    states[name] = (states[name] ?? 0) + 1
  }
  tell({ kind: 'progress', running, commits, states })
}, 2_000)

process.on('message', (order: Order) => {
  switch (order.kind) {
    case 'usage':
      tell({ kind: 'usage', ...usage() })
      break
    case 'watch':
      wanted = order.running
      announce()
      break
    case 'stop':
      void server
        .close()
        .then(() => node.stop())
        .then(() => process.exit(0))
  }
})
process.on('disconnect', () => process.exit(1))
tell({ kind: 'manager-ready', address, token: face.control.cluster().joinTokens.worker })

/** Counts tasks that run and are meant to; those of nodes that are down are meant to stop. */
function follow(store: Store): void {
  store.watch(({ changes }) => {
    commits += 1
    for (const change of changes) {
      if (change.table !== 'task') continue
      running += Number(runs(change.after)) - Number(runs(change.before))
    }
    announce()
  })
}

function runs(task: { readonly status: { readonly state: number }; readonly desiredState: number } | undefined): boolean {
  return task !== undefined && task.status.state === TaskState.RUNNING && task.desiredState === TaskState.RUNNING
}

function announce(): void {
  if (wanted === undefined || running !== wanted) return
  wanted = undefined
  tell({ kind: 'reached', running, commits })
}
