// The registry on the bridge: Debian's docker-registry with our images in it, the machines' mirror of Docker Hub, so that `docker pull nginx` works offline.
import { spawn } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { ensureImages } from './images/index.ts'
import { isAlive, must, onPath, type ProcessRef, processRef, signalProcess, until, waitForEnd, withLock } from './process.ts'
import type { MachineSet } from './set.ts'

/** Starts the registry if it does not run. Answers false, after a line that says why, when there is none to start. */
export async function ensureRegistry(set: MachineSet, onProgress?: (line: string) => void): Promise<boolean> {
  const program = onPath('docker-registry')
  if (!program) {
    onProgress?.('no registry: the package docker-registry is not installed (machines still have the images)')
    return false
  }
  const images = await ensureImages(set, onProgress)
  return await withLock(`${set.name}:registry`, 30_000, async () => {
    if (registryRuns(set)) return true
    const dir = registryDir(set)
    const storage = join(dir, `storage-${images.key}`)
    if (!existsSync(storage)) {
      mkdirSync(dir, { recursive: true })
      await must('cp', ['-a', images.registryStorage, storage]) // a copy: people may push to it
    }
    const config = {
      version: 0.1,
      log: { level: 'warn', accesslog: { disabled: true } },
      storage: { filesystem: { rootdirectory: storage }, delete: { enabled: true } },
      http: { addr: `${set.gateway}:${set.registryPort}` },
    }
    writeFileSync(join(dir, 'config.yml'), JSON.stringify(config)) // JSON is YAML
    const log = openSync(join(dir, 'log'), 'w')
    const child = spawn(program, ['serve', join(dir, 'config.yml')], { cwd: '/', detached: true, stdio: ['ignore', log, log] })
    closeSync(log)
    child.on('error', () => {}) // shows as a missing process below
    child.unref()
    const process = processRef(child.pid ?? 0)
    writeFileSync(join(dir, 'process.json'), JSON.stringify(process ?? null))
    const up = await until(async () => !isAlive(process) || (await accepts(set.gateway, set.registryPort)), 10_000, 15)
    if (up && isAlive(process)) return true
    onProgress?.(`no registry: ${readFileSync(join(dir, 'log'), 'utf8').trim().split('\n').at(-1)?.slice(0, 200)}`)
    return false
  })
}

export async function stopRegistry(set: MachineSet): Promise<void> {
  const process = savedProcess(set)
  signalProcess(process, 'SIGTERM')
  if (!(await waitForEnd(process, 2_000))) signalProcess(process, 'SIGKILL')
  await waitForEnd(process, 2_000)
  rmSync(registryDir(set), { recursive: true, force: true })
}

export function registryRuns(set: MachineSet): boolean {
  return isAlive(savedProcess(set))
}

function savedProcess(set: MachineSet): ProcessRef | undefined {
  const path = join(registryDir(set), 'process.json')
  return existsSync(path) ? ((JSON.parse(readFileSync(path, 'utf8')) as ProcessRef | null) ?? undefined) : undefined
}

function registryDir(set: MachineSet): string {
  return join(set.dataDir, '.registry')
}

function accepts(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port })
    const end = (answer: boolean) => () => {
      socket.destroy()
      resolve(answer)
    }
    socket.setTimeout(500, end(false))
    socket.once('connect', end(true))
    socket.once('error', end(false))
  })
}
