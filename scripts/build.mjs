// Bundles shoal and shoald into dist/ with esbuild: ESM, split so that each command loads only what it needs.
// Safe beside running processes and other builds: everything is built in a folder of its own, chunks carry a content hash, entries are renamed into
// place last, and old chunks stay for a day because a running daemon may still import them.
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
const dist = path.join(root, 'dist')
const quiet = process.argv.includes('--quiet')
const OLD_CHUNK_MS = 24 * 3600 * 1000

// the name server runs in a thread of shoald (src/dataplane/dns)
const entries = { shoal: 'src/cli/main.ts', shoald: 'src/daemon/main.ts', 'shoald-dns': 'src/dataplane/dns/worker.ts' }

const need = process.argv.includes('--need') ? process.argv[process.argv.indexOf('--need') + 1] : undefined

const { build } = await import('esbuild')
const present = Object.entries(entries).filter(([, file]) => existsSync(path.join(root, file)))
const built = await buildAll()
if (!quiet) console.log(`built ${built.map((name) => `dist/${name}.mjs`).join(', ')}`)
process.exit(built.includes(need) || (need === undefined && built.length === present.length) ? 0 : 1)

/** Builds all entries together, so that they share chunks; when that fails, each alone: a broken daemon must not keep the command line from running. */
async function buildAll() {
  if (await buildEntries(present, 'silent')) return present.map(([name]) => name)
  const done = []
  for (const entry of present)
    if (await buildEntries([entry], entry[0] === need || need === undefined ? 'error' : 'silent')) done.push(entry[0])
  return done
}

/** Builds into a folder of its own and moves the result into place; false when the sources do not build. */
async function buildEntries(wanted, logLevel) {
  const startedAt = new Date()
  await mkdir(dist, { recursive: true })
  const work = await mkdtemp(path.join(dist, '.build-'))
  try {
    const result = await build({
      absWorkingDir: root,
      entryPoints: Object.fromEntries(wanted),
      outdir: work,
      entryNames: 'chunks/[name]-[hash]',
      chunkNames: 'chunks/[name]-[hash]',
      outExtension: { '.js': '.mjs' },
      bundle: true,
      splitting: true,
      format: 'esm',
      platform: 'node',
      mainFields: ['module', 'main'], // a lazily imported CommonJS package would show only a default export
      target: 'node24',
      external: ['lmdb'], // a native addon: stays in node_modules
      minifyWhitespace: true,
      minifySyntax: true,
      legalComments: 'none',
      metafile: true,
      logLevel,
      // CommonJS dependencies call require() for Node's own modules.
      banner: { js: "import{createRequire as __shoalRequire}from'node:module';const require=__shoalRequire(import.meta.url);" },
    }).catch(() => undefined)
    if (!result) return false

    await mkdir(path.join(dist, 'chunks'), { recursive: true })
    const fresh = new Set()
    for (const file of await readdir(path.join(work, 'chunks'))) {
      await rename(path.join(work, 'chunks', file), path.join(dist, 'chunks', file))
      fresh.add(file)
    }
    for (const [name, file] of wanted) {
      const output = Object.entries(result.metafile.outputs).find(([, value]) => value.entryPoint === file)[0]
      await writeFile(path.join(work, `${name}.mjs`), bootstrap(`./chunks/${path.basename(output)}`))
      await rename(path.join(work, `${name}.mjs`), path.join(dist, `${name}.mjs`))
      // The stamp carries the time at which reading began: a source saved during the build is newer, and the next start builds again.
      await writeFile(path.join(work, 'stamp'), `${startedAt.toISOString()}\n`)
      await utimes(path.join(work, 'stamp'), startedAt, startedAt)
      await rename(path.join(work, 'stamp'), path.join(dist, `${name}.stamp`))
    }
    await removeOld(fresh)
    return true
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

/** The small file that bin/ starts: switches V8's compile cache on (where a folder can be written), then loads the real entry. */
function bootstrap(target) {
  return `import{enableCompileCache,constants}from'node:module';
const dirs=[import.meta.dirname+'/.compile-cache',process.env.HOME&&process.env.HOME+'/.cache/shoal',process.getuid?.()===0&&'/var/cache/shoal'];
for(const dir of dirs){if(dir&&enableCompileCache(dir).status!==constants.compileCacheStatus.FAILED)break}
await import(${JSON.stringify(target)});
`
}

async function removeOld(fresh) {
  const now = Date.now()
  for (const file of await readdir(path.join(dist, 'chunks'))) {
    if (fresh.has(file)) continue
    const full = path.join(dist, 'chunks', file)
    const info = await stat(full).catch(() => undefined)
    if (info && now - info.mtimeMs > OLD_CHUNK_MS) await rm(full, { force: true })
  }
  for (const file of await readdir(dist)) {
    if (!file.startsWith('.build-')) continue
    const full = path.join(dist, file)
    const info = await stat(full).catch(() => undefined)
    if (info && now - info.mtimeMs > OLD_CHUNK_MS) await rm(full, { recursive: true, force: true })
  }
}
