// The offline images, built once and kept in the image cache under a hash of what they are made from.
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { errorText } from '../../lib/index.ts'
import { onPath, withLock } from '../process.ts'
import type { MachineSet } from '../set.ts'
import { type Image, saveArchive, sha256, writeRegistryStorage } from './image.ts'
import { busyboxImages, busyboxLayer, nginxImages, staticBusybox, whoamiImages } from './recipes.ts'

export interface BuiltImages {
  /** Hash of everything that the images were made from. */
  readonly key: string
  /** The archive for `docker load`. */
  readonly archive: string
  /** Storage folder for docker-registry. */
  readonly registryStorage: string
  readonly tags: readonly string[]
}

/** Raised whenever the recipes change in code. */
const RECIPES_VERSION = 1
const BUILD_TIMEOUT_MS = 300_000

/** Builds what is not in the cache. An image that cannot be made here is left out, with a line that says why, and tried again the next time. */
export async function ensureImages(set: MachineSet, onProgress?: (line: string) => void): Promise<BuiltImages> {
  const sources = join(set.checkout, 'images')
  const withWhoami = onPath('gcc') !== undefined
  const key = cacheKey(sources, withWhoami)
  const dir = join(set.imagesDir, key)
  if (!existsSync(join(dir, 'tags.json'))) {
    await withLock('images', BUILD_TIMEOUT_MS, async () => {
      if (!existsSync(join(dir, 'tags.json'))) await build(dir, sources, withWhoami, onProgress)
    })
  }
  const tags = JSON.parse(readFileSync(join(dir, 'tags.json'), 'utf8')) as string[]
  // the images themselves depend on which recipes worked, so the key that seeds are filed under does too
  return { key: sha256(key + tags.join()).slice(0, 16), archive: join(dir, 'images.tar'), registryStorage: join(dir, 'registry'), tags }
}

async function build(dir: string, sources: string, withWhoami: boolean, onProgress?: (line: string) => void): Promise<void> {
  onProgress?.(`building the images ${['busybox', 'nginx', ...(withWhoami ? ['whoami'] : [])].join(', ')} (once)`)
  const base = await busyboxLayer()
  const attempt = async (name: string, make: () => Promise<Image[]>): Promise<Image[]> => {
    try {
      return await make()
    } catch (error) {
      onProgress?.(`no image ${name}: ${errorText(error)}`)
      return []
    }
  }
  const nginx = await attempt('nginx', () => nginxImages(base, sources))
  const whoami = withWhoami ? await attempt('whoami', () => whoamiImages(base, sources)) : []
  const images = [...busyboxImages(base), ...nginx, ...whoami]
  const temporary = `${dir}.new`
  rmSync(temporary, { recursive: true, force: true })
  mkdirSync(temporary, { recursive: true })
  writeFileSync(join(temporary, 'images.tar'), saveArchive(images))
  writeRegistryStorage(join(temporary, 'registry'), images)
  writeFileSync(join(temporary, 'tags.json'), JSON.stringify(images.flatMap((image) => image.tags)))
  rmSync(dir, { recursive: true, force: true })
  renameSync(temporary, dir)
}

function cacheKey(sources: string, withWhoami: boolean): string {
  const busybox = statSync(staticBusybox())
  const parts = [RECIPES_VERSION, withWhoami, process.arch, busybox.size, busybox.mtimeMs].map(String)
  for (const file of readdirSync(sources, { recursive: true, withFileTypes: true })) {
    if (file.isFile()) parts.push(file.name, readFileSync(join(file.parentPath, file.name), 'utf8'))
  }
  return sha256(parts.join('\0')).slice(0, 16)
}
