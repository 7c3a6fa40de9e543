// The real docker CLI against three machines: makes m1, w1 and w2, runs ../shared/conformance/conf.py over them, takes them down again.
//   node scripts/conformance.mjs [--only SECTIONS] [--cli DOCKER[,DOCKER]] [--keep]
// Each CLI gets fresh machines, because a run leaves traces that a second one would meet. Needs root; the lines are conf.py's own.
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
const conformance = path.resolve(root, '../shared/conformance')
const out = path.join(root, 'dist/conformance', process.env.SHOAL_CONFORMANCE_SET ?? 'conform')
const NAMES = ['m1', 'w1', 'w2']
/** A set of machines of its own, so that a demo on the same computer is not touched. */
const ENV = {
  ...process.env,
  SHOAL_MACHINE_SET: process.env.SHOAL_CONFORMANCE_SET ?? 'conform',
  SHOAL_MACHINE_SUBNET: process.env.SHOAL_CONFORMANCE_SUBNET ?? '10.78.0.0/24',
}

const argument = (name) => (process.argv.includes(name) ? process.argv[process.argv.indexOf(name) + 1] : undefined)
const only = argument('--only')
const keep = process.argv.includes('--keep')
const candidates = argument('--cli')?.split(',') ?? ['/usr/bin/docker', '/usr/local/bin/docker']
const clis = candidates.filter((cli) => existsSync(cli))

let child
let registryProcess
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    child?.kill('SIGKILL')
    registryProcess?.kill('SIGKILL')
    if (!keep) shoal('machine', 'down')
    process.exit(130)
  })
}

if (!existsSync(path.join(conformance, 'conf.py'))) fail(`there is no ${conformance}/conf.py`)
if (clis.length === 0) fail(`no docker command line found (looked for ${candidates.join(', ')})`)
mkdirSync(out, { recursive: true })
const images = path.join(out, 'images.tar')
if (!existsSync(images))
  check(spawnSync('bash', [path.join(conformance, 'make-images.sh'), images], { stdio: 'inherit' }), 'making the test images')

let failures = 0
for (const cli of clis) failures += await runOnce(cli)
process.exit(failures > 0 ? 1 : 0)

async function runOnce(cli) {
  console.log(`# conformance with ${spawnSync(cli, ['--version'], { encoding: 'utf8' }).stdout.trim()}`)
  shoal('machine', 'down')
  try {
    check(shoal('machine', 'create', '--no-images', '--image', images, ...NAMES), 'creating the machines')
    const lines = NAMES.map((name) => `NODE_${name}=${said('machine', 'url', name)}; ADDR_${name}=${said('machine', 'ip', name)}`)
    const registry = await startRegistry(ENV.SHOAL_MACHINE_SUBNET.replace(/0\/24$/, '1:5000'))
    if (registry) lines.push(`REG=${registry}`)
    const envFile = path.join(out, 'env.sh')
    writeFileSync(envFile, `${lines.join('\n')}\n`)
    const folder = path.join(out, path.dirname(cli).replaceAll('/', '_'))
    const args = [path.join(conformance, 'conf.py'), '--env', envFile, '--cli', cli, '--out', folder, ...(only ? ['--only', only] : [])]
    const status = await new Promise((resolve) => {
      child = spawn('python3', args, { stdio: 'inherit', env: ENV })
      child.on('error', () => resolve(127))
      child.on('close', (code) => resolve(code ?? 1))
    })
    if (status !== 0) console.log(`# ${status} failed with ${cli}; every command and its output: ${folder}/transcript.txt`)
    return status
  } finally {
    registryProcess?.kill('SIGKILL')
    if (!keep) shoal('machine', 'down')
  }
}

/** Debian's registry on the bridge with the tags of `web`, pushed through m1's engine; undefined without the package: section digest is skipped then. */
async function startRegistry(address) {
  const program = '/usr/bin/docker-registry'
  if (!existsSync(program)) return undefined
  const storage = path.join(out, 'registry')
  rmSync(storage, { recursive: true, force: true })
  mkdirSync(storage, { recursive: true })
  const config = path.join(storage, 'config.json') // JSON is YAML
  writeFileSync(
    config,
    JSON.stringify({ version: 0.1, log: { level: 'error' }, storage: { filesystem: { rootdirectory: storage } }, http: { addr: address } }),
  )
  registryProcess = spawn(program, ['serve', config], { cwd: '/', stdio: 'ignore' })
  registryProcess.on('error', () => {}) // shows as pushes that fail
  const host = said('machine', 'url', 'm1')
  const docker = (...args) => spawnSync(clis[0], args, { encoding: 'utf8', env: { ...ENV, DOCKER_HOST: host } })
  for (const tag of ['1', '2', 'bad', 'sick']) {
    const target = `${address}/web:${tag}`
    check(docker('tag', `conf/web:${tag}`, target), `tagging ${target}`)
    let pushed
    for (let attempt = 0; attempt < 10 && pushed?.status !== 0; attempt++) {
      if (pushed) await new Promise((resolve) => setTimeout(resolve, 500))
      pushed = docker('push', target)
    }
    check(pushed, `pushing ${target}: ${pushed.stderr}`)
    docker('rmi', target)
  }
  return address
}

function shoal(...args) {
  return spawnSync(path.join(root, 'bin/shoal'), args, { stdio: ['ignore', 'inherit', 'inherit'], env: ENV })
}

function said(...args) {
  return spawnSync(path.join(root, 'bin/shoal'), args, { encoding: 'utf8', env: ENV }).stdout.trim()
}

function check(result, what) {
  if (result.status !== 0) fail(`${what} failed`)
}

function fail(reason) {
  console.error(`conformance: ${reason}`)
  console.log(`FAIL conformance.setup  ${reason}`)
  process.exit(1)
}
