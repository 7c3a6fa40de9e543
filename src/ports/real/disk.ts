// A folder on a real file system.
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Disk } from '../disk.ts'

/** `root` is created with mode 0700 at the first write. */
export function createDisk(root: string): Disk {
  return {
    async read(name) {
      try {
        return new Uint8Array(await readFile(join(root, name)))
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
        throw error
      }
    },
    async write(name, data, mode = 0o600) {
      const path = join(root, name)
      const folder = dirname(path)
      await mkdir(folder, { recursive: true, mode: 0o700 })
      const aside = `${path}.new`
      const file = await open(aside, 'w', mode)
      try {
        await file.chmod(mode)
        await file.writeFile(data)
        await file.sync()
      } finally {
        await file.close()
      }
      await rename(aside, path)
      const parent = await open(folder, 'r')
      try {
        await parent.sync()
      } finally {
        await parent.close()
      }
    },
    async remove(name) {
      await rm(join(root, name), { recursive: true, force: true })
    },
  }
}
