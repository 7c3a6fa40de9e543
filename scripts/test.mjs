// `npm test`: set-up, checks, then the three rings; one line per file, and `N passed, N failed` as the last line.
//   node scripts/test.mjs [--ring 1,2,3] [--only PATH-PART] [--no-check] [--no-setup] [--verbose]
// Plain JavaScript for Node 18 and newer: npm starts it with the host's Node, perhaps without node_modules. The tests themselves run under the pinned Node.
import { spawn } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
const node = path.join(root, 'node_modules/.bin/node')
const soak = process.env.SHOAL_SOAK === '1'
const options = parseOptions(process.argv.slice(2))

/** Bounds. A file that takes longer is ended with its whole process group and counts as failed. */
const SOAK_FACTOR = soak ? 8 : 1
const FILE_TIMEOUT_MS = { 1: 150_000 * SOAK_FACTOR, 2: 300_000 * SOAK_FACTOR, 3: 900_000 * SOAK_FACTOR }
const RING_TIMEOUT_MS = { 1: 240_000 * SOAK_FACTOR, 2: 1_200_000 * SOAK_FACTOR, 3: 1_800_000 * SOAK_FACTOR }
/** Ring 1 needs no privileges and shares nothing, so two files run at once; rings 2 and 3 own namespaces and run one after another. */
const RING_1_PARALLEL = 2

const CONFORMANCE_SECTIONS = 'pre,init,node,service,scale,drain,update,api,place,opts,restart,rm'

const total = { passed: 0, failed: 0, skipped: 0 }
const current = new Set()
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    for (const child of current) killGroup(child, 'SIGKILL')
    process.exit(130)
  })
}

await setUp()
if (options.check) await check()
for (const ring of options.rings) await runRing(ring)
if (total.skipped > 0) console.log(`${total.skipped} skipped`)
console.log(`${total.passed} passed, ${total.failed} failed`)
process.exit(total.failed > 0 || total.passed === 0 ? 1 : 0)

function parseOptions(args) {
  const parsed = { rings: [1, 2, 3], only: '', check: true, setup: true, verbose: false }
  for (let i = 0; i < args.length; i += 1) {
    const [flag, inline] = args[i].split('=', 2)
    const value = () => {
      if (inline !== undefined) return inline
      i += 1
      return args[i] ?? ''
    }
    if (flag === '--ring') parsed.rings = value().split(',').map(Number)
    else if (flag === '--only') Object.assign(parsed, { only: value(), check: false })
    else if (flag === '--no-check') parsed.check = false
    else if (flag === '--no-setup') parsed.setup = false
    else if (flag === '--verbose') parsed.verbose = true
    else {
      console.error(`unknown option ${args[i]}\nusage: npm test -- [--ring 1,2,3] [--only PATH-PART] [--no-check] [--no-setup] [--verbose]`)
      process.exit(2)
    }
  }
  if (parsed.rings.some((ring) => ![1, 2, 3].includes(ring))) {
    console.error('--ring takes 1, 2, 3 or a list of them, such as 1,2')
    process.exit(2)
  }
  return parsed
}

/** Installs what is missing (node_modules, Debian packages); rings 2 and 3 need the packages, ring 1 only node_modules. */
async function setUp() {
  if (!options.setup) return
  const script = path.join(root, 'scripts/setup.mjs')
  if (existsSync(script)) {
    const system = options.rings.some((ring) => ring > 1)
    const { code, output } = await run(process.execPath, [script, ...(system ? [] : ['--no-system'])], 900_000, { echo: true })
    if (code !== 0) {
      if (options.rings.includes(1) && existsSync(node)) console.log('set-up did not finish; going on with what is here')
      else {
        console.error(output.trimEnd())
        finishEarly('set-up failed')
      }
    }
  } else if (!existsSync(node)) {
    const { code, output } = await run('npm', ['ci', '--no-audit', '--no-fund'], 600_000)
    if (code !== 0) {
      console.error(output.trimEnd())
      finishEarly('npm ci failed')
    }
  }
}

function finishEarly(reason) {
  console.error(reason)
  console.log(`${total.passed} passed, ${total.failed + 1} failed`)
  process.exit(1)
}

async function check() {
  const started = Date.now()
  const { code, output } = await run(node, [path.join(root, 'scripts/check.mjs')], 300_000)
  report('check', code === 0 ? { passed: 1, failed: 0 } : { passed: 0, failed: 1 }, Date.now() - started, code === 0 ? '' : output)
}

async function runRing(ring) {
  const files = listTests(path.join(root, 'test')).filter((file) => ringOf(file) === ring && file.includes(options.only))
  const wantsConformance = ring === 3 && 'conformance'.includes(options.only || 'conformance')
  if (files.length === 0 && !wantsConformance) return
  console.log(`\nring ${ring}`)
  if (ring > 1 && process.getuid?.() !== 0) {
    console.log(`  skipped: ${files.length} files need root (network namespaces, engine). Run as root to include them.`)
    total.skipped += files.length
    return
  }
  const deadline = Date.now() + RING_TIMEOUT_MS[ring]
  // The simulator's seeds take longest: begun first, they run beside all the rest.
  const queue = [...files.filter((file) => file.includes('/sim/seeds')), ...files.filter((file) => !file.includes('/sim/seeds'))]
  const worker = async () => {
    for (let file = queue.shift(); file !== undefined; file = queue.shift()) await runFile(ring, file, deadline)
  }
  await Promise.all(Array.from({ length: ring === 1 ? RING_1_PARALLEL : 1 }, worker))
  if (wantsConformance) await conformance(deadline)
}

