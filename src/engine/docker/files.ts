// Secrets and configs as files in memory: each container has a folder of its own on a tmpfs of this node; it goes with the container.
import { execFile } from 'node:child_process'
import { chmod, chown, mkdir, readdir, rm, statfs, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { errorText, ShoalError } from '../../lib/index.ts'
import type { FilePlan } from '../../ports/index.ts'

export interface ContainerFiles {
  /** Writes the files of the container of this name; what was there before goes. */
  place(containerName: string, files: readonly FilePlan[]): Promise<readonly { readonly source: string; readonly target: string }[]>
  /** No error when there are none. */
  remove(containerName: string): Promise<void>
  /** Removes the files of all containers that `keep` does not name. */
  sweep(keep: ReadonlySet<string>): Promise<void>
}

/** Types that statfs(2) gives to file systems which live in memory. */
const MEMORY_FILE_SYSTEMS = new Set([0x01021994, 0x858458f6]) // tmpfs, ramfs
const SIZE = '64m'
const run = promisify(execFile)

/**
 * `root`: a folder for this node alone, e.g. `/run/shoal/<state>/files`. When it does not lie on a memory file system, a tmpfs is mounted there;
 * when that is not possible the secrets are refused rather than written to a disk. The engine must see the same path.
 */
export function createContainerFiles(root: string): ContainerFiles {
  let prepared: Promise<void> | undefined

  const prepare = (): Promise<void> => {
    prepared ??= prepareRoot(root).catch((error) => {
      prepared = undefined
      throw error
    })
    return prepared
  }

  const folderOf = (containerName: string) => {
    if (!/^[\w.-]+$/.test(containerName) || /^\.+$/.test(containerName)) {
      throw new ShoalError('invalid-argument', `${containerName} is no name of a container`)
    }
    return join(root, containerName)
  }

  return {
    async place(containerName, files) {
      if (files.length === 0) return []
      await prepare()
      const folder = folderOf(containerName)
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
    async remove(containerName) {
      await rm(folderOf(containerName), { recursive: true, force: true })
    },
    async sweep(keep) {
      const names = await readdir(root).catch(() => [])
      for (const name of names) if (!keep.has(name)) await rm(join(root, name), { recursive: true, force: true })
    },
  }
}

async function prepareRoot(root: string): Promise<void> {
  await mkdir(root, { recursive: true, mode: 0o700 })
  await chmod(root, 0o700)
  if (await inMemory(root)) return
  try {
    await run('mount', ['-t', 'tmpfs', '-o', `mode=0700,size=${SIZE},nosuid,nodev,noexec`, 'shoal-files', root])
  } catch (error) {
    throw new ShoalError('failed-precondition', `secrets need a memory file system at ${root}: ${errorText(error)}`, {
      next: 'run shoald as root, or mount a tmpfs there',
      cause: error,
    })
  }
}

async function inMemory(path: string): Promise<boolean> {
  return MEMORY_FILE_SYSTEMS.has((await statfs(path)).type)
}
