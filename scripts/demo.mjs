// `npm run demo`: sets up what is missing, then runs the demo (src/machine/demoMain.ts) under the pinned Node.
// Plain JavaScript for Node 18 and newer, because npm starts it with the computer's own Node and before there are node_modules.
import { spawn } from 'node:child_process'
import path from 'node:path'
import { ensureNpm, ensureSystem, pinnedNode, root, SetupError } from './setup.mjs'

const args = process.argv.slice(2)

function setUp() {
  try {
    if (process.getuid?.() !== 0) {
      const program = args.includes('--down') ? 'sudo npm run demo -- --down' : 'sudo npm run demo'
      ensureNpm()
      ensureSystem()
      throw new SetupError('The demo needs root: it makes namespaces, mounts and a network bridge.', `Run:\n  ${program}`)
    }
    ensureNpm()
    if (!args.includes('--down')) ensureSystem()
    return true
  } catch (error) {
    if (!(error instanceof SetupError)) throw error
    console.error(`${error.message}\n${error.next}`)
    return false
  }
}

if (setUp()) {
  const main = path.join(root, 'src/machine/demoMain.ts')
  const child = spawn(pinnedNode, ['--disable-warning=ExperimentalWarning', main, ...args], { stdio: 'inherit' })
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal))
  child.on('exit', (code, signal) => {
    process.exitCode = code ?? (signal === 'SIGINT' ? 130 : 1)
  })
} else {
  process.exitCode = 1
}
