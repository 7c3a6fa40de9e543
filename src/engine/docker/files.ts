// Secrets and configs as files in memory: each container has a folder of its own on a tmpfs of this node; it goes with the container.
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { rmdirSync } from 'node:fs'
import { chmod, chown, lstat, mkdir, open, readdir, readFile, rm, statfs, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { errorText, ShoalError } from '../../lib/index.ts'
import type { FilePlan } from '../../ports/index.ts'

export interface ContainerFiles {
  /** Writes the files of the container of this name; what was there before goes. */
  place(containerName: string, files: readonly FilePlan[]): Promise<readonly { readonly source: string; readonly target: string }[]>
  /**
   * New content for files that were placed, in place: they are bind-mounted one by one, so a file put in their stead would not be seen. A reader in this very moment
   * may see a part. True when one has changed.
   */
  replace(containerName: string, files: readonly FilePlan[]): Promise<boolean>
  /** No error when there are none. */
  remove(containerName: string): Promise<void>
  /** Removes what earlier runs left of containers that are not among `names`. */
  sweep(names: ReadonlySet<string>): Promise<void>
  /** Removes the folder of all when nothing is in it. */
  close(): void
}

/** Types that statfs(2) gives to file systems which live in memory. */
const MEMORY_FILE_SYSTEMS = new Set([0x01021994, 0x858458f6]) // tmpfs, ramfs
const SIZE = '64m'
const run = promisify(execFile)

/** The memory file system that every Linux has, also inside the mount namespaces that engines are started in. */
const SHARED_MEMORY = '/dev/shm'

/**
 * `wanted`: a folder for this node alone. When it does not lie on a memory file system, a folder of the same meaning under /dev/shm is taken, and
 * where that is none either, a tmpfs is mounted at `wanted`. Secrets are refused rather than written to a disk. The engine must see the same path.
 */
export function createContainerFiles(wanted: string): ContainerFiles {
  let prepared: Promise<string> | undefined
  /** Placed by this process: a sweep leaves them alone, their container may not be there yet. */
  const placedHere = new Set<string>()

  const prepare = (): Promise<string> => {
    prepared ??= prepareRoot(wanted).catch((error) => {
      prepared = undefined
      throw error
    })
    return prepared
  }

  const folderOf = (root: string, containerName: string) => {
    if (!/^[\w.-]+$/.test(containerName) || /^\.+$/.test(containerName)) {
      throw new ShoalError('invalid-argument', `${containerName} is no name of a container`)
    }
    return join(root, containerName)
  }

  const everPlaced = async () => prepared !== undefined || (await exists(rootOf(wanted))) || (await exists(wanted))

  return {
    async place(containerName, files) {
      if (files.length === 0) return []
      const folder = folderOf(await prepare(), containerName)
      placedHere.add(containerName)
      await rm(folder, { recursive: true, force: true })
      await mkdir(folder, { mode: 0o700 })
      const placed: { source: string; target: string }[] = []
      for (const [index, { target, data, uid, gid, mode }] of files.entries()) {
        const source = join(folder, String(index))
        await writeFile(source, data, { mode: 0o600, flag: 'wx' })
        await chown(source, uid, gid)
        await chmod(source, mode)
        placed.push({ source, target })
      }
      return placed
    },
    async replace(containerName, files) {
      if (files.length === 0 || !(await everPlaced())) return false
      const folder = folderOf(await prepare(), containerName)
      let changed = false
      for (const [index, { data }] of files.entries()) {
        const path = join(folder, String(index))
        const present = await readFile(path).catch(() => undefined) // placed by a container that is gone, or never
        if (!present || Buffer.compare(present, data) === 0) continue
        const file = await open(path, 'r+')
        try {
          await file.write(data, 0, data.length, 0)
          await file.truncate(data.length)
        } finally {
          await file.close()
        }
        changed = true
      }
      return changed
    },
    async remove(containerName) {
      if (!(await everPlaced())) return
      placedHere.delete(containerName)
      await rm(folderOf(await prepare(), containerName), { recursive: true, force: true })
    },
    async sweep(names) {
      if (!(await everPlaced())) return
      const root = await prepare()
      for (const name of await readdir(root)) {
        if (!names.has(name) && !placedHere.has(name)) await rm(join(root, name), { recursive: true, force: true })
      }
    },
    close() {
      try {
        rmdirSync(rootOf(wanted))
      } catch {
        // it is not there, or containers still use it
      }
    },
  }
}

/** Where the files of `wanted` lie in shared memory. */
function rootOf(wanted: string): string {
  return join(SHARED_MEMORY, `shoal-files-${createHash('sha256').update(wanted).digest('hex').slice(0, 16)}`)
}

async function prepareRoot(wanted: string): Promise<string> {
  if (await inMemory(dirname(wanted))) return privateFolder(wanted)
  if (await inMemory(SHARED_MEMORY)) return privateFolder(rootOf(wanted))
  const root = await privateFolder(wanted)
  if (await inMemory(root)) return root
  try {
    await run('mount', ['-t', 'tmpfs', '-o', `mode=0700,size=${SIZE},nosuid,nodev,noexec`, 'shoal-files', root])
    return root
  } catch (error) {
    throw new ShoalError('failed-precondition', `secrets need a memory file system at ${root}: ${errorText(error)}`, {
      next: 'run shoald as root, or mount a tmpfs there',
      cause: error,
    })
  }
}

/** Shared memory is open to all: a folder that somebody else has put there is refused. */
async function privateFolder(path: string): Promise<string> {
  await mkdir(path, { recursive: true, mode: 0o700 })
  const found = await lstat(path)
  if (!found.isDirectory() || found.uid !== process.getuid?.()) {
    throw new ShoalError('permission-denied', `${path} belongs to somebody else`, { next: 'remove it' })
  }
  await chmod(path, 0o700)
  return path
}

async function exists(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  )
}

async function inMemory(path: string): Promise<boolean> {
  return statfs(path).then(
    ({ type }) => MEMORY_FILE_SYSTEMS.has(type),
    () => false, // it is not there
  )
}
