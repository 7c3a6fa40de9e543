// Makes a fresh checkout ready: npm packages, and the Debian packages that machines need. Plain JavaScript for Node 18 and newer, without node_modules.
//   node scripts/setup.mjs [--no-system] [--quiet]
// Says what it does before it does it; quick and silent work when all is there. Without root it says what is missing and exits with 1.
// An engine that is there is never replaced: docker.io is installed only where no dockerd exists. No service is started.
import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')

/** The Node that project code runs under; exists after ensureNpm. */
export const pinnedNode = path.join(root, 'node_modules/.bin/node')

/** What machines need: a program to look for, the package that brings it, and what it is for. */
const NEEDED = [
  { program: 'dockerd', packages: ['docker.io'], why: 'the container engine' },
  { program: 'docker', packages: ['docker.io', 'docker-cli'], why: 'the docker command line' },
  { program: 'containerd', packages: ['containerd'], why: 'the container engine' },
  { program: 'runc', packages: ['runc'], why: 'the container engine' },
  { program: 'nft', packages: ['nftables'], why: 'address translation and the routing mesh' },
  { program: 'ip', packages: ['iproute2'], why: 'network devices' },
  { program: 'conntrack', packages: ['conntrack'], why: 'the routing mesh' },
  { program: 'iptables', packages: ['iptables'], why: "the engine's own networks" },
  { program: 'tini', packages: ['tini'], why: 'the first process of a machine' },
  { program: 'busybox', packages: ['busybox-static'], why: 'the offline images', ok: isStatic },
  { program: 'curl', packages: ['curl'], why: 'looking at services' },
  { program: 'pgrep', packages: ['procps'], why: 'stopping machines in order' },
  { program: 'nsenter', packages: ['util-linux'], why: 'entering machines' },
  { program: 'docker-registry', packages: ['docker-registry'], why: '`docker pull` in machines without internet', optional: true },
]
/** What the tests need beyond that. */
const FOR_TESTS = [
  { program: 'gcc', packages: ['gcc'], why: 'building the test image whoami', optional: true },
  { file: '/usr/include/stdio.h', packages: ['libc6-dev'], why: 'building the test image whoami', optional: true },
  { program: 'python3', packages: ['python3'], why: 'the conformance suite', optional: true },
]

