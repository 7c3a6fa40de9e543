// Golden seeds: the image store of an engine that has loaded a given choice of images, kept to be hard-linked into new machines before their first start.
// A copy takes 30-50 ms and hardly any disk; loading or pulling takes seconds each time (machines.md, section 2). Only layer files are hard-linked:
// the engine never changes them in place, and removes only its own names of them.
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { ShoalError } from '../lib/index.ts'
import { sha256 } from './images/image.ts'
import { ensureImages } from './images/index.ts'
import { must, onPath, withLock } from './process.ts'
import type { MachineSet } from './set.ts'
import type { Machine } from './state.ts'

export interface SeedOptions {
  readonly builtinImages: boolean
  /** Paths of docker-save archives. */
  readonly images: readonly string[]
  /** The registry runs: pull from it, so that the images also have their digests. */
  readonly mirror: boolean
  readonly onProgress?: (line: string) => void
  /** Starts an engine for the time of `fill`, stops it, and then calls `take` with its machine. */
  readonly withEngine: (name: string, fill: (engine: Machine) => Promise<void>, take: (engine: Machine) => Promise<void>) => Promise<void>
}

const SEED_TIMEOUT_MS = 300_000
const KEPT_SEEDS = 8

/** The folder of the seed (`image` and `overlay2`) with these images, made if it is not there; undefined when no images are asked for. */
export async function ensureSeed(set: MachineSet, options: SeedOptions): Promise<string | undefined> {
  if (!options.builtinImages && options.images.length === 0) return undefined
  const builtin = options.builtinImages ? await ensureImages(set, options.onProgress) : undefined
  const key = sha256(
    [engineIdentity(), builtin?.key ?? '', options.mirror && builtin ? 'pulled' : '', ...options.images.map(fileIdentity)].join('\n'),
  ).slice(0, 12)
  const dir = join(set.seedDir, key)
  if (existsSync(dir)) return dir
  await withLock(`seed:${key}`, SEED_TIMEOUT_MS, async () => {
    if (existsSync(dir)) return
    options.onProgress?.('loading the images into a golden seed (once)')
    const fill = async (engine: Machine) => {
      const docker = (...args: string[]) =>
        must(dockerCli(), args, { env: { DOCKER_HOST: `unix://${engine.engineSocket}` }, timeoutMs: 120_000 })
      if (builtin && options.mirror) for (const tag of builtin.tags) await docker('pull', '-q', tag)
      else if (builtin) await docker('load', '-q', '-i', builtin.archive)
      for (const archive of options.images) await docker('load', '-q', '-i', archive)
    }
    const take = async (engine: Machine) => {
      const store = join(engine.dataDir, 'var/lib/docker')
      if (!existsSync(join(store, 'image')) || !existsSync(join(store, 'overlay2'))) {
        throw new ShoalError('unimplemented', "this engine's image store is not overlay2, which seeds need", {
          next: 'Run dockerd with overlay2.',
        })
      }
      const temporary = `${dir}.new`
      rmSync(temporary, { recursive: true, force: true })
      mkdirSync(temporary, { recursive: true })
      await must('cp', ['-a', join(store, 'image'), temporary])
      await must('cp', ['-al', join(store, 'overlay2'), temporary])
      renameSync(temporary, dir)
    }
    forgetOldSeeds(set)
    await options.withEngine(`seed-${key}`, fill, take)
  })
  return dir
}

/** Changed images leave seeds behind that nobody asks for again. */
function forgetOldSeeds(set: MachineSet): void {
  if (!existsSync(set.seedDir)) return
  const byAge = readdirSync(set.seedDir)
    .map((name) => join(set.seedDir, name))
    .sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs)
  for (const dir of byAge.slice(KEPT_SEEDS)) rmSync(dir, { recursive: true, force: true })
}

/** The store's format belongs to the engine: another dockerd gets another seed. */
function engineIdentity(): string {
  const path = onPath('dockerd')
  if (!path) throw new ShoalError('failed-precondition', 'there is no dockerd on this computer', { next: 'Run: npm run setup' })
  return fileIdentity(path)
}

/** Small files by content, large ones by path, size and time of change. */
function fileIdentity(path: string): string {
  if (!existsSync(path)) throw new ShoalError('not-found', `there is no file ${path}`)
  const { size, mtimeMs } = statSync(path)
  return size < 32 * 1024 * 1024 ? sha256(readFileSync(path)) : `${path} ${size} ${mtimeMs}`
}

/** Another docker CLI beside the packaged one, if there is one, because that is what machines use too. */
export function dockerCli(): string {
  const path = existsSync('/usr/local/bin/docker') ? '/usr/local/bin/docker' : onPath('docker')
  if (path) return path
  throw new ShoalError('failed-precondition', 'there is no docker CLI on this computer', { next: 'Run: npm run setup' })
}
