// Checks that rooms import only from lower floors and through doors (index.ts), and that time and random come in through ports.
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')

/** Room -> floor, as in docs/README.md. A room imports only from rooms on lower floors. */
const FLOORS = {
  lib: 0,
  proto: 0,
  ports: 1,
  model: 1,
  store: 2,
  scheduler: 2,
  allocator: 2,
  loops: 3,
  wire: 3,
  etcd: 3,
  dispatcher: 4,
  ca: 4,
  engine: 4,
  dataplane: 4,
  manager: 5,
  agent: 5,
  node: 6,
  api: 7,
  proxy: 7,
  daemon: 8,
  client: 8,
  compose: 8,
  cli: 9,
  machine: 9,
  sim: 9,
}
/** cli dispatches `shoal machine` to its neighbour on the top floor; api hands what is not its own to its neighbour proxy. */
const NEIGHBOURS = new Set(['cli>machine', 'api>proxy'])

/** Places where the real clock, timers and random may stand. */
const REAL_TIME = [/^src\/ports\/real\//, /^src\/ports\/fakes\//, /^src\/cli\//, /^src\/machine\//, /^src\/sim\//]
const REAL_TIME_USE =
  /\b(?:Date\.now|new Date\(\)|setTimeout|setInterval|Math\.random|performance\.now|process\.hrtime)\b|\bnew Date\(\s*\)/

const IMPORT = /(?:^|[\s;}])(?:import|export)\s+(?:type\s+)?(?:[^'"`;]*?\sfrom\s+)?['"]([^'"]+)['"]|\bimport\s*\(\s*['"]([^'"]+)['"]/g

const problems = []
for (const file of listSources(path.join(root, 'src'))) checkFile(file)
if (problems.length > 0) {
  for (const problem of problems) console.error(problem)
  console.error(`floors and doors: ${problems.length} problem(s)`)
  process.exit(1)
}
console.log('floors and doors: ok')

function listSources(dir) {
  return readdirSync(dir, { withFileTypes: true }).flatMap((entry) => {
    const full = path.join(dir, entry.name)
    if (entry.isDirectory()) return full === path.join(root, 'src/proto/gen') ? [] : listSources(full)
    return /\.(?:ts|mts|js|mjs)$/.test(entry.name) ? [full] : []
  })
}

function checkFile(file) {
  const relative = path.relative(root, file)
  const room = relative.split(path.sep)[1]
  const floor = FLOORS[room]
  if (floor === undefined) {
    problems.push(`${relative}: the room "${room}" has no floor; add it to scripts/check-floors.mjs and docs/README.md`)
    return
  }
  const text = readFileSync(file, 'utf8')
  const code = blankComments(text)
  for (const match of code.matchAll(IMPORT)) {
    const target = match[1] ?? match[2]
    const line = code.slice(0, match.index).split('\n').length
    if (target.startsWith('.')) checkImport(relative, room, floor, target, line)
  }
  if (REAL_TIME.some((allowed) => allowed.test(relative))) return
  const original = text.split('\n')
  code.split('\n').forEach((line, index) => {
    const use = REAL_TIME_USE.exec(line)
    if (use && !/\/\/ real-time: \S/.test(original[index])) {
      problems.push(
        `${relative}:${index + 1}: ${use[0]}: take a Clock or Random port instead, or end the line with "// real-time: <reason>"`,
      )
    }
  })
}

function checkImport(relative, room, floor, target, line) {
  const resolved = path.relative(root, path.resolve(root, path.dirname(relative), target)).split(path.sep)
  if (resolved[0] !== 'src') {
    if (resolved[0] !== 'package.json') problems.push(`${relative}:${line}: imports ${target}, which is outside src/`)
    return
  }
  const other = resolved[1]
  if (other === room) return
  const otherFloor = FLOORS[other]
  if (otherFloor === undefined) problems.push(`${relative}:${line}: imports the unknown room "${other}"`)
  else if (otherFloor >= floor && !NEIGHBOURS.has(`${room}>${other}`)) {
    problems.push(`${relative}:${line}: ${room} (floor ${floor}) must not import ${other} (floor ${otherFloor}): only lower floors`)
  }
  // Fakes of the ports have a door of their own, so that production bundles never reach them; only the simulator uses it.
  if (room === 'sim' && resolved.slice(2).join('/') === 'fakes/index.ts') return
  if (resolved.length !== 3 || resolved[2] !== 'index.ts') {
    problems.push(`${relative}:${line}: imports ${target}: other rooms only through their door, src/${other}/index.ts`)
  }
}

/** The text with comments (and the contents of strings other than import paths) replaced by blanks, line numbers kept. */
function blankComments(text) {
  let out = ''
  let i = 0
  while (i < text.length) {
    const two = text.slice(i, i + 2)
    const char = text[i]
    if (two === '//') {
      while (i < text.length && text[i] !== '\n') i += 1
    } else if (two === '/*') {
      const end = text.indexOf('*/', i + 2)
      const stop = end < 0 ? text.length : end + 2
      out += text.slice(i, stop).replace(/[^\n]/g, ' ')
      i = stop
    } else if (char === "'" || char === '"') {
      let j = i + 1
      while (j < text.length && text[j] !== char && text[j] !== '\n') j += text[j] === '\\' ? 2 : 1
      out += text.slice(i, j + 1)
      i = j + 1
    } else {
      out += char
      i += 1
    }
  }
  return out
}