/** Installs node_modules from the lock file where it is missing or differs. Answers true when something was done. */
export function ensureNpm(say = console.log) {
  const state = npmState()
  if (state === 'ready') return false
  say('Installing npm packages ...')
  const npm = (...words) => {
    const args = [...words, '--no-audit', '--no-fund', '--loglevel=error']
    const result = spawnSync('npm', args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8' })
    const done = result.status === 0 && existsSync(pinnedNode)
    return { done, said: `${result.error?.message ?? ''}${result.stdout ?? ''}${result.stderr ?? ''}`.trim() }
  }
  // `npm ci` begins by deleting node_modules, so it is only for when there are none: other processes may be running from them.
  if (state === 'missing' && npm('ci').done) return true
  // A registry that lacks the optional packages of other platforms makes `ci` refuse the lock file; `install` takes the same versions from it.
  const { done, said } = npm('install', '--no-save')
  if (done) return true
  throw new SetupError(`npm could not install the packages:\n${said}`, `Try it by hand:\n  cd ${root} && npm ci`)
}

/** Installs the Debian packages that are missing. Answers true when something was done; throws SetupError when something is missing after all. */
export function ensureSystem({ tests = false, say = console.log } = {}) {
  const missing = missingTools(tests)
  if (missing.length === 0) return false
  const apt = findProgram('apt-get')
  const required = missing.filter((tool) => !tool.optional)
  if (!apt || process.getuid?.() !== 0) {
    if (required.length === 0) return false
    const list = missing.map((tool) => `  ${(tool.program ?? tool.file).padEnd(16)} ${tool.why}`).join('\n')
    const packages = [...new Set(missing.map(debianName))].join(' ')
    const how = apt
      ? `Install them with this command, then run this again:\n  sudo apt-get update && sudo apt-get install -y --no-install-recommends ${packages}`
      : `This is no Debian system: install them with its own package manager (Debian's names: ${packages}), then run this again.`
    throw new SetupError(`Missing on this computer:\n${list}`, how)
  }
  say('Installing Debian packages:')
  const reasons = new Map([...missing].reverse().map((tool) => [debianName(tool), tool.why]))
  for (const [name, why] of [...reasons].reverse()) say(`  ${name.padEnd(16)} ${why}`)
  const withoutStarting = forbidServices()
  try {
    installTools(missing, say)
  } finally {
    withoutStarting()
  }
  const still = missingTools(tests)
  for (const tool of still.filter((tool) => tool.optional)) say(`Going on without ${tool.packages[0]} (${tool.why}).`)
  const fatal = still.filter((tool) => !tool.optional)
  if (fatal.length > 0) {
    const packages = fatal.map(debianName).join(' ')
    throw new SetupError(`These could not be installed: ${packages}`, `Try by hand:\n  apt-get update && apt-get install ${packages}`)
  }
  return true
}

/** What is missing, for people. */
export function missingTools(tests) {
  return [...NEEDED, ...(tests ? FOR_TESTS : [])].filter(isMissing)
}

function isMissing(tool) {
  if (tool.file) return !existsSync(tool.file)
  const found = findProgram(tool.program)
  return !found || (tool.ok && !tool.ok(found))
}

function debianName(tool) {
  return tool.packages[0]
}

export class SetupError extends Error {
  constructor(message, next) {
    super(message)
    this.next = next
  }
}

function installTools(tools, say) {
  const install = (packages) =>
    spawnSync('apt-get', ['install', '-y', '-q', '--no-install-recommends', ...packages], {
      stdio: ['ignore', 'pipe', 'pipe'],
      encoding: 'utf8',
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    })
  const all = () => install([...new Set(tools.map(debianName))]).status === 0
  if (!all()) {
    say('Refreshing the package lists (apt-get update) ...')
    spawnSync('apt-get', ['update', '-q'], { stdio: 'ignore' })
    all()
  }
  // one by one, so that one that cannot be had does not keep the others away; newer Debians have the docker command line in a package of its own
  for (const tool of tools.filter(isMissing)) tool.packages.some((name) => install([name]).status === 0 && !isMissing(tool))
}

/** Debian starts what it installs; nothing here needs the computer's own dockerd or registry to run. Answers how to allow it again. */
function forbidServices() {
  const file = '/usr/sbin/policy-rc.d'
  const registryWasThere = findProgram('docker-registry')
  const made = !existsSync(file)
  if (made) writeFileSync(file, '#!/bin/sh\nexit 101\n', { mode: 0o755 })
  return () => {
    if (made) rmSync(file, { force: true })
    // it would listen on port 5000 of every address after the next boot
    if (!registryWasThere && existsSync('/run/systemd/system')) spawnSync('systemctl', ['disable', 'docker-registry'], { stdio: 'ignore' })
  }
}

function npmState() {
  const installed = path.join(root, 'node_modules/.package-lock.json')
  if (!existsSync(installed) || !existsSync(pinnedNode)) return existsSync(installed) ? 'differs' : 'missing'
  const has = JSON.parse(readFileSync(installed, 'utf8')).packages ?? {}
  const wants = JSON.parse(readFileSync(path.join(root, 'package-lock.json'), 'utf8')).packages ?? {}
  const differs = Object.entries(wants).some(([name, entry]) => name !== '' && !entry.optional && has[name]?.version !== entry.version)
  return differs ? 'differs' : 'ready'
}

function findProgram(name) {
  const dirs = [...(process.env.PATH ?? '').split(':'), '/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin']
  return dirs
    .filter(Boolean)
    .map((dir) => path.join(dir, name))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK)
        return true
      } catch {
        return false
      }
    })
}

/** True for a statically linked program: no PT_INTERP among the program headers of the (64-bit, little-endian) ELF file. */
function isStatic(file) {
  const elf = readFileSync(file)
  if (elf.length < 64 || elf.readUInt32BE(0) !== 0x7f454c46) return false
  const offset = Number(elf.readBigUInt64LE(32))
  const size = elf.readUInt16LE(54)
  const count = elf.readUInt16LE(56)
  for (let i = 0; i < count; i++) if (elf.readUInt32LE(offset + i * size) === 3) return false
  return true
}

function main(args) {
  const unknown = args.find((arg) => !['--no-system', '--quiet'].includes(arg))
  if (unknown) {
    console.error(`unknown option ${unknown}\nusage: node scripts/setup.mjs [--no-system] [--quiet]`)
    return 2
  }
  const say = args.includes('--quiet') ? () => {} : console.log
  try {
    ensureNpm(say)
    if (!args.includes('--no-system')) ensureSystem({ tests: true, say })
  } catch (error) {
    if (!(error instanceof SetupError)) throw error
    console.error(`${error.message}\n${error.next}`)
    return 1
  }
  say('Everything is there.')
  return 0
}

if (process.argv[1] && path.resolve(process.argv[1]) === fileURLToPath(import.meta.url)) process.exitCode = main(process.argv.slice(2))
