// `npm run check`: types, lint and format, floors and doors; all three run, all findings are shown.
import { spawn } from 'node:child_process'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
const bin = (name) => path.join(root, 'node_modules/.bin', name)

const checks = [
  ['types', bin('tsc'), ['--noEmit', '-p', root]],
  ['lint and format', bin('biome'), ['check', '--colors=off', '--max-diagnostics=40', root]],
  ['floors and doors', bin('node'), [path.join(root, 'scripts/check-floors.mjs')]],
]

const results = await Promise.all(checks.map(([name, command, args]) => run(name, command, args)))
for (const { name, code, output } of results) {
  console.log(`${code === 0 ? 'ok  ' : 'FAIL'} ${name}`)
  if (code !== 0) console.log(output.trimEnd())
}
process.exit(results.some(({ code }) => code !== 0) ? 1 : 0)

function run(name, command, args) {
  return new Promise((resolve) => {
    let output = ''
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] })
    child.stdout.on('data', (data) => {
      output += data
    })
    child.stderr.on('data', (data) => {
      output += data
    })
    child.on('error', (error) => resolve({ name, code: 127, output: error.message }))
    child.on('close', (code) => resolve({ name, code: code ?? 1, output }))
  })
}