function listTests(dir) {
  if (!existsSync(dir)) return []
  return readdirSync(dir, { withFileTypes: true })
    .flatMap((entry) => {
      const full = path.join(dir, entry.name)
      if (entry.isDirectory()) return listTests(full)
      return entry.name.endsWith('.test.ts') ? [path.relative(root, full)] : []
    })
    .sort()
}

function ringOf(file) {
  if (file.endsWith('.e2e.test.ts')) return 3
  return file.endsWith('.ring2.test.ts') ? 2 : 1
}

async function runFile(ring, file, deadline) {
  const started = Date.now()
  const timeout = Math.min(FILE_TIMEOUT_MS[ring], deadline - started)
  if (timeout <= 0) return report(file, { passed: 0, failed: 1 }, 0, `not run: ring ${ring} is past its ${RING_TIMEOUT_MS[ring] / 1000} s`)
  const flags = ['--disable-warning=ExperimentalWarning', '--test-reporter=spec', file]
  const { code, output } = await run(node, flags, timeout, { echo: options.verbose })
  const counts = readCounts(output)
  // A file that dies, hangs after its tests or runs none is a failure whatever its counts say.
  if (code !== 0 && counts.failed === 0) counts.failed = 1
  report(file, counts, Date.now() - started, counts.failed > 0 ? output : '')
}

/** The totals that node:test prints at the end of the spec report. */
function readCounts(output) {
  const count = (name) => Number([...output.matchAll(new RegExp(`^ℹ ${name} (\\d+)$`, 'gm'))].at(-1)?.[1] ?? 0)
  return { passed: count('pass'), failed: count('fail') + count('cancelled'), skipped: count('skipped') + count('todo') }
}

/** The real docker CLI against three machines, by the check script that stands beside the checkout (in shared/). */
async function conformance(deadline) {
  const script = path.join(root, 'scripts/conformance.mjs')
  if (!existsSync(path.resolve(root, '../shared/conformance/conf.py'))) {
    console.log('  skipped: ../shared/conformance is not beside this checkout')
    total.skipped += 1
    return
  }
  const started = Date.now()
  const timeout = Math.max(1000, Math.min(FILE_TIMEOUT_MS[3], deadline - started))
  const { code, output } = await run(node, [script, '--only', CONFORMANCE_SECTIONS], timeout, { echo: options.verbose })
  const passed = [...output.matchAll(/^ok /gm)].length
  let failed = [...output.matchAll(/^(?:FAIL|mesh) /gm)].length
  if (code !== 0 && failed === 0) failed = 1
  const findings = output.split('\n').filter((line) => !/^(?:ok|skip) /.test(line))
  report('conformance', { passed, failed }, Date.now() - started, failed > 0 ? findings.join('\n') : '')
}

function report(name, counts, tookMs, output) {
  total.passed += counts.passed
  total.failed += counts.failed
  total.skipped += counts.skipped ?? 0
  const skipped = counts.skipped ? `, ${counts.skipped} skipped` : ''
  const status = counts.failed > 0 ? 'FAIL' : 'ok  '
  console.log(`  ${status} ${name}  ${counts.passed} passed, ${counts.failed} failed${skipped}  ${(tookMs / 1000).toFixed(1)} s`)
  if (output && !options.verbose) console.log(indent(tail(output, 12_000)))
}

function tail(text, length) {
  return text.length <= length ? text : `[...]\n${text.slice(-length)}`
}

function indent(text) {
  return text.trimEnd().replace(/^/gm, '       ')
}

/** Runs a command in a process group of its own and ends the whole group when the time is up. */
function run(command, args, timeoutMs, { echo = false } = {}) {
  return new Promise((resolve) => {
    let output = ''
    const child = spawn(command, args, {
      cwd: root,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NO_COLOR: '1' },
    })
    current.add(child)
    const timer = setTimeout(() => {
      output += `\ntimed out after ${timeoutMs / 1000} s\n`
      killGroup(child, 'SIGTERM')
      setTimeout(() => killGroup(child, 'SIGKILL'), 5000).unref()
    }, timeoutMs)
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8')
      stream.on('data', (data) => {
        output += data
        if (echo) process.stdout.write(data)
      })
    }
    child.on('error', (error) => {
      output += `${command}: ${error.message}\n`
    })
    child.on('close', (code) => {
      clearTimeout(timer)
      current.delete(child)
      resolve({ code: code ?? 1, output })
    })
  })
}

function killGroup(child, signal) {
  try {
    process.kill(-child.pid, signal)
  } catch {
    // already gone
  }
}
